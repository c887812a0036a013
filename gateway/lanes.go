package gateway

import "sync"

// laneShare is how many of a party's operations run at once in one queue.
const laneShare = 2

// lanes is a queue in which parties take turns: each has a lane of its own, so that
// nobody waits behind all that somebody else has posted, and nobody holds more than
// laneShare workers.
type lanes struct {
	mu     sync.Mutex
	wake   *sync.Cond
	lanes  map[string]*lane
	turns  []*lane // those of which the next may run
	closed bool
}

type lane struct {
	waiting []entry
	running int
	queued  bool // is in turns
}

func newLanes() *lanes {
	q := &lanes{lanes: map[string]*lane{}}
	q.wake = sync.NewCond(&q.mu)
	return q
}

// put queues an operation. It does not block.
func (q *lanes) put(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[e.party()]
	if l == nil {
		l = &lane{}
		q.lanes[e.party()] = l
	}
	l.waiting = append(l.waiting, e)
	q.offer(l)
}

// offer gives a lane its next turn, if it has something to run and may. It is called
// with mu held.
func (q *lanes) offer(l *lane) {
	if !l.queued && l.running < laneShare && len(l.waiting) > 0 {
		l.queued = true
		q.turns = append(q.turns, l)
		q.wake.Signal()
	}
}

// next waits for an operation that may run, and reports false once the queue is
// closed. Say leave when it no longer runs.
func (q *lanes) next() (entry, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.turns) == 0 && !q.closed {
		q.wake.Wait()
	}
	if q.closed {
		return entry{}, false
	}
	l := q.turns[0]
	q.turns = q.turns[1:]
	l.queued = false
	e := l.waiting[0]
	l.waiting = l.waiting[1:]
	l.running++
	q.offer(l)
	return e, true
}

// leave gives back the place of an operation that next returned.
func (q *lanes) leave(e entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[e.party()]
	l.running--
	q.offer(l)
	if l.running == 0 && len(l.waiting) == 0 {
		delete(q.lanes, e.party())
	}
}

// close ends next. What waits stays in the journal.
func (q *lanes) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wake.Broadcast()
}
