package index

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

const hour0 = day0 * 24

// ready makes n patients with a device and 48 rows, and consents for both
// hospitals.
func (l *ledger) ready(n int) []record.DeviceState {
	for range n {
		l.patient()
		p := l.patients[len(l.patients)-1]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		l.rows(d.ID, hour0, hour0+48)
		l.consent(l.permit(p, members[0], hour0, hour0+100))
		l.consent(l.permit(p, members[1], hour0, hour0+100))
	}
	l.cut()
	return l.devices
}

func (l *ledger) rows(device record.ID, from, until int64) {
	var hours []int64
	for h := from; h < until; h++ {
		hours = append(hours, h)
	}
	l.anchor(device, hours...)
	for _, m := range members[:2] {
		l.available(len(l.batches)-1, m, ^uint64(0))
	}
}

func size(t *testing.T, ix *Index, query string) int {
	t.Helper()
	c, err := ix.Cohort(query, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c.Size
}

func TestAttackExactHoursOpenOnce(t *testing.T) {
	l := newLedger()
	l.ready(3)
	first := l.ask(members[0], hour0, hour0+24, 0)
	overlap := l.ask(members[1], hour0, hour0+48, 0) // another asker does not help
	apart := l.ask(members[0], hour0+24, hour0+48, 0)
	noisy := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for query, want := range map[string]int{first: 3, overlap: 0, apart: 3, noisy: 3} {
		if got := size(t, ix, query); got != want {
			t.Errorf("query for hours %v has %d patients, want %d", query[:8], got, want)
		}
	}
}

func TestAttackDifferencingByAPatientWhoJoins(t *testing.T) {
	l := newLedger()
	l.ready(3)
	first := l.ask(members[0], hour0, hour0+24, 0)
	l.ready(1)
	second := l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	ix := apply(t, l.blocks)
	if a, b := size(t, ix, first), size(t, ix, second); a != 3 || b != 1 {
		t.Errorf("%d and then %d patients, want 3 and then the new one alone, below any minimum", a, b)
	}
}

func TestAttackCapIsSharedByAllAskers(t *testing.T) {
	l := newLedger()
	l.ready(2)
	queries := []string{l.ask(members[0], hour0, hour0+1, 600), l.ask(members[1], hour0+1, hour0+2, 600), l.ask(members[1], hour0+1, hour0+2, 400)}
	l.cut()
	ix := apply(t, l.blocks)
	for i, want := range []int{2, 0, 2} {
		if got := size(t, ix, queries[i]); got != want {
			t.Errorf("query %d has %d patients, want %d", i, got, want)
		}
	}
}

func TestCohortBelowTheMinimumCostsNothing(t *testing.T) {
	l := newLedger()
	l.ready(1)
	lone := l.ask(members[0], hour0, hour0+24, 0)
	l.ready(1)
	pair := l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	ix := apply(t, l.blocks)
	if a, b := size(t, ix, lone), size(t, ix, pair); a != 1 || b != 2 {
		t.Errorf("%d and then %d patients, want 1 and then 2", a, b)
	}
}

func TestWhatComesAfterAQueryDoesNotChangeItsCohort(t *testing.T) {
	l := newLedger()
	devices := l.ready(2)
	l.ask(members[0], hour0, hour0+72, 0)
	l.rows(devices[0].ID, hour0+48, hour0+60)
	l.cut()
	c, err := apply(t, l.blocks).Cohort(l.queries[0].ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if c.Rows != 96 {
		t.Errorf("%d rows, want the 96 from before the query", c.Rows)
	}
}

// late anchors one correction that threshold members find.
func (l *ledger) late(device record.ID, hour int64, number uint8) {
	l.correct(device, number, hour)
	for _, m := range members[:2] {
		l.available(len(l.batches)-1, m, 1)
	}
}

func TestCorrectionsCountWithTheirHourOnceTheyAreAvailable(t *testing.T) {
	l := newLedger()
	devices := l.ready(2)
	d := devices[0].ID
	l.late(d, hour0+3, 2) // found before number 1 is
	l.late(d, hour0+1, 1)
	l.late(d, hour0+30, 1)  // beyond the hours asked
	l.late(d, hour0+100, 1) // its hour has no row
	l.correct(d, 3, hour0+3)
	l.available(len(l.batches)-1, members[0], 1) // found by one member alone
	id := l.ask(members[0], hour0, hour0+24, 100)
	l.late(d, hour0+1, 2) // after the query
	l.cut()
	ix := apply(t, l.blocks)
	c, err := ix.Cohort(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.Members {
		var want [][2]int64
		if m.Device == d {
			want = [][2]int64{{hour0 + 1, 1}, {hour0 + 3, 2}}
		}
		if !reflect.DeepEqual(m.Corrections, want) {
			t.Errorf("device %s has corrections %v, want %v", m.Device.Short(), m.Corrections, want)
		}
		rows, err := ix.Rows(m, false)
		if err != nil || int64(len(rows)) != m.Rows() {
			t.Errorf("%d rows, want %d: %v", len(rows), m.Rows(), err)
		}
	}
	if c.Rows != 50 {
		t.Errorf("%d rows, want 48 and two corrections", c.Rows)
	}
	bare := slices.Clone(c.Members)
	for i := range bare {
		bare[i].Corrections = nil
	}
	if ix.cohorts.root(bare) == c.Root {
		t.Error("the cohort's root does not cover corrections")
	}
}

// An hour that an exact query has opened is closed with all its corrections,
// those that come later too: asking before and after one would open it alone.
func TestAttackDifferencingByACorrection(t *testing.T) {
	l := newLedger()
	devices := l.ready(3)
	before := l.ask(members[0], hour0, hour0+24, 0)
	l.late(devices[0].ID, hour0+5, 1)
	after := []string{l.ask(members[0], hour0, hour0+24, 0), l.ask(members[1], hour0, hour0+48, 0)}
	l.late(devices[1].ID, hour0+24, 1)
	together := l.ask(members[0], hour0+24, hour0+48, 0)
	l.late(devices[1].ID, hour0+24, 2)
	again := l.ask(members[0], hour0+24, hour0+48, 0)
	l.cut()
	ix := apply(t, l.blocks)
	for query, want := range map[string]int{before: 3, after[0]: 0, after[1]: 0, together: 3, again: 0} {
		if got := size(t, ix, query); got != want {
			t.Errorf("query %s has %d patients, want %d", query[:8], got, want)
		}
	}
}

// A reader that goes on from the last index plus one misses no receipt.
func TestPagesOfReceiptsDoNotTearAnHourApart(t *testing.T) {
	l := newLedger()
	d := l.ready(1)[0].ID
	for n := uint8(0); n <= record.MaxCorrection; n++ {
		for from := int64(hour0); from < hour0+180; from += 60 {
			var hours []int64
			for h := from; h < from+60; h++ {
				if h > hour0 || n == 0 { // the first hour has no corrections
					hours = append(hours, h)
				}
			}
			if !l.correct(d, n, hours...).IsZero() {
				for _, m := range members[:2] {
					l.available(len(l.batches)-1, m, ^uint64(0))
				}
			}
		}
	}
	l.cut()
	ix := apply(t, l.blocks)
	seen := 0
	for from := int64(hour0); ; {
		page, err := ix.Receipts(d, record.KindRow, from, hour0+200)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			if p := r.Pointer.Pointer; seen > 0 && (p.Index != hour0+int64(seen+3)/4 || int(p.Correction) != (seen+3)%4) {
				t.Fatalf("receipt %d is of hour %d, correction %d", seen, p.Index-hour0, p.Correction)
			}
			seen++
		}
		from = page[len(page)-1].Pointer.Pointer.Index + 1
	}
	if seen != 717 {
		t.Errorf("%d receipts, want 717", seen)
	}
}

func TestANewDeviceTakesOverOnItsFirstDay(t *testing.T) {
	l := newLedger()
	old := l.ready(2)[0]
	fresh := l.device(old.Device.Patient, day0+1, metric)
	for _, m := range members {
		l.ack(fresh.ID, m)
	}
	l.rows(fresh.ID, hour0, hour0+48) // the first day's are not its to give
	id := l.ask(members[0], hour0, hour0+48, 0)
	l.cut()
	c, err := apply(t, l.blocks).Cohort(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[record.ID][2]int64{old.ID: {hour0, hour0 + 24}, fresh.ID: {hour0 + 24, hour0 + 48}}
	for _, m := range c.Members {
		if r, ok := want[m.Device]; ok && (len(m.Ranges) != 1 || m.Ranges[0] != r) {
			t.Errorf("device %s counts in %v, want %v", m.Device.Short(), m.Ranges, r)
		}
	}
	if c.Size != 2 || len(c.Members) != 3 {
		t.Errorf("%d patients with %d devices, want 2 with 3", c.Size, len(c.Members))
	}
}

// A device whose days end before the hours that the patient allows has rows all
// around them, and none of these may count: its patient would make a cohort look
// larger than it is.
func TestAttackAPatientWithoutHoursMakesACohortLookLarger(t *testing.T) {
	l := newLedger()
	d := l.ready(1)[0]
	patient := l.patients[0]
	next := l.device(patient, day0+1, metric)
	for _, m := range members {
		l.ack(next.ID, m)
	}
	for _, c := range slices.Clone(l.consents) {
		c.Version, c.DataFrom = 2, hour0+30
		l.consent(c)
	}
	l.cut()
	id := l.ask(members[0], hour0, hour0+48, 0)
	l.cut()
	c, err := apply(t, l.blocks).Cohort(id, 0)
	if err != nil || c.Size != 0 || len(c.Members) != 0 {
		t.Errorf("device %s, whose day is over, counts: %+v, %v", d.ID.Short(), c, err)
	}
}

func TestRevocationInTheQuerysOwnBlockMakesItStale(t *testing.T) {
	l := newLedger()
	l.ready(3)
	id := l.ask(members[0], hour0, hour0+24, 0)
	d := l.consents[0]
	d.Version, d.Status = 2, consent.StatusRevoked
	l.consent(d)
	l.cut()
	ix := apply(t, l.blocks)
	block, gone, err := ix.Stale(id, 0)
	if err != nil || len(gone) != 1 || block != ix.Height()-1 {
		t.Fatalf("stale at %d for %v (%v)", block, gone, err)
	}
	next, err := ix.Cohort(id, 1)
	if err != nil || next.Size != 2 || next.Position != block {
		t.Errorf("second attempt %+v (%v)", next, err)
	}
	if _, err := ix.Cohort(id, 2); fault.Of(err) != fault.TooEarly {
		t.Errorf("a third attempt that nothing calls for: %v", err)
	}
}

func TestConsentThatExpiresMakesTheQueryStale(t *testing.T) {
	l := newLedger()
	l.ready(2)
	d := l.consents[0]
	d.Version, d.Expires = 2, day0*86400+100
	l.consent(d)
	id := l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	for _, m := range members {
		l.tick(m, day0*86400+99)
	}
	l.cut()
	if _, gone, err := apply(t, l.blocks).Stale(id, 0); err != nil || len(gone) != 0 {
		t.Fatalf("stale before it expires: %v, %v", gone, err)
	}
	for _, m := range members {
		l.tick(m, day0*86400+100)
	}
	l.cut()
	if _, gone, err := apply(t, l.blocks).Stale(id, 0); err != nil || len(gone) != 1 {
		t.Fatalf("not stale when it expires: %v, %v", gone, err)
	}
}

func TestReceiptsProveThatAPointerIsInItsBatch(t *testing.T) {
	l := newLedger()
	d := l.ready(1)[0]
	l.anchor(d.ID, hour0+50, hour0+51) // found by nobody
	l.cut()
	ix := apply(t, l.blocks)
	receipts, err := ix.Receipts(d.ID, record.KindRow, hour0+2, hour0+60)
	if err != nil || len(receipts) != 46 {
		t.Fatalf("%d receipts (%v), want 46", len(receipts), err)
	}
	for i, r := range receipts {
		if r.Pointer.Pointer.Index != hour0+2+int64(i) || len(r.Posts) != 2 {
			t.Fatalf("receipt %d is for hour %d with %d posts", i, r.Pointer.Pointer.Index, len(r.Posts))
		}
		if err := record.VerifyPath(r.Batch, r.Pointer.Pointer.Digest("test"), r.Leaf, r.Count, r.Path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ix.Receipts(record.RandomID(), record.KindRow, 0, 1); fault.Of(err) != fault.NotFound {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := ix.Receipts(d.ID, "x", 0, 1); fault.Of(err) != fault.Invalid {
		t.Errorf("unknown kind: %v", err)
	}
}

func TestTreeIsTheOneOfPackageRecord(t *testing.T) {
	var leaves []record.ID
	for n := range 70 {
		tree := newTree(leaves)
		if tree.root() != record.Root(leaves) {
			t.Fatalf("%d leaves: another root", n)
		}
		for i := range leaves {
			if !reflect.DeepEqual(tree.path(i), append([]record.ID{}, record.Path(leaves, i)...)) {
				t.Fatalf("leaf %d of %d: another path", i, n)
			}
		}
		leaves = append(leaves, record.SumID(fmt.Append(nil, n)))
	}
}

func TestHistoryShowsWhatHappenedToAPatient(t *testing.T) {
	l := newLedger()
	l.ready(2)
	id := l.ask(members[0], hour0, hour0+24, 0)
	l.ask(members[1], hour0, hour0+24, 0) // gets nobody: the hours are open
	d := l.consents[0]
	d.Version, d.Status = 2, consent.StatusRevoked
	l.consent(d)
	l.cut()
	ix := apply(t, l.blocks)
	history, err := ix.History(l.patients[0])
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range history {
		kinds = append(kinds, e.Kind)
	}
	if want := []string{EntryConsent, EntryConsent, EntryQuery, EntryConsent}; !slices.Equal(kinds, want) {
		t.Fatalf("history %v, want %v", kinds, want)
	}
	if q := history[2].Query; q.State.ID != id || q.Hours != 24 || !q.Included {
		t.Errorf("query entry %+v", q)
	}
	now, err := ix.Consents(l.patients[0])
	if err != nil || len(now) != 2 {
		t.Fatalf("%d consents (%v)", len(now), err)
	}
	if _, err := ix.History(record.RandomID()); fault.Of(err) != fault.NotFound {
		t.Errorf("unknown patient: %v", err)
	}
}

func TestRequestsThatHaveExpiredAreTheAskersToClose(t *testing.T) {
	l := newLedger()
	entry := record.PredicateEntry{ID: l.id().String(), Asker: members[0], Expires: l.now + 10, Status: record.PredicateAsked}
	closed := entry
	closed.ID, closed.Status = l.id().String(), record.PredicateClosed
	for _, e := range []record.PredicateEntry{entry, closed} {
		l.tx(put(state.PredicateKey(e.ID), e))
	}
	l.cut()
	if lapsed := apply(t, l.blocks).Lapsed(members[0]); len(lapsed) != 0 {
		t.Errorf("before they expire: %v", lapsed)
	}
	l.tick(members[0], l.now+10)
	l.tick(members[1], l.now+10)
	l.cut()
	ix := apply(t, l.blocks)
	if lapsed := ix.Lapsed(members[0]); !slices.Equal(lapsed, []string{entry.ID}) || len(ix.Lapsed(members[1])) != 0 {
		t.Errorf("lapsed: %v, %v", lapsed, ix.Lapsed(members[1]))
	}
	if got, ok := ix.Predicate(closed.ID); !ok || got != closed {
		t.Errorf("in the index: %+v, %v", got, ok)
	}
}

func TestBlocksOutOfOrderAreRefused(t *testing.T) {
	l := newLedger()
	l.cut()
	l.tick(members[0], day0*86400+5)
	l.cut()
	ix := blank()
	if err := ix.Apply(l.blocks[1]); fault.Of(err) != fault.Conflict {
		t.Errorf("block 1 first: %v", err)
	}
	if err := ix.Apply(l.blocks[0]); err != nil {
		t.Fatal(err)
	}
	if err := ix.Apply(l.blocks[0]); fault.Of(err) != fault.Conflict {
		t.Errorf("block 0 again: %v", err)
	}
	forged := *l.blocks[1]
	forged.Previous = record.RandomID()
	if err := ix.Apply(&forged); fault.Of(err) != fault.Conflict {
		t.Errorf("block of another chain: %v", err)
	}
	if err := ix.Apply(l.blocks[1]); err != nil {
		t.Error(err)
	}
}

// FuzzApply feeds whatever writes to a ledger that has something of everything:
// the index refuses or takes them and stays usable.
func FuzzApply(f *testing.F) {
	l := newLedger()
	l.ready(2)
	l.ask(members[0], hour0, hour0+24, 0)
	l.cut()
	for _, b := range l.blocks {
		for _, tx := range b.Txs {
			for _, w := range tx.Writes {
				f.Add(w.Key, w.Value, false)
			}
		}
	}
	f.Fuzz(func(t *testing.T, key string, value []byte, del bool) {
		ix := apply(t, l.blocks)
		b := &network.Block{
			Number: ix.Height(), Previous: l.blocks[len(l.blocks)-1].Hash,
			Txs: []network.Tx{{Valid: true, Writes: []network.Write{{Key: key, Value: value, Delete: del}}}},
		}
		err := ix.Apply(b)
		ix.Counts()
		ix.Batches(0)
		for _, id := range ix.Open() {
			if _, cohortErr := ix.Cohort(id, 0); cohortErr != nil {
				t.Fatal(err, cohortErr)
			}
		}
		for _, d := range ix.Devices(0) {
			if _, err := ix.Receipts(d.ID, record.KindRow, hour0, hour0+10); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestIndexIsSafeForReadersWhileBlocksCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		l.settle(t)
		id := l.ask(members[0], hour0, hour0+24, 0)
		l.cut()
		ix := blank()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ix.Height() < uint64(len(l.blocks)) {
				ix.Counts()
				if _, err := ix.Cohort(id, 0); err != nil && fault.Of(err) != fault.NotFound {
					panic(err)
				}
			}
		}()
		stored := make(chan struct{})
		go func() {
			defer close(stored)
			for ix.Height() < uint64(len(l.blocks)) {
				if err := ix.Save(io.Discard); err != nil {
					panic(err)
				}
			}
		}()
		for _, b := range l.blocks {
			if err := ix.Apply(b); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		<-stored
	})
}

// scaled is a ledger of n devices with rows for the given hours.
func scaled(n int, hours int64) *ledger {
	l := newLedger()
	for range n {
		l.patient()
		p := l.patients[len(l.patients)-1]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		for from := hour0; from < hour0+hours; from += 48 {
			l.rows(d.ID, from, min(from+48, hour0+hours))
		}
		l.consent(l.permit(p, members[0], hour0, hour0+hours))
		l.cut()
	}
	return l
}

func BenchmarkApply(b *testing.B) {
	for _, c := range []struct {
		devices int
		hours   int64
	}{{500, 48}, {10, 1300}} {
		b.Run(fmt.Sprintf("%dx%d", c.devices, c.hours), func(b *testing.B) {
			l := scaled(c.devices, c.hours)
			for b.Loop() {
				apply(b, l.blocks)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(int64(c.devices)*c.hours), "ns/row")
		})
	}
}

func BenchmarkCohort(b *testing.B) {
	l := scaled(500, 48)
	id := l.ask(members[0], hour0, hour0+48, 0)
	l.cut()
	ix := apply(b, l.blocks)
	b.Run("derive", func(b *testing.B) {
		for b.Loop() {
			if _, err := ix.Eligible(members[0], purpose, false, record.Ask{Metric: metric, From: hour0, Until: hour0 + 48, Rho: 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("root", func(b *testing.B) {
		for b.Loop() {
			if _, err := ix.Cohort(id, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stale", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := ix.Stale(id, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
}
