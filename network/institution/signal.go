package institution

import (
	"context"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// await waits until done says so, looking again after every block, for at most
// the institution's patience. late makes the error when that is used up.
func (in *Institution) await(ctx context.Context, done func() (bool, error), late func() error) error {
	timer := time.NewTimer(in.cfg.Patience)
	defer timer.Stop()
	for {
		changed := in.Next()
		if err := in.Failure(); err != nil {
			return err
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			return late()
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "gave up waiting: %w", ctx.Err())
		}
	}
}

// locks is one mutex for each name; a mutex exists while somebody uses it.
type locks struct {
	mu   sync.Mutex
	held map[string]*heldLock
}

type heldLock struct {
	mu    sync.Mutex
	users int
}

func newLocks() *locks { return &locks{held: map[string]*heldLock{}} }

// lock locks name and returns how to unlock it.
func (l *locks) lock(name string) func() {
	l.mu.Lock()
	h := l.held[name]
	if h == nil {
		h = &heldLock{}
		l.held[name] = h
	}
	h.users++
	l.mu.Unlock()
	h.mu.Lock()
	return func() {
		h.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(l.held, name)
		}
	}
}
