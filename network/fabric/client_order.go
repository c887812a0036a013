package fabric

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"
	"github.com/hyperledger/fabric-protos-go-apiv2/gateway"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// An orderer that dies forgets what it had accepted and not replicated: its word is
// no promise, and a transaction that gets lost must be handed in again. The same
// transaction counts once however often it is ordered. A second copy costs little,
// unless the transaction has private data: then a peer looks for them again before it
// commits the copy's block, and stands still for twice its pull threshold. So before
// a second copy, the first is looked for, and longer where there are private data.
const (
	// orderTime is for one attempt to have a transaction ordered.
	orderTime = 10 * time.Second
	// plainTime and privateTime are how long a status is waited for when nothing
	// shows what became of the transaction.
	plainTime   = 5 * time.Second
	privateTime = 10 * time.Second
	// overdue is how long a transaction may take before the blocks are looked at.
	overdue = 500 * time.Millisecond
	// graceTime is how much longer a transaction with private data is waited for
	// once a later one was ordered without it, and skew how far another client's
	// clock is trusted in saying what is later.
	graceTime = 3 * time.Second
	skew      = 2 * time.Second
	// lookTime is for the look at a peer that has the block of a later transaction.
	lookTime = 2 * time.Second
)

var (
	// errNotYet says that no status came in the time that one attempt has.
	errNotYet = errors.New("not committed yet")
	// errPerhaps says that a transaction may have reached an orderer or not.
	errPerhaps = errors.New("it may have been handed in")
	// errMissing says that later transactions are on the chain and this one is not.
	errMissing = errors.New("it is missing")
)

// order has a transaction ordered and waits for its commit.
func (c *Client) order(ctx context.Context, tx *prepared) (network.Result, error) {
	res := network.Result{TxID: tx.id, Payload: tx.payload}
	begun, sure := time.Now(), true // sure: no attempt can have got through unnoticed
	for {
		err := c.handIn(ctx, tx, begun, &sure)
		if err != nil && sure {
			return network.Result{}, err
		}
		sure = false
		var status *client.Status
		waited := ctx.Err()
		if waited == nil {
			status, waited = c.await(ctx, tx)
		}
		if waited == nil {
			c.ordered()
			return c.finish(ctx, res, status)
		}
		if ctx.Err() == nil && !errors.Is(waited, errNotYet) {
			return network.Result{TxID: tx.id}, waited
		}
		c.notOrdered(begun, errors.Join(err, waited))
		if ctx.Err() != nil {
			return network.Result{TxID: tx.id}, unknown(tx.id, context.Cause(ctx), err)
		}
	}
}

// unknown is the error of a call that ended before a transaction's status came;
// handing is what went wrong in handing it in, if anything.
func unknown(id string, why, handing error) error {
	if handing != nil {
		return fault.New(fault.Unavailable, "transaction %s may or may not be committed: %w (%w)", id, why, handing)
	}
	return fault.New(fault.Unavailable, "transaction %s was handed in and may or may not be committed: %w", id, why)
}

// handIn gives a transaction to the orderers, through one peer after the other. It
// clears sure when an attempt may have got through although it failed. With private
// data in it, such an attempt is the last: the caller looks for the transaction first.
func (c *Client) handIn(ctx context.Context, tx *prepared, begun time.Time, sure *bool) error {
	return c.try(ctx, orderTime, func(ctx context.Context, e *endpoint) error {
		err := c.orderAt(ctx, e, tx)
		var other *elsewhere
		if !errors.As(err, &other) {
			return err
		}
		c.notOrdered(begun, other.err)
		if other.undelivered {
			return err
		}
		*sure = false
		if !tx.private {
			return err
		}
		if !other.innocent {
			c.failed(e, other.err)
		}
		return errors.Join(errPerhaps, other.err)
	})
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
	return readAnswer(err).unordered()
}

// await waits for a transaction's status until the chain shows that the transaction
// is missing, or for long enough where it shows nothing.
func (c *Client) await(ctx context.Context, tx *prepared) (*client.Status, error) {
	limit := plainTime
	if tx.private {
		limit = privateTime
	}
	handed := time.Now()
	waiting, end := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if c.watchFor(waiting, tx, handed) == nil {
			end(errMissing)
		}
	})
	status, err := c.commitStatus(waiting, tx, limit)
	end(nil)
	watch.Wait()
	if err != nil && errors.Is(context.Cause(waiting), errMissing) && ctx.Err() == nil {
		return c.commitStatus(ctx, tx, lookTime)
	}
	return status, err
}

// watchFor returns nil when a block has a transaction that was made after this one
// had been handed in, and this one is in no block until then. It first waits a while:
// nearly always the status comes before.
func (c *Client) watchFor(ctx context.Context, tx *prepared, handed time.Time) error {
	if err := network.Sleep(ctx, overdue); err != nil {
		return err
	}
	later := handed.Unix()
	if tx.private {
		later = handed.Add(skew).Unix()
	}
	err := c.try(ctx, privateTime, func(ctx context.Context, e *endpoint) error {
		return c.laterThan(ctx, e, tx.id, later)
	})
	if err == nil && tx.private {
		err = network.Sleep(ctx, graceTime)
	}
	return err
}

var errThere = errors.New("the transaction is on the chain")

// laterThan follows a peer's blocks from the newest on until there is a transaction
// dated after that second.
func (c *Client) laterThan(ctx context.Context, e *endpoint, id string, second int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.open(ctx, e.deliver.Deliver, newest, everything)
	if err != nil {
		return err
	}
	for {
		r, err := c.receive(s)
		if err != nil {
			return err
		}
		b, err := c.reader.block(r.GetBlock(), nil)
		if err != nil {
			return &elsewhere{err: err}
		}
		found := false
		for _, tx := range b.Txs {
			if tx.ID == id {
				return errThere
			}
			found = found || tx.Time > second
		}
		if found {
			return nil
		}
	}
}

// commitStatus waits for a transaction's commit, at most so long with a peer.
func (c *Client) commitStatus(ctx context.Context, tx *prepared, most time.Duration) (*client.Status, error) {
	request, err := c.statusRequest(tx.id)
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot make the request for a status: %w", err)
	}
	var out *client.Status
	err = c.try(ctx, most, func(ctx context.Context, e *endpoint) error {
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

// What is said when nothing can have been handed in.
const (
	dialMark     = "while dialing"
	nobodyOrders = "no orderers could successfully process transaction"
)

// unordered is elsewhere for a transaction that was to be ordered: it says whether
// it is certain that no orderer has it.
func (a answer) unordered() error {
	e := &elsewhere{err: fault.New(fault.Unavailable, "%s", a), innocent: a.innocent()}
	switch {
	case a.code != codes.Unavailable:
	case strings.Contains(a.message, nobodyOrders):
		// An orderer that answers with a refusal leaves no detail.
		e.undelivered = true
		for _, d := range a.details {
			e.undelivered = e.undelivered && strings.Contains(d.text, dialMark)
		}
	default:
		e.undelivered = strings.Contains(a.message, dialMark) || strings.Contains(a.message, noOrderer)
	}
	return e
}
