package privacy

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/wearable"
)

// release sums readings as hours of at most 60 and releases them exactly.
func exactRelease(t rapid.TB, m wearable.Metric, codes []uint16) (Release, Totals) {
	t.Helper()
	var totals Totals
	for hour := range slices.Chunk(codes, MinutesPerRow) {
		h, err := V1().Stats(m, hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range V1().Fields(m.Slot) {
			totals.set(f, totals.value(f)+h.value(f))
		}
	}
	r, err := V1().Release(m.Slot, totals, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	return r, totals
}

// trueQuantile picks it from the sorted readings, in units, with the rank computed
// in whole numbers: q is num/1000.
func trueQuantile(units []int64, num int) int64 {
	sorted := slices.Sorted(slices.Values(units))
	rank := (len(sorted)*num + 999) / 1000
	return sorted[max(rank, 1)-1]
}

// inside reports whether a value in units lies in [low, high), or in [low, high] at
// the end of the range.
func inside(t rapid.TB, m wearable.Metric, units int64, low, high string) bool {
	t.Helper()
	edge := func(s string) *big.Rat {
		d, err := wearable.ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		return d.Rat()
	}
	v := m.Value(units).Rat()
	return v.Cmp(edge(low)) >= 0 && (v.Cmp(edge(high)) < 0 || units == m.MaxUnits() && v.Cmp(edge(high)) == 0)
}

// TestExactQuantilesHoldTheTrueOnes: for any readings of any metric and any q, the
// interval is one bucket and the quantile of the raw readings is in it.
func TestExactQuantilesHoldTheTrueOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(wearable.Vitals()).Draw(t, "metric")
		codes := rapid.SliceOfN(rapid.Uint16Range(1, m.MaxCode()), 1, 150).Draw(t, "codes")
		var units []int64
		for _, c := range codes {
			units = append(units, m.Units(c))
		}
		num := rapid.IntRange(0, 1000).Draw(t, "q in thousandths")
		r, _ := exactRelease(t, m, codes)
		low, high, ok := r.Quantile(float64(num) / 1000)
		want := trueQuantile(units, num)
		if !ok || !inside(t, m, want, low, high) {
			t.Fatalf("%s: quantile %d/1000 is %v, the interval is [%s, %s) (%v)", m.Key, num, m.Value(want), low, high, ok)
		}
		first, last, _ := r.quantileBuckets(float64(num) / 1000)
		if first != last {
			t.Fatalf("an exact interval spans buckets %d to %d", first, last)
		}
	})
}

// TestMinimumAndMaximum: q = 0 and q = 1 find the first and last bucket with a
// reading.
func TestMinimumAndMaximum(t *testing.T) {
	m, totals := totalsOf(t, "heart_rate", 1, 62, 64, 71, 220)
	r, err := V1().Release(m.Slot, totals, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"minimum   60..65 /min\n", "median    60..65 /min\n", "maximum   170..220 /min\n"} {
		if !strings.Contains(r.Text(), line) {
			t.Errorf("the text does not say %q:\n%s", line, r.Text())
		}
	}
	for q, want := range map[float64][2]string{0: {"60", "65"}, 0.25: {"60", "65"}, 0.5: {"60", "65"}, 0.51: {"70", "75"}, 0.75: {"70", "75"}, 1: {"170", "220"}} {
		if low, high, ok := r.Quantile(q); !ok || low != want[0] || high != want[1] {
			t.Errorf("quantile %v is [%s, %s) (%v), want %v", q, low, high, ok, want)
		}
	}
}

