package institution

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

const firstDay = firstHour / 24

// rate is the heart rate of patient i on a day: the same in every minute that is measured.
func rate(i int, day int64) int64 { return 50 + int64(i)*3%40 + 2*day }

// dayWorld is n patients of whom day rows alone are anchored, of as many days. Patient 1
// measures nothing on the first day.
func dayWorld(t testing.TB, n int, days int64) *world {
	w := newWorld(t, withDays)
	w.daily = true
	w.enrol(n)
	w.measureDays(days)
	w.study("exact", true)
	w.study("noisy", false)
	return w
}

func (w *world) measureDays(days int64) {
	w.Helper()
	w.Tick((firstHour + days*24) * 3600)
	var pointers []record.SignedPointer
	for i, p := range w.patients {
		pointers = append(pointers, w.uploadDays(i, p, days)...)
	}
	for part := range slices.Chunk(pointers, record.MaxBatch) {
		w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: part})
	}
	w.everywhere("day rows available", func(in *Institution) bool { return in.Index().Counts().Available >= len(pointers) })
}

func (w *world) uploadDays(i int, p *person, days int64) []record.SignedPointer {
	var rows []record.BlobRow
	for day := range days {
		rows = append(rows, p.device.MeasureDay(w.grid(firstDay+day, measured(i, day), rate(i, day))))
	}
	return p.device.Upload(rows...)
}

// bothUnits runs a test in a settled network in which hours are asked, and in one in
// which a day is: what holds for the one holds for the other.
func bothUnits(t *testing.T, patients int, test func(t *testing.T, w *world)) {
	t.Run("hours", func(t *testing.T) { test(t, settledWorld(t, patients)) })
	t.Run("days", func(t *testing.T) { test(t, dayWorld(t, patients, 2)) })
}

// ask asks in the unit of the network's rows.
func (w *world) ask(study string, rho uint64) record.Ask {
	switch {
	case !w.daily:
		return ask(study, rho)
	case rho == 0:
		return askDays(study, allFigures, 2, 0)
	}
	return askDays(study, "mean", 2, rho)
}

// wantAll compares an exact release about everybody with what was measured.
func (w *world) wantAll(a *Answer) {
	w.Helper()
	if !w.daily {
		w.want(a, w.truth)
		return
	}
	var n, sum int64
	for i := range w.patients {
		for day := range int64(2) {
			if measured(i, day) {
				n, sum = n+1, sum+rate(i, day)
			}
		}
	}
	if got := a.Persons; got.Raw.N != n || math.Abs(got.Mean.Value-float64(sum)/float64(n)) > 1e-9 {
		w.Errorf("released %+v with mean %+v, measured %d with sum %d", got, got.Mean, n, sum)
	}
}

func measured(i int, day int64) bool { return i != 1 || day > 0 }

// grid is a day on which the heart beat steadily for ten hours.
func (w *world) grid(day int64, measured bool, rate int64) *wearable.Day {
	d := &wearable.Day{Number: day}
	m, _ := wearable.ByKey(metricKey)
	code, _ := m.Code(rate)
	for minute := range 600 {
		if measured {
			w.OK(d.Set(m.Slot, minute, code))
		}
	}
	return d
}

func askDays(study, want string, days int64, rho uint64) record.Ask {
	return record.Ask{Study: study, Metric: metricKey, Want: want, From: firstHour, Until: firstHour + 24*days, Rho: rho}
}

var allFigures = privacy.WantAll.String()

// TestExactQueryGivesTheSumsOfThePersonDays, computed here from the rates alone.
func TestExactQueryGivesTheSumsOfThePersonDays(t *testing.T) {
	const people, days = 12, 2
	w := dayWorld(t, people, days)
	a, err := w.members[hospitalA].Ask(t.Context(), askDays("exact", allFigures, days, 0))
	if err != nil {
		t.Fatal(err)
	}
	var n, sum, squares, within int64
	for i := range people {
		for day := range int64(days) {
			if measured(i, day) {
				x := rate(i, day)
				n, sum, squares = n+1, sum+x, squares+x*x
				if x >= 51 && x <= 90 {
					within++
				}
			}
		}
	}
	r, mean := a.Persons, float64(sum)/float64(n)
	if a.Cohort != people || a.Rows != people*days || r.People != people || r.Days != days || !r.Exact {
		t.Errorf("%d patients with %d rows: %+v", a.Cohort, a.Rows, r)
	}
	spread := math.Sqrt(float64(squares)/float64(n) - mean*mean)
	for what, pair := range map[string][2]float64{
		"person-days": {r.PersonDays.Value, float64(n)}, "mean": {r.Mean.Value, mean}, "spread": {r.Spread.Value, spread},
		"within": {r.Within.Value, float64(within) / float64(n)},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-9 {
			t.Errorf("%s is %g, the rates give %g", what, pair[0], pair[1])
		}
	}
	q, err := w.members[hospitalB].Index().Query(a.QueryID)
	w.wait("release on the ledger", func() bool {
		q, err = w.members[hospitalB].Index().Query(a.QueryID)
		return err == nil && q.Status == record.QueryReleased
	})
	if q.Release != a.Document().Digest(networkName) || q.Ask.Want != allFigures {
		t.Error("the release on the ledger is not the answer's")
	}
	again, err := w.members[hospitalA].Fetch(t.Context(), a.QueryID)
	if err != nil || again.Hash != a.Hash {
		t.Errorf("fetched again it is another: %v", err)
	}
	_, err = w.members[hospitalA].Ask(t.Context(), askDays("exact", allFigures, days, 0)) // used up
	wantFault(t, fault.TooFew, err)
}

