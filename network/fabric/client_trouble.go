package fabric

import (
	"sync"
	"time"
)

// stallTime is how long a transaction may take before that is worth telling.
const stallTime = 2 * time.Second

// trouble is since when nothing that the client hands in is ordered, and why.
type trouble struct {
	mu    sync.Mutex
	since time.Time
	why   error
}

// notOrdered notes that what was handed in at that time is not ordered yet. Callers
// with little patience say nothing about the orderers.
func (c *Client) notOrdered(begun time.Time, why error) {
	if c.life.Err() != nil || time.Since(begun) < stallTime {
		return
	}
	c.trouble.mu.Lock()
	defer c.trouble.mu.Unlock()
	if c.trouble.since.IsZero() {
		c.trouble.since = begun
	}
	c.trouble.why = why
}

// ordered notes that a transaction was committed.
func (c *Client) ordered() {
	c.trouble.mu.Lock()
	defer c.trouble.mu.Unlock()
	c.trouble.since, c.trouble.why = time.Time{}, nil
}

// Stalled returns since when transactions of this client have not been ordered, and
// what was said last; a zero time while all is well. What can be read can be read.
func (c *Client) Stalled() (time.Time, error) {
	c.trouble.mu.Lock()
	defer c.trouble.mu.Unlock()
	return c.trouble.since, c.trouble.why
}
