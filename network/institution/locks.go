package institution

import (
	"sync"
)

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
