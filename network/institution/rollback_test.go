package institution

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index/follow"
)

// elsewhere is a client whose ledger can be another one, with other hashes, or one
// that was rolled back to so many blocks.
type elsewhere struct {
	network.Client
	whole   func(context.Context) (uint64, error)
	another atomic.Bool
	blocks  atomic.Uint64 // 0: all
}

func (e *elsewhere) height(ctx context.Context) (uint64, error) {
	h, err := e.whole(ctx)
	if n := e.blocks.Load(); n > 0 {
		h = min(h, n)
	}
	return h, err
}

func (e *elsewhere) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return func(yield func(*network.Block, error) bool) {
		for b, err := range e.Client.Blocks(ctx, from) {
			for n := e.blocks.Load(); err == nil && n > 0 && b.Number >= n; n = e.blocks.Load() {
				if network.Sleep(ctx, 5*time.Millisecond) != nil {
					return
				}
			}
			if err == nil && e.another.Load() {
				other := *b
				if other.Hash[0] ^= 1; b.Number > 0 {
					other.Previous[0] ^= 1
				}
				b = &other
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

// upElsewhere starts a member with a ledger that the test can change.
func (w *world) upElsewhere(member int, prepare func(*elsewhere)) (*Institution, *elsewhere) {
	w.Helper()
	e := &elsewhere{Client: w.Ledger.Client(w.ids[member]), whole: w.config(member).Height}
	prepare(e)
	in := w.up(member, func(c *Config) { c.Client, c.Height = e, e.height })
	return in, e
}

// A member whose ledger has lost a block that it has read gives no shares and posts
// nothing; it goes on by itself when the ledger has the block again.
func TestAttackRolledBackLedgerStopsAMember(t *testing.T) {
	w := settledWorld(t, 12)
	w.study("exact", true)
	before := w.Ledger.Height()
	w.revoke(w.patients[0])
	w.everywhere("the revocation", func(in *Institution) bool { return in.Index().Height() == w.Ledger.Height() })
	w.down(hospitalB)
	in, e := w.upElsewhere(hospitalB, func(e *elsewhere) { e.blocks.Store(before) })
	w.wait("it has stopped", func() bool { return in.Stopped() != nil })
	recorded := w.Ledger.Height()
	wantFault(t, fault.Conflict, in.Tick(t.Context(), w.members[hospitalA].Index().Time()+60))
	if _, err := in.Ask(t.Context(), ask("exact", 0)); !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("it asks: %v", err)
	}
	if w.Ledger.Height() != recorded {
		t.Error("it has posted something")
	}
	if in.Index().Height() != 0 {
		t.Error("it has read the ledger")
	}
	e.blocks.Store(0)
	w.wait("it goes on", func() bool { return in.Stopped() == nil && in.Index().Height() == w.Ledger.Height() })
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil || a.Cohort != 11 || len(a.Missing) > 0 {
		t.Errorf("then: %+v, %v", a, err)
	}
}

// The same while it runs: no share leaves by a ledger that is shorter than what was
// read.
func TestAttackLedgerRolledBackUnderAMember(t *testing.T) {
	w := settledWorld(t, 12)
	w.down(association)
	in, e := w.upElsewhere(association, func(*elsewhere) {})
	id := w.agreedQuery("exact")
	w.wait("it has read the ledger", func() bool { return in.Index().Height() == w.Ledger.Height() })
	e.blocks.Store(w.Ledger.Height() - 1)
	if _, err := w.getShare(hospitalA, association, id, 0); err == nil || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("a share by a ledger that is too short: %v", err)
	}
	e.blocks.Store(0)
	if _, err := w.getShare(hospitalA, association, id, 0); err != nil {
		t.Errorf("and by the whole: %v", err)
	}
}

// Only the operator's word, with a block of the other ledger, makes a member work with
// it; what it read before is forgotten.
func TestAnotherLedgerIsAcceptedInSoManyWords(t *testing.T) {
	w := settledWorld(t, 3)
	wantFault(t, fault.Conflict, w.members[hospitalB].AcceptLedger(t.Context(), follow.Block{}))
	w.down(hospitalB)
	in, _ := w.upElsewhere(hospitalB, func(e *elsewhere) { e.another.Store(true) })
	w.wait("it has stopped", func() bool { return in.Stopped() != nil })
	newest := must(in.Newest(t.Context()))
	wantFault(t, fault.Conflict, in.AcceptLedger(t.Context(), follow.Block{Number: newest.Number, Hash: record.RandomID()}))
	if in.Stopped() == nil {
		t.Fatal("a wrong hash was accepted")
	}
	w.check(in.AcceptLedger(t.Context(), newest))
	w.wait("it has read that ledger", func() bool { return in.Stopped() == nil && in.Index().Height() == w.Ledger.Height() })
	w.down(hospitalB)
	in, _ = w.upElsewhere(hospitalB, func(e *elsewhere) { e.another.Store(true) })
	w.wait("it goes on with it", func() bool { return in.Index().Height() == w.Ledger.Height() })
	w.down(hospitalB)
	in = w.up(hospitalB)
	w.wait("it does not go back", func() bool { return in.Stopped() != nil })
}

// twoFaced is a client of a server that has the block which it is asked for by its
// number, and serves another ledger, or as much of it as it likes, to who reads from
// further back.
type twoFaced struct {
	elsewhere
	shown uint64
	read  atomic.Bool // from further back
}

func (c *twoFaced) height(ctx context.Context) (uint64, error) {
	if c.read.Load() {
		return c.elsewhere.height(ctx)
	}
	return c.whole(ctx)
}

func (c *twoFaced) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	if from == c.shown {
		return c.Client.Blocks(ctx, from)
	}
	c.read.Store(true)
	return c.elsewhere.Blocks(ctx, from)
}

