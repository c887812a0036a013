package institution

import (
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

// correct seals and anchors minutes that were missing in a first row as one
// correction, and waits until the members that are up have vouched for it.
func (w *world) correct(i int, hour int64, number uint8, minutes ...int) privacy.HourStats {
	w.Helper()
	available := w.members[hospitalA].Index().Counts().Available
	ptr, stats := w.lateRow(i, hour, number, minutes...)
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: []record.SignedPointer{ptr}})
	w.everywhere("correction available", func(in *Institution) bool { return in.Index().Counts().Available == available+1 })
	return stats
}

func (w *world) lateRow(i int, hour int64, number uint8, minutes ...int) (record.SignedPointer, privacy.HourStats) {
	w.Helper()
	p := w.patients[i]
	m, _ := wearable.ByKey(metricKey)
	codes := make([]uint16, 60)
	for _, minute := range minutes {
		if (minute+i)%7 != 0 {
			w.Fatalf("minute %d of patient %d was in the first row", minute, i)
		}
		codes[minute] = uint16(40 + minute)
	}
	schema := w.Params.Schema()
	stats := must(schema.Stats(m, codes))
	payloads := must(schema.Row(map[int]privacy.HourStats{m.Slot: stats}))
	win := he.Window{Hour: firstHour + hour, Correction: number}
	row := must(w.Params.Seal(p.device.Context(), p.device.Sealing, win, payloads))
	return p.device.Upload(record.BlobRow{Hour: win.Hour, Correction: number, Row: row})[0], stats
}

func TestExactAnswerWithCorrectionsIsTheSumOfAllReadings(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	truth := w.truth
	for _, stats := range []privacy.HourStats{
		w.correct(0, 0, 1, 7, 14), w.correct(0, 0, 2, 21), w.correct(0, 0, 3, 28), w.correct(4, 0, 1, 3), w.correct(4, 2, 1, 10),
	} {
		truth = consortium.Add(truth, stats, 1)
	}
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	if a.Rows != 11*rowHours-1+5 {
		t.Errorf("%d rows, want every hour and five corrections", a.Rows)
	}
	w.want(a, truth)
	// What comes once the hours are open stays out for ever, also when the answer
	// is fetched again.
	w.correct(5, 0, 1, 2)
	again, err := w.members[hospitalA].Fetch(t.Context(), a.QueryID)
	if err != nil || again.Hash != a.Hash {
		t.Errorf("fetched after a later correction: %v", err)
	}
	_, err = w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	wantFault(t, fault.TooFew, err)
}

func TestCorrectionAnchoredButNotAvailableStaysOut(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	w.study("exact", true)
	ptr, _ := w.lateRow(3, 1, 1, 4)
	w.blobs.Mu.Lock()
	delete(w.blobs.Data, ptr.Pointer.Blob) // its bytes are not there yet
	w.blobs.Mu.Unlock()
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: []record.SignedPointer{ptr}})
	a, err := w.members[hospitalA].Ask(t.Context(), ask("exact", 0))
	if err != nil {
		t.Fatal(err)
	}
	if a.Rows != 11*rowHours-1 {
		t.Errorf("%d rows", a.Rows)
	}
	w.want(a, w.truth)
}

// A blob that carries two different rows for the windows of one hour: each window
// counts with the row that its own pointer commits to, and only that.
func TestAttackCorrectionThatPointsToAnotherRow(t *testing.T) {
	w := newWorld(t)
	w.enrol(11)
	w.measure()
	first, _ := w.lateRow(2, 0, 1, 5)
	second, _ := w.lateRow(2, 0, 2, 12)
	swapped := second.Pointer // correction 2 that names the blob and the row of correction 1
	swapped.Blob, swapped.Commitment = first.Pointer.Blob, first.Pointer.Commitment
	forged := record.SignedPointer{Pointer: swapped, Signature: consortium.Sign(w.patients[2].device.Key, swapped.Digest(networkName))}
	before := w.members[hospitalA].Index().Counts().Available
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: []record.SignedPointer{first, forged}})
	w.everywhere("the honest one available", func(in *Institution) bool { return in.Index().Counts().Available == before+1 })
	c, err := w.members[hospitalA].Index().Eligible(msps[hospitalA], "HRESCH", true, ask("", 0))
	if err != nil {
		t.Fatal(err)
	}
	if c.Rows != 11*rowHours-1+1 {
		t.Errorf("%d rows: a row counts under a window that it was not sealed for", c.Rows)
	}
}
