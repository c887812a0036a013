package privacy

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/wearable"
)

// slotOf finds a question of vitals-v2.
func slotOf(t testing.TB, key string) int {
	t.Helper()
	q, ok := V2().Question(key)
	if !ok {
		t.Fatalf("no question %s", key)
	}
	return q.Slot
}

// drawHour draws an hour of all nine metrics, many minutes missing.
func drawHour(t *rapid.T) map[int][]uint16 {
	codes := map[int][]uint16{}
	for _, m := range wearable.Vitals() {
		if rapid.Bool().Draw(t, "present") {
			codes[m.Slot] = drawCodes(t, m)
		}
	}
	return codes
}

// minutePair is the values of two metrics in one minute, in units.
type minutePair [2]int64

// pairsOf finds the minutes with both values by the plain definition.
func pairsOf(q Question, codes map[int][]uint16) []minutePair {
	x, _ := wearable.ByKey(q.Metrics[0])
	y, _ := wearable.ByKey(q.Metrics[1])
	var out []minutePair
	for i := range MinutesPerRow {
		if cx, cy := at(codes[x.Slot], i), at(codes[y.Slot], i); cx != 0 && cy != 0 {
			out = append(out, minutePair{x.Units(cx), y.Units(cy)})
		}
	}
	return out
}

// sumsOf are the sums of pairs that are not centred.
func sumsOf(pairs []minutePair) PairSums[int64] {
	var s PairSums[int64]
	for _, p := range pairs {
		s.N++
		s.SumX += p[0]
		s.SumY += p[1]
		s.SumSqX += p[0] * p[0]
		s.SumSqY += p[1] * p[1]
		s.SumXY += p[0] * p[1]
	}
	return s
}

// opened cuts a question's coefficients out of a summed row.
func opened(s *Schema, slot int, row []*big.Int) []*big.Int {
	var out []*big.Int
	for _, c := range s.MetricCoefficients(slot) {
		out = append(out, row[c])
	}
	return out
}

func addRow(sum []*big.Int, row []Payload) {
	for i, p := range row {
		sum[i].Add(sum[i], p.Big())
	}
}

func emptyRow(s *Schema) []*big.Int {
	sum := make([]*big.Int, s.Coefficients())
	for i := range sum {
		sum[i] = new(big.Int)
	}
	return sum
}

// TestHourRowsAddUpToTheReadings: for any hours of any devices, every question's
// part of the sum is what the readings say, computed from their definition.
func TestHourRowsAddUpToTheReadings(t *testing.T) {
	s := V2()
	rapid.Check(t, func(t *rapid.T) {
		sum := emptyRow(s)
		pairs := map[string][]minutePair{}
		strata := map[string][]StratumTotals{}
		for range rapid.IntRange(1, 4).Draw(t, "hours") {
			h := Hour{Codes: drawHour(t), Stratum: rapid.IntRange(0, len(s.Strata())-1).Draw(t, "stratum")}
			row, err := s.HourRow(h)
			if err != nil {
				t.Fatal(err)
			}
			addRow(sum, row)
			for _, q := range s.Questions() {
				switch q.Shape {
				case ShapePair:
					pairs[q.Key] = append(pairs[q.Key], pairsOf(q, h.Codes)...)
				case ShapeStrata:
					if strata[q.Key] == nil {
						strata[q.Key] = make([]StratumTotals, len(s.Strata()))
					}
					m, _ := wearable.ByKey(q.Metrics[0])
					for _, c := range h.Codes[m.Slot] {
						if c != 0 {
							strata[q.Key][h.Stratum].N++
							strata[q.Key][h.Stratum].Sum += m.Units(c) - s.Center(m.Slot)
						}
					}
				}
			}
		}
		for _, q := range s.Questions() {
			part := opened(s, q.Slot, sum)
			switch q.Shape {
			case ShapePair:
				r, err := s.Result(q.Slot, part, nil, 3)
				if err != nil || r.Pair.Sums != sumsOf(pairs[q.Key]) {
					t.Fatalf("%s: %+v, want %+v (%v)", q.Key, r.Pair, sumsOf(pairs[q.Key]), err)
				}
			case ShapeStrata:
				got, err := s.DecodeStrata(q.Slot, part)
				if err != nil || fmt.Sprint(got) != fmt.Sprint(strata[q.Key]) {
					t.Fatalf("%s: %v, want %v (%v)", q.Key, got, strata[q.Key], err)
				}
			}
		}
	})
}

