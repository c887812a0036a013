package privacy

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/wearable"
)

// totalsOf sums readings in units of the resolution, times over.
func totalsOf(t testing.TB, key string, times int64, units ...int64) (wearable.Metric, Totals) {
	t.Helper()
	m, ok := wearable.ByKey(key)
	if !ok {
		t.Fatalf("no metric %s", key)
	}
	var codes []uint16
	for _, u := range units {
		c, ok := m.Code(u)
		if !ok {
			t.Fatalf("%d is out of range", u)
		}
		codes = append(codes, c)
	}
	h, err := V1().Stats(m, codes)
	if err != nil {
		t.Fatal(err)
	}
	h.N, h.Sum, h.SumSq = h.N*times, h.Sum*times, h.SumSq*times
	for i := range h.Buckets {
		h.Buckets[i] *= times
	}
	return m, Totals{h}
}

// TestExactReleaseIsPlainArithmetic: sums are not centred, quotients are those of
// the readings in the metric's unit.
func TestExactReleaseIsPlainArithmetic(t *testing.T) {
	m, totals := totalsOf(t, "body_temp", 1, 365, 368, 371, 450)
	r, err := V1().Release(m.Slot, totals, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	sum, squares := int64(365+368+371+450), int64(365*365+368*368+371*371+450*450)
	if r.N != 4 || r.Sum != sum || r.SumSq != squares {
		t.Errorf("n %d, sum %d, sum of squares %d", r.N, r.Sum, r.SumSq)
	}
	mean := float64(sum) / 40
	variance := float64(4*squares-sum*sum) / 1600
	if r.Mean != mean || r.Variance != variance {
		t.Errorf("mean %v, want %v; variance %v, want %v", r.Mean, mean, r.Variance, variance)
	}
	if !r.Exact || !r.Defined || r.MeanSD != 0 || r.MeanTooNoisy || r.Counts[15] != 1 {
		t.Errorf("release %+v", r)
	}
	n := int64(0)
	for _, c := range r.Counts {
		n += c
	}
	if n != 4 || r.Edges[0] != "30.0" && r.Edges[0] != "30" {
		t.Errorf("counts %v, edges %v", r.Counts, r.Edges)
	}
}

// TestNoReadingsHaveNoMean: an empty release is one, without dividing by zero.
func TestNoReadingsHaveNoMean(t *testing.T) {
	r, err := V1().Release(0, Totals{}, nil, 3)
	if err != nil || r.Defined || r.Mean != 0 {
		t.Errorf("%+v (%v)", r, err)
	}
	if !strings.Contains(r.Text(), "unknown") {
		t.Errorf("text %q", r.Text())
	}
}

// TestImpossibleExactTotalsAreRefused: sums that no readings have mean that rows
// and shares do not belong together.
func TestImpossibleExactTotalsAreRefused(t *testing.T) {
	for name, h := range map[string]HourStats{
		"negative n":        {N: -1},
		"negative bucket":   {N: 1, Buckets: [Buckets]int64{-1}},
		"last bucket":       {N: 1, Buckets: [Buckets]int64{1, 1}},
		"sum":               {N: 10, Sum: 1001, SumSq: 100_000},
		"squares":           {N: 10, SumSq: 100_001},
		"negative variance": {N: 10, Sum: 100, SumSq: 999},
	} {
		if _, err := V1().Release(0, Totals{h}, nil, 3); err == nil {
			t.Errorf("%s: released", name)
		}
	}
}

// goal is the cohort that the privacy budget was sized for: 200 patients, 24
// hours, nine minutes in ten covered, rho = 0.66, noise of three pieces.
func goal(t testing.TB) (wearable.Metric, Totals, *Plan) {
	t.Helper()
	m, totals := totalsOf(t, "heart_rate", 200*24*9, 62, 70, 74, 80, 90, 100)
	plan, err := V1().Plan(m.Slot, 24, 660_000)
	if err != nil {
		t.Fatal(err)
	}
	return m, totals, plan
}

// TestMeanIsUsefulAtTheGoal: the 95 % interval of the mean is within 3 beats.
func TestMeanIsUsefulAtTheGoal(t *testing.T) {
	m, totals, plan := goal(t)
	if totals.N != 200*24*54 {
		t.Fatalf("the cohort has %d readings", totals.N)
	}
	r, err := V1().Release(m.Slot, totals, plan, 3)
	if err != nil {
		t.Fatal(err)
	}
	if half := (r.MeanCI95[1] - r.MeanCI95[0]) / 2; half > 3 || half < 2 {
		t.Errorf("the interval is +-%.2f /min", half)
	}
	if r.MeanTooNoisy {
		t.Error("the mean is marked as too noisy")
	}
}

// TestIntervalsHoldWhatTheySay draws the noise of three pieces many times and
// counts how often intervals cover the truth; and compares every standard
// deviation with the spread.
func TestIntervalsHoldWhatTheySay(t *testing.T) {
	m, totals, plan := goal(t)
	truth, err := V1().Release(m.Slot, totals, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	const times = 1500
	covered := 0
	spread := map[string]float64{}
	var r Release
	for i := range times {
		noisy := withNoise(t, totals, plan, 3, i)
		if r, err = V1().Release(m.Slot, noisy, plan, 3); err != nil {
			t.Fatal(err)
		}
		if r.MeanCI95[0] <= truth.Mean && truth.Mean <= r.MeanCI95[1] {
			covered++
		}
		for name, d := range map[string]float64{
			"n": float64(r.N - truth.N), "sum": float64(r.Sum - truth.Sum), "sum_sq": float64(r.SumSq - truth.SumSq),
			"mean": r.Mean - truth.Mean, "variance": r.Variance - truth.Variance,
			"count": float64(r.Counts[4] - truth.Counts[4]), "last count": float64(r.Counts[15] - truth.Counts[15]),
		} {
			spread[name] += d * d / times
		}
	}
	if share := float64(covered) / times; math.Abs(share-0.95) > 0.02 {
		t.Errorf("intervals of 95 %% cover the mean in %.1f %%", 100*share)
	}
	ideal, err := V1().Release(m.Slot, totals, plan, 3)
	if err != nil {
		t.Fatal(err)
	}
	for name, sd := range map[string]float64{
		"n": ideal.NSD, "sum": ideal.SumSD, "sum_sq": ideal.SumSqSD, "mean": ideal.MeanSD, "variance": ideal.VarianceSD,
		"count": ideal.CountsSD[4], "last count": ideal.CountsSD[15],
	} {
		if got := math.Sqrt(spread[name]); math.Abs(got/sd-1) > 0.1 {
			t.Errorf("%s: spread %.4g, standard deviation %.4g", name, got, sd)
		}
	}
}

// withNoise adds the noise of all pieces.
func withNoise(t testing.TB, totals Totals, plan *Plan, pieces, seed int) Totals {
	t.Helper()
	for piece := range pieces {
		for _, f := range V1().Fields(plan.Slot) {
			x, err := SampleDiscreteGaussian(stream(fmt.Sprint(seed, piece, f.Name)), plan.Variance(f.Kind))
			if err != nil {
				t.Fatal(err)
			}
			totals.set(f, totals.value(f)+x.Int64())
		}
	}
	return totals
}

// TestDrownedFiguresAreMarked: three patients under the same noise give nothing,
// and the text says so.
func TestDrownedFiguresAreMarked(t *testing.T) {
	m, totals := totalsOf(t, "heart_rate", 3*24*9, 62, 70, 74, 80, 90, 100)
	plan, err := V1().Plan(m.Slot, 24, 660_000)
	if err != nil {
		t.Fatal(err)
	}
	r, err := V1().Release(m.Slot, withNoise(t, totals, plan, 3, 1), plan, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !r.MeanTooNoisy || !r.VarianceTooNoisy || !r.CountsTooNoisy || !strings.Contains(r.Text(), TooNoisy) {
		t.Errorf("%+v\n%s", r, r.Text())
	}
	if r, err = V1().Release(m.Slot, Totals{HourStats{N: -40}}, plan, 3); err != nil || r.Defined || !r.MeanTooNoisy {
		t.Errorf("a negative number of readings: %+v (%v)", r, err)
	}
	if _, err := V1().Release(1, totals, plan, 3); err == nil {
		t.Error("released with the plan of another metric")
	}
}

// TestRoundingIsHonest: digits below the noise are not shown.
func TestRoundingIsHonest(t *testing.T) {
	for _, c := range []struct {
		value, sd float64
		want      string
	}{
		{72.41873, 1.4837, "72.4"},
		{72.41873, 0.01234, "72.419"},
		{259213, 3236.4, "259200"},
		{-4, 123, "0"},
		{-0.001, 3, "0.0"},
		{87.18300653594771, 0, "87.18300653594771"},
		{12, 12, "12"},
		{1234567, 99999, "1235000"},
	} {
		if got := Round(c.value, c.sd); got != c.want {
			t.Errorf("%v with %v prints as %s, want %s", c.value, c.sd, got, c.want)
		}
	}
}

// TestEpsilonIsTheKnownConversion: rho = 0.66 at delta = 10^-6.
func TestEpsilonIsTheKnownConversion(t *testing.T) {
	loose := 0.66 + 2*math.Sqrt(0.66*math.Log(1e6)) // Bun and Steinke 2016
	if got := Epsilon(660_000, 1e-6); math.Abs(got-6.114) > 0.001 || got > loose {
		t.Errorf("epsilon %v, want 6.114, and less than %v", got, loose)
	}
	if !math.IsInf(Epsilon(1, 0), 1) || !math.IsInf(Epsilon(1, 1), 1) {
		t.Error("delta out of range has a finite epsilon")
	}
}

// TestRootIsCorrectlyRounded: square roots of exact quotients.
func TestRootIsCorrectlyRounded(t *testing.T) {
	for _, x := range []int64{0, 1, 2, 4, 1 << 60, 999_999_937} {
		if got := root(big.NewRat(x, 1)); got != math.Sqrt(float64(x)) {
			t.Errorf("root of %d is %v", x, got)
		}
	}
}
