package network

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// inUse is an identity in a directory, followed, and how to look at it again at once.
func inUse(t *testing.T) (ca *CA, dir string, id Identity, look func() Identity) {
	t.Helper()
	ca = must(NewCA("A"))
	dir = filepath.Join(t.TempDir(), "identity")
	if err := must(ca.Issue("institution", "peer")).Save(dir); err != nil {
		t.Fatal(err)
	}
	id = must(FollowIdentity(dir))
	return ca, dir, id, func() Identity {
		id.files.mu.Lock()
		id.files.looked = time.Time{}
		id.files.mu.Unlock()
		return id.Current()
	}
}

// renew puts another certificate of the same key in an identity's place. File times
// differ by at least a tick of a coarse clock.
func renew(t *testing.T, ca *CA, id Identity, dir string, life time.Duration) Identity {
	t.Helper()
	next := must(ca.Renew(id, life))
	time.Sleep(20 * time.Millisecond)
	if err := next.Save(dir); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestARenewedCertificateIsUsedWithoutAStop(t *testing.T) {
	ca, dir, id, look := inUse(t)
	next := renew(t, ca, id, dir, 30*24*time.Hour)
	if got := look(); string(got.Certificate) != string(next.Certificate) || !got.Key.Equal(id.Key) {
		t.Fatal("the renewed certificate is not in use")
	}
	if err := id.Renewal(); err != nil {
		t.Error(err)
	}
	ends, err := id.Expires()
	if left := time.Until(ends); err != nil || left > 30*24*time.Hour || left < 29*24*time.Hour {
		t.Errorf("it ends in %v (%v)", left, err)
	}
}

func TestWhatIsNoIdentityChangesNothing(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"another organisation": func(dir string) error { return must(must(NewCA("B")).Issue("x", "peer")).Save(dir) },
		"a certificate alone": func(dir string) error {
			other := must(must(NewCA("A")).Issue("x", "peer"))
			return os.WriteFile(filepath.Join(dir, certFile), other.Certificate, 0o600)
		},
		"rubbish": func(dir string) error { return os.WriteFile(filepath.Join(dir, certFile), []byte("x"), 0o600) },
		"nothing": func(dir string) error { return os.Remove(filepath.Join(dir, certFile)) },
	} {
		_, dir, id, look := inUse(t)
		time.Sleep(20 * time.Millisecond)
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if got := look(); string(got.Certificate) != string(id.Certificate) {
			t.Errorf("%s: it is in use", name)
		}
		if id.Renewal() == nil {
			t.Errorf("%s: nothing is said", name)
		}
	}
}

func TestConnectionsShowTheRenewedCertificate(t *testing.T) {
	ca, dir, id, look := inUse(t)
	roots := map[string][]byte{"A": ca.RootPEM()}
	server := must(ServerTLS(id, roots))
	client := must(ClientTLS(must(ca.Issue("client", "client")), roots, "A"))
	shown := func() time.Time {
		l := must(tls.Listen("tcp", "127.0.0.1:0", server))
		defer l.Close()
		done := make(chan error, 1)
		go func() {
			c, err := l.Accept()
			if err == nil {
				err = errors.Join(c.(*tls.Conn).HandshakeContext(context.Background()), c.Close())
			}
			done <- err
		}()
		c := must((&tls.Dialer{NetDialer: &net.Dialer{}, Config: client}).DialContext(t.Context(), "tcp", l.Addr().String()))
		defer c.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter
	}
	before := shown()
	renew(t, ca, id, dir, time.Hour)
	look()
	if after := shown(); !after.Before(before) || time.Until(after) > time.Hour {
		t.Errorf("shown until %v, then until %v", before, after)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
