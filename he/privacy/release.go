package privacy

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/vitalveil/vitalveil/wearable"
)

// TooNoisy is what a reader of a figure that noise has drowned should know.
const TooNoisy = "too noisy: ask for more patients or hours"

// z95 is the two-sided 95 % point of the normal distribution.
const z95 = 1.959963984540054

// Release is the answer to a query. N, Sum, SumSq and Counts are integers over
// minute values in units of the resolution (sums of x and of x squared, not
// centred): exact, or with the noise of all pieces, and then they may be
// negative. Mean and Variance (population) are in the metric's unit, the
// unrounded quotients of these integers. Standard deviations and the interval
// describe the privacy noise alone, of all pieces together; they say nothing
// about how well the cohort stands for other people.
type Release struct {
	Metric string `json:"metric"`
	Slot   int    `json:"slot"`
	Unit   string `json:"unit"`
	Exact  bool   `json:"exact"`

	N     int64 `json:"n"`
	Sum   int64 `json:"sum"`
	SumSq int64 `json:"sum_sq"`

	// Defined is false when N is not positive; then there is no mean.
	Defined  bool       `json:"defined"`
	Mean     float64    `json:"mean"`
	Variance float64    `json:"variance"`
	MeanCI95 [2]float64 `json:"mean_ci95"`

	Edges  [wearable.Buckets + 1]string `json:"edges"`
	Counts [wearable.Buckets]int64      `json:"counts"`

	// Standard deviations of the noise; all zero in an exact release.
	NSD        float64                   `json:"n_sd"`
	SumSD      float64                   `json:"sum_sd"`
	SumSqSD    float64                   `json:"sum_sq_sd"`
	MeanSD     float64                   `json:"mean_sd"`
	VarianceSD float64                   `json:"variance_sd"`
	CountsSD   [wearable.Buckets]float64 `json:"counts_sd"`

	MeanTooNoisy     bool `json:"mean_too_noisy"`
	VarianceTooNoisy bool `json:"variance_too_noisy"`
	CountsTooNoisy   bool `json:"counts_too_noisy"`
}

// Release turns opened totals into figures. plan is nil for an exact release;
// pieces is the number of pieces whose noise is in the totals. It fails when the
// totals of an exact release cannot be sums of rows.
func (s *Schema) Release(slot int, t Totals, plan *Plan, pieces int) (Release, error) {
	b, err := s.shaped(slot, ShapeMetric)
	if err != nil {
		return Release{}, err
	}
	m := b.x
	r := Release{Metric: m.Key, Slot: slot, Unit: m.UCUM, Exact: plan == nil, N: t.N, Counts: t.Counts(), Defined: t.N > 0}
	for i, e := range m.Edges {
		r.Edges[i] = e.String()
	}
	r.Sum = t.Sum + m.center*t.N
	r.SumSq = t.SumSq + 2*m.center*t.Sum + m.center*m.center*t.N
	q := newQuotients(m, t)
	if r.Defined {
		r.Mean, r.Variance = q.meanAndVariance()
		r.MeanCI95 = [2]float64{r.Mean, r.Mean}
	}
	if plan == nil {
		return r, m.checkExact(t)
	}
	if plan.Slot != slot || pieces < 1 {
		return Release{}, fmt.Errorf("the plan is for slot %d with noise of at least one piece, not slot %d and %d pieces", plan.Slot, slot, pieces)
	}
	q.addNoise(&r, plan, pieces)
	r.flag(m)
	return r, nil
}

// quotients computes in exact rationals; only the last step rounds.
type quotients struct {
	n, sum, sq, res, center *big.Rat
}

func newQuotients(m *metric, t Totals) quotients {
	rat := func(v int64) *big.Rat { return new(big.Rat).SetInt64(v) }
	return quotients{rat(t.N), rat(t.Sum), rat(t.SumSq), m.Resolution.Rat(), rat(m.center)}
}

func mul(factors ...*big.Rat) *big.Rat {
	p := new(big.Rat).SetInt64(1)
	for _, f := range factors {
		p.Mul(p, f)
	}
	return p
}

func add(terms ...*big.Rat) *big.Rat {
	s := new(big.Rat)
	for _, t := range terms {
		s.Add(s, t)
	}
	return s
}

func (q quotients) centredMean() *big.Rat { return new(big.Rat).Quo(q.sum, q.n) }

func (q quotients) meanAndVariance() (float64, float64) {
	mean := q.centredMean()
	variance := new(big.Rat).Quo(q.sq, q.n)
	variance.Sub(variance, mul(mean, mean))
	m, _ := mul(add(mean, q.center), q.res).Float64()
	v, _ := mul(variance, q.res, q.res).Float64()
	return m, v
}

