package api

import (
	lru "container/list"
	"sync"

	"golang.org/x/time/rate"
)

// What one caller, and one address that nobody is known of, may ask.
const (
	callerRate, callerBurst   = 20, 60 // requests a second
	strangerRate, strangerMax = 5, 20  // refused requests a second, by address
	callerAtOnce              = 8      // requests under way
	callerStreams             = 4      // of these, event streams
	mostLimiters              = 4096
)

// limits is a pace for each name, of a bounded number of names: the one not seen for
// longest is forgotten first.
type limits struct {
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	of    map[string]*lru.Element
	order *lru.List // of *paced, newest first
}

type paced struct {
	name    string
	limiter *rate.Limiter
}

func newLimits(r rate.Limit, burst int) *limits {
	return &limits{rate: r, burst: burst, of: map[string]*lru.Element{}, order: lru.New()}
}

func (l *limits) limiter(name string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.of[name]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*paced).limiter
	}
	if l.order.Len() >= mostLimiters {
		last := l.order.Back()
		delete(l.of, last.Value.(*paced).name)
		l.order.Remove(last)
	}
	p := &paced{name, rate.NewLimiter(l.rate, l.burst)}
	l.of[name] = l.order.PushFront(p)
	return p.limiter
}

// places is how many of each name's requests are under way, and of a kind.
type places struct {
	most int

	mu sync.Mutex
	of map[string]int
}

func newPlaces(most int) *places { return &places{most: most, of: map[string]int{}} }

// take takes a place, and reports whether there was one; leave gives it back.
func (p *places) take(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[name] >= p.most {
		return false
	}
	p.of[name]++
	return true
}

func (p *places) leave(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[name]--; p.of[name] == 0 {
		delete(p.of, name)
	}
}
