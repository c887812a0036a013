package chaincode_test

import (
	"strconv"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

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
	d := w.enrolled().Devices[0]
	w.Tick(start + 7200)
	early := record.Refused + string(fault.TooEarly)
	first, second := d.Row(startHour, 1), d.Row(startHour, 2)
	wantOutcomes(t, w.anchor(first), early) // the hour has no row
	wantOutcomes(t, w.anchor(second, d.Row(startHour, 0), first, first, second),
		early, record.Anchored, record.Anchored, record.Repeated, record.Anchored)
	wantOutcomes(t, w.anchor(d.Row(startHour, 3), first), record.Anchored, record.Repeated)
	// Another hour's do not help.
	wantOutcomes(t, w.anchor(d.Row(startHour+1, 1)), early)
}

func TestAttackCorrectionNumbers(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 2*86400)
	w.anchor(d.Row(startHour, 0), d.Day(startDay))
	for _, number := range []uint8{2, 3} { // skipped
		w.refusesPointer(fault.TooEarly, d.Row(startHour, number))
	}
	for _, number := range []uint8{4, 5, 255} {
		w.refusesPointer(fault.Invalid, d.Row(startHour, number))
	}
	w.anchor(d.Row(startHour, 1), d.Row(startHour, 2), d.Row(startHour, 3))
	for _, number := range []uint8{4, 255} { // one more than there may be
		w.refusesPointer(fault.Invalid, d.Row(startHour, number))
	}
	day := d.Day(startDay).Pointer
	day.Correction = 1
	w.refusesPointer(fault.Invalid, d.Pointer(day))
}

// Two rows under one window open their difference to everyone: the ledger takes
// one for each.
func TestAttackCorrectionSealedTwice(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 7200)
	w.anchor(d.Row(startHour, 0))
	one, other := d.Row(startHour, 1), d.Row(startHour, 1)
	conflict := record.Refused + string(fault.Conflict)
	wantOutcomes(t, w.anchor(one, other), record.Anchored, conflict)
	wantOutcomes(t, w.anchor(other, d.Pointer(one.Pointer)), conflict, record.Repeated)
}

func TestAttackCorrectionForAnotherDevice(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled().Devices[0], w.enrolled().Devices[0]
	w.Tick(start + 7200)
	w.anchor(victim.Row(startHour, 0), mallory.Row(startHour, 0))
	forged := victim.Row(startHour, 1)
	forged.Signature = mallory.Pointer(forged.Pointer).Signature
	w.refusesPointer(fault.BadSignature, forged)
	moved := mallory.Row(startHour, 1)
	moved.Pointer.Device = victim.ID
	w.refusesPointer(fault.BadSignature, moved)
	// A first sealing's signature is none for a correction.
	first := victim.Row(startHour+1, 0)
	w.anchor(first)
	first.Pointer.Correction = 1
	w.refusesPointer(fault.BadSignature, first)
}

func TestCorrectionsAreDueWhenTheDayRootIs(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 86400)
	w.anchor(d.Row(startHour, 0))
	w.Tick(start + 8*86400)
	wantOutcomes(t, w.anchor(d.Row(startHour, 1)), record.Anchored)
	w.Tick(start + 8*86400 + 1)
	w.refusesPointer(fault.Expired, d.Row(startHour, 2))
	// A first sealing may come as late as it likes.
	wantOutcomes(t, w.anchor(d.Row(startHour+1, 0)), record.Anchored)
}

// A query that could not be answered is refused before it costs anything: its
// hours may all have been corrected.
func TestAskCountsTheCorrectionsThatItsHoursMayHave(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 30*86400)
	for cohort, fits := range map[int]bool{250_000: true, 400_000: false} {
		s := w.study(func(s *record.Study) { s.ID, s.MinCohort = "of-"+strconv.Itoa(cohort), cohort })
		ask := record.Ask{Study: s.ID, Metric: "heart_rate", From: s.From, Until: s.Until, Rho: 100_000}
		if fits {
			w.Must(hospitalA, contracts.QueryAsk, ask)
			continue
		}
		w.Refuses(fault.Invalid, "rows", hospitalA, contracts.QueryAsk, ask)
	}
}

func withDays(g *record.Genesis) { g.Schema = privacy.V3().Digest() }

// Two rows under a day's one polynomial open their difference to everyone.
func TestAttackDayRowSealedTwice(t *testing.T) {
	w := newWorld(t, withDays)
	d := w.enrolled().Devices[0]
	w.Tick(start + 86400)
	one, other := d.PersonDay(startDay), d.PersonDay(startDay)
	conflict := record.Refused + string(fault.Conflict)
	wantOutcomes(t, w.anchor(one, other), record.Anchored, conflict)
	wantOutcomes(t, w.anchor(other, d.Pointer(one.Pointer)), conflict, record.Repeated)
	for _, number := range []uint8{1, record.MaxCorrection, record.PersonDayMark} {
		again := other.Pointer
		again.Correction = number
		w.refusesPointer(fault.Invalid, d.Pointer(again))
	}
}

// A day row has neither an hour's place nor a day root's, nor are they its.
func TestDayRowsHaveAPlaceOfTheirOwn(t *testing.T) {
	w := newWorld(t, withDays)
	d := w.enrolled().Devices[0]
	w.Tick(start + 86400)
	row := d.PersonDay(startDay)
	wantOutcomes(t, w.anchor(d.Row(startHour, 0), d.Day(startDay), row), record.Anchored, record.Anchored, record.Anchored)
	var r record.Receipt
	w.Read(gatewayMSP, contracts.PointerGet, quoted(state.PointerKey(row.Pointer)), &r)
	if r.Pointer.Pointer != row.Pointer {
		t.Errorf("under its key is %+v", r.Pointer.Pointer)
	}
}

func TestAttackDayRowInANetworkOfHours(t *testing.T) {
	for _, s := range []*privacy.Schema{privacy.V1(), privacy.V2()} {
		w := newWorld(t, func(g *record.Genesis) { g.Schema = s.Digest() })
		d := w.enrolled().Devices[0]
		w.Tick(start + 86400)
		w.refusesPointer(fault.Invalid, d.PersonDay(startDay))
	}
}

func TestAttackDayRowOfAnotherTime(t *testing.T) {
	w := newWorld(t, withDays)
	d := w.enrolled().Devices[0]
	w.Tick(start + 86400 - 601)
	w.refusesPointer(fault.TooEarly, d.PersonDay(startDay))
	w.refusesPointer(fault.Invalid, d.PersonDay(startDay-1))
	bare, far := d.PersonDay(startDay).Pointer, d.PersonDay(1<<60).Pointer
	bare.Blob = record.ID{}
	w.Tick(start + 8*86400)
	w.refusesPointer(fault.Invalid, d.Pointer(bare))
	w.refusesPointer(fault.Invalid, d.Pointer(far))
	wantOutcomes(t, w.anchor(d.PersonDay(startDay)), record.Anchored) // seven days after
	w.Tick(start + 9*86400 + 1)
	w.refusesPointer(fault.Expired, d.PersonDay(startDay+1))
}

// A retired device's days are those that began before it retired.
func TestAttackDayRowAfterRetirement(t *testing.T) {
	w := newWorld(t, withDays)
	p := w.enrolled()
	d := p.Devices[0]
	w.Tick(start + 7200)
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(p.Key, false))
	w.Tick(start + 2*86400)
	wantOutcomes(t, w.anchor(d.PersonDay(startDay), d.PersonDay(startDay+1)), record.Anchored, record.Refused+string(fault.Expired))
}