// addNoise fills in the standard deviations. The noise of n, sum and sum_sq is
// independent in centred values; the sums that are released are not centred, so
// the noise of n enters them times the centre and its square.
func (q quotients) addNoise(r *Release, p *Plan, pieces int) {
	all := new(big.Rat).SetInt64(int64(pieces))
	v := func(k Kind) *big.Rat { return mul(all, new(big.Rat).SetInt(p.Variance(k))) }
	vn, vs, vq, vb := v(KindN), v(KindSum), v(KindSumSq), v(KindBucket)
	c2 := mul(q.center, q.center)
	r.NSD = root(vn)
	r.SumSD = root(add(vs, mul(c2, vn)))
	r.SumSqSD = root(add(vq, mul(big.NewRat(4, 1), c2, vs), mul(c2, c2, vn)))
	for i := range Buckets {
		r.CountsSD[i] = root(vb)
	}
	r.CountsSD[Buckets] = root(add(vn, mul(big.NewRat(Buckets, 1), vb)))
	if !r.Defined {
		return
	}
	// Delta method. With mean = s/n and variance = q/n - (s/n)^2:
	//   d mean = (ds - mean dn) / n
	//   d variance = (dq - 2 mean ds + (2 mean^2 - q/n) dn) / n
	mean := q.centredMean()
	n2 := new(big.Rat).Inv(mul(q.n, q.n))
	varMean := mul(n2, add(vs, mul(mean, mean, vn)))
	onN := new(big.Rat).Sub(mul(big.NewRat(2, 1), mean, mean), new(big.Rat).Quo(q.sq, q.n))
	varVariance := mul(n2, add(vq, mul(big.NewRat(4, 1), mean, mean, vs), mul(onN, onN, vn)))
	r.MeanSD = root(mul(varMean, q.res, q.res))
	r.VarianceSD = root(mul(varVariance, q.res, q.res, q.res, q.res))
	r.MeanCI95 = [2]float64{r.Mean - z95*r.MeanSD, r.Mean + z95*r.MeanSD}
}

// root is the square root with 256 bits, rounded once at the end.
func root(x *big.Rat) float64 {
	f, _ := new(big.Float).Sqrt(new(big.Float).SetPrec(256).SetRat(x)).Float64()
	return f
}

// flag marks figures that noise has drowned. The delta method needs n to be far
// from zero, and an interval wider than a tenth of the range tells nothing.
func (r *Release) flag(m *metric) {
	reach := m.Max.Float64() - m.Min.Float64()
	weak := !r.Defined || float64(r.N) < 4*r.NSD
	r.MeanTooNoisy = weak || z95*r.MeanSD > reach/20
	r.VarianceTooNoisy = weak || r.Variance <= 0 || z95*r.VarianceSD > r.Variance
	r.CountsTooNoisy = weak || z95*r.CountsSD[0] > float64(r.N)/8
}

// Round prints a value as its noise deserves: to the second digit of the
// standard deviation, never more. Without noise it prints the shortest text that
// reads back as the same number.
func Round(value, sd float64) string {
	if !(sd > 0) || math.IsInf(sd, 0) {
		return strconv.FormatFloat(value, 'f', -1, 64)
	}
	digit := int(math.Floor(math.Log10(sd))) - 1
	unit := math.Pow10(digit)
	if math.Abs(value) < unit/2 {
		value = 0 // so that it does not print as minus zero
	}
	if digit < 0 {
		return strconv.FormatFloat(value, 'f', -digit, 64)
	}
	return strconv.FormatFloat(math.Round(value/unit)*unit, 'f', 0, 64)
}

// Text is the release in a few lines for people.
func (r Release) Text() string {
	var b strings.Builder
	note := func(bad bool) string {
		if bad {
			return "  (" + TooNoisy + ")"
		}
		return ""
	}
	figure := func(name string, value, sd float64, unit string, bad bool) {
		fmt.Fprintf(&b, "%-9s %s", name, Round(value, sd))
		if sd > 0 {
			fmt.Fprintf(&b, " +- %s", Round(z95*sd, sd))
		}
		fmt.Fprintf(&b, "%s%s\n", unit, note(bad))
	}
	figure("readings", float64(r.N), r.NSD, "", false)
	if !r.Defined {
		fmt.Fprintf(&b, "mean      unknown%s\n", note(!r.Exact))
		return b.String()
	}
	figure("mean", r.Mean, r.MeanSD, " "+r.Unit, r.MeanTooNoisy)
	figure("variance", r.Variance, r.VarianceSD, "", r.VarianceTooNoisy)
	for _, at := range []struct {
		name string
		q    float64
	}{{"minimum", 0}, {"5 %", 0.05}, {"median", 0.5}, {"95 %", 0.95}, {"maximum", 1}} {
		if low, high, ok := r.Quantile(at.q); ok {
			fmt.Fprintf(&b, "%-9s %s..%s %s\n", at.name, low, high, r.Unit)
		} else {
			fmt.Fprintf(&b, "%-9s unknown%s\n", at.name, note(!r.Exact))
		}
	}
	b.WriteString("          (these five to one bucket of the histogram, which holds no more)\n")
	for i, c := range r.Counts {
		figure(r.Edges[i]+"..", float64(c), r.CountsSD[i], "", r.CountsTooNoisy)
	}
	return b.String()
}