// upTwoFaced starts the association without its checkpoint, on a ledger that shows it
// the newest block that it knows.
func (w *world) upTwoFaced(prepare func(*twoFaced)) (*Institution, follow.Block, func() error) {
	w.Helper()
	w.down(association)
	cfg := w.config(association)
	for _, f := range must(filepath.Glob(filepath.Join(cfg.Dir, follow.CheckpointFolder, "*"))) {
		w.check(os.Remove(f))
	}
	known := must(follow.NewestKnown(cfg.Dir))
	c := &twoFaced{elsewhere: elsewhere{Client: cfg.Client, whole: cfg.Height}, shown: known.Number}
	prepare(c)
	cfg.Client, cfg.Height = c, c.height
	in := must(New(cfg))
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	return in, *known, func() error {
		cancel()
		return errors.Join(<-done, in.Close())
	}
}

// A server that shows the newest block that a member knows, and then serves another
// ledger from the first block on, has not got by: that block must come at its place.
func TestAttackABlockShownAndThenAnotherLedger(t *testing.T) {
	w := settledWorld(t, 3)
	in, known, stop := w.upTwoFaced(func(c *twoFaced) { c.another.Store(true) })
	w.wait("it has read as far", func() bool { return in.Index().Height() >= known.Number })
	w.wait("it has ended", func() bool { return in.Failure() != nil || in.Index().Height() > known.Number })
	if err := stop(); fault.Of(err) != fault.Conflict {
		t.Errorf("it goes on with another ledger: %v", err)
	}
	if now := must(follow.NewestKnown(w.config(association).Dir)); *now != known {
		t.Errorf("it knows %v, it knew %v", now, known)
	}
}

// A member that reads the ledger once more does nothing and forgets nothing before it has
// come to the newest block that it knew, whatever height the ledger claims: a ledger that
// ends earlier would otherwise have been rolled back unnoticed.
func TestAttackARollbackWhileAMemberReadsOnceMore(t *testing.T) {
	w := settledWorld(t, 3)
	const blocks = 5
	in, known, stop := w.upTwoFaced(func(c *twoFaced) { c.blocks.Store(blocks) })
	w.wait("it has read the beginning", func() bool { return in.Index().Height() == blocks })
	if ready, err := in.caughtUp(t.Context()); ready || err != nil {
		t.Errorf("it takes up its duties (%v)", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := in.readAll(ctx); err == nil {
		t.Error("it answers")
	}
	time.Sleep(follow.HeadPause + follow.HeadPause/2)
	w.check(stop())
	if now := must(follow.NewestKnown(w.config(association).Dir)); *now != known {
		t.Errorf("it knows %v, it knew %v", now, known)
	}
}
