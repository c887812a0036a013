package institution

import (
	"math"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

const (
	pairKey   = "heart_rate*resp_rate"
	strataKey = "heart_rate@stratum"
)

// newPairWorld is a network whose rows are vitals-v2, with n patients who have
// breathing measured in two minutes of three and are in three strata.
func newPairWorld(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t, func(g *record.Genesis) { g.Schema = privacy.V2().Digest() })
	w.metrics = []string{"heart_rate", "resp_rate"}
	w.hour = func(i int, h int64) privacy.Hour {
		out := consortium.HeartRates(i, h)
		breaths := make([]uint16, 60)
		for minute, heart := range out.Codes[0] {
			if minute%3 != 1 {
				breaths[minute] = 8 + heart/8 + uint16(minute%5)
			}
		}
		out.Codes[2], out.Stratum = breaths, i%3
		return out
	}
	w.enrol(n)
	w.measure()
	return w
}

func (w *world) pairStudy(id string, exact bool, keys ...string) {
	w.Helper()
	s := record.Study{ID: id, Title: "Two at a time", Purpose: "HRESCH", Metrics: keys, From: firstHour, Until: firstHour + 1000, MinCohort: 11, Exact: exact}
	if !exact {
		s.Budget = 10_000_000
	}
	w.submit(hospitalA, contracts.StudyCreate, s)
}

func about(study, key string, rho uint64) record.Ask {
	return record.Ask{Study: study, Metric: key, From: firstHour, Until: firstHour + dayHours, Rho: rho}
}

// both goes through the minutes with two values of everybody who has rows.
func (w *world) both(visit func(stratum int, x, y int64)) {
	heart, _ := wearable.ByKey("heart_rate")
	breath, _ := wearable.ByKey("resp_rate")
	for i := range w.patients {
		for h := range w.hours {
			if i == 1 && h == 1 {
				continue // measure leaves it out
			}
			hour := w.hour(i, h)
			for minute := range 60 {
				x, y := hour.Codes[0][minute], hour.Codes[2][minute]
				if x != 0 && y != 0 {
					visit(hour.Stratum, heart.Units(x), breath.Units(y))
				}
			}
		}
	}
}

// TestExactPairGivesTheProductsOfTheReadings: through contracts, cohorts, shares
// and release, against a computation that uses none of them; and the answer is
// what the ledger's hash covers.
func TestExactPairGivesTheProductsOfTheReadings(t *testing.T) {
	w := newPairWorld(t, 12)
	w.pairStudy("pairs", true, pairKey, "heart_rate")
	a, err := w.members[hospitalA].Ask(t.Context(), about("pairs", pairKey, 0))
	if err != nil {
		t.Fatal(err)
	}
	var want privacy.PairSums[int64]
	w.both(func(_ int, x, y int64) {
		want.N++
		want.SumX += x
		want.SumY += y
		want.SumSqX += x * x
		want.SumSqY += y * y
		want.SumXY += x * y
	})
	if a.Pair == nil || a.Pair.Sums != want || a.Cohort != 12 || !a.Pair.Exact {
		t.Fatalf("released %+v, want %+v", a.Pair, want)
	}
	n := float64(want.N)
	cov := float64(want.SumXY)/n - float64(want.SumX)/n*float64(want.SumY)/n
	vx := float64(want.SumSqX)/n - float64(want.SumX)/n*float64(want.SumX)/n
	if got := a.Pair.Slope.Value; math.Abs(got-cov/vx) > 1e-9 {
		t.Errorf("slope %v, want %v", got, cov/vx)
	}
	w.wait("release on the ledger", func() bool {
		q, err := w.members[hospitalB].Index().Query(a.QueryID)
		return err == nil && q.Release == a.Document().Digest(networkName)
	})
	changed := *a
	changed.Values = append([]int64(nil), a.Values...)
	changed.Values[5]++
	if changed.Document().Digest(networkName) == a.Hash {
		t.Error("the hash on the ledger does not cover the sum of products")
	}
	// What a pair has opened, a metric of it does not open again.
	_, err = w.members[hospitalA].Ask(t.Context(), about("pairs", "heart_rate", 0))
	wantFault(t, fault.TooFew, err)
}

