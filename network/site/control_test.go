package site

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// shortDir is a directory whose sockets have short names.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// An ended call says that it was ended, and not that the institution is down.
func TestAnEndedCallDoesNotBlameTheInstitution(t *testing.T) {
	c := Control{"institution", shortDir(t)}
	if err := c.Call(t.Context(), "tick", struct{}{}, nil); !strings.Contains(err.Error(), "no institution answers") {
		t.Errorf("nobody is there: %v", err)
	}
	l, err := c.Listen() // it takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = c.Call(ctx, "tick", struct{}{}, nil)
	if fault.Of(err) != fault.Unavailable || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "no institution answers") {
		t.Errorf("somebody is there: %v", err)
	}
}

func TestACallIsBoundedStrictAndForTheOwnerOnly(t *testing.T) {
	c := Control{"institution", shortDir(t)}
	l, err := c.Listen()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(c.path())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	type word struct {
		Word string `json:"word"`
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- Commands{"echo": Handle(func(_ context.Context, w *word) (word, error) {
			if w.Word == "no" {
				return word{}, fault.New(fault.Forbidden, "no such word")
			}
			return *w, nil
		})}.Serve(ctx, l)
	}()
	var got word
	if err := c.Call(t.Context(), "echo", word{"hello"}, &got); err != nil || got.Word != "hello" {
		t.Errorf("echoed %q, %v", got.Word, err)
	}
	for _, bad := range []struct {
		request any
		code    fault.Code
		says    string
	}{
		{word{"no"}, fault.Forbidden, "no such word"},
		{map[string]string{"word": "x", "surprise": "y"}, fault.Invalid, "surprise"},
		{word{strings.Repeat("x", maxControl)}, fault.Invalid, "too large"},
	} {
		if err := c.Call(t.Context(), "echo", bad.request, nil); fault.Of(err) != bad.code || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("want %s with %q, got %v", bad.code, bad.says, err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
