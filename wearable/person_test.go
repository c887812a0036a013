package wearable

import (
	"encoding/json"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPersonRangesAreConsistent(t *testing.T) {
	for _, m := range Vitals() {
		p, ok := m.Person()
		if !ok || !m.Vital() {
			t.Fatalf("%s is no vital sign", m.Key)
		}
		if p.Edges[0] != p.Low || p.Edges[Buckets] != p.High || !slices.IsSorted(p.Edges[:]) || len(slices.Compact(slices.Clone(p.Edges[:]))) != Buckets+1 {
			t.Errorf("%s: edges %v do not span %d..%d", m.Key, p.Edges, p.Low, p.High)
		}
		for _, b := range [][3]int64{
			{m.MinUnits(), p.Low, p.High},
			{p.Low, p.High, m.MaxUnits()},
			{p.Low, p.Centre, p.High},
			{p.LimitLow, p.LimitHigh, p.High},
			{m.MinUnits(), p.LowMin, p.LowMax},
			{p.LowMin, p.LowMax, m.MaxUnits()},
			{m.MinUnits(), p.HighMin, p.HighMax},
			{p.HighMin, p.HighMax, m.MaxUnits()},
		} {
			if b[0] > b[1] || b[1] > b[2] {
				t.Errorf("%s: %v do not ascend", m.Key, b)
			}
		}
		// The histogram of people shows the limits: whole buckets lie within them.
		if !slices.Contains(p.Edges[:], p.LimitLow) || p.LimitHigh < p.High && !slices.Contains(p.Edges[:], p.LimitHigh+1) {
			t.Errorf("%s: limits %d..%d are no edges of %v", m.Key, p.LimitLow, p.LimitHigh, p.Edges)
		}
		if p.Least < 1 || p.Print < 1 {
			t.Errorf("%s: least %d, print %d", m.Key, p.Least, p.Print)
		}
	}
}

func TestThingsHaveNoPersonDays(t *testing.T) {
	m, ok := ByKey("storage_temp")
	if !ok || m.Slot != 9 || m.MaxCode() != 601 || m.Vital() {
		t.Fatalf("storage_temp is %+v", m)
	}
	c := new(Column)
	c[0] = 1
	if d, ok := m.PersonDay(c); ok {
		t.Errorf("a thing has a person-day %+v", d)
	}
	if slices.ContainsFunc(Vitals(), func(v Metric) bool { return v.Key == m.Key }) {
		t.Error("a thing is among the vitals")
	}
}

// column puts values, in units of the resolution, into the first minutes of a day.
func column(t testing.TB, m Metric, values ...int64) *Column {
	t.Helper()
	c := new(Column)
	for i, v := range values {
		code, ok := m.Code(v)
		if !ok {
			t.Fatalf("%s: %d is out of range", m.Key, v)
		}
		c[i] = code
	}
	return c
}

func TestADayIsSummedUp(t *testing.T) {
	m, _ := ByKey("heart_rate")
	got, ok := m.PersonDay(column(t, m, 60, 61, 95, 50, 40, 60))
	// 366 / 6 = 61; two of six minutes are below 51, one is above 90.
	want := PersonDay{Mean: 61, Low: 40, High: 95, Below: 333, Within: 500, Above: 167, Bucket: 3}
	if !ok || got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestADayWithTooFewMinutesIsNone(t *testing.T) {
	for _, m := range Vitals() {
		p, _ := m.Person()
		values := slices.Repeat([]int64{p.Centre}, p.Least)
		if _, ok := m.PersonDay(column(t, m, values...)); !ok {
			t.Errorf("%s: %d minutes are no day", m.Key, p.Least)
		}
		if _, ok := m.PersonDay(column(t, m, values[1:]...)); ok {
			t.Errorf("%s: %d minutes are a day", m.Key, p.Least-1)
		}
		if _, ok := m.PersonDay(nil); ok {
			t.Errorf("%s: an empty day is one", m.Key)
		}
	}
}

func TestExtremesOfADayAreFivePercentFromItsEnds(t *testing.T) {
	m, _ := ByKey("bp_systolic")
	for _, c := range []struct{ n, low, high int64 }{{1, 100, 100}, {20, 100, 119}, {21, 101, 119}, {41, 102, 138}} {
		var values []int64
		for i := range c.n {
			values = append(values, 100+i)
		}
		if d, _ := m.PersonDay(column(t, m, values...)); d.Low != c.low || d.High != c.high {
			t.Errorf("%d minutes: %d and %d, want %d and %d", c.n, d.Low, d.High, c.low, c.high)
		}
	}
}

// TestPersonDaysFollowTheirDefinition computes them again, with rationals.
func TestPersonDaysFollowTheirDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.SampledFrom(Vitals()).Draw(t, "metric")
		p, _ := m.Person()
		values := rapid.SliceOfN(rapid.Int64Range(m.MinUnits(), m.MaxUnits()), p.Least, 300).Draw(t, "values")
		c := new(Column)
		sum := new(big.Rat)
		for i, v := range values {
			c[i], _ = m.Code(v)
			sum.Add(sum, new(big.Rat).SetInt64(v))
		}
		d, ok := m.PersonDay(c)
		if !ok {
			t.Fatal("no day")
		}
		mean := sum.Quo(sum, new(big.Rat).SetInt64(int64(len(values))))
		off := new(big.Rat).Sub(mean, new(big.Rat).SetInt64(d.Mean))
		clipped := d.Mean == p.Low && off.Sign() < 0 || d.Mean == p.High && off.Sign() > 0
		if !clipped && off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Errorf("the mean is %s, not %d", mean, d.Mean)
		}
		if d.Below < 0 || d.Within < 0 || d.Above < 0 || d.Below+d.Within+d.Above != 1000 {
			t.Errorf("shares %d, %d, %d", d.Below, d.Within, d.Above)
		}
		if d.Low > d.High {
			t.Errorf("low %d, high %d", d.Low, d.High)
		}
		if p.Edges[d.Bucket] > d.Mean || d.Mean > p.Edges[d.Bucket+1] || d.Mean == p.Edges[d.Bucket+1] && d.Bucket != Buckets-1 {
			t.Errorf("%d is in bucket %d", d.Mean, d.Bucket)
		}
	})
}

