package institution

import (
	"context"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
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
	w.t.Helper()
	e := &elsewhere{Client: w.ledger.Client(w.ids[member]), whole: w.config(member).Height}
	prepare(e)
	in := w.up(member, func(c *Config) { c.Client, c.Height = e, e.height })
	return in, e
}

// A member whose ledger has lost a block that it has read gives no shares and posts
// nothing; it goes on by itself when the ledger has the block again.
func TestAttackRolledBackLedgerStopsAMember(t *testing.T) {
	w := settledWorld(t, 12)
	w.study("exact", true)
	before := w.ledger.Height()
	w.revoke(w.patients[0])
	w.everywhere("the revocation", func(in *Institution) bool { return in.Index().Height() == w.ledger.Height() })
	w.down(hospitalB)
	in, e := w.upElsewhere(hospitalB, func(e *elsewhere) { e.blocks.Store(before) })
	w.wait("it has stopped", func() bool { return in.Stopped() != nil })
	recorded := w.ledger.Height()
	wantFault(t, in.Tick(t.Context(), w.members[hospitalA].Index().Time()+60), fault.Conflict)
	if _, err := in.Ask(t.Context(), ask("exact", 0)); !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("it asks: %v", err)
	}
	if w.ledger.Height() != recorded {
		t.Error("it has posted something")
	}
	if in.Index().Height() != 0 {
		t.Error("it has read the ledger")
	}
	e.blocks.Store(0)
	w.wait("it goes on", func() bool { return in.Stopped() == nil && in.Index().Height() == w.ledger.Height() })
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
	w.wait("it has read the ledger", func() bool { return in.Index().Height() == w.ledger.Height() })
	e.blocks.Store(w.ledger.Height() - 1)
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
	wantFault(t, w.members[hospitalB].AcceptLedger(t.Context(), Block{}), fault.Conflict)
	w.down(hospitalB)
	in, _ := w.upElsewhere(hospitalB, func(e *elsewhere) { e.another.Store(true) })
	w.wait("it has stopped", func() bool { return in.Stopped() != nil })
	newest := must(in.Newest(t.Context()))
	wantFault(t, in.AcceptLedger(t.Context(), Block{newest.Number, record.RandomID()}), fault.Conflict)
	if in.Stopped() == nil {
		t.Fatal("a wrong hash was accepted")
	}
	w.check(in.AcceptLedger(t.Context(), newest))
	w.wait("it has read that ledger", func() bool { return in.Stopped() == nil && in.Index().Height() == w.ledger.Height() })
	w.down(hospitalB)
	in, _ = w.upElsewhere(hospitalB, func(e *elsewhere) { e.another.Store(true) })
	w.wait("it goes on with it", func() bool { return in.Index().Height() == w.ledger.Height() })
	w.down(hospitalB)
	in = w.up(hospitalB)
	w.wait("it does not go back", func() bool { return in.Stopped() != nil })
}
