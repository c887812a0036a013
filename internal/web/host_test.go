package web_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/vitalveil/vitalveil/internal/web"
)

// TestAttackPageUnderAnotherName: a page elsewhere has its own name point at this
// machine, so that a browser lets it read a page of ours.
func TestAttackPageUnderAnotherName(t *testing.T) {
	page := func(host, at string) int {
		addr, err := net.ResolveTCPAddr("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		web.At(addr, func(http.ResponseWriter, *http.Request) {}).ServeHTTP(w, r)
		return w.Code
	}
	for _, c := range []struct {
		host, at string
		want     int
	}{
		{"127.0.0.1:8080", "127.0.0.1:8080", 200},
		{"localhost:8080", "127.0.0.1:8080", 200},
		{"[::1]:8080", "[::1]:8080", 200},
		{"192.0.2.7:8080", "0.0.0.0:8080", 200},
		{"rebound.example:8080", "127.0.0.1:8080", 421},
		{"rebound.example:8080", "0.0.0.0:8080", 421},
		{"127.0.0.1:8081", "127.0.0.1:8080", 421},
		{"localhost", "127.0.0.1:8080", 421},
		{"192.0.2.7:8080", "127.0.0.1:8080", 421},
		{"", "127.0.0.1:8080", 421},
	} {
		if got := page(c.host, c.at); got != c.want {
			t.Errorf("%q at %s: %d, want %d", c.host, c.at, got, c.want)
		}
	}
}
