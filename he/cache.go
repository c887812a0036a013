package he

import (
	"container/list"
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
)

// lru keeps the values used last, at most limit of them. It is safe for
// concurrent use.
type lru[V any] struct {
	mu      sync.Mutex
	limit   int
	order   *list.List // of entry[V], latest first
	entries map[record.ID]*list.Element
}

type entry[V any] struct {
	id    record.ID
	value V
}

func newLRU[V any](limit int) *lru[V] {
	return &lru[V]{limit: limit, order: list.New(), entries: map[record.ID]*list.Element{}}
}

// get returns the value under id, if it is there.
func (c *lru[V]) get(id record.ID) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.entries[id]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(el)
	return el.Value.(entry[V]).value, true
}

// getOrPut returns the value under id, which becomes value if there is none. The
// value not used for longest makes room.
func (c *lru[V]) getOrPut(id record.ID, value V) V {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.entries[id]; ok {
		c.order.MoveToFront(el)
		return el.Value.(entry[V]).value
	}
	c.entries[id] = c.order.PushFront(entry[V]{id, value})
	for c.order.Len() > c.limit {
		last := c.order.Back()
		delete(c.entries, last.Value.(entry[V]).id)
		c.order.Remove(last)
	}
	return value
}
