package fabric

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// How long a peer that failed is not the first choice, and the waits between
// rounds in which no peer answered. A dead peer on a living host costs nothing
// (the connection is refused at once), a dead host one dialTime for each rest.
const (
	restTime   = 2 * time.Second
	roundFirst = 50 * time.Millisecond
	roundMost  = time.Second
)

// elsewhere is a failure of one peer, after which another may do better.
type elsewhere struct{ err error }

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
	rested := e.rest.Swap(time.Now().Add(restTime).UnixNano())
	if time.Since(time.Unix(0, rested)) > restTime { // else it has been said already
		c.log.Warn("a peer does not serve; trying others", "peer", e.msp, "address", e.address, "error", err)
	}
}

// served notes that the peer did serve.
func (e *endpoint) served() { e.rest.Store(0) }

// try runs do with one peer after the other until one serves it, again after a
// wait when none did, until ctx ends. Each attempt has the given time. An error
// of do that is not an elsewhere is final.
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
			c.failed(e, last)
		}
		if err := pause(ctx, wait/2+rand.N(wait/2)); err != nil {
			return unreachable(ctx, last)
		}
	}
}

func (c *Client) attempt(ctx context.Context, each time.Duration, e *endpoint, do func(context.Context, *endpoint) error) error {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	err := do(ctx, e)
	if err == nil {
		e.served()
	}
	return err
}

// unreachable is the error of a call whose time ended before a peer served it.
func unreachable(ctx context.Context, last error) error {
	return fault.New(fault.Unavailable, "no peer answered in time (%w); the last one said: %w", context.Cause(ctx), last)
}
