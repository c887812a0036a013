package fabric

import (
	"context"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// Height returns how many blocks the peer has that serves this client, as its
// system chaincode qscc says. A client that uses its own organisation's peer only
// (WithPeers) learns how far that peer is, whatever others have.
func (c *Client) Height(ctx context.Context) (uint64, error) {
	ctx, done, err := c.begin(ctx, evaluateLimit)
	if err != nil {
		return 0, err
	}
	defer done()
	var info common.BlockchainInfo
	err = c.try(ctx, evaluateTime, func(ctx context.Context, e *endpoint) error {
		qscc := e.gateway.GetNetwork(c.reader.channel).GetContract("qscc")
		p, err := qscc.NewProposal("GetChainInfo", client.WithArguments(c.reader.channel), client.WithEndorsingOrganizations(e.msp))
		if err != nil {
			return fault.New(fault.Invalid, "cannot make the proposal: %w", err)
		}
		out, err := p.EvaluateWithContext(ctx)
		if err != nil {
			return evaluationError(err)
		}
		return proto.Unmarshal(out, &info)
	})
	if err != nil {
		return 0, err
	}
	if info.Height > 0 {
		raise(&c.seen, info.Height-1)
	}
	return info.Height, nil
}
