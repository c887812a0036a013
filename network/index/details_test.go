package index

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// answers is everything that an index says about the queries of a history.
func (l *ledger) answers(ix *Index) map[string][]any {
	out := map[string][]any{}
	for _, q := range l.queries {
		for attempt := range MaxAttempts {
			c, err := ix.Cohort(q.ID, attempt)
			block, gone, serr := ix.Stale(q.ID, attempt)
			out[q.ID] = append(out[q.ID], c, fault.Of(err), block, gone, fault.Of(serr))
		}
	}
	return out
}

// Details that come late, whenever and in whatever order, leave nothing behind:
// every cohort is the one of who had them at once. Before that no cohort is
// another one than theirs.
func TestLateDetailsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(anyRows(t))
		l.settle(t)
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			l.random(t)
		}
		l.cut()
		whole, late := blank(), blank()
		for _, b := range l.blocks {
			if err := whole.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		lacking := withheld(l.blocks, func(d consent.Document) bool {
			return !l.erased[d.Patient] && rapid.IntRange(0, 2).Draw(t, "late") == 0
		})
		for _, b := range lacking {
			if err := late.Apply(b); err != nil {
				t.Fatal(err)
			}
			if rapid.IntRange(0, 5).Draw(t, "supply") == 0 {
				l.supply(t, late, b.Number)
			}
		}
		l.neverOtherwise(t, whole, late)
		for len(late.Missing()) > 0 {
			gaps := late.Missing()
			l.supply(t, late, gaps[rapid.IntRange(0, len(gaps)-1).Draw(t, "gap")].Block)
		}
		if got, want := l.answers(late), l.answers(whole); !reflect.DeepEqual(got, want) {
			t.Fatalf("late\n%v\nat once\n%v", got, want)
		}
	})
}

func (l *ledger) supply(t *rapid.T, ix *Index, number uint64) {
	if _, err := ix.Supply(l.blocks[number]); err != nil {
		t.Fatal(err)
	}
}

// neverOtherwise checks that an index that lacks details says what the whole one
// says or that it cannot say.
func (l *ledger) neverOtherwise(t *rapid.T, whole, lacking *Index) {
	for _, q := range l.queries {
		c, err := lacking.Cohort(q.ID, 0)
		if fault.Of(err) == fault.Unavailable {
			continue
		}
		if want, werr := whole.Cohort(q.ID, 0); err != nil || werr != nil || !reflect.DeepEqual(c, want) {
			t.Fatalf("query %s: %+v (%v) without all details, %+v with (%v)", q.ID[:8], c, err, want, werr)
		}
	}
}

// Whoever reads the ledger after an erasure cannot say who was in the queries
// before it. What they may have opened stays closed all the same: nobody is in a
// later cohort who would not be in that of a witness.
func TestARebuildAfterAnErasureIsConservative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(anyRows(t))
		l.settle(t)
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			l.random(t)
		}
		l.erase(l.patients[0])
		for _, m := range members { // queries asked before are over
			l.tick(m, l.now+3600)
		}
		l.cut()
		l.ask(members[0], hour0, hour0+48, 0)
		l.ask(members[1], hour0, hour0+36, 300)
		l.cut()
		whole, rebuilt := blank(), blank()
		for i, b := range withheld(l.blocks, func(d consent.Document) bool { return l.erased[d.Patient] }) {
			if err := whole.Apply(l.blocks[i]); err != nil {
				t.Fatal(err)
			}
			if err := rebuilt.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		if gaps := rebuilt.Missing(); len(gaps) != 0 {
			t.Fatalf("an erased patient's details are waited for: %v", gaps)
		}
		for i, q := range l.queries {
			c, err := rebuilt.Cohort(q.ID, 0)
			if fault.Of(err) == fault.Unavailable && i < len(l.queries)-2 {
				continue
			}
			want, werr := whole.Cohort(q.ID, 0)
			if err != nil || werr != nil || !subset(c.Members, want.Members) {
				t.Fatalf("query %d: %+v (%v) after the erasure, a witness has %+v (%v)", i, c.Members, err, want.Members, werr)
			}
		}
	})
}

func subset(a, b []record.CohortMember) bool {
	for _, m := range a {
		found := false
		for _, o := range b {
			found = found || reflect.DeepEqual(m, o)
		}
		if !found {
			return false
		}
	}
	return true
}

// A query on whose size enough members agreed costs after a rebuild what it cost
// before, no more.
func TestARebuildBelievesWhatMembersAgreedOn(t *testing.T) {
	for name, c := range map[string]struct {
		agreed, opens bool
	}{"enough patients": {true, true}, "too few": {true, false}, "no agreement": {false, true}} {
		l := newLedger()
		l.ready(3)
		erased := l.patients[0]
		id := l.ask(members[0], hour0, hour0+24, 0)
		post := record.PostCohort{Query: id, Root: record.SumID(nil), Size: 3}
		if !c.opens {
			post.Size = 1
		}
		for _, m := range members[:2] {
			if c.agreed {
				l.call(m, contracts.QueryPostCohort, post, put(state.CohortKey(id, 0, m), record.CohortState{Post: post, Member: m}))
			}
		}
		q := l.queries[0]
		q.Status = record.QueryAbandoned
		l.tx(put(state.QueryKey(id), q))
		l.erase(erased)
		again := l.ask(members[1], hour0, hour0+24, 0)
		l.cut()
		ix := apply(t, withheld(l.blocks, func(d consent.Document) bool { return d.Patient == erased }))
		got, err := ix.Cohort(again, 0)
		if err != nil || (got.Size == 0) != c.opens {
			t.Errorf("%s: the hours are asked again of %d patients (%v)", name, got.Size, err)
		}
		if _, err := ix.Cohort(id, 0); fault.Of(err) != fault.Unavailable {
			t.Errorf("%s: the cohort before the erasure is given as known: %v", name, err)
		}
	}
}