// TestNoisyQueryAboutPersonDaysIsNearThem: what was wanted is answered, near the truth,
// and nothing else.
func TestNoisyQueryAboutPersonDaysIsNearThem(t *testing.T) {
	w := dayWorld(t, 12, 2)
	a, err := w.members[hospitalA].Ask(t.Context(), askDays("noisy", "mean", 2, 2_000_000))
	if err != nil {
		t.Fatal(err)
	}
	r := a.Persons
	if r.Exact || r.Mean == nil || r.Mean.SD == 0 || math.Abs(r.PersonDays.Value-23) > 6*r.PersonDays.SD {
		t.Errorf("%+v, mean %+v", r, r.Mean)
	}
	if r.Spread != nil || r.Within != nil || r.Histogram != nil || r.Raw.SumSq != 0 {
		t.Errorf("figures that nobody asked: %+v", r)
	}
}

// TestAttackAveragingAQuestionAboutDays: the same question again is another query, which
// is debited and has noise of its own.
func TestAttackAveragingAQuestionAboutDays(t *testing.T) {
	w := dayWorld(t, 11, 2)
	seen := map[[2]int64]bool{}
	for range 3 {
		a, err := w.members[hospitalA].Ask(t.Context(), askDays("noisy", "mean", 2, 900_000))
		if err != nil {
			t.Fatal(err)
		}
		seen[[2]int64{a.Persons.Raw.N, a.Persons.Raw.Sum}] = true
	}
	if len(seen) < 3 {
		t.Errorf("three answers have %d noises", len(seen))
	}
	var s record.StudyState
	w.Read(msps[hospitalA], contracts.StudyGet, "noisy", &s)
	if s.Spent != 2_700_000 {
		t.Errorf("three questions cost %d", s.Spent)
	}
	_, err := w.members[hospitalA].Ask(t.Context(), askDays("noisy", "mean", 2, 900_000)) // 0.3 of 3 is left of each
	wantFault(t, fault.TooFew, err)
}

// TestAttackExactDaysOfFewPeople: eleven allow it and have day rows, and six of them
// measured, on two days. Twelve person-days are more than eleven, but six people's: the
// answer is withheld. Of ten there is none at all.
func TestAttackExactDaysOfFewPeople(t *testing.T) {
	w := newWorld(t, withDays)
	w.enrol(11)
	w.Tick((firstHour + 48) * 3600)
	var pointers []record.SignedPointer
	for i, p := range w.patients {
		var rows []record.BlobRow
		for day := range int64(2) {
			rows = append(rows, p.device.MeasureDay(w.grid(firstDay+day, i < 6, rate(i, day))))
		}
		pointers = append(pointers, p.device.Upload(rows...)...)
	}
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: pointers})
	w.everywhere("day rows available", func(in *Institution) bool { return in.Index().Counts().Available == len(pointers) })
	w.study("exact", true)
	_, err := w.members[hospitalA].Ask(t.Context(), askDays("exact", allFigures, 2, 0))
	wantFault(t, fault.TooFew, err)
	var few *Refusal
	if !errors.As(err, &few) || !few.Readings || few.Days != 2 || few.Size != 11 {
		t.Errorf("refused with %+v: %v", few, err)
	}
	w.revoke(w.patients[10])
	w.study("noisy", false)
	_, err = w.members[hospitalA].Ask(t.Context(), askDays("noisy", "mean", 2, 900_000))
	wantFault(t, fault.TooFew, err)
	if !errors.As(err, &few) || few.Readings || few.Size != 10 {
		t.Errorf("refused with %+v: %v", few, err)
	}
}