// TestAdditionsCompleteAnHour: the row of an hour equals the sum of a row of some
// of its minutes and an addition of the others, pairs across both included; a
// minute is not sealed twice.
func TestAdditionsCompleteAnHour(t *testing.T) {
	s := V2()
	rapid.Check(t, func(t *rapid.T) {
		all, first, late := drawHour(t), map[int][]uint16{}, map[int][]uint16{}
		overlap := false
		for slot, codes := range all {
			first[slot], late[slot] = make([]uint16, len(codes)), make([]uint16, len(codes))
			for i, c := range codes {
				if rapid.Bool().Draw(t, "in time") {
					first[slot][i] = c
				} else {
					late[slot][i] = c
				}
				overlap = overlap || c != 0
			}
		}
		want, err := s.HourRow(Hour{Codes: all, Stratum: 3})
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.HourRow(Hour{Codes: first, Stratum: 3})
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.HourRow(Hour{Codes: late, Sealed: first, Stratum: 3})
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if a[i].Plus(b[i]) != want[i] {
				t.Fatalf("coefficient %d: the parts do not add up to the hour", i)
			}
		}
		if _, err := s.HourRow(Hour{Codes: all, Sealed: all}); overlap && err == nil {
			t.Fatal("minutes were sealed twice")
		}
	})
}

// TestOnlyTheOwnStratumIsFilled: in a row all strata but the patient's are zero.
func TestOnlyTheOwnStratumIsFilled(t *testing.T) {
	s := V2()
	own, err := s.Stratum("male_45_64")
	if err != nil {
		t.Fatal(err)
	}
	slot := slotOf(t, "spo2@stratum")
	packed, err := s.EncodeStratum(slot, own, HourStats{N: 60, Sum: 13_200, SumSq: 2_904_000})
	if err != nil {
		t.Fatal(err)
	}
	var coeffs []*big.Int
	for _, p := range packed {
		coeffs = append(coeffs, p.Big())
	}
	totals, err := s.DecodeStrata(slot, coeffs)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range totals {
		want := StratumTotals{}
		if i == own {
			want = StratumTotals{60, 13_200}
		}
		if got != want {
			t.Errorf("stratum %s holds %+v", s.Strata()[i], got)
		}
	}
	if i, err := s.Stratum(""); err != nil || s.Strata()[i] != Unstated {
		t.Errorf("nobody's stratum is %d (%v)", i, err)
	}
	for _, bad := range []string{"male_45_63", "unstated ", "Male_45_64"} {
		if _, err := s.Stratum(bad); err == nil {
			t.Errorf("%q is a stratum", bad)
		}
	}
	if _, err := s.EncodeStratum(slot, 9, HourStats{}); err == nil {
		t.Error("a tenth stratum was filled")
	}
}

// loss is what one minute's contribution costs a patient with hours of nothing but
// such minutes, in micro-zCDP.
func loss(t testing.TB, s *Schema, p *Plan, v []int64) float64 {
	t.Helper()
	sum := 0.0
	for i, f := range s.Fields(p.Slot) {
		variance, _ := new(big.Float).SetInt(p.Variance(f.Kind)).Float64()
		d := float64(v[i]) * float64(p.Hours*MinutesPerRow)
		sum += d * d / (2 * variance) * micro
	}
	return sum
}

