package details

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// holder is a vault of one key.
type holder struct {
	ref   Ref
	key   Key
	gone  atomic.Bool
	asked atomic.Int64
}

func (h *holder) DetailsKey(_ context.Context, r Ref) (Key, error) {
	h.asked.Add(1)
	switch {
	case h.gone.Load():
		return Key{}, Purged(r.Patient)
	case r != h.ref:
		return Key{}, Later(r.Patient)
	}
	return h.key, nil
}

// served runs a holder's socket until the test ends, or until stop is called.
func served(t *testing.T, h *holder, path string) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, path, h, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func newHolder() *holder {
	k := NewKey()
	return &holder{key: k, ref: Ref{Patient: record.RandomID(), Digest: k.Digest(testNetwork), Blob: record.RandomID()}}
}

// eventually asks until the answer has the code, "" for a key.
func eventually(t *testing.T, c *Client, r Ref, code fault.Code) Key {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		k, err := c.DetailsKey(t.Context(), r)
		if fault.Of(err) == code {
			return k
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v, want %q", err, code)
		}
	}
}

func TestAKeyComesOverTheSocketUntilItIsDestroyed(t *testing.T) {
	h, path := newHolder(), filepath.Join(t.TempDir(), "keys")
	c := NewClient(path)
	if _, err := c.DetailsKey(t.Context(), h.ref); fault.Of(err) != fault.Unavailable {
		t.Errorf("without a holder: %v", err)
	}
	served(t, h, path)
	if got := eventually(t, c, h.ref, ""); got != h.key {
		t.Error("another key came")
	}
	if _, err := c.DetailsKey(t.Context(), Ref{Patient: h.ref.Patient}); fault.Of(err) != fault.Unavailable {
		t.Errorf("a key that is not there yet: %v", err)
	}
	h.gone.Store(true)
	if k, err := c.DetailsKey(t.Context(), h.ref); fault.Of(err) != fault.Purged || k != (Key{}) {
		t.Errorf("after the erasure: %v", err)
	}
}

func TestOnlyTheOwnerReachesTheSocketAndItGoesWithItsHolder(t *testing.T) {
	h, path := newHolder(), filepath.Join(t.TempDir(), "keys")
	stop := served(t, h, path)
	eventually(t, NewClient(path), h.ref, "")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v (%v)", info.Mode(), err)
	}
	stop()
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
}

// A process that was killed leaves its socket, and one that goes on serving keeps it.
func TestTheSocketPassesToTheNextHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	first, second := newHolder(), newHolder()
	stop := served(t, first, path)
	c := NewClient(path)
	eventually(t, c, first.ref, "")
	served(t, second, path)
	time.Sleep(50 * time.Millisecond)
	eventually(t, c, first.ref, "")
	stop()
	eventually(t, c, second.ref, "")
}

func TestAttackRubbishOnTheSocketIsNotAnswered(t *testing.T) {
	h, path := newHolder(), filepath.Join(t.TempDir(), "keys")
	served(t, h, path)
	eventually(t, NewClient(path), h.ref, "")
	asked := h.asked.Load()
	for _, rubbish := range [][]byte{nil, []byte("GET / HTTP/1.1\r\n\r\n"), make([]byte, questionBytes), h.ref.question()[:questionBytes-1]} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(rubbish); err != nil {
			t.Fatal(err)
		}
		c.(*net.UnixConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, _ := c.Read(make([]byte, 1)); n != 0 {
			t.Errorf("%q is answered", rubbish)
		}
		c.Close()
	}
	if h.asked.Load() != asked {
		t.Error("rubbish reached the holder")
	}
}

func TestQuestionsLeaveNothingOpen(t *testing.T) {
	h, path := newHolder(), filepath.Join(t.TempDir(), "keys")
	served(t, h, path)
	c := NewClient(path)
	eventually(t, c, h.ref, "")
	before := runtime.NumGoroutine()
	for range 500 {
		if _, err := c.DetailsKey(t.Context(), h.ref); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if after := runtime.NumGoroutine(); after > before+2 {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestALongSocketPathIsRefusedInSoManyWords(t *testing.T) {
	err := Serve(t.Context(), filepath.Join(t.TempDir(), string(make([]byte, 120))), newHolder(), slog.New(slog.DiscardHandler))
	if err == nil {
		t.Error("it was not")
	}
}

// The next process of a member takes the socket the moment that the one before it lets
// go: that one must not delete what is the other's by then.
func TestTheSocketOfTheNextHolderIsNotDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for range 300 {
		first := newHolder()
		stop := served(t, first, path)
		eventually(t, NewClient(path), first.ref, "")
		taken := make(chan net.Listener)
		go func() {
			for {
				if l, err := take(t.Context(), path); l != nil || err != nil {
					taken <- l
					return
				}
			}
		}()
		stop()
		l := <-taken
		if l == nil {
			t.Fatal("it was not taken")
		}
		_, err := os.Stat(path)
		l.Close()
		if err != nil {
			t.Fatalf("the socket that was taken is gone: %v", err)
		}
		os.Remove(path)
	}
}
