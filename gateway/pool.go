package gateway

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// pool is the memory for bodies on their way in. When all of it is taken, the caller that
// holds most loses a body that is still coming to one that holds less, so that whoever
// holds memory keeps only those out who hold as much.
type pool struct {
	mu    sync.Mutex
	free  int64
	held  map[string]*holding // by caller
	freed chan struct{}       // closed and replaced when memory comes back
}

// holding is what the bodies of one caller hold.
type holding struct {
	bytes  int64
	bodies map[*claim]bool
}

// claim is the memory of one body. Its methods may be called by one goroutine; cut and
// stop by others.
type claim struct {
	pool   *pool
	who    string
	bytes  int64
	coming bool        // guarded by the pool
	stop   func()      // ends the read that is under way
	cut    atomic.Bool // the body has lost its memory to another
}

func newPool(bytes int64) *pool {
	return &pool{free: bytes, held: map[string]*holding{}, freed: make(chan struct{})}
}

// claim is memory for a body of a caller, none yet.
func (p *pool) claim(who string, stop func()) *claim {
	c := &claim{pool: p, who: who, coming: true, stop: stop}
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[who]
	if h == nil {
		h = &holding{bodies: map[*claim]bool{}}
		p.held[who] = h
	}
	h.bodies[c] = true
	return c
}

// grow takes n bytes more, and waits a little for them.
func (c *claim) grow(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, maxWaitTurn)
	defer cancel()
	for {
		if c.cut.Load() {
			return errCut
		}
		freed, ok := c.pool.take(c, n)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return crowded("too much is being sent at once")
		}
	}
}

// take takes memory if there is some, or else makes some come free and returns what is
// closed then.
func (p *pool) take(c *claim, n int64) (<-chan struct{}, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[c.who]
	if p.free >= n {
		p.free -= n
		c.bytes += n
		h.bytes += n
		return nil, true
	}
	if loser := p.loser(h.bytes + n); loser != nil {
		loser.cut.Store(true)
		loser.stop()
		p.wake() // it may wait for memory itself
	}
	return p.freed, false
}

// loser is the largest body that is still coming of the caller that holds most, if that
// is more than the caller will hold who takes its place. It is nil while another is on
// its way out. It is called with mu held.
func (p *pool) loser(than int64) *claim {
	var found *claim
	for _, h := range p.held {
		var largest *claim
		for c := range h.bodies {
			switch {
			case !c.coming:
			case c.cut.Load():
				return nil
			case largest == nil || c.bytes > largest.bytes:
				largest = c
			}
		}
		if largest != nil && h.bytes > than {
			found, than = largest, h.bytes
		}
	}
	return found
}

// wake lets all who wait look again. It is called with mu held.
func (p *pool) wake() {
	close(p.freed)
	p.freed = make(chan struct{})
}

// came says that all of the body is there: it can be cut no more.
func (c *claim) came() error {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.coming = false
	if c.cut.Load() {
		return errCut
	}
	return nil
}

// release gives the memory back.
func (c *claim) release() {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[c.who]
	p.free += c.bytes
	h.bytes -= c.bytes
	delete(h.bodies, c)
	if len(h.bodies) == 0 {
		delete(p.held, c.who)
	}
	p.wake()
}

// errCut is answered to a caller of whom too much was on its way.
var errCut = crowded("others need the memory that your bodies take: send fewer at once, or faster")

// stopReading ends a read that is under way on a connection.
func (s slowest) stopReading() {
	_ = s.control.SetReadDeadline(time.Unix(1, 0)) // where it cannot be set, the read ends by itself
}
