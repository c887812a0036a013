package demo

import (
	"math"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// pairFromCSV sums over the minutes in which a subject has both metrics.
func pairFromCSV(t *testing.T, dir, key string) privacy.PairSums[int64] {
	t.Helper()
	x, y, _ := strings.Cut(key, "*")
	grid, _ := gridFromCSV(t, dir)
	var s privacy.PairSums[int64]
	for c, a := range grid {
		b := grid[cell{c.subject, y, c.minute}]
		if c.metric != x || b == nil {
			continue
		}
		s.N++
		for to, v := range map[*int64]*big.Int{
			&s.SumX: a, &s.SumY: b, &s.SumSqX: new(big.Int).Mul(a, a), &s.SumSqY: new(big.Int).Mul(b, b), &s.SumXY: new(big.Int).Mul(a, b),
		} {
			*to += v.Int64()
		}
	}
	return s
}

func comparePairs(t *testing.T, r *Report, dir string, keys ...string) {
	t.Helper()
	for _, key := range keys {
		got, ok := r.Pairs[key]
		want := pairFromCSV(t, dir, key)
		if !ok || got.Sums != want || want.N == 0 {
			t.Errorf("%s: released %+v, want %+v", key, got.Sums, want)
			continue
		}
		x, y, _ := strings.Cut(key, "*")
		mx, _ := wearable.ByKey(x)
		my, _ := wearable.ByKey(y)
		n, rx, ry := float64(want.N), mx.Resolution.Float64(), my.Resolution.Float64()
		cov := (float64(want.SumXY) - float64(want.SumX)*float64(want.SumY)/n) / n * rx * ry
		if math.Abs(got.Covariance.Value-cov) > 1e-6*(1+math.Abs(cov)) {
			t.Errorf("%s: covariance %v, want %v", key, got.Covariance.Value, cov)
		}
	}
}

// TestExactPairsEqualAnIndependentComputation: through sensors, bridges, ledger
// and institutions, on rows of vitals-v2; on recordings of real people where they
// are, on awkward made-up ones elsewhere, and on both in the long form.
func TestExactPairsEqualAnIndependentComputation(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole demo")
	}
	recorded := filepath.Join("..", "..", "..", "shared", "data", "vitals", "bidmc")
	_, err := os.Stat(recorded)
	t.Run("recorded", func(t *testing.T) {
		if err != nil {
			t.Skipf("SKIPPED: recorded vitals are not beside this checkout (%v)", err)
		}
		exactPairs(t, recorded, "spo2", "heart_rate*resp_rate")
	})
	t.Run("made up", func(t *testing.T) {
		if err == nil && os.Getenv("VITALVEIL_SOAK") == "" {
			t.Skip("the recorded vitals were compared")
		}
		exactPairs(t, madeUp(t), "pulse_rate", "heart_rate*spo2", "bp_systolic*bp_diastolic")
	})
}

func exactPairs(t *testing.T, dir, metric string, pairs ...string) {
	t.Helper()
	r, _, w := runDemo(t, Options{Replay: dir, Exact: true, Schema: "vitals-v2", Ask: append(pairs, metric)})
	comparePairs(t, r, dir, pairs...)
	if len(r.Metrics) != 1 || len(r.Pairs) != len(pairs) || r.Cost.RowBytes != 2491 {
		t.Errorf("%d metrics, %d pairs, rows of %d bytes", len(r.Metrics), len(r.Pairs), r.Cost.RowBytes)
	}
	compareMetric(t, metric, r.Metrics[metric], fromCSV(t, dir)[metric])
	checkVerifies(t, w.dir)
}

// TestNoisyGroupsStateTheirNoise: synthetic people in all strata; sums are within
// six standard deviations of the minutes that they lived through.
func TestNoisyGroupsStateTheirNoise(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a whole demo")
	}
	const people, hours = 18, 2
	r, out, _ := runDemo(t, Options{People: people, Hours: hours, Schema: "vitals-v2"})
	schema := privacy.V2()
	for _, q := range schema.Questions()[schema.Slots():] {
		_, pair := r.Pairs[q.Key]
		_, group := r.Groups[q.Key]
		if _, refused := r.Refused[q.Key]; !pair && !group && !refused {
			t.Errorf("%s is neither answered nor refused", q.Key)
		}
	}
	counts := minutesByStratum(recording.Synthesize(people, hours), "heart_rate")
	got := r.Groups["heart_rate@stratum"]
	if len(got.Groups) != len(schema.Strata()) || got.Cohort != people || got.Rho != 0.05 {
		t.Fatalf("groups %+v", got)
	}
	for _, g := range got.Groups {
		if want := counts[g.Stratum]; g.NSD <= 0 || math.Abs(float64(g.N)-want) > 6*g.NSD {
			t.Errorf("%s: %d readings with a deviation of %.0f, want %.0f", g.Stratum, g.N, g.NSD, want)
		}
		if !g.Mean.TooNoisy {
			t.Errorf("%s: two patients have a mean: %+v", g.Stratum, g.Mean)
		}
	}
	p := r.Pairs["heart_rate*resp_rate"]
	if p.Exact || p.SDs.SumXY <= 0 || !p.Correlation.TooNoisy || p.Cohort != people {
		t.Errorf("pair %+v", p)
	}
	if !strings.Contains(strings.ToLower(out), "female_18_44") || !strings.Contains(out, privacy.TooNoisy) {
		t.Errorf("what the hospital learned shows no strata:\n%s", out)
	}
}

func minutesByStratum(src *recording.Source, key string) map[string]float64 {
	m, _ := wearable.ByKey(key)
	counts := map[string]float64{}
	for i, s := range src.People {
		minutes := map[int64]bool{}
		for _, x := range s.Samples {
			if x.Slot == m.Slot && m.InRange(x.Value) {
				minutes[wearable.MinuteOf(x.Unix)+1440*wearable.DayOf(x.Unix)] = true
			}
		}
		counts[stratumOf(s, i)] += float64(len(minutes))
	}
	return counts
}

// TestUnknownQuestionsAreRefusedBeforeAnythingStarts: a run is for what its rows
// carry.
func TestUnknownQuestionsAreRefusedBeforeAnythingStarts(t *testing.T) {
	for _, o := range []Options{
		{Schema: "vitals-v0"}, {Ask: []string{"heart_rate*spo2"}}, {Schema: "vitals-v2", Ask: []string{"spo2*heart_rate"}},
	} {
		if _, err := schemaOf(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if s, err := schemaOf(Options{Schema: "vitals-v2", Ask: []string{"heart_rate*spo2", "spo2@stratum"}}); err != nil || !slices.Equal(s.Strata(), privacy.V2().Strata()) {
		t.Errorf("%v", err)
	}
}
