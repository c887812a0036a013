package privacy

import (
	"math"
	"strings"
	"testing"
)

// TestForecastsOfPairsAndStrataAreKept: of as many people as a forecast says that it takes,
// the release has the interval that was promised.
func TestForecastsOfPairsAndStrataAreKept(t *testing.T) {
	s := V3().Day()
	const rho, pieces = 200_000, 3
	outlook := func(key string) (Question, Forecast, *Plan) {
		t.Helper()
		q, _ := s.Question(key)
		f, err := s.Forecast(q.Slot, WantMean, 200, 1, rho, pieces)
		if err != nil {
			t.Fatal(err)
		}
		if f, err = s.Forecast(q.Slot, WantMean, f.Need(0).People, 1, rho, pieces); err != nil || !f.Usable || f.Half < 0.95*f.Print {
			t.Fatalf("%s: of %d people +- %g (%v)", key, f.People, f.Half, err)
		}
		plan, err := s.PlanDays(q.Slot, WantMean, 1, rho)
		if err != nil {
			t.Fatal(err)
		}
		return q, f, plan
	}
	q, f, plan := outlook("heart_rate*resp_rate")
	if f.People < 1000 || f.Unit != "" {
		t.Errorf("a correlation is said to need %d people", f.People)
	}
	b, n := s.bySlot[q.Slot], f.People
	sx, sy := b.x.person.Spread, b.y.person.Spread
	totals := PairTotals{PairStats{N: n, SumSqX: n * sx * sx, SumSqY: n * sy * sy}}
	pair, err := s.ReleasePair(q.Slot, totals, plan, pieces)
	if err != nil || math.Abs(z95*pair.Correlation.SD/f.Half-1) > 0.1 {
		t.Errorf("a correlation to +- %g was promised, it is +- %g (%v)", f.Half, z95*pair.Correlation.SD, err)
	}
	q, f, plan = outlook("heart_rate@stratum")
	group := f.People / int64(len(s.strata))
	all := make([]StratumTotals, len(s.strata))
	for i := range all {
		all[i] = StratumTotals{N: group, Sum: group * s.bySlot[q.Slot].x.half / 4}
	}
	strata, err := s.ReleaseStrata(q.Slot, all, plan, pieces)
	if err != nil || math.Abs(z95*strata.Groups[0].Mean.SD/f.Half-1) > 0.1 {
		t.Errorf("each group's mean to +- %g was promised, it is +- %g (%v)", f.Half, z95*strata.Groups[0].Mean.SD, err)
	}
}

// TestAReleaseIsTextForPeople: what was asked has its interval, what was not is not there,
// and what noise has drowned says so.
func TestAReleaseIsTextForPeople(t *testing.T) {
	s := V3().Day()
	m, _ := s.metric(0)
	text := func(want Want, people int64, rho uint64) string {
		plan, err := s.PlanDays(0, want, 1, rho)
		if err != nil {
			t.Fatal(err)
		}
		r := PersonRelease{Unit: m.UCUM, People: people, Days: 1, Want: want, Raw: PersonSums{N: people, Sum: -people, SumSq: people * (100 - m.offset)}}
		r.Raw.Buckets[7] = people
		newDays(m, &r, plan, 3).figures()
		return r.Text()
	}
	all := text(WantAll, 500, 2_000_000)
	for _, line := range []string{"people       500", "person-days", "mean         8", "spread", "within", "below", "above", "5 % minute", "95 % minute", "median", "####", "worth as much"} {
		if !strings.Contains(all, line) {
			t.Errorf("%q is not in\n%s", line, all)
		}
	}
	if strings.Contains(all, "too noisy") {
		t.Errorf("too noisy:\n%s", all)
	}
	mean := text(WantMean, 20, 100)
	if strings.Contains(mean, "spread") || strings.Contains(mean, "within") || !strings.Contains(mean, "too noisy") {
		t.Errorf("a mean of 20 people at hardly any loss:\n%s", mean)
	}
}
