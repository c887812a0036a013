//go:build unix

package verify

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestAttackADirectoryWithLinksOutOfIt: who checks a directory that somebody else has
// made loses no file of their own by it, and does not wait for ever.
func TestAttackADirectoryWithLinksOutOfIt(t *testing.T) {
	s := newSite(t)
	mine := filepath.Join(t.TempDir(), "mine")
	check(t, os.WriteFile(mine, []byte("what nobody else should change"), 0o600))
	for _, name := range []string{"ledger/db/LOCK", "gateway/journal/LOCK", "institution-0/details/db/LOCK"} {
		path := filepath.Join(s.dir, filepath.FromSlash(name))
		check(t, os.MkdirAll(filepath.Dir(path), 0o700))
		check(t, os.RemoveAll(path))
		check(t, os.Symlink(mine, path))
		if err := Check(context.Background(), s.dir, Tip{}, io.Discard); err == nil {
			t.Errorf("%s: nothing was noticed", name)
		}
		check(t, os.Remove(path))
		if b := must(os.ReadFile(mine)); len(b) == 0 {
			t.Fatalf("%s: the file that it links to was emptied", name)
		}
	}
	outside, site := t.TempDir(), filepath.Join(s.dir, "gateway", "gateway.json")
	check(t, os.Mkdir(filepath.Join(outside, "journal"), 0o700))
	check(t, os.Symlink(mine, filepath.Join(outside, "journal", "LOCK")))
	check(t, os.WriteFile(site, fmt.Appendf(nil, `{"network": "../network.json", "listen": ["127.0.0.1:1"], "ledger": {"address": "127.0.0.1:1", "operator": "A"}, "state": %q, "blobs": "file://%s"}`, outside, filepath.Join(s.dir, "gateway", "blobs")), 0o600))
	if err := Check(context.Background(), s.dir, Tip{}, io.Discard); err == nil {
		t.Error("a journal that is elsewhere was taken as it is")
	}
	if b := must(os.ReadFile(mine)); len(b) == 0 {
		t.Fatal("a file that a journal elsewhere links to was emptied")
	}
	check(t, os.Remove(site))
	path := filepath.Join(s.dir, "network.json")
	check(t, os.Remove(path))
	check(t, syscall.Mkfifo(path, 0o600))
	done := make(chan error, 1)
	go func() { done <- Check(context.Background(), s.dir, Tip{}, io.Discard) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a pipe was taken for a document")
		}
	case <-time.After(10 * time.Second):
		t.Error("a pipe is waited for")
		must(os.OpenFile(path, os.O_RDWR, 0)).Close()
	}
}