// TestSharesAreNeverNegative: rounded one by one, a day with nothing within the limits
// could have a share of -1.
func TestSharesAreNeverNegative(t *testing.T) {
	m, _ := ByKey("heart_rate")
	p, _ := m.Person()
	for n := p.Least; n <= MinutesPerDay; n++ {
		c := new(Column)
		low, _ := m.Code(p.LimitLow - 1)
		high, _ := m.Code(p.LimitHigh + 1)
		for i := range n {
			c[i] = low
			if i%2 == 0 {
				c[i] = high
			}
		}
		if d, _ := m.PersonDay(c); d.Within != 0 || d.Below < 0 || d.Above < 0 || d.Below+d.Above != 1000 {
			t.Fatalf("%d minutes: %+v", n, d)
		}
	}
}

func TestMetricsJSONShowsPersons(t *testing.T) {
	text, err := MetricsJSON()
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Key    string
		Person *map[string]any
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Key == "storage_temp" {
			if m.Person != nil {
				t.Errorf("a thing has %v", *m.Person)
			}
			continue
		}
		if m.Person == nil || len(*m.Person) != 12 {
			t.Fatalf("%s has %v", m.Key, m.Person)
		}
	}
	spo2 := *list[3].Person
	for name, want := range map[string]string{"min": "85", "max": "100", "centre": "95", "limit_low": "92", "least": "5", "low_min": "60", "print": "0.8"} {
		if spo2[name] != want {
			t.Errorf("spo2 %s is %v, want %s", name, spo2[name], want)
		}
	}
}