// TestNoMinuteCostsMoreThanIsCharged goes through every pair of values of every
// pair, and through every value and stratum of every metric by stratum. Minutes
// add up and the root of the loss is a norm, so a patient whose every minute is
// the worst one is the worst patient.
func TestNoMinuteCostsMoreThanIsCharged(t *testing.T) {
	s := V2()
	for _, q := range s.Questions() {
		p, err := s.Plan(q.Slot, 24, 300_000)
		if err != nil {
			t.Fatal(err)
		}
		b := s.bySlot[q.Slot]
		worst := 0.0
		try := func(value func(Field) int64) {
			v := make([]int64, len(b.fields))
			for i, f := range b.fields {
				v[i] = value(f)
			}
			worst = max(worst, loss(t, s, p, v))
		}
		for x := uint16(1); x <= b.x.MaxCode(); x++ {
			switch q.Shape {
			case ShapeMetric:
				h, err := s.Stats(b.x.Metric, []uint16{x})
				if err != nil {
					t.Fatal(err)
				}
				try(h.value)
			case ShapePair:
				for _, y := range ends(b.y) {
					h, err := s.PairStats(q.Slot, []uint16{x}, []uint16{y})
					if err != nil {
						t.Fatal(err)
					}
					try(h.value)
				}
			case ShapeStrata:
				h, err := s.Stats(b.x.Metric, []uint16{x})
				if err != nil {
					t.Fatal(err)
				}
				for own := range s.strata {
					try(func(f Field) int64 {
						if f.Stratum != own {
							return 0
						}
						return h.value(f)
					})
				}
			}
		}
		if worst > float64(p.ChargeMicro) || worst < 0.95*float64(p.ChargeMicro) {
			t.Errorf("%s: the worst patient loses %.1f, the charge is %d", q.Key, worst, p.ChargeMicro)
		}
	}
}

// ends are the codes of a metric that a pair is tried with: all of them.
func ends(m *metric) []uint16 {
	out := make([]uint16, m.MaxCode())
	for i := range out {
		out[i] = uint16(i + 1)
	}
	return out
}

// TestNoNeighbourCostsMoreThanIsCharged: whole hours of random patients, strata
// that change on the way included, added to a cohort as HourRow packs them.
func TestNoNeighbourCostsMoreThanIsCharged(t *testing.T) {
	s := V2()
	rapid.Check(t, func(t *rapid.T) {
		hours := rapid.IntRange(1, 5).Draw(t, "hours")
		sum := emptyRow(s)
		for range hours {
			row, err := s.HourRow(Hour{Codes: drawHour(t), Stratum: rapid.IntRange(0, len(s.strata)-1).Draw(t, "stratum")})
			if err != nil {
				t.Fatal(err)
			}
			addRow(sum, row)
		}
		for _, q := range s.Questions() {
			p, err := s.Plan(q.Slot, int64(hours), 500_000)
			if err != nil {
				t.Fatal(err)
			}
			values, err := s.bySlot[q.Slot].unpack(opened(s, q.Slot, sum))
			if err != nil {
				t.Fatal(err)
			}
			lost := 0.0
			for i, f := range s.Fields(q.Slot) {
				variance, _ := new(big.Float).SetInt(p.Variance(f.Kind)).Float64()
				lost += float64(values[i]) * float64(values[i]) / (2 * variance) * micro
			}
			if lost > float64(p.ChargeMicro) {
				t.Fatalf("%s: a patient loses %.1f, the charge is %d", q.Key, lost, p.ChargeMicro)
			}
		}
	})
}

// TestAttackOverflowAtTheBounds: 5,000 rows whose every value is at an end of its
// range, and 2^30 of them, open exactly; noise that could carry a field beyond is
// refused before anything is opened.
func TestAttackOverflowAtTheBounds(t *testing.T) {
	s := V2()
	for _, high := range []bool{true, false} {
		codes := map[int][]uint16{}
		for _, m := range wearable.Vitals() {
			code := uint16(1)
			if high {
				code = m.MaxCode()
			}
			codes[m.Slot] = make([]uint16, MinutesPerRow)
			for i := range codes[m.Slot] {
				codes[m.Slot][i] = code
			}
		}
		row, err := s.HourRow(Hour{Codes: codes, Stratum: 8})
		if err != nil {
			t.Fatal(err)
		}
		one := emptyRow(s)
		addRow(one, row)
		for _, rows := range []int64{5000, 1 << RowBits} {
			sum := emptyRow(s)
			for i := range sum {
				sum[i].Mul(one[i], big.NewInt(rows))
			}
			for _, q := range s.Questions() {
				b := s.bySlot[q.Slot]
				single, err := b.unpack(opened(s, q.Slot, one))
				if err != nil {
					t.Fatal(err)
				}
				got, err := b.unpack(opened(s, q.Slot, sum))
				if err != nil {
					t.Fatalf("%s: %v", q.Key, err)
				}
				for i := range got {
					if got[i] != single[i]*rows {
						t.Errorf("%s, %d rows: field %s is %d, want %d", q.Key, rows, b.fields[i].Name, got[i], single[i]*rows)
					}
				}
			}
		}
	}
	for _, q := range s.Questions() {
		wild, err := s.Plan(q.Slot, MaxHours, 100)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Safe(1<<RowBits, wild, 64); err == nil {
			t.Errorf("%s: a full field with wide noise is called safe", q.Key)
		}
	}
}

