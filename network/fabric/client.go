package fabric

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hyperledger/fabric-gateway/pkg/client"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// Time limits of a call. A caller's own deadline counts where it is earlier.
const (
	evaluateLimit = time.Minute
	submitLimit   = 3 * time.Minute
	// Of one attempt with one peer.
	evaluateTime = 20 * time.Second
	endorseTime  = 20 * time.Second
)

// Client is one identity's access to a channel and its chaincode.
//
// Reads through one client never go back in time: whatever Submit has returned
// and Blocks has shown is seen by what the client does next, also when another
// peer has to serve it. Two clients of different organisations use different
// peers, one of which may be some milliseconds behind; Await closes that gap.
//
// Trust: state that Evaluate returns, the validation codes of Blocks and the
// order of blocks are what the peer says that serves the call, normally that of
// the client's own organisation (see WithPeers). What Blocks shows of a valid
// transaction is checked to be signed by a member; that enough organisations
// endorsed it is for that peer to check. A transaction is signed only if it is
// the one that was asked for, whichever peer prepared it.
type Client struct {
	id       network.Identity
	reader   reader
	peers    []*endpoint // in order of preference
	places   *places
	log      *slog.Logger
	reminder reminder
	trouble  trouble

	// seen is how many blocks the client has been told of.
	seen  atomic.Uint64
	calls calls
	life  context.Context // ends with Close
	end   context.CancelFunc
}

var _ network.Client = (*Client)(nil)

var errClosed = errors.New("the client is closed")

// Close ends running calls, waits for them and closes all connections. Blocks
// that is being followed ends with an error.
func (c *Client) Close() error {
	first := c.calls.close()
	c.end()
	c.calls.wg.Wait()
	if !first {
		return nil
	}
	var errs []error
	for _, e := range c.peers {
		errs = append(errs, e.gateway.Close(), e.conn.Close())
	}
	return errors.Join(errs...)
}

// begin starts a call: the context that it returns ends with the given one,
// after limit, and with the client.
func (c *Client) begin(ctx context.Context, limit time.Duration) (context.Context, func(), error) {
	if err := c.certified(); err != nil {
		return nil, nil, err
	}
	if !c.calls.begin() {
		return nil, nil, fault.New(fault.Unavailable, "%w", errClosed)
	}
	ctx, cancel := c.within(ctx)
	ctx, cancelLimit := context.WithTimeout(ctx, limit)
	return ctx, func() { cancelLimit(); cancel(); c.calls.wg.Done() }, nil
}

// within returns a context that ends with the given one and with the client.
func (c *Client) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(c.life, func() { cancel(errClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// Evaluate implements network.Client. It runs on the peer that serves it, which
// has at least all blocks that this client has been told of.
func (c *Client) Evaluate(ctx context.Context, call network.Call) ([]byte, error) {
	if err := call.Check(); err != nil {
		return nil, err
	}
	ctx, done, err := c.begin(ctx, evaluateLimit)
	if err != nil {
		return nil, err
	}
	defer done()
	var out []byte
	err = c.try(ctx, evaluateTime, func(ctx context.Context, e *endpoint) error {
		if err := c.catchUp(ctx, e); err != nil {
			return err
		}
		// The peer's own organisation: another one's state may be older.
		opts := append(proposalOptions(call), client.WithEndorsingOrganizations(e.msp))
		p, err := e.contract.NewProposal(call.Function, opts...)
		if err != nil {
			return fault.New(fault.Invalid, "cannot make the proposal: %w", err)
		}
		out, err = p.EvaluateWithContext(ctx)
		return evaluationError(err)
	})
	return out, err
}

// Await returns once the peer that serves this client has the block, so that
// what follows reads a state at least as new.
func (c *Client) Await(ctx context.Context, block uint64) error {
	ctx, done, err := c.begin(ctx, evaluateLimit)
	if err != nil {
		return err
	}
	defer done()
	raise(&c.seen, block)
	return c.try(ctx, evaluateTime, c.catchUp)
}

// catchUp waits until the peer has all blocks that the client has been told of.
func (c *Client) catchUp(ctx context.Context, e *endpoint) error {
	seen := c.seen.Load()
	if e.height.Load() >= seen {
		return nil
	}
	if _, err := c.transactionIDs(ctx, e, seen-1); err != nil {
		return err
	}
	e.knows(seen - 1)
	return nil
}

// saw notes that a peer has shown a block to the client.
func (c *Client) saw(e *endpoint, block uint64) {
	e.knows(block)
	raise(&c.seen, block)
}

func proposalOptions(call network.Call) []client.ProposalOption {
	opts := []client.ProposalOption{client.WithArguments(call.Args...)}
	if len(call.Transient) > 0 {
		opts = append(opts, client.WithTransient(call.Transient))
	}
	return opts
}
