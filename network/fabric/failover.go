package fabric

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// How long a peer that failed is not the first choice, doubling while it fails
// again, and the waits between rounds in which no peer answered. A peer whose
// process is dead costs nothing (the connection is refused at once); one that
// hangs costs one call in each rest some of its time.
const (
	restTime   = 2 * time.Second
	restMost   = 32 * time.Second
	roundFirst = 50 * time.Millisecond
	roundMost  = time.Second
)

// elsewhere is a failure with one peer, after which another may do better. It
// need not be the peer's own: orderers and other organisations' peers, which it
// depends on, fail as well.
type elsewhere struct {
	err      error
	innocent bool
	// undelivered says that what was handed in did not get anywhere.
	undelivered bool
}

func (e *elsewhere) Error() string { return e.err.Error() }
func (e *elsewhere) Unwrap() error { return e.err }

// byPreference returns the peers in the order in which to try them: those that
// failed just now come last.
func (c *Client) byPreference() []*endpoint {
	now := time.Now().UnixNano()
	order := slices.Clone(c.peers)
	slices.SortStableFunc(order, func(a, b *endpoint) int {
		return cmp.Compare(max(a.rest.Load(), now), max(b.rest.Load(), now))
	})
	return order
}

// failed notes that the peer did not serve.
func (c *Client) failed(e *endpoint, err error) {
	now := time.Now()
	rested := e.rest.Load()
	if rested > now.UnixNano() {
		return // calls that failed together count once
	}
	rest := min(restTime<<min(e.fails.Load(), 8), restMost)
	if !e.rest.CompareAndSwap(rested, now.Add(rest).UnixNano()) {
		return
	}
	e.fails.Add(1)
	c.log.Warn("a peer does not serve; trying others", "peer", e.msp, "address", e.address, "error", err)
}

// served notes that the peer did serve.
func (e *endpoint) served() {
	e.rest.Store(0)
	e.fails.Store(0)
}

// leastTime is what an attempt has at least, unless the call has less.
const leastTime = time.Second

// try runs do with one peer after the other until one serves it, again after a
// wait when none did, until ctx ends. Each attempt has the given time or half of
// what is left, so that a peer that hangs leaves some for the next. An error of
// do that is not an elsewhere is final.
func (c *Client) try(ctx context.Context, each time.Duration, do func(context.Context, *endpoint) error) error {
	for wait := roundFirst; ; wait = min(2*wait, roundMost) {
		var last error
		for _, e := range c.byPreference() {
			err := c.attempt(ctx, each, e, do)
			var other *elsewhere
			if !errors.As(err, &other) {
				return err
			}
			last = other.err
			if ctx.Err() != nil {
				return unreachable(ctx, last)
			}
			if !other.innocent {
				c.failed(e, last)
			}
		}
		if err := network.Sleep(ctx, wait/2+rand.N(wait/2)); err != nil {
			return unreachable(ctx, last)
		}
	}
}

func (c *Client) attempt(ctx context.Context, each time.Duration, e *endpoint, do func(context.Context, *endpoint) error) error {
	if deadline, ok := ctx.Deadline(); ok {
		each = min(each, max(time.Until(deadline)/2, leastTime))
	}
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	err := do(ctx, e)
	if err == nil {
		e.served()
	}
	return err
}

// unreachable is the error of a call that ended before a peer served it.
func unreachable(ctx context.Context, last error) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		return fault.New(fault.Unavailable, "the call was ended from outside (%w), which says nothing about the peers; the last one said: %w", cause, last)
	}
	return fault.New(fault.Unavailable, "no peer answered in time (%w); the last one said: %w", cause, last)
}
