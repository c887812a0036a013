package privacy

import (
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/wearable"
)

// everything is all figures.
const everything = Want(1<<6 - 1)

// dayOf is a day of the grid with these values, in units of the resolution, in its
// first minutes.
func dayOf(t testing.TB, values map[string][]int64) *wearable.Day {
	t.Helper()
	d := new(wearable.Day)
	for key, all := range values {
		m, ok := wearable.ByKey(key)
		if !ok {
			t.Fatalf("no metric %s", key)
		}
		for i, v := range all {
			code, ok := m.Code(v)
			if !ok {
				t.Fatalf("%s: %d is out of range", key, v)
			}
			if err := d.Set(m.Slot, i, code); err != nil {
				t.Fatal(err)
			}
		}
	}
	return d
}

// openRows adds up the coefficients of rows, as opening them would.
func openRows(rows [][]Payload, coeffs []int) []*big.Int {
	out := make([]*big.Int, len(coeffs))
	for i, c := range coeffs {
		var sum Payload
		for _, row := range rows {
			sum = sum.Plus(row[c])
		}
		out[i] = sum.Big()
	}
	return out
}

// seeded is a random stream for tests.
func seeded(seed uint64) io.Reader {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(key)
}

func TestAnEmptyDayIsARowOfZeros(t *testing.T) {
	s := V3().Day()
	row, err := s.DayRow(dayOf(t, map[string][]int64{"heart_rate": {60, 61, 62, 63}, "storage_temp": {40, 40}}), 0)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(row, func(p Payload) bool { return p != Payload{} }) {
		t.Errorf("a day without enough minutes is %v", row)
	}
	if _, err := V3().DayRow(new(wearable.Day), 0); err == nil {
		t.Error("the hours' schema has a day row")
	}
	if _, err := s.DayRow(new(wearable.Day), 9); err == nil {
		t.Error("a stratum that does not exist is taken")
	}
}

