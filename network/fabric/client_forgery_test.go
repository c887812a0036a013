package fabric_test

import (
	"errors"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance/forgery"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// forgeries is a Fabric network with the real contracts.
type forgeries struct {
	*harness
	profile fabric.Profile
}

// Foreign is a stranger who has somehow learned where the peers are and calls
// himself a member: what refuses him is the channel.
func (f forgeries) Foreign(t testing.TB) network.Client {
	t.Helper()
	const stranger = "Foreign"
	ca, err := network.NewCA(stranger)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("client", "client")
	if err != nil {
		t.Fatal(err)
	}
	own := f.profile.Orgs[0]
	own.MSP, own.Root = stranger, ca.RootPEM()
	p := f.profile
	p.Orgs = append([]fabric.OrgProfile{own}, p.Orgs...)
	return fabric.ConnectFor(t, p, id, fabric.WithPeers(f.profile.Orgs[0].MSP))
}

// SubmitAt makes a transaction as any client of Fabric can who does not use the
// SDK's clock: the date is in the header that the client signs.
func (f forgeries) SubmitAt(t testing.TB, msp string, call network.Call, at time.Time) error {
	t.Helper()
	c := f.clients[msp]
	tx, err := c.Endorse(t.Context(), call, func(proposal []byte) ([]byte, error) { return redate(proposal, at) })
	if err != nil {
		return err
	}
	_, err = c.Order(t.Context(), tx)
	return err
}

// redate puts another timestamp into a proposal that is not signed yet.
func redate(data []byte, at time.Time) ([]byte, error) {
	proposed, inner := &gateway.ProposedTransaction{}, &peer.Proposal{}
	head, channel := &common.Header{}, &common.ChannelHeader{}
	if err := proto.Unmarshal(data, proposed); err != nil {
		return nil, err
	}
	err := proto.Unmarshal(proposed.GetProposal().GetProposalBytes(), inner)
	err = errors.Join(err, proto.Unmarshal(inner.GetHeader(), head))
	err = errors.Join(err, proto.Unmarshal(head.GetChannelHeader(), channel))
	if err != nil {
		return nil, err
	}
	channel.Timestamp = timestamppb.New(at)
	var second, third error
	head.ChannelHeader, err = proto.Marshal(channel)
	inner.Header, second = proto.Marshal(head)
	proposed.Proposal.ProposalBytes, third = proto.Marshal(inner)
	if err := errors.Join(err, second, third); err != nil {
		return nil, err
	}
	return proto.Marshal(proposed)
}

func TestAttackForgeries(t *testing.T) {
	h := &harness{t: t, clients: map[string]*fabric.Client{}, options: launch.Options{Dir: t.TempDir(), Chaincode: launchtest.Serves(t, launchtest.Contracts)}}
	h.network = launchtest.Up(t, h.options)
	p, err := h.network.Profile()
	if err != nil {
		t.Fatal(err)
	}
	f := forgeries{h, p}
	_, err = contracts.RegistryGetGenesis.Evaluate(t.Context(), f.Foreign(t), struct{}{})
	if fault.Of(err) != fault.Forbidden {
		t.Errorf("a stranger reads: %v", err)
	}
	c := forgery.Consortium(t, p.Channel)
	for _, o := range p.Orgs {
		c.Clients[o.MSP] = h.Client(t, o.MSP)
	}
	serveKeys(t, h.network, c.Details)
	forgery.Run(t, f, c)
}

// serveKeys brings details keys to the chaincode processes of every organisation.
func serveKeys(t testing.TB, n *launch.Network, keys *consortium.Details) {
	for _, o := range must(n.Profile()).Orgs {
		keys.Serve(t, fabric.KeySocket(n.Dir(), o.MSP))
	}
}
