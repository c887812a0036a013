package privacy

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/wearable"
)

// coverage counts how often a figure's intervals hold what they should.
type coverage map[string]struct{ held, of int }

func (c coverage) add(figure string, ci [2]float64, truth float64) {
	got := c[figure]
	got.of++
	if ci[0]-1e-9 <= truth && truth <= ci[1]+1e-9 {
		got.held++
	}
	c[figure] = got
}

// usualRate is the mean of the people whom simulated cohorts are drawn from.
const usualRate = 78

// madeUpPeople are people with a usual heart rate of their own, some of whose days are
// missing: the sums of their days, and the days' means in order.
func madeUpPeople(r *rand.Rand, b *block, people, days int64) (PersonSums, []float64) {
	var total PersonSums
	var means []float64
	p := b.x.person
	for range people {
		usual, there := usualRate+12*r.NormFloat64(), 0.94+0.06*r.Float64()
		if days > 1 {
			there = 0.3 + 0.7*r.Float64()
		}
		for range days {
			if r.Float64() > there {
				continue
			}
			x := usual
			if days > 1 {
				x += 6 * r.NormFloat64()
			}
			d := wearable.PersonDay{
				Mean: min(max(int64(math.Round(x)), p.Low), p.High), Below: r.Int64N(300), Above: r.Int64N(500),
				Low: min(max(int64(x)-10-r.Int64N(15), p.LowMin), p.LowMax), High: min(max(int64(x)+10+r.Int64N(40), p.HighMin), p.HighMax),
			}
			d.Within = 1000 - d.Below - d.Above
			for d.Bucket < wearable.Buckets-1 && d.Mean >= p.Edges[d.Bucket+1] {
				d.Bucket++
			}
			sums := b.x.sums(d)
			for _, f := range b.fields {
				*total.place(f) += *sums.place(f)
			}
			means = append(means, float64(d.Mean))
		}
	}
	slices.Sort(means)
	return total, means
}

// TestIntervalsCoverWhatTheySay: whatever interval is printed holds the true figure of
// the cohort, that of the population the mean of those from whom the cohort was drawn,
// in 93 to 99 of 100 cohorts. VITALVEIL_SOAK=1 simulates 4,000 of each kind.
func TestIntervalsCoverWhatTheySay(t *testing.T) {
	b := V3().Day().bySlot[0]
	for _, days := range []int64{1, 7} {
		for _, people := range []int64{20, 50, 100, 200, 500} {
			covered := map[string]coverage{}
			r := rand.New(rand.NewPCG(uint64(people), uint64(days)))
			runs := soak(150, 4000)
			for range runs {
				total, means := madeUpPeople(r, b, people, days)
				for _, rho := range []uint64{70_000, 280_000, 2_000_000} {
					for _, want := range []Want{WantMean | WantSpread, everything} {
						key := fmt.Sprintf("%d people, %d days, rho %.2f, %s", people, days, float64(rho)/micro, want)
						if covered[key] == nil {
							covered[key] = coverage{}
						}
						covered[key].simulate(t, r, b.x, total, means, PersonRelease{People: people, Days: days, Want: want}, rho)
					}
				}
			}
			for _, key := range slices.Sorted(maps.Keys(covered)) {
				covered[key].check(t, key, runs)
			}
		}
	}
}

// simulate releases a cohort once and notes which of the printed intervals hold.
func (c coverage) simulate(t *testing.T, r *rand.Rand, m *metric, total PersonSums, means []float64, ask PersonRelease, rho uint64) {
	s := V3().Day()
	b := s.bySlot[m.Slot]
	plan, err := s.PlanDays(m.Slot, ask.Want, ask.Days, rho)
	if err != nil {
		t.Fatal(err)
	}
	truth, got := ask, ask
	truth.Want, truth.Raw, got.Raw = everything, total, total
	newDays(m, &truth, nil, 3).figures()
	for _, f := range b.fields {
		if plan.has(f.Kind) {
			v, _ := plan.Variance(f.Kind).Float64()
			*got.Raw.place(f) += int64(math.Round(r.NormFloat64() * math.Sqrt(3*v)))
		}
	}
	newDays(m, &got, plan, 3).figures()
	for name, pair := range map[string][2]*PersonFigure{
		"person-days": {&got.PersonDays, &truth.PersonDays}, "mean": {got.Mean, truth.Mean}, "spread": {got.Spread, truth.Spread},
		"within": {got.Within, truth.Within}, "below": {got.Below, truth.Below}, "above": {got.Above, truth.Above},
		"low": {got.Low, truth.Low}, "high": {got.High, truth.High},
	} {
		if pair[0] != nil && !pair[0].TooNoisy {
			c.add(name, pair[0].CI95, pair[1].Value)
		}
	}
	if got.Population != nil && !got.Spread.TooNoisy {
		c.add("population", *got.Population, usualRate)
	}
	if h := got.Histogram; h != nil && h.Median != nil && !h.Median.TooNoisy {
		c.add("median", h.Median.CI95, means[(len(means)-1)/2])
	}
}

// check wants every figure that is printed often enough to say to hold as it should,
// but for what chance does to so many runs.
func (c coverage) check(t *testing.T, key string, runs int) {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		got := c[name]
		share := float64(got.held) / float64(got.of)
		t.Logf("%s: %s %.1f %% of %d", key, name, 100*share, got.of)
		chance := func(p float64) float64 { return 3.3 * math.Sqrt(p*(1-p)/float64(got.of)) }
		if got.of >= runs/10 && (share < 0.93-chance(0.93) || share > 0.99+chance(0.99)) {
			t.Errorf("%s: intervals of %s hold in %.1f %% of %d", key, name, 100*share, got.of)
		}
	}
}
