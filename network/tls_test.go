package network

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// handshake connects a client and a server on loopback and returns what the
// server made of it: the MSP of the client, and the errors of both sides.
func handshake(t *testing.T, server, client *tls.Config) (string, error, error) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type result struct {
		msp string
		err error
	}
	served := make(chan result, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			served <- result{"", err}
			return
		}
		defer conn.Close()
		c := conn.(*tls.Conn)
		if err := c.Handshake(); err != nil {
			served <- result{"", err}
			return
		}
		msp, err := PeerMSP(c.ConnectionState())
		if err == nil {
			_, err = c.Write([]byte("ok"))
		}
		served <- result{msp, err}
	}()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", ln.Addr().String(), client)
	if err == nil {
		// In TLS 1.3 the client learns with its first read that it was refused.
		_, err = io.ReadFull(conn, make([]byte, 2))
		conn.Close()
	}
	r := <-served
	return r.msp, r.err, err
}

type tlsFixture struct {
	a, b   *CA
	ida    Identity
	idb    Identity
	roots  map[string][]byte
	server *tls.Config
}

func newTLSFixture(t *testing.T) tlsFixture {
	t.Helper()
	f := tlsFixture{a: newTestCA(t, "A"), b: newTestCA(t, "B")}
	f.ida, f.idb = issue(t, f.a, "server"), issue(t, f.b, "client")
	f.roots = map[string][]byte{"A": f.a.RootPEM(), "B": f.b.RootPEM()}
	var err error
	if f.server, err = ServerTLS(f.ida, f.roots); err != nil {
		t.Fatal(err)
	}
	return f
}

func clientTLS(t *testing.T, id Identity, roots map[string][]byte, expected string) *tls.Config {
	t.Helper()
	c, err := ClientTLS(id, roots, expected)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestMembersTalk(t *testing.T) {
	f := newTLSFixture(t)
	for range 2 { // the second time the session may be resumed
		cfg := clientTLS(t, f.idb, f.roots, "A")
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		msp, serverErr, clientErr := handshake(t, f.server, cfg)
		if msp != "B" || serverErr != nil || clientErr != nil {
			t.Fatalf("got %q, %v, %v", msp, serverErr, clientErr)
		}
	}
}

func TestAttackTLSStrangers(t *testing.T) {
	f := newTLSFixture(t)
	stranger := newTestCA(t, "C")
	namesake := newTestCA(t, "B")
	rogue := *f.a // A's authority names B
	rogue.root.MSP = "B"
	for name, client := range map[string]*tls.Config{
		"an unknown organisation":  clientTLS(t, issue(t, stranger, "x"), f.roots, "A"),
		"another root of the name": clientTLS(t, issue(t, namesake, "x"), f.roots, "A"),
		"issued by another member": clientTLS(t, issue(t, &rogue, "x"), f.roots, "A"),
		"no certificate":           {RootCAs: f.server.ClientCAs, ServerName: loopbackName},
		"TLS 1.2":                  {RootCAs: f.server.ClientCAs, ServerName: loopbackName, MaxVersion: tls.VersionTLS12},
	} {
		msp, serverErr, clientErr := handshake(t, f.server, client)
		if serverErr == nil || clientErr == nil || msp != "" {
			t.Errorf("%s: got in as %q (%v, %v)", name, msp, serverErr, clientErr)
		}
	}
}

func TestAttackTLSWrongServer(t *testing.T) {
	f := newTLSFixture(t)
	// A server of B where A is expected, both members.
	server, err := ServerTLS(f.idb, f.roots)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := handshake(t, server, clientTLS(t, f.idb, f.roots, "A")); err == nil {
		t.Fatal("a client that expects A talks to B")
	}
	// A server whose certificate A issued in B's name.
	rogue := *f.a
	rogue.root.MSP = "B"
	if server, err = ServerTLS(issue(t, &rogue, "x"), f.roots); err != nil {
		t.Fatal(err)
	}
	for _, expected := range []string{"A", "B"} {
		if _, _, err := handshake(t, server, clientTLS(t, f.idb, f.roots, expected)); err == nil {
			t.Fatalf("a client that expects %s talks to a forger", expected)
		}
	}
}

func TestTLSConfigurationIsChecked(t *testing.T) {
	f := newTLSFixture(t)
	if _, err := ClientTLS(f.idb, f.roots, "C"); err == nil || !strings.Contains(err.Error(), `"C"`) {
		t.Fatalf("an expected MSP without a root: %v", err)
	}
	mixed := f.ida
	mixed.Key = f.idb.Key
	if _, err := ServerTLS(mixed, f.roots); err == nil {
		t.Fatal("a server starts with a key that is not its certificate's")
	}
	if _, err := PeerMSP(tls.ConnectionState{}); err == nil {
		t.Fatal("a connection without a peer has an MSP")
	}
}
