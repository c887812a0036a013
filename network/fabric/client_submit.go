package fabric

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// Endorsers that disagree are asked again, after waits that double.
const (
	disagreements     = 6
	disagreementFirst = 20 * time.Millisecond
)

// Submit implements network.Client. It asks peers for endorsements, checks that
// what they prepared is what was asked for, hands it to the orderers and waits
// until a peer has committed it. A peer that dies at any point is replaced by
// another; the transaction is the same one all along, so it is committed once
// or not at all.
func (c *Client) Submit(ctx context.Context, call network.Call) (network.Result, error) {
	if err := call.Check(); err != nil {
		return network.Result{}, err
	}
	ctx, done, err := c.begin(ctx, submitLimit)
	if err != nil {
		return network.Result{}, err
	}
	defer done()
	p, err := c.peers[0].contract.NewProposal(call.Function, proposalOptions(call)...)
	if err != nil {
		return network.Result{}, fault.New(fault.Invalid, "cannot make the proposal: %w", err)
	}
	tx, err := c.endorse(ctx, p)
	if err != nil {
		return network.Result{}, err
	}
	return c.order(ctx, tx)
}

// prepared is an endorsed transaction.
type prepared struct {
	id      string
	bytes   []byte // gateway.PreparedTransaction
	payload []byte // what the chaincode answered
	private bool   // whether it writes private data
}

// endorse gets a proposal endorsed. Its errors change nothing on the ledger.
func (c *Client) endorse(ctx context.Context, p *client.Proposal) (*prepared, error) {
	proposal, err := p.Bytes()
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot make the proposal: %w", err)
	}
	wait := disagreementFirst
	for n := 1; ; n++ {
		var tx *prepared
		err := c.try(ctx, endorseTime, func(ctx context.Context, e *endpoint) error {
			var err error
			tx, err = c.endorseAt(ctx, e, proposal)
			return err
		})
		var d *disagreement
		if !errors.As(err, &d) {
			return tx, err
		}
		if n == disagreements || network.Sleep(ctx, wait/2+rand.N(wait/2)) != nil {
			return nil, d.err
		}
		wait *= 2
	}
}

func (c *Client) endorseAt(ctx context.Context, e *endpoint, proposal []byte) (*prepared, error) {
	if err := c.catchUp(ctx, e); err != nil {
		return nil, err
	}
	p, err := e.gateway.NewProposal(proposal)
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot read back a proposal: %w", err)
	}
	tx, err := p.EndorseWithContext(ctx)
	if err != nil {
		return nil, endorsementError(err)
	}
	b, err := tx.Bytes()
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot keep an endorsed transaction: %w", err)
	}
	private, err := c.checkPrepared(proposal, b)
	if err != nil {
		return nil, &elsewhere{err: fault.New(fault.Internal, "the peer of %q prepared another transaction than the one asked for: %w", e.msp, err)}
	}
	return &prepared{id: p.TransactionID(), bytes: b, payload: tx.Result(), private: private}, nil
}

var errPrepared = errors.New("headers or arguments differ")

// checkPrepared makes sure, before it is signed, that a prepared transaction is
// that of the proposal: a peer could have put another one in its place. It
// says whether the transaction writes private data.
func (c *Client) checkPrepared(proposal, transaction []byte) (bool, error) {
	asked, got := &gateway.ProposedTransaction{}, &gateway.PreparedTransaction{}
	if err := errors.Join(proto.Unmarshal(proposal, asked), proto.Unmarshal(transaction, got)); err != nil {
		return false, err
	}
	want := &peer.Proposal{}
	if err := proto.Unmarshal(asked.GetProposal().GetProposalBytes(), want); err != nil {
		return false, err
	}
	wantInput := &peer.ChaincodeProposalPayload{}
	if err := proto.Unmarshal(want.GetPayload(), wantInput); err != nil {
		return false, err
	}
	env, err := parseEnvelope(got.GetEnvelope())
	if err != nil {
		return false, err
	}
	inv, err := env.invocation()
	if err != nil {
		return false, err
	}
	same := asked.GetTransactionId() == got.GetTransactionId() && bytes.Equal(want.GetHeader(), env.header) &&
		bytes.Equal(wantInput.GetInput(), inv.input) && len(got.GetEnvelope().GetSignature()) == 0
	if !same {
		return false, errPrepared
	}
	return inv.private()
}

// finish makes the result of a committed transaction.
func (c *Client) finish(ctx context.Context, res network.Result, s *client.Status) (network.Result, error) {
	res.Block = s.BlockNumber
	if !s.Successful {
		res.Payload = nil
		return res, validationFault(res.TxID, s.Code)
	}
	var err error
	if res.Index, err = c.place(ctx, res.Block, res.TxID); err != nil {
		return network.Result{TxID: res.TxID}, fault.New(fault.Unavailable,
			"transaction %s is committed in block %d, but its place there could not be read: %w", res.TxID, res.Block, err)
	}
	return res, nil
}
