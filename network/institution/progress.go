package institution

import (
	"slices"
	"sync"
)

// progress notes whose shares have come, for who looks on.
type progress struct {
	mu      sync.Mutex
	of      map[string][]string // members, by query
	changed chan struct{}
}

func newProgress() *progress {
	return &progress{of: map[string][]string{}, changed: make(chan struct{})}
}

// maxProgress bounds the queries that are noted; all are forgotten when there are more.
const maxProgress = 256

func (p *progress) note(query, member string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Contains(p.of[query], member) {
		return
	}
	if len(p.of) >= maxProgress {
		clear(p.of)
	}
	p.of[query] = append(p.of[query], member)
	p.tell()
}

func (p *progress) forget(query string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.of, query)
	p.tell()
}

// tell wakes who waits; the caller holds mu.
func (p *progress) tell() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *progress) heard(query string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.of[query])
}

// next is closed when something is noted.
func (p *progress) next() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}