// TestExactPersonDaysArePlainArithmetic: three people, one of them without enough
// minutes.
func TestExactPersonDaysArePlainArithmetic(t *testing.T) {
	s := V3().Day()
	var rows [][]Payload
	for _, v := range [][]int64{{60, 60, 60, 60, 62}, {95, 95, 96, 96, 96}, {70}} {
		row, err := s.DayRow(dayOf(t, map[string][]int64{"heart_rate": v}), 0)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	r, err := s.ReleaseDays(0, openRows(rows, s.MetricCoefficients(0)), 3, nil, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	// Means 60.4 and 95.6 are 60 and 96.
	if r.PersonDays.Value != 2 || r.Mean.Value != 78 || r.Spread.Value != 18 || r.Mean.CI95 != [2]float64{78, 78} || !r.Usable || r.WorthOf != 3 {
		t.Errorf("%+v, mean %+v, spread %+v", r, r.Mean, r.Spread)
	}
	if r.Within.Value != 0.5 || r.Below.Value != 0 || r.Above.Value != 0.5 || r.Low.Value != 77.5 || r.High.Value != 79 {
		t.Errorf("within %v, below %v, above %v, low %v, high %v", r.Within, r.Below, r.Above, r.Low, r.High)
	}
	if h := r.Histogram; h.Counts[2] != 1 || h.Counts[11] != 1 || h.Edges[0] != "40" || h.Median == nil {
		t.Errorf("histogram %+v", r.Histogram)
	}
	if got := r.Raw.N; got != 2 {
		t.Errorf("%d person-days", got)
	}
}

// TestSumsThatNoRowsHaveAreRefused: an exact release notices shares that do not belong
// to the rows.
func TestSumsThatNoRowsHaveAreRefused(t *testing.T) {
	s := V3().Day()
	m, _ := s.metric(0)
	good := m.sums(wearable.PersonDay{Mean: 70, Low: 60, High: 80, Within: 1000, Bucket: 5})
	for name, change := range map[string]func(*PersonSums){
		"more days than people": func(p *PersonSums) { p.N, p.Buckets[5] = 2, 2 },
		"a bucket too many":     func(p *PersonSums) { p.Buckets[6]++ },
		"a negative bucket":     func(p *PersonSums) { p.Buckets[6]--; p.Buckets[7]++ },
		"shares above 1":        func(p *PersonSums) { p.Below = 1 },
		"a negative variance":   func(p *PersonSums) { p.SumSq-- },
	} {
		p := good
		if err := m.checkExactDays(p, 1); err != nil {
			t.Fatal(err)
		}
		change(&p)
		if err := m.checkExactDays(p, 1); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestPersonSensitivityIsReachedAndNeverExceeded tries every day that a small person
// range allows: no day moves a part by more than the plan assumes, and one day moves
// all of them by that much at once.
func TestPersonSensitivityIsReachedAndNeverExceeded(t *testing.T) {
	s := V3().Day()
	for slot := range s.Slots() {
		m, _ := s.metric(slot)
		b := s.bySlot[slot]
		low, high := m.middles()
		size := func(p PersonSums, k Kind) float64 {
			var sum float64
			for _, f := range b.fields {
				if v := float64(*p.place(f)); f.Kind == k {
					sum += v * v
				}
			}
			return math.Sqrt(sum)
		}
		most := map[Kind]float64{}
		var together bool
		for mean := m.person.Low; mean <= m.person.High; mean++ {
			for _, ends := range [][2]int64{{m.person.LowMin, m.person.HighMin}, {m.person.LowMax, m.person.HighMax}, {low, high}} {
				for _, shares := range [][3]int64{{0, 1000, 0}, {1000, 0, 0}, {0, 0, 1000}, {500, 0, 500}, {333, 334, 333}} {
					p := m.sums(wearable.PersonDay{Mean: mean, Low: ends[0], High: ends[1], Below: shares[0], Within: shares[1], Above: shares[2], Bucket: int(mean % wearable.Buckets)})
					all := true
					for _, f := range b.fields {
						got := size(p, f.Kind)
						most[f.Kind] = max(most[f.Kind], got)
						if got > float64(b.reach(f.Kind)) {
							t.Fatalf("%s: a day with mean %d moves %s by %v, the plan assumes %d", m.Key, mean, f.Name, got, b.reach(f.Kind))
						}
						all = all && got == float64(b.reach(f.Kind))
					}
					together = together || all
				}
			}
		}
		for _, f := range b.fields {
			if most[f.Kind] != float64(b.reach(f.Kind)) {
				t.Errorf("%s: no day moves %s by more than %v, the plan pays for %d", m.Key, f.Name, most[f.Kind], b.reach(f.Kind))
			}
		}
		if !together {
			t.Errorf("%s: no day moves all parts at once; a joint bound would cost less", m.Key)
		}
	}
}

// TestDayPlansChargeWhatTheyCost, and every figure's split is as documented.
func TestDayPlansChargeWhatTheyCost(t *testing.T) {
	s := V3().Day()
	rapid.Check(t, func(t *rapid.T) {
		q := rapid.SampledFrom(s.Questions()).Draw(t, "question")
		want := Want(rapid.Uint8Range(1, uint8(everything)).Draw(t, "want"))
		if q.Shape != ShapePerson {
			want = WantMean
		}
		days := rapid.Int64Range(1, MaxDays).Draw(t, "days")
		rho := rapid.Uint64Range(100, MaxRhoMicro).Draw(t, "rho")
		p, err := s.PlanDays(q.Slot, want, days, rho)
		if err != nil {
			t.Fatal(err)
		}
		loss := 0.0
		for _, part := range p.Parts {
			delta, _ := part.Delta.Float64()
			variance, _ := part.Variance.Float64()
			loss += delta * delta / (2 * variance) * micro
		}
		if p.ChargeMicro > rho || math.Abs(float64(p.ChargeMicro)-loss) > 1.01 {
			t.Fatalf("asked %d, charged %d, lost %.3f micro-zCDP", rho, p.ChargeMicro, loss)
		}
		if err := s.CheckPlan(p); err != nil {
			t.Fatal(err)
		}
		p.Days++
		if s.CheckPlan(p) == nil {
			t.Fatal("a plan with other days is accepted")
		}
	})
}

func TestDayPlansRefuseWhatCannotBeAsked(t *testing.T) {
	s := V3().Day()
	for name, ask := range map[string]func() (*Plan, error){
		"no figure":           func() (*Plan, error) { return s.PlanDays(0, 0, 1, 1000) },
		"an unknown figure":   func() (*Plan, error) { return s.PlanDays(0, 64, 1, 1000) },
		"no day":              func() (*Plan, error) { return s.PlanDays(0, WantMean, 0, 1000) },
		"too many days":       func() (*Plan, error) { return s.PlanDays(0, WantMean, MaxDays+1, 1000) },
		"too little loss":     func() (*Plan, error) { return s.PlanDays(0, WantMean, 1, 99) },
		"a pair's spread":     func() (*Plan, error) { return s.PlanDays(pairSlot, WantSpread, 1, 1000) },
		"days of hours":       func() (*Plan, error) { return V3().PlanDays(0, WantMean, 1, 1000) },
		"hours of days":       func() (*Plan, error) { return s.Plan(0, 24, 1000) },
		"a thing's person":    func() (*Plan, error) { return s.PlanDays(9, WantMean, 1, 1000) },
		"a forecast of parts": func() (*Plan, error) { _, err := s.Forecast(0, WantWithin, 10, 1, 1000, 3); return nil, err },
	} {
		if _, err := ask(); err == nil {
			t.Errorf("%s: planned", name)
		}
	}
	for _, text := range []string{"", "mean,mean", "average", "mean,", "mean, spread"} {
		if w, err := ParseWant(text); err == nil {
			t.Errorf("%q is read as %s", text, w)
		}
	}
	if w, err := ParseWant("limits,mean"); err != nil || w.String() != "mean,limits" {
		t.Errorf("%s, %v", w, err)
	}
}

// TestAskedFieldsComeFirstInTheirCoefficients: what is not asked can only be covered
// where it is the highest.
func TestAskedFieldsComeFirstInTheirCoefficients(t *testing.T) {
	s := V3().Day()
	for want := Want(1); want <= everything; want++ {
		p, err := s.PlanDays(0, want, 1, 1_000_000)
		if err != nil {
			t.Fatal(err)
		}
		covered := map[int]bool{}
		for _, f := range s.bySlot[0].fields {
			if covered[f.Coeff] && p.has(f.Kind) {
				t.Errorf("%s: field %s lies above one that is not asked", want, f.Name)
			}
			covered[f.Coeff] = covered[f.Coeff] || !p.has(f.Kind)
		}
	}
}

// TestAttackFiguresThatWereNotAsked: of what is opened, fields that nobody asked and
// nobody paid for are uniformly random, whatever the rows are.
func TestAttackFiguresThatWereNotAsked(t *testing.T) {
	s := V3().Day()
	plan, err := s.PlanDays(0, WantMean, 1, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	asked := s.Asked(plan)
	if len(asked) != 1 {
		t.Fatalf("a mean opens coefficients %v", asked)
	}
	f := s.bySlot[0].fields[2] // the squares, above count and sum
	high := 0
	const draws = 4000
	for i := range uint64(draws) {
		noise, err := s.Noise(plan, asked, func(f Field) io.Reader { return seeded(i<<8 | uint64(f.Kind)) })
		if err != nil {
			t.Fatal(err)
		}
		top := new(big.Int).Mod(noise[0].Big(), two128)
		high += int(top.Rsh(top, PayloadBits-1).Int64())
	}
	if f.Kind != KindSumSq || math.Abs(float64(high)-draws/2) > 5*math.Sqrt(draws)/2 {
		t.Errorf("the highest bit of what covers %s is 1 in %d of %d", f.Name, high, draws)
	}
	if _, err := s.Noise(plan, s.MetricCoefficients(0), func(Field) io.Reader { return seeded(1) }); err == nil {
		t.Error("coefficients that the plan does not ask for get noise of nothing")
	}
}

// TestAttackACoefficientAskedTwice: of two places of one coefficient only one would get
// noise.
func TestAttackACoefficientAskedTwice(t *testing.T) {
	for _, s := range []*Schema{V3().Day(), V1()} {
		plan, err := s.again(&Plan{Hours: 1, Days: 1, Want: WantMean, RhoMicro: 1_000_000})
		if err != nil {
			t.Fatal(err)
		}
		if noise, err := s.Noise(plan, []int{0, 0}, func(Field) io.Reader { return seeded(1) }); err == nil {
			t.Errorf("%s: noise of %v", s.Name, noise)
		}
	}
}

// TestAMeanOfNobodyIsWorthNobody: where noise has made the count negative there is no
// mean, and no number of people whose mean it would be as good as.
func TestAMeanOfNobodyIsWorthNobody(t *testing.T) {
	s := V3().Day()
	plan, err := s.PlanDays(0, WantMean, 1, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.ReleaseDays(0, []*big.Int{big.NewInt(-3)}, 200, plan, 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	if r.Raw.N != -3 || r.Usable || r.WorthOf != 0 {
		t.Errorf("worth of %g people: %+v", r.WorthOf, r.Mean)
	}
}

// TestReleasesAgreeWithTheirRows: with little noise every figure of random people is
// near the one computed from their days, for any figures asked.
func TestReleasesAgreeWithTheirRows(t *testing.T) {
	s := V3().Day()
	rapid.Check(t, func(t *rapid.T) {
		slot := rapid.IntRange(0, s.Slots()-1).Draw(t, "slot")
		want := Want(rapid.Uint8Range(1, uint8(everything)).Draw(t, "want"))
		m, _ := s.metric(slot)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var total PersonSums
		const people = 300
		b := s.bySlot[slot]
		for range people {
			d := wearable.PersonDay{
				Mean: m.person.Low + r.Int64N(m.person.High-m.person.Low+1),
				Low:  m.person.LowMin + r.Int64N(m.person.LowMax-m.person.LowMin+1), High: m.person.HighMin + r.Int64N(m.person.HighMax-m.person.HighMin+1),
				Below: r.Int64N(500), Above: r.Int64N(500),
			}
			d.Within = 1000 - d.Below - d.Above
			for d.Bucket < wearable.Buckets-1 && d.Mean >= m.person.Edges[d.Bucket+1] {
				d.Bucket++
			}
			p := m.sums(d)
			for _, f := range b.fields {
				*total.place(f) += *p.place(f)
			}
		}
		plan, err := s.PlanDays(slot, want, 1, MaxRhoMicro)
		if err != nil {
			t.Fatal(err)
		}
		asked := s.Asked(plan)
		row := make([]Payload, s.Coefficients())
		copy(row[b.coeffs[0]:], b.pack(func(f Field) int64 { return *total.place(f) }))
		rows := [][]Payload{row}
		for piece := range 3 {
			noise, err := s.Noise(plan, asked, func(f Field) io.Reader {
				return seeded(r.Uint64() + uint64(piece))
			})
			if err != nil {
				t.Fatal(err)
			}
			covered := make([]Payload, s.Coefficients())
			for i, c := range asked {
				covered[c] = noise[i]
			}
			rows = append(rows, covered)
		}
		got, err := s.ReleaseDays(slot, openRows(rows, asked), people, plan, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		exact, err := s.ReleaseDays(slot, openRows([][]Payload{row}, s.MetricCoefficients(slot)), people, nil, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		for name, pair := range map[string][2]*PersonFigure{
			"mean": {got.Mean, exact.Mean}, "within": {got.Within, exact.Within}, "below": {got.Below, exact.Below},
			"above": {got.Above, exact.Above}, "low": {got.Low, exact.Low}, "high": {got.High, exact.High},
		} {
			if pair[0] != nil && math.Abs(pair[0].Value-pair[1].Value) > 6*pair[0].SD+1e-9 {
				t.Errorf("%s: %s is %v +- %v, want %v", m.Key, name, pair[0].Value, pair[0].SD, pair[1].Value)
			}
		}
		if (got.Mean != nil) != want.has(WantMean|WantSpread) || (got.Histogram != nil) != want.has(WantDistribution) || (got.Below != nil) != want.has(WantLimits) {
			t.Errorf("%s answers %+v", want, got)
		}
		if got.Spread != nil && math.Abs(got.Spread.Value-exact.Spread.Value) > exact.Spread.Value/5 {
			t.Errorf("%s: spread %v, want %v", m.Key, got.Spread.Value, exact.Spread.Value)
		}
		if h := got.Histogram; h != nil {
			var sum float64
			for _, c := range h.Counts {
				if c < 0 {
					t.Errorf("a negative count: %v", h.Counts)
				}
				sum += c
			}
			if math.Abs(sum-got.PersonDays.Value) > 1e-6 {
				t.Errorf("counts add up to %v of %v", sum, got.PersonDays.Value)
			}
		}
	})
}

// TestPairsAndStrataOfPersonDaysAreExactWithoutNoise: two metrics of three people.
func TestPairsAndStrataOfPersonDays(t *testing.T) {
	s := V3().Day()
	people := [][2]int64{{60, 12}, {80, 16}, {100, 20}}
	var rows [][]Payload
	for i, p := range people {
		row, err := s.DayRow(dayOf(t, map[string][]int64{"heart_rate": slices.Repeat([]int64{p[0]}, 5), "resp_rate": slices.Repeat([]int64{p[1]}, 5)}), i)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	q, ok := s.Question(PairKey("heart_rate", "resp_rate"))
	if !ok {
		t.Fatal("no such pair")
	}
	r, err := s.Result(q.Slot, openRows(rows, s.MetricCoefficients(q.Slot)), nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Pair; p.Sums.N != 3 || p.Sums.SumSqX != 60*60+80*80+100*100 || p.Slope.Value != 0.2 || p.Correlation.Value != 1 || p.Unit != "person-days" {
		t.Errorf("pair %+v", r.Pair)
	}
	q, _ = s.Question(StrataKey("heart_rate"))
	plan, err := s.PlanDays(q.Slot, WantMean, 1, MaxRhoMicro)
	if err != nil {
		t.Fatal(err)
	}
	if r, err = s.Result(q.Slot, openRows(rows, s.MetricCoefficients(q.Slot)), plan, 3); err != nil {
		t.Fatal(err)
	}
	for i, g := range r.Strata.Groups[:3] {
		if g.N != 1 || g.Sum != people[i][0] {
			t.Errorf("stratum %d: %+v", i, g)
		}
	}
}

// TestForecastsAreKept: the half interval that a forecast promises is the one that the
// release of such people has, and the loss by need reaches what it is for.
func TestForecastsAreKept(t *testing.T) {
	s := V3().Day()
	for slot := range s.Slots() {
		m, _ := s.metric(slot)
		rho, err := s.RhoByNeed(slot, WantMean, 200, 1, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Forecast(slot, WantMean, 200, 1, rho, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Usable || f.Half < 0.98*f.Print {
			t.Errorf("%s: rho %d promises +- %v, asked %v", m.Key, rho, f.Half, f.Print)
		}
		plan, err := s.PlanDays(slot, WantMean, 1, rho)
		if err != nil {
			t.Fatal(err)
		}
		raw := PersonSums{N: 200, Sum: 200 * m.half / 4}
		r := PersonRelease{People: 200, Days: 1, Want: WantMean, Raw: raw, Print: f.Print}
		newDays(m, &r, plan, 3).figures()
		if half := (r.Mean.CI95[1] - r.Mean.CI95[0]) / 2; math.Abs(half-f.Half) > 0.03*f.Half {
			t.Errorf("%s: promised +- %v, got +- %v", m.Key, f.Half, half)
		}
	}
	if _, err := s.RhoByNeed(0, WantMean, 2, 1, 0.001, 3); err == nil || !strings.Contains(err.Error(), "more people") {
		t.Errorf("a thousandth of a beat of two people: %v", err)
	}
}

// TestAllNineMeansOfTwoHundredPeopleCostEpsilonFour: by need, at delta 10^-6.
func TestAllNineMeansOfTwoHundredPeopleCostEpsilonFour(t *testing.T) {
	s := V3().Day()
	var all uint64
	for slot := range s.Slots() {
		rho, err := s.RhoByNeed(slot, WantMean, 200, 1, 0, 3)
		if err != nil {
			t.Fatal(err)
		}
		all += rho
	}
	if e := Epsilon(all, 1e-6); e > 4 {
		t.Errorf("nine means cost rho %d, epsilon %.2f", all, e)
	}
}

// TestEpsilonAndRhoAreInverse, at the points of Canonne, Kamath and Steinke's bound.
func TestEpsilonAndRhoAreInverse(t *testing.T) {
	for _, c := range []struct{ epsilon, rho float64 }{{1, 0.0244}, {3.8, 0.284}, {6, 0.639}, {11.8, 2.03}} {
		rho := RhoFor(c.epsilon, 1e-6)
		if math.Abs(float64(rho)/micro-c.rho) > 0.01*c.rho {
			t.Errorf("epsilon %v is rho %d micro, want %v", c.epsilon, rho, c.rho)
		}
		if back := Epsilon(rho, 1e-6); back > c.epsilon || back < c.epsilon*0.999 {
			t.Errorf("rho %d micro is epsilon %v, want %v", rho, back, c.epsilon)
		}
	}
	if Epsilon(0, 1e-6) != 0 {
		t.Error("no loss is not epsilon 0")
	}
}

// soak is how often to repeat: the full count is for before a release.
func soak(short, full int) int {
	if os.Getenv("VITALVEIL_SOAK") == "1" {
		return full
	}
	return short
}

// TestASummaryHasTheSumsThatAnybodyComputes: uncentred, of days at both ends and between,
// of every metric.
func TestASummaryHasTheSumsThatAnybodyComputes(t *testing.T) {
	s := V3().Day()
	for slot := range s.Slots() {
		m, _ := s.metric(slot)
		var rows [][]Payload
		var n, sum, squares int64
		for _, mean := range []int64{m.person.Low, m.person.Low + 1, m.person.Centre, m.person.High} {
			d := wearable.PersonDay{Mean: mean, Low: m.person.LowMin, High: m.person.HighMax, Within: 1000}
			row, err := s.PersonRow(slot, d)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, row)
			n, sum, squares = n+1, sum+mean, squares+mean*mean
		}
		r, err := s.ReleaseDays(slot, openRows(rows, s.MetricCoefficients(slot)), 5, nil, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		got := r.Summary(7)
		if e := got.Exact; e.N.Int64() != n || e.Sum.Int64() != sum || e.SumSq.Int64() != squares || got.Rho != 0 || got.People != 5 {
			t.Errorf("%s: %+v, want %d, %d, %d", m.Key, e, n, sum, squares)
		}
	}
}

// TestWhatIsTooNoisyHasNoNumber in a summary, and neither has what was not asked.
func TestWhatIsTooNoisyHasNoNumber(t *testing.T) {
	f := &PersonFigure{Value: 3, SD: 1, CI95: [2]float64{1, 5}}
	r := PersonRelease{People: 20, Mean: f, Spread: &PersonFigure{Value: 9, TooNoisy: true}}
	if s := r.Summary(55_000); s.SD != nil || s.Within != nil || *s.Mean != 3 || s.MeanCI95[1] != 5 || s.Rho != 0.055 || s.Exact != nil {
		t.Errorf("%+v", s)
	}
	r.Mean = r.Spread
	if s := r.Summary(0); s.Mean != nil || s.MeanCI95 != nil {
		t.Errorf("%+v", s)
	}
}

// TestAttackJunkIsNoAnswer: of a mean, most of its coefficient is covered, so junk in a row
// shows in the figures alone. One that no people and no noise could have is refused.
func TestAttackJunkIsNoAnswer(t *testing.T) {
	s := V3().Day()
	plan, err := s.PlanDays(0, WantMean, 1, 50_000)
	if err != nil {
		t.Fatal(err)
	}
	n := s.Fields(0)[0]
	opened := func(count int64) []*big.Int { return []*big.Int{new(big.Int).Lsh(big.NewInt(count), uint(n.Shift))} }
	for _, count := range []int64{12, 0, -20, 40} { // noise has a standard deviation of some 13
		if _, err := s.ReleaseDays(0, opened(count), 12, plan, 0, 3); err != nil {
			t.Errorf("a count of %d: %v", count, err)
		}
	}
	for _, count := range []int64{1 << 20, -1 << 20, 1<<30 + 7} {
		if _, err := s.ReleaseDays(0, opened(count), 12, plan, 0, 3); err == nil {
			t.Errorf("a count of %d of 12 people was taken for an answer", count)
		}
	}
}