// TestImpossiblePairsAreNotSealed: the clipping that sensitivity relies on.
func TestImpossiblePairsAreNotSealed(t *testing.T) {
	slot := slotOf(t, "heart_rate*resp_rate")
	for name, h := range map[string]PairStats{
		"61 minutes":          {N: 61},
		"negative count":      {N: -1},
		"sum out of range":    {N: 1, SumX: 101, SumSqX: 10_000},
		"other sum":           {N: 1, SumY: -41, SumSqY: 1600},
		"squares":             {N: 1, SumX: 100, SumSqX: 10_001},
		"negative square":     {N: 1, SumSqY: -1},
		"negative variance":   {N: 2, SumX: 100, SumSqX: 4999},
		"products":            {N: 1, SumXY: 4001},
		"beyond correlation":  {N: 2, SumSqX: 200, SumSqY: 200, SumXY: 201},
		"products of nothing": {SumXY: 1},
		"overflowing":         {N: 60, SumXY: math.MaxInt64},
	} {
		if _, err := V2().EncodePair(slot, h); err == nil {
			t.Errorf("%s: encoded", name)
		}
		if _, err := V2().ReleasePair(slot, PairTotals{h}, nil, 3); err == nil && h.N != 61 {
			t.Errorf("%s: released", name)
		}
	}
	if _, err := V2().EncodePair(slot, PairStats{N: 2, SumSqX: 200, SumSqY: 200, SumXY: -200}); err != nil {
		t.Errorf("a perfect correlation is refused: %v", err)
	}
	if _, err := V2().EncodePair(0, PairStats{}); err == nil {
		t.Error("a metric was encoded as a pair")
	}
	if _, err := V2().Encode(slot, HourStats{}); err == nil {
		t.Error("a pair was encoded as a metric")
	}
	if _, err := V2().PairStats(slot, []uint16{202}, []uint16{1}); err == nil {
		t.Error("a code beyond the range was counted")
	}
}

// cohort draws correlated minutes: y follows x with scatter.
func cohort(t testing.TB, key string, minutes int) (Question, []minutePair, PairTotals) {
	t.Helper()
	q, ok := V2().Question(key)
	if !ok {
		t.Fatalf("no question %s", key)
	}
	x, _ := wearable.ByKey(q.Metrics[0])
	y, _ := wearable.ByKey(q.Metrics[1])
	r := rand.New(rand.NewPCG(1, 2))
	var pairs []minutePair
	var total PairTotals
	for range minutes {
		cx := uint16(20 + r.IntN(int(x.MaxCode())-60))
		cy := uint16(min(max(5+int(cx)/5+r.IntN(20), 1), int(y.MaxCode())))
		pairs = append(pairs, minutePair{x.Units(cx), y.Units(cy)})
		h, err := V2().PairStats(q.Slot, []uint16{cx}, []uint16{cy})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range pairKinds {
			*total.place(k) += *h.place(k)
		}
	}
	return q, pairs, total
}

// TestExactPairIsPlainArithmetic: covariance, correlation and regression are those
// of the pairs, computed in two passes from their definition.
func TestExactPairIsPlainArithmetic(t *testing.T) {
	for _, key := range []string{"heart_rate*resp_rate", "heart_rate*skin_temp"} {
		q, pairs, total := cohort(t, key, 3000)
		r, err := V2().ReleasePair(q.Slot, total, nil, 3)
		if err != nil {
			t.Fatal(err)
		}
		if r.Sums != sumsOf(pairs) || r.SDs != (PairSums[float64]{}) {
			t.Errorf("sums %+v, want %+v; deviations %+v", r.Sums, sumsOf(pairs), r.SDs)
		}
		x, _ := wearable.ByKey(q.Metrics[0])
		y, _ := wearable.ByKey(q.Metrics[1])
		want := twoPasses(pairs, x.Resolution.Float64(), y.Resolution.Float64())
		for name, c := range map[string][2]float64{
			"covariance": {r.Covariance.Value, want[0]}, "correlation": {r.Correlation.Value, want[1]},
			"slope": {r.Slope.Value, want[2]}, "intercept": {r.Intercept.Value, want[3]},
		} {
			if math.Abs(c[0]-c[1]) > 1e-9*(1+math.Abs(c[1])) {
				t.Errorf("%s of %s is %v, want %v", name, key, c[0], c[1])
			}
		}
		if r.Slope.TooNoisy || r.Slope.CI95 != [2]float64{r.Slope.Value, r.Slope.Value} {
			t.Errorf("an exact slope has an interval: %+v", r.Slope)
		}
	}
}

