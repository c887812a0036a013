package chaincode_test

import (
	"strconv"
	"testing"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// correction is a pointer to a fresh late row of an hour.
func (d *device) correction(w *world, hour int64, number uint8) record.SignedPointer {
	p := d.row(w, hour).Pointer
	p.Correction = number
	return d.pointer(w, p)
}

func outcomes(r record.AnchorResult) []string {
	var out []string
	for _, item := range r.Items {
		out = append(out, item.Outcome+item.Code)
	}
	return out
}

func wantOutcomes(t *testing.T, r record.AnchorResult, want ...string) {
	t.Helper()
	got := outcomes(r)
	if len(got) != len(want) {
		t.Fatalf("outcomes %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("item %d of %v is %s, want %s", i, got, got[i], want[i])
		}
	}
}

func TestCorrectionsComeInOrderAlsoWithinOneCall(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 7200)
	early := record.Refused + string(fault.TooEarly)
	first, second := d.correction(w, startHour, 1), d.correction(w, startHour, 2)
	wantOutcomes(t, w.anchor(first), early) // the hour has no row
	wantOutcomes(t, w.anchor(second, d.row(w, startHour), first, first, second),
		early, record.Anchored, record.Anchored, record.Repeated, record.Anchored)
	wantOutcomes(t, w.anchor(d.correction(w, startHour, 3), first), record.Anchored, record.Repeated)
	// Another hour's do not help.
	wantOutcomes(t, w.anchor(d.correction(w, startHour+1, 1)), early)
}

func TestAttackCorrectionNumbers(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 2*86400)
	w.anchor(d.row(w, startHour), d.day(w, startDay))
	for _, number := range []uint8{2, 3} { // skipped
		w.refusesPointer(fault.TooEarly, d.correction(w, startHour, number))
	}
	for _, number := range []uint8{4, 5, 255} {
		w.refusesPointer(fault.Invalid, d.correction(w, startHour, number))
	}
	w.anchor(d.correction(w, startHour, 1), d.correction(w, startHour, 2), d.correction(w, startHour, 3))
	for _, number := range []uint8{4, 255} { // one more than there may be
		w.refusesPointer(fault.Invalid, d.correction(w, startHour, number))
	}
	day := d.day(w, startDay).Pointer
	day.Correction = 1
	w.refusesPointer(fault.Invalid, d.pointer(w, day))
}

// Two rows under one window open their difference to everyone: the ledger takes
// one for each.
func TestAttackCorrectionSealedTwice(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 7200)
	w.anchor(d.row(w, startHour))
	one, other := d.correction(w, startHour, 1), d.correction(w, startHour, 1)
	conflict := record.Refused + string(fault.Conflict)
	wantOutcomes(t, w.anchor(one, other), record.Anchored, conflict)
	wantOutcomes(t, w.anchor(other, d.pointer(w, one.Pointer)), conflict, record.Repeated)
}

func TestAttackCorrectionForAnotherDevice(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled().devices[0], w.enrolled().devices[0]
	w.tick(start + 7200)
	w.anchor(victim.row(w, startHour), mallory.row(w, startHour))
	forged := victim.correction(w, startHour, 1)
	forged.Signature = mallory.pointer(w, forged.Pointer).Signature
	w.refusesPointer(fault.BadSignature, forged)
	moved := mallory.correction(w, startHour, 1)
	moved.Pointer.Device = victim.id
	w.refusesPointer(fault.BadSignature, moved)
	// A first sealing's signature is none for a correction.
	first := victim.row(w, startHour+1)
	w.anchor(first)
	first.Pointer.Correction = 1
	w.refusesPointer(fault.BadSignature, first)
}

func TestCorrectionsAreDueWhenTheDayRootIs(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 86400)
	w.anchor(d.row(w, startHour))
	w.tick(start + 8*86400)
	wantOutcomes(t, w.anchor(d.correction(w, startHour, 1)), record.Anchored)
	w.tick(start + 8*86400 + 1)
	w.refusesPointer(fault.Expired, d.correction(w, startHour, 2))
	// A first sealing may come as late as it likes.
	wantOutcomes(t, w.anchor(d.row(w, startHour+1)), record.Anchored)
}

// A query that could not be answered is refused before it costs anything: its
// hours may all have been corrected.
func TestAskCountsTheCorrectionsThatItsHoursMayHave(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 30*86400)
	for cohort, fits := range map[int]bool{250_000: true, 400_000: false} {
		s := w.study(func(s *record.Study) { s.ID, s.MinCohort = "of-"+strconv.Itoa(cohort), cohort })
		ask := record.Ask{Study: s.ID, Metric: "heart_rate", From: s.From, Until: s.Until, Rho: 100_000}
		if fits {
			w.must(hospitalA, "Query:Ask", ask, nil)
			continue
		}
		w.refuses(fault.Invalid, "rows", hospitalA, "Query:Ask", ask)
	}
}
