package institution

import (
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
		var rows []record.BlobRow
		for day := range days {
			rows = append(rows, p.device.MeasureDay(w.grid(firstDay+day, measured(i, day), rate(i, day))))
		}
		pointers = append(pointers, p.device.Upload(rows...)...)
	}
	for part := range slices.Chunk(pointers, record.MaxBatch) {
		w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: part})
	}
	w.everywhere("day rows available", func(in *Institution) bool { return in.Index().Counts().Available >= len(pointers) })
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
