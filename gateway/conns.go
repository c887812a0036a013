package gateway

import (
	"cmp"
	"net"
	"net/http"
	"sync"
)

// conns bounds the connections of the gateway: in all, and of one address. When all are
// taken, the address that has most gives one to the address that has fewer, so that
// whoever holds connections keeps only those out who hold as many.
type conns struct {
	all, each int

	mu    sync.Mutex
	open  map[net.Conn]*connection
	of    map[string]map[net.Conn]*connection // by address
	moves uint64
}

// connection is an open one.
type connection struct {
	net.Conn
	from   string
	serves bool   // a request, or the beginning of one
	since  uint64 // the move that brought it there
}

func newConns(all, each int) *conns {
	return &conns{all: all, each: each, open: map[net.Conn]*connection{}, of: map[string]map[net.Conn]*connection{}}
}

// state follows a connection (http.Server.ConnState), and closes one too many before
// anything is read from it.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	switch s {
	case http.StateNew:
		c.begin(&connection{Conn: conn, from: addressOf(conn.RemoteAddr().String()), since: c.moves})
	case http.StateActive, http.StateIdle:
		if at := c.open[conn]; at != nil {
			at.serves, at.since = s == http.StateActive, c.moves
		}
	case http.StateClosed, http.StateHijacked:
		if at := c.open[conn]; at != nil {
			c.drop(at)
		}
	}
}

// begin takes a connection, in the place of another where there is no room. It is
// called with mu held, as are those below.
func (c *conns) begin(fresh *connection) {
	if loser := c.loser(fresh); loser != nil {
		loser.Close()
		if loser == fresh {
			return
		}
		c.drop(loser)
	}
	c.open[fresh.Conn] = fresh
	if c.of[fresh.from] == nil {
		c.of[fresh.from] = map[net.Conn]*connection{}
	}
	c.of[fresh.from][fresh.Conn] = fresh
}

// loser is the connection that has to go for a fresh one, if any has: of its own address
// one that waits, of the address that has most any.
func (c *conns) loser(fresh *connection) *connection {
	own := len(c.of[fresh.from])
	if own >= c.each {
		return cmp.Or(c.oldest(fresh.from, false), fresh)
	}
	if len(c.open) < c.all {
		return nil
	}
	most := fresh.from
	for from, held := range c.of {
		if len(held) > len(c.of[most]) {
			most = from
		}
	}
	if len(c.of[most]) > own+1 {
		return cmp.Or(c.oldest(most, false), c.oldest(most, true))
	}
	return cmp.Or(c.oldest(fresh.from, false), fresh)
}

// oldest is the connection of an address that has waited, or served, longest.
func (c *conns) oldest(from string, serves bool) *connection {
	var found *connection
	for _, at := range c.of[from] {
		if at.serves == serves && (found == nil || at.since < found.since) {
			found = at
		}
	}
	return found
}

func (c *conns) drop(at *connection) {
	delete(c.open, at.Conn)
	delete(c.of[at.from], at.Conn)
	if len(c.of[at.from]) == 0 {
		delete(c.of, at.from)
	}
}
