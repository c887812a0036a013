package institution

import (
	"bytes"
	"context"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index/follow"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// watched is a client that notes from which blocks on the ledger was read.
type watched struct {
	network.Client
	mu    sync.Mutex
	first []uint64
}

func (c *watched) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	c.mu.Lock()
	c.first = append(c.first, from)
	c.mu.Unlock()
	return c.Client.Blocks(ctx, from)
}

func (c *watched) read() []uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.first)
}

// checkpoint returns the path of the one checkpoint of a member.
func (w *world) checkpoint(member int) string {
	w.Helper()
	files := must(filepath.Glob(filepath.Join(w.config(member).Dir, follow.CheckpointFolder, "*")))
	if len(files) != 1 {
		w.Fatalf("%s has %d checkpoints", msps[member], len(files))
	}
	return files[0]
}

func (w *world) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) dropCheckpoint(member int) {
	w.Helper()
	if err := os.Remove(w.checkpoint(member)); err != nil {
		w.Fatal(err)
	}
}

// restarted starts a member again and returns where it read the ledger.
func (w *world) restarted(member int) (*Institution, []uint64) {
	w.Helper()
	client := &watched{Client: w.Ledger.Client(w.ids[member])}
	in := w.up(member, func(c *Config) { c.Client = client })
	w.wait("it has read the ledger", func() bool { return in.Index().Height() == w.Ledger.Height() })
	return in, client.read()
}

func savedBytes(t *testing.T, in *Institution) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := in.Index().Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A member that restarts reads the blocks after its checkpoint, and the one before
// to see that it is the same ledger. One whose checkpoint is lost, damaged or
// unreadable reads all blocks, and ends up the same.
func TestARestartGoesOnFromTheCheckpoint(t *testing.T) {
	w := settledWorld(t, 3)
	in := w.members[hospitalB].Institution
	w.down(hospitalB)
	w.Tick(w.members[hospitalA].Index().Time() + 5)
	cases := []struct {
		name string
		harm func(path string)
		// first is where it reads, for a checkpoint of so many blocks.
		first func(at uint64) []uint64
	}{
		{"untouched", func(string) {}, func(at uint64) []uint64 { return []uint64{at - 1, at - 1, at} }},
		{"lost", func(p string) { w.check(os.Remove(p)) }, func(at uint64) []uint64 { return []uint64{at - 1, 0} }},
		{"damaged", func(p string) { flip(t, p) }, func(at uint64) []uint64 { return []uint64{at - 1, 0} }},
		{"cut off", func(p string) { w.check(os.Truncate(p, 1000)) }, func(at uint64) []uint64 { return []uint64{at - 1, 0} }},
	}
	for i, c := range cases {
		c.harm(w.checkpoint(hospitalB))
		want := c.first(in.Index().Height())
		var first []uint64
		in, first = w.restarted(hospitalB)
		if !slices.Equal(first, want) {
			t.Errorf("%s: it read the ledger from %v, want %v", c.name, first, want)
		}
		if kept := must(in.Saved()); (kept == nil) != (i > 0) {
			t.Errorf("%s: a checkpoint is kept: %v", c.name, kept != nil)
		}
		w.wait("it has read what who was never stopped has read", func() bool {
			return bytes.Equal(savedBytes(t, in), savedBytes(t, w.members[hospitalA].Institution))
		})
		w.down(hospitalB)
	}
	if n := strings.Count(w.log.String(), "the checkpoint is of no use"); n != 3 {
		t.Errorf("%d warnings, want 3", n)
	}
}

func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A crash at any point leaves the old checkpoint or the new one. Whatever else is
// in the folder is removed at the next start.
func TestACrashLeavesOneCheckpoint(t *testing.T) {
	w := settledWorld(t, 1)
	w.down(association)
	path := w.checkpoint(association)
	for _, name := range []string{".half-written-1", record.RandomID().String()} { // before and after the rename
		w.check(os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte("x"), 0o600))
	}
	in := must(New(w.config(association)))
	defer in.Close()
	if w.checkpoint(association) != path {
		t.Error("another checkpoint is left")
	}
	if ix, err := in.Saved(); err != nil || ix == nil {
		t.Errorf("it does not load: %v", err)
	}
}

// TestAttackErasedPatientInACheckpoint: what an erased patient's consents said is
// read from a member's checkpoint, or from a copy of the one before with the
// member's keys. And no member says that it has erased while it has not.
func TestAttackErasedPatientInACheckpoint(t *testing.T) {
	w := settledWorld(t, 2)
	gone, left := w.patients[0], w.patients[1]
	in := w.members[hospitalB].Institution
	if err := in.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.checkpoint(hospitalB)
	copied := must(os.ReadFile(before))
	if bytes.Contains(copied, []byte(gone.ID.String())) {
		t.Fatal("the checkpoint is not sealed")
	}
	folder := filepath.Dir(before)
	w.check(os.Rename(folder, folder+"-away")) // the new one cannot be written
	w.erase(gone)
	w.wait("the two others report", func() bool { return len(w.receipt(gone).Reports) == 2 })
	w.wait("the duty fails", func() bool { return strings.Contains(w.log.String(), "duty=erasures") })
	if in.eraser.reported(w.receipt(gone)) {
		t.Fatal("it reports an erasure while the details are in its checkpoint")
	}
	w.check(os.Rename(folder+"-away", folder))
	w.allReport(gone)
	if w.checkpoint(hospitalB) == before {
		t.Fatal("the old checkpoint is still there")
	}
	ix, err := in.Saved()
	if err != nil {
		t.Fatal(err)
	}
	if docs, err := ix.Consents(gone.ID); err != nil || len(docs) != 0 {
		t.Errorf("the checkpoint has the consents %+v (%v)", docs, err)
	}
	if docs, err := ix.Consents(left.ID); err != nil || len(docs) == 0 {
		t.Errorf("it lacks the other patient's: %v", err)
	}
	if names := must(in.vault.Names(store.Checkpoints)); len(names) != 1 || names[0] == store.Checkpoints+filepath.Base(before) {
		t.Errorf("keys of checkpoints: %v", names)
	}
}
