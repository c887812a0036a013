package gateway

import (
	"net"
	"net/http"
	"sync"
)

// conns bounds the connections of the gateway: in all, and of one address.
type conns struct {
	all, each int

	mu   sync.Mutex
	open map[net.Conn]string // with the address that it counts for
	of   map[string]int
}

func newConns(all, each int) *conns {
	return &conns{all: all, each: each, open: map[net.Conn]string{}, of: map[string]int{}}
}

// state follows a connection (http.Server.ConnState), and closes one too many before
// anything is read from it.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		from := addressOf(conn.RemoteAddr().String())
		if len(c.open) >= c.all || c.of[from] >= c.each {
			conn.Close()
			return
		}
		c.open[conn] = from
		c.of[from]++
	case http.StateClosed, http.StateHijacked:
		from, counted := c.open[conn]
		if !counted {
			return
		}
		delete(c.open, conn)
		if c.of[from]--; c.of[from] == 0 {
			delete(c.of, from)
		}
	}
}
