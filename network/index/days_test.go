package index

import (
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func withDays(g *record.Genesis) { g.Schema = privacy.V3().Digest() }

// anyRows draws a network: of rows of hours, or of day rows beside them.
func anyRows(t *rapid.T) func(*record.Genesis) {
	schema := rapid.SampledFrom([]*privacy.Schema{privacy.V2(), privacy.V3()}).Draw(t, "schema")
	return func(g *record.Genesis) { g.Schema = schema.Digest() }
}

// A day counts, all 24 hours of it, once threshold members have found its day row,
// whatever its hours and its root do.
func TestADayCountsByItsDayRow(t *testing.T) {
	l := newLedger(withDays)
	d := l.ready(1)[0]
	l.days(d.ID, day0, day0+1, day0+3)
	batch := len(l.batches) - 1
	l.available(batch, members[0], 0b111)
	l.available(batch, members[1], 0b101)
	l.days(d.ID, day0+4) // nobody has found it
	l.cut()
	ix := apply(t, l.blocks)
	for _, ix := range []*Index{ix, loaded(t, saved(t, ix))} {
		got := ix.fleet.devices[d.ID]
		want := [][2]int64{{hour0, hour0 + 24}, {hour0 + 72, hour0 + 96}}
		if !slices.Equal(got.daily.Ranges(), want) {
			t.Errorf("days %v count, want %v", got.daily.Ranges(), want)
		}
		if !slices.Equal(got.countable.Ranges(), [][2]int64{{hour0, hour0 + 48}}) {
			t.Errorf("hours %v count", got.countable.Ranges())
		}
		for i, p := range l.batches[batch].pointers {
			row, err := ix.anchors.rowOf(kindPersonDay, d.ID, window{hour: p.Index})
			if err != nil || row != (Row{p.Blob, p.Commitment}) {
				t.Errorf("day row %d: %+v, %v", i, row, err)
			}
		}
		if _, err := ix.anchors.rowOf(kindRow, d.ID, window{hour: day0}); err == nil {
			t.Error("a day row is found as an hour's")
		}
	}
}

func TestADayRowHasAReceipt(t *testing.T) {
	l := newLedger(withDays)
	d := l.ready(1)[0]
	l.days(d.ID, day0, day0+1)
	for _, m := range members[:2] {
		l.available(len(l.batches)-1, m, 0b10)
	}
	l.cut()
	ix := apply(t, l.blocks)
	receipts, err := ix.Receipts(d.ID, record.KindPersonDay, day0, day0+5)
	if err != nil || len(receipts) != 1 || len(receipts[0].Posts) != 2 {
		t.Fatalf("%+v, %v", receipts, err)
	}
	if got, want := receipts[0].Pointer.Pointer, l.batches[len(l.batches)-1].pointers[1]; got != want {
		t.Errorf("receipt of %+v, want %+v", got, want)
	}
	if _, err := ix.Receipts(d.ID, "person", day0, day0+5); fault.Of(err) != fault.Invalid {
		t.Errorf("of an unknown kind: %v", err)
	}
}

// An erasure takes the blobs of day rows as it takes those of hours.
func TestBlobsOfDayRowsAreThePatients(t *testing.T) {
	l := newLedger(withDays)
	d := l.ready(1)[0]
	l.days(d.ID, day0, day0+1)
	l.cut()
	ix := apply(t, l.blocks)
	blobs := ix.BlobsOf(d.Device.Patient)
	for _, p := range l.batches[len(l.batches)-1].pointers {
		if !slices.Contains(blobs, Blob{ID: p.Blob, Device: d.ID, Patient: d.Device.Patient}) {
			t.Errorf("the blob of day %d is not the patient's", p.Index)
		}
	}
}

// What no contract anchors counts for nothing.
func TestAttackDayRowsThatNoContractAnchors(t *testing.T) {
	l := newLedger(withDays)
	d := l.ready(1)[0]
	row := record.Pointer{Device: d.ID, Kind: record.KindPersonDay, Index: day0, Blob: l.id(), Commitment: l.id()}
	corrected, far := row, row
	corrected.Correction, far.Index = 1, math.MaxInt64/20
	for _, p := range []record.Pointer{corrected, far} {
		l.batch([]record.Pointer{p})
		for _, m := range members {
			l.available(len(l.batches)-1, m, 1)
		}
	}
	l.cut()
	ix := apply(t, l.blocks)
	if got := ix.fleet.devices[d.ID]; !got.daily.Empty() || len(got.persons) > 0 {
		t.Errorf("days %v count", got.daily.Ranges())
	}
	if n, list := ix.Refused(0); n != 2 || !strings.Contains(list[0].What, record.KindPersonDay) {
		t.Errorf("%d writes are refused: %v", n, list)
	}
	l = newLedger() // of hours
	d = l.ready(1)[0]
	l.days(d.ID, day0)
	l.cut()
	if n, _ := apply(t, l.blocks).Refused(0); n != 1 {
		t.Errorf("of %d writes it is said that nothing asked for them", n)
	}
}
