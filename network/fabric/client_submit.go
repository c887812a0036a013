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

// Of one attempt to have a transaction ordered, and how long its status is
// waited for before it is handed in again: an orderer that dies forgets what it
// had accepted. The same transaction counts once however often it is ordered.
const (
	orderTime  = 10 * time.Second
	commitTime = 10 * time.Second
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
	if err := c.checkPrepared(proposal, b); err != nil {
		return nil, &elsewhere{err: fault.New(fault.Internal, "the peer of %q prepared another transaction than the one asked for: %w", e.msp, err)}
	}
	return &prepared{id: p.TransactionID(), bytes: b, payload: tx.Result()}, nil
}

var errPrepared = errors.New("headers or arguments differ")

// checkPrepared makes sure, before it is signed, that a prepared transaction is
// that of the proposal: a peer could have put another one in its place.
func (c *Client) checkPrepared(proposal, transaction []byte) error {
	asked, got := &gateway.ProposedTransaction{}, &gateway.PreparedTransaction{}
	if err := errors.Join(proto.Unmarshal(proposal, asked), proto.Unmarshal(transaction, got)); err != nil {
		return err
	}
	want := &peer.Proposal{}
	if err := proto.Unmarshal(asked.GetProposal().GetProposalBytes(), want); err != nil {
		return err
	}
	wantInput := &peer.ChaincodeProposalPayload{}
	if err := proto.Unmarshal(want.GetPayload(), wantInput); err != nil {
		return err
	}
	env, err := parseEnvelope(got.GetEnvelope())
	if err != nil {
		return err
	}
	inv, err := env.invocation()
	if err != nil {
		return err
	}
	same := asked.GetTransactionId() == got.GetTransactionId() && bytes.Equal(want.GetHeader(), env.header) &&
		bytes.Equal(wantInput.GetInput(), inv.input) && len(got.GetEnvelope().GetSignature()) == 0
	if !same {
		return errPrepared
	}
	return nil
}

// order has a transaction ordered and waits for its commit.
func (c *Client) order(ctx context.Context, tx *prepared) (network.Result, error) {
	res := network.Result{TxID: tx.id, Payload: tx.payload}
	sure := true // no attempt can have got through unnoticed
	for {
		err := c.try(ctx, orderTime, func(ctx context.Context, e *endpoint) error {
			err := c.orderAt(ctx, e, tx)
			var other *elsewhere
			sure = sure && !errors.As(err, &other)
			return err
		})
		if err != nil && sure {
			return network.Result{}, err // refused for what it is
		}
		sure = false
		if ctx.Err() == nil {
			status, err := c.commitStatus(ctx, tx)
			if err == nil {
				return c.finish(ctx, res, status)
			}
			if ctx.Err() == nil && !errors.Is(err, errNotYet) {
				return network.Result{TxID: tx.id}, err
			}
		}
		if ctx.Err() != nil {
			return network.Result{TxID: tx.id}, unknown(tx.id, context.Cause(ctx))
		}
	}
}

func unknown(id string, why error) error {
	return fault.New(fault.Unavailable, "transaction %s may or may not be committed: %w", id, why)
}

func (c *Client) orderAt(ctx context.Context, e *endpoint, tx *prepared) error {
	t, err := e.gateway.NewTransaction(tx.bytes)
	if err != nil {
		return fault.New(fault.Internal, "cannot read back a transaction: %w", err)
	}
	if _, err = t.SubmitWithContext(ctx); err == nil {
		return nil
	}
	if refused := orderingRefusal(err); refused != nil {
		return refused
	}
	return readAnswer(err).elsewhere()
}

// errNotYet says that no status came in the time that one attempt has.
var errNotYet = errors.New("not committed yet")

// commitStatus waits for a transaction's commit, at most commitTime with a peer.
func (c *Client) commitStatus(ctx context.Context, tx *prepared) (*client.Status, error) {
	request, err := c.statusRequest(tx.id)
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot make the request for a status: %w", err)
	}
	var out *client.Status
	err = c.try(ctx, commitTime, func(ctx context.Context, e *endpoint) error {
		commit, err := e.gateway.NewCommit(request)
		if err != nil {
			return fault.New(fault.Internal, "cannot read back a request: %w", err)
		}
		out, err = commit.StatusWithContext(ctx)
		switch {
		case err == nil:
			c.saw(e, out.BlockNumber)
			return nil
		case ended(err):
			return errNotYet
		case readAnswer(err).refusal() != nil:
			return readAnswer(err).refusal()
		default:
			return readAnswer(err).elsewhere()
		}
	})
	return out, err
}

func (c *Client) statusRequest(id string) ([]byte, error) {
	creator, err := c.id.Current().Creator()
	if err != nil {
		return nil, err
	}
	inner, err := proto.Marshal(&gateway.CommitStatusRequest{ChannelId: c.reader.channel, TransactionId: id, Identity: creator})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&gateway.SignedCommitStatusRequest{Request: inner})
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