// TestNoisyPairAndStrataAreWithinTheirIntervals: each opened figure is within six
// standard deviations of the readings, as the answer states them.
func TestNoisyPairAndStrataAreWithinTheirIntervals(t *testing.T) {
	w := newPairWorld(t, 12)
	w.pairStudy("pairs", false, pairKey, strataKey)
	a, err := w.members[hospitalA].Ask(t.Context(), about("pairs", pairKey, 1_400_000))
	if err != nil {
		t.Fatal(err)
	}
	n, xy := 0.0, 0.0
	w.both(func(_ int, x, y int64) { n++; xy += float64(x * y) })
	p := a.Pair
	if p.Exact || p.SDs.N <= 0 || math.Abs(float64(p.Sums.N)-n) > 6*p.SDs.N || math.Abs(float64(p.Sums.SumXY)-xy) > 6*p.SDs.SumXY {
		t.Errorf("released %+v, the readings have n %v and sum of products %v", p, n, xy)
	}
	if !p.Correlation.TooNoisy || !strings.Contains(p.Text(), privacy.TooNoisy) {
		t.Errorf("twelve patients have a correlation: %+v", p.Correlation)
	}
	if a, err = w.members[hospitalA].Ask(t.Context(), about("pairs", strataKey, 1_400_000)); err != nil {
		t.Fatal(err)
	}
	counts, sums := w.strata()
	for i, g := range a.Strata.Groups {
		if g.NSD <= 0 || math.Abs(float64(g.N)-counts[i]) > 6*g.NSD || math.Abs(float64(g.Sum)-sums[i]) > 6*g.SumSD {
			t.Errorf("%+v, the readings have n %v and sum %v", g, counts[i], sums[i])
		}
	}
}

// strata is the count and the sum of heart rates by stratum.
func (w *world) strata() ([9]float64, [9]float64) {
	var counts, sums [9]float64
	heart, _ := wearable.ByKey("heart_rate")
	for i := range w.patients {
		for h := range w.hours {
			if i == 1 && h == 1 {
				continue
			}
			hour := w.hour(i, h)
			for _, c := range hour.Codes[0] {
				if c != 0 {
					counts[hour.Stratum]++
					sums[hour.Stratum] += float64(heart.Units(c))
				}
			}
		}
	}
	return counts, sums
}

// TestAttackShareForExactStrata: a member gives no share of a metric by stratum
// without noise, whatever a contract may have let through.
func TestAttackShareForExactStrata(t *testing.T) {
	w := newPairWorld(t, 11)
	in := w.members[hospitalB]
	q := record.QueryState{ID: strings.Repeat("a", 64), Ask: about("pairs", strataKey, 0), Asker: msps[hospitalA], Exact: true}
	if _, err := in.question(q); fault.Of(err) != fault.Invalid {
		t.Errorf("an exact question by stratum: %v", err)
	}
	for _, key := range []string{"resp_rate*heart_rate", "heart_rate@age", ""} {
		q.Ask.Metric = key
		if _, err := in.question(q); fault.Of(err) != fault.Invalid {
			t.Errorf("question %q: %v", key, err)
		}
	}
}

// TestAMetricsReleaseHashDoesNotChange: the hash of a metric's release covers what
// it always did.
func TestAMetricsReleaseHashDoesNotChange(t *testing.T) {
	type before struct {
		Salt          record.ID
		Query         string
		Attempt       int
		Root          record.ID
		Size          int
		Rows          int64
		Metric        string
		Exact         bool
		N, Sum, SumSq int64
		Counts        []int64
	}
	a := Answer{QueryID: "q", Salt: record.ID{7}, Metric: metricKey, Cohort: 11, Rows: 33, Exact: true, Release: privacy.Release{N: 5, Sum: 400, SumSq: 32_100, Exact: true}}
	want := before{Salt: record.ID{7}, Query: "q", Size: 11, Rows: 33, Metric: metricKey, Exact: true, N: 5, Sum: 400, SumSq: 32_100, Counts: a.Release.Counts[:]}
	if a.Document().Digest(networkName) != record.Digest(record.DomainRelease, networkName, want) {
		t.Error("the hash of a metric's release is another one")
	}
}
