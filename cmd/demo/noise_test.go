package demo

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/wearable"
)

// TestNoisyAnswersStateTheirNoise runs made-up people with privacy noise on. The
// full size is the demo's own: 200 people over 24 hours.
func TestNoisyAnswersStateTheirNoise(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole demo")
	}
	o := Options{People: 24, Hours: 3, Unit: UnitMinute}
	full := os.Getenv("VITALVEIL_SOAK") != ""
	if full {
		o = Options{Unit: UnitMinute}
	}
	r, out, w := runDemo(t, o)
	if r.Noise != "on" || len(r.Metrics) != len(wearable.Vitals()) {
		t.Fatalf("noise %s, %d metrics\n%s", r.Noise, len(r.Metrics), out)
	}
	truth := truthOf(w)
	rho := 0.0
	for key, m := range r.Metrics {
		rho += m.Rho
		checkNoisy(t, key, m, truth[key])
	}
	if math.Abs(rho-2.5) > 1e-9 {
		t.Errorf("all answers cost rho = %v, want 2.5", rho)
	}
	if full {
		ci := r.Metrics["heart_rate"].Interval95
		if half := (ci[1] - ci[0]) / 2; half > 3.3 {
			t.Errorf("the mean heart rate is known to +-%.2f /min, want about 3", half)
		}
		t.Logf("heart rate %v, %d ms, %d MB", *ci, r.Cost.TotalMillis, r.Cost.PeakRSSMB)
	}
}

// figures are the true statistics of one metric over everybody who is counted.
type figures struct{ n, sum, sumSq float64 }

// truthOf counts what the people lived through, minute by minute.
func truthOf(w *world) map[string]figures {
	out := map[string]figures{}
	for _, p := range w.people {
		if w.extra(p) {
			continue
		}
		for _, m := range wearable.Vitals() {
			f := out[m.Key]
			for _, x := range minutesOf(p, m) {
				f.n, f.sum, f.sumSq = f.n+1, f.sum+x, f.sumSq+x*x
			}
			out[m.Key] = f
		}
	}
	return out
}

// minutesOf is one person's minute values in units of the resolution.
func minutesOf(p *person, m wearable.Metric) []float64 {
	sums, counts := map[int64]float64{}, map[int64]float64{}
	for _, s := range p.Samples {
		if s.Slot == m.Slot && m.InRange(s.Value) {
			sums[s.Unix/60] += s.Value.Float64() / m.Resolution.Float64()
			counts[s.Unix/60]++
		}
	}
	var out []float64
	for minute, sum := range sums {
		out = append(out, math.Round(sum/counts[minute]))
	}
	return out
}

// checkNoisy wants every figure to state a standard deviation, and to be within
// six of them of the truth and not exactly at it.
func checkNoisy(t *testing.T, key string, m MetricReport, truth figures) {
	t.Helper()
	if m.Sd == nil || m.Sd.N <= 0 || m.Sd.Sum <= 0 || m.Sd.SumSq <= 0 || slices.Min(m.Sd.Counts) <= 0 {
		t.Fatalf("%s does not state its noise: %+v", key, m.Sd)
	}
	off := 0
	for _, f := range []struct {
		name      string
		got       float64
		want, dev float64
	}{
		{"n", number64(t, m.N), truth.n, m.Sd.N},
		{"sum", number64(t, m.Sum), truth.sum, m.Sd.Sum},
		{"sum_sq", number64(t, m.SumSq), truth.sumSq, m.Sd.SumSq},
	} {
		if math.Abs(f.got-f.want) > 6*f.dev {
			t.Errorf("%s %s: %v is more than six standard deviations (%v) from %v", key, f.name, f.got, f.dev, f.want)
		}
		if f.got != f.want {
			off++
		}
	}
	if off == 0 {
		t.Errorf("%s has no noise at all", key)
	}
	sum := 0.0
	for _, c := range m.Histogram.Counts {
		sum += number64(t, c)
	}
	if sum != number64(t, m.N) {
		t.Errorf("%s: the counts add up to %v, n is %s", key, sum, m.N)
	}
}

func number64(t *testing.T, n json.Number) float64 {
	t.Helper()
	f, err := n.Float64()
	if err != nil {
		t.Fatal(err)
	}
	return f
}