// twoPasses returns covariance, correlation, slope and intercept.
func twoPasses(pairs []minutePair, rx, ry float64) [4]float64 {
	n := float64(len(pairs))
	var mx, my, xx, yy, xy float64
	for _, p := range pairs {
		mx, my = mx+float64(p[0])*rx/n, my+float64(p[1])*ry/n
	}
	for _, p := range pairs {
		dx, dy := float64(p[0])*rx-mx, float64(p[1])*ry-my
		xx, yy, xy = xx+dx*dx/n, yy+dy*dy/n, xy+dx*dy/n
	}
	return [4]float64{xy, xy / math.Sqrt(xx*yy), xy / xx, my - xy/xx*mx}
}

// TestUndefinedPairFiguresAreAbsent: no minutes, and metrics that never change.
func TestUndefinedPairFiguresAreAbsent(t *testing.T) {
	slot := slotOf(t, "heart_rate*spo2")
	r, err := V2().ReleasePair(slot, PairTotals{}, nil, 3)
	if err != nil || r.Covariance.Defined || r.Correlation.Defined || r.Slope.Defined || !strings.Contains(r.Text(), "unknown") {
		t.Errorf("no minutes: %+v (%v)", r, err)
	}
	r, err = V2().ReleasePair(slot, PairTotals{PairStats{N: 2, SumX: 20, SumY: 10, SumSqX: 200, SumSqY: 58, SumXY: 100}}, nil, 3)
	if err != nil || !r.Covariance.Defined || r.Slope.Defined || r.Intercept.Defined || r.Correlation.Defined {
		t.Errorf("a first metric that never changes: %+v (%v)", r, err)
	}
	r, err = V2().ReleasePair(slot, PairTotals{PairStats{N: 2, SumX: 10, SumY: 20, SumSqX: 58, SumSqY: 200, SumXY: 100}}, nil, 3)
	if err != nil || !r.Slope.Defined || r.Slope.Value != 0 || r.Correlation.Defined {
		t.Errorf("a second metric that never changes: %+v (%v)", r, err)
	}
}

// TestPairIntervalsHoldWhatTheySay draws the noise of three pieces many times: the
// intervals of figures that are not marked cover the truth as often as they say,
// and standard deviations are the spread.
func TestPairIntervalsHoldWhatTheySay(t *testing.T) {
	s := V2()
	q, _, total := cohort(t, "heart_rate*resp_rate", 2000)
	const patients = 4000
	for _, k := range pairKinds {
		*total.place(k) *= patients / 2 // 1,000 minutes a patient in 24 hours
	}
	truth, err := s.ReleasePair(q.Slot, total, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := s.Plan(q.Slot, 24, 600_000)
	if err != nil {
		t.Fatal(err)
	}
	const times = 1000
	covered, squares, sds := map[string]int{}, map[string]float64{}, map[string]float64{}
	for i := range times {
		noisy := total
		for piece := range 3 {
			for _, f := range s.Fields(q.Slot) {
				x, err := SampleDiscreteGaussian(stream(fmt.Sprint(i, piece, f.Name)), plan.Variance(f.Kind))
				if err != nil {
					t.Fatal(err)
				}
				*noisy.place(f.Kind) += x.Int64()
			}
		}
		r, err := s.ReleasePair(q.Slot, noisy, plan, 3)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string][2]Figure{
			"covariance": {r.Covariance, truth.Covariance}, "correlation": {r.Correlation, truth.Correlation},
			"slope": {r.Slope, truth.Slope}, "intercept": {r.Intercept, truth.Intercept},
		} {
			if c[0].TooNoisy || !c[0].Defined {
				t.Fatalf("%s is marked as too noisy: %+v", name, c[0])
			}
			if c[0].CI95[0] <= c[1].Value && c[1].Value <= c[0].CI95[1] {
				covered[name]++
			}
			squares[name] += (c[0].Value - c[1].Value) * (c[0].Value - c[1].Value) / times
			sds[name] += c[0].SD / times
		}
		d := float64(r.Sums.SumXY - truth.Sums.SumXY)
		squares["sum_xy"], sds["sum_xy"] = squares["sum_xy"]+d*d/times, sds["sum_xy"]+r.SDs.SumXY/times
	}
	for name, n := range covered {
		if share := float64(n) / times; math.Abs(share-0.95) > 0.025 {
			t.Errorf("intervals of 95 %% cover the %s in %.1f %%", name, 100*share)
		}
	}
	for name, sq := range squares {
		if got := math.Sqrt(sq); math.Abs(got/sds[name]-1) > 0.12 {
			t.Errorf("%s: spread %.4g, standard deviation %.4g", name, got, sds[name])
		}
	}
}

