package bridge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ErrClockAhead says that the hub's clock is ahead of ledger time by more than both
// may differ, so that hours stay open that are over by the hub's clock. Nothing is
// lost by that: set the clock, if it is the one that is wrong, and go on.
var ErrClockAhead = errors.New("the hub's clock is ahead of the network's")

// ledgerTime is what the hub knows of ledger time: what a gateway said when it was
// asked last, and the time that has passed since by a clock that nobody sets.
//
// Nobody signs ledger time for bridges, so it is a gateway's word, and it counts
// against the hub's clock only: an hour is sealed when both say that it is over. One
// of them that is ahead does no harm. A gateway that says too little keeps hours open,
// which it could do to their rows as well, and no reading is dropped on its word.
type ledgerTime struct {
	mu    sync.Mutex
	known bool
	said  int64     // Unix seconds
	at    time.Time // when
	ahead bool      // the hub's clock was, by more than both may differ
}

// learn notes what a gateway said while the hub's clock was at clock.
func (l *ledgerTime) learn(now, clock int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.said, l.at, l.ahead = true, now, time.Now(), clock > now+skewSeconds
}

// now is ledger time, as far as the hub knows it, if it does, and whether the hub's
// clock was ahead when it was told. A machine that slept since then is behind it.
func (l *ledgerTime) now() (int64, bool, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said + int64(time.Since(l.at)/time.Second), l.known, l.ahead
}

// wall reports whether ledger time is that of clocks; otherwise it follows data.
func (h *Hub) wall() bool { return h.cfg.Genesis.Clock != record.ClockSimulated }

// ClockAhead is by how much the hub's clock is ahead of ledger time, if it was found to
// be by more than both may differ when a gateway told ledger time last, and has not
// been set since. Otherwise it is 0.
func (h *Hub) ClockAhead() time.Duration {
	now, _, found := h.ledger.now()
	ahead := h.cfg.Clock().Unix() - now
	if !h.wall() || !found || ahead <= skewSeconds {
		return 0
	}
	return time.Duration(ahead) * time.Second
}

// askTime asks one gateway after the other for ledger time, until one says that now
// has come.
func (h *Hub) askTime(ctx context.Context, now int64) error {
	var errs []error
	for _, c := range h.open {
		n, err := retried(ctx, func() (api.Network, error) { return c.Network(ctx) })
		if err == nil && n.Genesis.Network != h.network {
			err = fmt.Errorf("the gateway serves network %q, this hub belongs to %q", clip(n.Genesis.Network), h.network)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		h.ledger.learn(n.LedgerTime, h.cfg.Clock().Unix())
		if now <= n.LedgerTime+skewSeconds {
			return nil
		}
	}
	return errors.Join(errs...)
}

// sealable returns the time up to which hours may be sealed, which is now unless
// ledger time has not come so far (ErrClockAhead), and an error alone where nobody
// tells ledger time.
func (h *Hub) sealable(ctx context.Context, now int64) (int64, error) {
	if !h.wall() || h.reached(now) {
		return now, nil
	}
	asked := h.askTime(ctx, now)
	if h.reached(now) {
		return now, nil
	}
	ledger, known, _ := h.ledger.now()
	if !known {
		return 0, fmt.Errorf("hours stay open until a gateway tells ledger time: %w", asked)
	}
	ahead := time.Duration(now-ledger) * time.Second
	return ledger + skewSeconds, fmt.Errorf("%w, by %s: hours from then on stay open", ErrClockAhead, ahead)
}

func (h *Hub) reached(now int64) bool {
	ledger, known, _ := h.ledger.now()
	return known && now <= ledger+skewSeconds
}