func TestAttackMissingDetailsMakeNoCohort(t *testing.T) {
	l := newLedger()
	l.ready(3)
	l.consent(func() consent.Document { // the third patient narrows: nobody knows to what
		d := l.consents[len(l.consents)-2]
		d.Version++
		return d
	}())
	early := l.ask(members[0], hour0, hour0+24, 0)
	apart := l.ask(members[0], hour0+96, hour0+120, 0) // nobody has rows there
	l.cut()
	full := l.blocks
	blocks := withheld(full, func(d consent.Document) bool { return d.Version == 2 })
	ix := apply(t, blocks)
	if gaps := ix.Missing(); len(gaps) != 1 || gaps[0].Version != 2 || gaps[0].Patient != l.patients[2] {
		t.Fatalf("the gaps are %+v", gaps)
	}
	for _, id := range []string{early, apart} { // the second waits for what the first costs
		if _, err := ix.Cohort(id, 0); fault.Of(err) != fault.Unavailable {
			t.Errorf("a cohort was derived without the details of a consent: %v", err)
		}
	}
	if _, err := ix.Eligible(members[0], purpose, true, record.Ask{Metric: metric, From: hour0, Until: hour0 + 24}); fault.Of(err) != fault.Unavailable {
		t.Errorf("who is eligible was said without them: %v", err)
	}

	last := *full[len(full)-1]
	forged := consent.Details{Signed: consent.Signed{Document: l.consents[0]}, Salt: record.RandomID()}
	last.Txs = append([]network.Tx(nil), last.Txs...)
	for i, tx := range last.Txs {
		if len(tx.Private) == 1 {
			p := tx.Private[0]
			p.Value = private(l.consents[0], put("", forged).Value).Value
			last.Txs[i].Private = []network.PrivateWrite{p}
		}
	}
	if n, err := ix.Supply(&last); fault.Of(err) != fault.Invalid || n != 0 {
		t.Errorf("details of another consent were taken: %d, %v", n, err)
	}
	if n, err := ix.Supply(full[len(full)-1]); err != nil || n != 1 {
		t.Fatalf("%d gaps filled: %v", n, err)
	}
	if got := size(t, ix, early); got != 3 {
		t.Errorf("the cohort has %d patients, want 3", got)
	}
}

func TestAttackDetailsThatAreNotTheHashedOnes(t *testing.T) {
	l := newLedger()
	l.ready(1)
	blocks := l.blocks
	last := blocks[len(blocks)-1]
	for i, tx := range last.Txs {
		if len(tx.Private) == 1 {
			d := said(tx)
			d.Signed.Document.CapMicro++
			last.Txs[i].Private[0].Value = private(d.Signed.Document, put("", d).Value).Value
		}
	}
	ix := blank()
	var err error
	for _, b := range blocks {
		if err = ix.Apply(b); err != nil {
			break
		}
	}
	if fault.Of(err) != fault.Internal {
		t.Errorf("details other than the hashed ones were taken: %v", err)
	}
}

func TestAnErasedPatientIsInNoCohortAndLeavesOpenOnes(t *testing.T) {
	l := newLedger()
	l.ready(3)
	before := l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	l.erase(l.patients[0])
	after := l.ask(members[1], hour0+24, hour0+48, 0)
	l.cut()
	ix := apply(t, l.blocks)
	if got := size(t, ix, before); got != 3 {
		t.Errorf("the erasure reaches back: %d patients", got)
	}
	block, gone, err := ix.Stale(before, 0)
	if err != nil || block != uint64(len(l.blocks)-1) || len(gone) != 1 || gone[0] != l.devices[0].ID {
		t.Errorf("gone at block %d: %v (%v)", block, gone, err)
	}
	if got := size(t, ix, after); got != 2 {
		t.Errorf("%d patients after the erasure, want 2", got)
	}
	if docs, err := ix.Consents(l.patients[0]); err != nil || len(docs) != 0 {
		t.Errorf("the index still says what the erased consents said: %v (%v)", docs, err)
	}
	entries, err := ix.History(l.patients[0])
	if err != nil {
		t.Fatal(err)
	}
	states, erasures := 0, 0
	for _, e := range entries {
		switch {
		case e.Consent != nil && e.Consent.Signed == nil && e.Consent.State == consent.StatusRevoked:
			states++
		case e.Erasure != nil:
			erasures++
		}
	}
	if states != 2 || erasures != 1 {
		t.Errorf("the history shows %d revoked consents and %d erasures: %+v", states, erasures, entries)
	}
}
