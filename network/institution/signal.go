package institution

import (
	"context"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// signal wakes everybody who waits for the next change.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

// next returns a channel that is closed at the next change. Get it before
// looking at what may change, or a change in between is missed.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}

// await waits until done says so, looking again after every block, for at most
// the institution's patience. late makes the error when that is used up.
func (in *Institution) await(ctx context.Context, done func() (bool, error), late func() error) error {
	timer := time.NewTimer(in.cfg.Patience)
	defer timer.Stop()
	for {
		changed := in.blocks.next()
		if err := in.failure(); err != nil {
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

// failure is why the institution cannot go on, or nil.
func (in *Institution) failure() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.failed != nil {
		return in.failed
	}
	return in.stopped
}

func (in *Institution) fail(err error) {
	in.mu.Lock()
	if in.failed == nil {
		in.failed = err
	}
	in.mu.Unlock()
	in.blocks.fire()
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
