package institution

import (
	"strings"
	"syscall"
	"testing"
)

// An institution that was ended goes on from the checkpoint that it wrote, and so
// does one that is killed before it could write another.
func TestInstitutionsGoOnFromTheirCheckpoint(t *testing.T) {
	w := newWorld(t, 1)
	w.startAll()
	w.enrol(3)
	w.measure()
	const line = "going on from the checkpoint"
	c := w.members[hospitalB]
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-c.done
	w.study(hospitalA, "exact", true)
	for range 2 {
		w.up(hospitalB)
		w.ready(hospitalB)
		if log := w.members[hospitalB].log.String(); !strings.Contains(log, line) || strings.Contains(log, "of no use") {
			t.Fatalf("it reads the whole ledger:\n%s", tail(log))
		}
		w.members[hospitalB].kill()
	}
	w.up(hospitalB)
	w.ready(hospitalB)
}