// TestQuantileIsOfTheDecimalNumber: a tenth of ten readings is one reading, although
// the binary number 0.1 is a little more than a tenth.
func TestQuantileIsOfTheDecimalNumber(t *testing.T) {
	m, totals := totalsOf(t, "heart_rate", 1, 30, 52, 57, 62, 67, 72, 77, 82, 87, 95)
	r, err := V1().Release(m.Slot, totals, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 10; i++ {
		q, err := strconv.ParseFloat(fmt.Sprintf("0.%d", i%10), 64)
		if err != nil || i == 10 {
			q = 1
		}
		if _, _, ok := r.Quantile(q); !ok {
			t.Fatalf("no quantile %v", q)
		}
		if first, _, _ := r.quantileBuckets(q); r.Counts[first] != 1 || first != []int{0, 2, 3, 4, 5, 6, 7, 8, 9, 10}[i-1] {
			t.Errorf("quantile %v is in bucket %d", q, first)
		}
	}
}

// TestQuantilesThatAreNotThere: no readings, or no such q.
func TestQuantilesThatAreNotThere(t *testing.T) {
	m, totals := totalsOf(t, "heart_rate", 1, 62)
	one, err := V1().Release(m.Slot, totals, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	none, err := V1().Release(m.Slot, Totals{}, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := none.Quantile(0.5); ok {
		t.Error("a median of no readings")
	}
	if _, _, ok := (Release{}).Quantile(0.5); ok {
		t.Error("a median of nothing")
	}
	for _, q := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1), math.Inf(-1)} {
		if low, high, ok := one.Quantile(q); ok || low != "" || high != "" {
			t.Errorf("there is a quantile %v", q)
		}
	}
}

// TestNoisyQuantilesHoldTheTrueOnes: over many draws of the noise of three pieces,
// the interval holds the quantile of the raw readings as often as it says, and is
// not so wide that this is no merit.
func TestNoisyQuantilesHoldTheTrueOnes(t *testing.T) {
	m, ok := wearable.ByKey("heart_rate")
	if !ok {
		t.Fatal("no heart rate")
	}
	random := rand.New(rand.NewPCG(7, 7))
	var codes []uint16
	var units []int64
	for range 100_000 {
		c, ok := m.Code(int64(math.Round(min(max(76+14*random.NormFloat64(), 20), 220))))
		if !ok {
			t.Fatal("out of range")
		}
		codes, units = append(codes, c), append(units, m.Units(c))
	}
	_, totals := exactRelease(t, m, codes)
	plan, err := V1().Plan(m.Slot, 1, 660_000)
	if err != nil {
		t.Fatal(err)
	}
	const times = 400
	for _, num := range []int{50, 250, 500, 501, 900} {
		q, want := float64(num)/1000, trueQuantile(units, num)
		covered, shown, span := 0, 0, 0
		for i := range times {
			r, err := V1().Release(m.Slot, withNoise(t, totals, plan, 3, 1_000_000*num+i), plan, 3)
			if err != nil {
				t.Fatal(err)
			}
			first, last, ok := r.quantileBuckets(q)
			if low, high := r.Edges[first], r.Edges[last+1]; inside(t, m, want, low, high) {
				covered++
			}
			if ok {
				shown++
			}
			span += last - first + 1
		}
		if share := float64(covered) / times; share < 0.93 {
			t.Errorf("quantile %v: intervals hold it in %.1f %%", q, 100*share)
		}
		if shown != times || float64(span)/times > 2.5 {
			t.Errorf("quantile %v: %d of %d shown, %.2f buckets on average", q, shown, times, float64(span)/times)
		}
	}
}

// TestNoisyQuantilesAtABoundary puts the quantile where the coverage is worst: the
// cumulative count reaches the rank exactly at the end of a bucket.
func TestNoisyQuantilesAtABoundary(t *testing.T) {
	m, totals := totalsOf(t, "heart_rate", 2000, 45, 52, 57, 62, 67, 72, 77, 82, 87, 95)
	plan, err := V1().Plan(m.Slot, 1, 660_000)
	if err != nil {
		t.Fatal(err)
	}
	const times = 2000
	covered := 0
	for i := range times {
		r, err := V1().Release(m.Slot, withNoise(t, totals, plan, 3, 50_000_000+i), plan, 3)
		if err != nil {
			t.Fatal(err)
		}
		if first, last, _ := r.quantileBuckets(0.5); first <= 5 && 5 <= last { // the fifth of ten readings, 67
			covered++
		}
	}
	if share := float64(covered) / times; share < 0.96 {
		t.Errorf("intervals hold the median in %.1f %%, at least 97.5 %% are expected", 100*share)
	}
}

// TestDrownedQuantilesAreRefused: few patients, or a maximum behind noise.
func TestDrownedQuantilesAreRefused(t *testing.T) {
	m, few := totalsOf(t, "heart_rate", 3*24*9, 62, 70, 74, 80, 90, 100)
	plan, err := V1().Plan(m.Slot, 24, 660_000)
	if err != nil {
		t.Fatal(err)
	}
	r, err := V1().Release(m.Slot, withNoise(t, few, plan, 3, 1), plan, 3)
	if err != nil {
		t.Fatal(err)
	}
	if low, high, ok := r.Quantile(0.5); ok {
		t.Errorf("three patients have a median in [%s, %s)", low, high)
	}
	_, many, plan := goal(t)
	if r, err = V1().Release(m.Slot, withNoise(t, many, plan, 3, 1), plan, 3); err != nil {
		t.Fatal(err)
	}
	if low, high, ok := r.Quantile(1); ok {
		t.Errorf("noise lets a maximum through: [%s, %s)", low, high)
	}
	if low, high, ok := r.Quantile(0.5); !ok {
		t.Errorf("the median of the goal's cohort is too noisy: [%s, %s)", low, high)
	}
}