// TestDrownedPairsAreMarked: a few patients under the same noise give nothing,
// and the text says so.
func TestDrownedPairsAreMarked(t *testing.T) {
	s := V2()
	q, _, total := cohort(t, "heart_rate*resp_rate", 2000)
	plan, err := s.Plan(q.Slot, 24, 600_000)
	if err != nil {
		t.Fatal(err)
	}
	for name, totals := range map[string]PairTotals{"two patients": total, "none": {}, "less than none": {PairStats{N: -70, SumSqX: -5}}} {
		r, err := s.ReleasePair(q.Slot, totals, plan, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []Figure{r.Covariance, r.Correlation, r.Slope, r.Intercept} {
			if !f.TooNoisy {
				t.Errorf("%s: %+v is not marked", name, f)
			}
		}
		if strings.Count(r.Text(), TooNoisy) != 4 {
			t.Errorf("%s: the text says %s", name, r.Text())
		}
	}
	other, err := s.Plan(0, 24, 600_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReleasePair(q.Slot, total, other, 3); err == nil {
		t.Error("released with the plan of a metric")
	}
}

// TestStrataAreReleasedWithNoiseOnly, and then with intervals that hold what they
// say; a stratum without patients is marked, not printed.
func TestStrataAreReleasedWithNoiseOnly(t *testing.T) {
	s := V2()
	slot := slotOf(t, "heart_rate@stratum")
	totals := make([]StratumTotals, len(s.Strata()))
	for i := range totals[:8] {
		totals[i] = StratumTotals{N: 2_000 * 1296, Sum: -2_000 * 1296 * int64(30+i)}
	}
	if _, err := s.ReleaseStrata(slot, totals, nil, 3); !errors.Is(err, ErrNeedsNoise) {
		t.Errorf("strata were released exactly: %v", err)
	}
	plan, err := s.Plan(slot, 24, 600_000)
	if err != nil {
		t.Fatal(err)
	}
	const times = 250
	covered := 0
	for i := range times {
		noisy := make([]StratumTotals, len(totals))
		copy(noisy, totals)
		for piece := range 3 {
			for _, f := range s.Fields(slot) {
				x, err := SampleDiscreteGaussian(stream(fmt.Sprint(i, piece, f.Name)), plan.Variance(f.Kind))
				if err != nil {
					t.Fatal(err)
				}
				if f.Kind == KindN {
					noisy[f.Stratum].N += x.Int64()
				} else {
					noisy[f.Stratum].Sum += x.Int64()
				}
			}
		}
		r, err := s.ReleaseStrata(slot, noisy, plan, 3)
		if err != nil {
			t.Fatal(err)
		}
		for g, group := range r.Groups[:8] {
			if group.Mean.TooNoisy {
				t.Fatalf("%s is marked: %+v", group.Stratum, group)
			}
			if want := float64(120 - 30 - g); group.Mean.CI95[0] <= want && want <= group.Mean.CI95[1] {
				covered++
			}
		}
		if empty := r.Groups[8]; !empty.Mean.TooNoisy || !strings.Contains(r.Text(), TooNoisy) {
			t.Fatalf("a stratum without patients has a mean: %+v", empty)
		}
	}
	if share := float64(covered) / (8 * times); math.Abs(share-0.95) > 0.02 {
		t.Errorf("intervals of 95 %% cover the mean in %.1f %%", 100*share)
	}
}
