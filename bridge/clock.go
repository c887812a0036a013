package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
)

// ErrClockAhead says that the hub's clock is ahead of ledger time by more than both
// may differ, so that hours stay open that are over by the hub's clock. Nothing is
// lost by that: set the clock, if it is the one that is wrong, and go on.
var ErrClockAhead = errors.New("the hub's clock is ahead of the network's")

// clock is the hub's clock, and what the hub knows of ledger time: what a gateway said
// when it was asked last, and the time that has passed since by a clock that nobody
// sets.
//
// Nobody signs ledger time for bridges, so it is a gateway's word, and it counts
// against the hub's clock only: an hour is sealed when both say that it is over. One
// of them that is ahead does no harm. A gateway that says too little keeps hours open,
// which it could do to their rows as well, and no reading is dropped on its word.
type clock struct {
	wall     bool // ledger time is that of clocks; otherwise it follows data
	hub      func() time.Time
	network  string
	gateways *gateways // without a signer

	mu      sync.Mutex
	known   bool
	said    int64     // Unix seconds
	at      time.Time // when
	isAhead bool      // the hub's clock was, by more than both may differ
}

// now is the hub's clock in Unix seconds.
func (c *clock) now() int64 { return c.hub().Unix() }

// learn notes what a gateway said.
func (c *clock) learn(said int64) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.said, c.at, c.isAhead = true, said, time.Now(), now > said+skewSeconds
}

// ledger is ledger time, as far as the hub knows it, if it does, and whether the hub's
// clock was ahead when it was told. A machine that slept since then is behind it.
func (c *clock) ledger() (int64, bool, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said + int64(time.Since(c.at)/time.Second), c.known, c.isAhead
}

// ahead is Hub.ClockAhead.
func (c *clock) ahead() time.Duration {
	now, _, found := c.ledger()
	ahead := c.now() - now
	if !c.wall || !found || ahead <= skewSeconds {
		return 0
	}
	return time.Duration(ahead) * time.Second
}

// ask asks one gateway after the other for ledger time, until one says that now has
// come.
func (c *clock) ask(ctx context.Context, now int64) error {
	var errs []error
	for _, g := range c.gateways.clients {
		said, err := c.askOne(ctx, g)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.learn(said)
		if now <= said+skewSeconds {
			return nil
		}
	}
	return errors.Join(errs...)
}

// askOne returns what one gateway of the network says.
func (c *clock) askOne(ctx context.Context, g *api.Client) (int64, error) {
	n, err := retried(ctx, func() (api.Network, error) { return g.Network(ctx) })
	if err == nil && n.Genesis.Network != c.network {
		err = fmt.Errorf("the gateway serves network %q, this hub belongs to %q", clip(n.Genesis.Network), c.network)
	}
	return n.LedgerTime, err
}

// sealable returns the time up to which hours may be sealed, which is now unless
// ledger time has not come so far (ErrClockAhead), and an error alone where nobody
// tells ledger time.
func (c *clock) sealable(ctx context.Context, now int64) (int64, error) {
	if !c.wall || c.reached(now) {
		return now, nil
	}
	asked := c.ask(ctx, now)
	if c.reached(now) {
		return now, nil
	}
	ledger, known, _ := c.ledger()
	if !known {
		return 0, fmt.Errorf("hours stay open until a gateway tells ledger time: %w", asked)
	}
	ahead := time.Duration(now-ledger) * time.Second
	return ledger + skewSeconds, fmt.Errorf("%w, by %s: hours from then on stay open", ErrClockAhead, ahead)
}

func (c *clock) reached(now int64) bool {
	ledger, known, _ := c.ledger()
	return known && now <= ledger+skewSeconds
}
