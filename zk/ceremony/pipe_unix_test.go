//go:build unix

package ceremony

import (
	"os"
	"syscall"
	"testing"
)

// A directory goes from one to the next: what has become a pipe in it is not waited for.
func TestAttackAPipeAmongTheContributions(t *testing.T) {
	c := begun(t, 1)
	path := c.path(fileName(1, 0))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	if err := c.Verify(); err == nil {
		t.Error("it was read")
	}
	if err := os.Remove(c.path(transcriptFile)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(c.path(transcriptFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c.dir); err == nil {
		t.Error("the transcript was read")
	}
}
