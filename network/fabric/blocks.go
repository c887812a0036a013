package fabric

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// guestTime is how long blocks are followed at another organisation's peer
// before one's own is tried again.
const guestTime = 30 * time.Second

// Blocks implements network.Client. A block's header hash is Fabric's: SHA-256
// of the ASN.1 form of number, previous hash and data hash. Data hash, chain and
// signatures of valid transactions are checked.
//
// Transactions of other chaincodes and of the channel's administration are
// there with number, id and validity, so that Index is the place in the block;
// Function, Args and Event are those of this client's chaincode only, Writes
// and Private those of its namespace. An invalid transaction that is not even
// signed by a member has no ID and no Creator: nobody vouches for them.
//
// Private values that the identity may read come from the peer that serves the
// call. Where it does not have one (yet), the write is not Available; read the
// block again later.
//
// When a peer fails, the next one takes over at the next block, so a caller
// that keeps the number of the last block it has dealt with can go on from
// there at any time.
func (c *Client) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return func(yield func(*network.Block, error) bool) {
		inner, cancel := c.within(ctx)
		defer cancel()
		f := follower{client: c, next: from, yield: yield}
		if err := f.run(inner); err != nil && ctx.Err() == nil {
			yield(nil, err)
		}
	}
}

// follower hands blocks to a consumer.
type follower struct {
	client   *Client
	next     uint64
	previous *record.ID // hash of the block before next, once one was handed on
	yield    func(*network.Block, error) bool
}

// errEnough says that the consumer wants no more blocks.
var errEnough = errors.New("enough")

// run follows the chain with one peer after the other. It returns nil when the
// consumer had enough.
func (f *follower) run(ctx context.Context) error {
	for wait := roundFirst; ; wait = min(2*wait, roundMost) {
		before := f.next
		err := f.round(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case f.client.life.Err() != nil:
			return fault.New(fault.Unavailable, "%w", errClosed)
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if f.next > before {
			wait = roundFirst
		}
		if network.Sleep(ctx, wait/2+rand.N(wait/2)) != nil && f.client.life.Err() == nil {
			return nil
		}
	}
}

// round tries the peers in turn until one has handed on some blocks.
func (f *follower) round(ctx context.Context) error {
	before := f.next
	if err := f.client.certified(); err != nil {
		return err
	}
	for _, e := range f.client.byPreference() {
		limited, cancel := ctx, context.CancelFunc(func() {})
		if e != f.client.peers[0] {
			limited, cancel = context.WithTimeout(ctx, guestTime)
		}
		err := f.follow(limited, e)
		over := limited.Err() != nil
		cancel()
		var other *elsewhere
		if !errors.As(err, &other) || ctx.Err() != nil {
			return err
		}
		if over {
			return nil
		}
		f.client.failed(e, other.err)
		if f.next > before {
			return nil
		}
	}
	return nil
}

// follow hands on the blocks that one peer sends; it ends with an error.
func (f *follower) follow(ctx context.Context, e *endpoint) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := f.client
	s, err := c.open(ctx, e.deliver.DeliverWithPrivateData, f.next, everything)
	if err != nil {
		return err
	}
	for {
		r, err := c.receive(s)
		if err != nil {
			return err
		}
		sent := r.GetBlockAndPrivateData()
		b, err := c.reader.block(sent.GetBlock(), sent.GetPrivateDataMap())
		if err == nil {
			err = f.follows(b)
		}
		if err != nil {
			return fault.New(fault.Internal, "block %d as the peer of %q has it: %w", f.next, e.msp, err)
		}
		e.served()
		c.saw(e, b.Number)
		f.next, f.previous = b.Number+1, &b.Hash
		if !f.yield(b, nil) {
			return errEnough
		}
	}
}

var errChain = errors.New("it does not follow the block before it")

func (f *follower) follows(b *network.Block) error {
	if b.Number != f.next {
		return fmt.Errorf("it is number %d", b.Number)
	}
	if f.previous != nil && b.Previous != *f.previous {
		return errChain
	}
	return nil
}
