package privacy

import (
	"fmt"
	"math/big"
	"strings"
)

// Axis is one metric of a pair.
type Axis struct {
	Metric     string `json:"metric"`
	Unit       string `json:"unit"`
	Resolution string `json:"resolution"`
}

// PairSums are sums over the minutes in which both metrics have a value, in units
// of their resolutions, not centred.
type PairSums[T int64 | float64] struct {
	N      T `json:"n"`
	SumX   T `json:"sum_x"`
	SumY   T `json:"sum_y"`
	SumSqX T `json:"sum_sq_x"`
	SumSqY T `json:"sum_sq_y"`
	SumXY  T `json:"sum_xy"`
}

// PairRelease is the answer to a query about a pair: the regression of Y on X and
// what it follows from, over minutes, in the metrics' units (moments of the
// population). With noise, sums may be negative.
//
// The figures describe minutes of all patients together: how the metrics move
// together within a patient and how patients differ both show in them.
type PairRelease struct {
	Key   string `json:"key"`
	Slot  int    `json:"slot"`
	X     Axis   `json:"x"`
	Y     Axis   `json:"y"`
	Exact bool   `json:"exact"`
	// Unit is what was counted: minutes, or person-days.
	Unit string `json:"unit"`

	Sums PairSums[int64]   `json:"sums"`
	SDs  PairSums[float64] `json:"sds"`

	Covariance  Figure `json:"covariance"`
	Correlation Figure `json:"correlation"` // Pearson's
	Slope       Figure `json:"slope"`       // units of Y per unit of X
	Intercept   Figure `json:"intercept"`   // of Y where X is 0
}

// ReleasePair turns the opened totals of a pair into figures, as Release does
// those of a metric. Figures that would divide by zero, such as the slope where X
// never changes, are not Defined.
//
// Reliability: intervals come from the delta method, which takes a quotient to be
// linear over its noise. A figure is marked TooNoisy unless the number of minutes,
// and each variance that it divides by, are four standard deviations of their
// noise above zero, and the interval tells something: the correlation to 0.5, the
// slope to half of what it would be at a correlation of 1, the covariance to half
// of what these variances allow, the intercept to a quarter of Y's range.
func (s *Schema) ReleasePair(slot int, t PairTotals, plan *Plan, pieces int) (PairRelease, error) {
	b, err := s.shaped(slot, ShapePair)
	if err != nil {
		return PairRelease{}, err
	}
	if plan != nil && (plan.Slot != slot || pieces < 1 || s.CheckPlan(plan) != nil) {
		return PairRelease{}, fmt.Errorf("the plan is not for %s with noise of at least one piece", b.Key)
	}
	r := PairRelease{Key: b.Key, Slot: slot, X: axisOf(b.x), Y: axisOf(b.y), Exact: plan == nil, Unit: b.counted(), Sums: b.raw(t.PairStats)}
	if plan == nil {
		if err := b.checkPair(t.PairStats); err != nil {
			return PairRelease{}, fmt.Errorf("%w: the shares do not belong to these rows", err)
		}
	}
	m := newMoments(b, t, plan, pieces)
	r.SDs = m.rawSDs()
	if t.N > 0 {
		m.figures(&r)
	}
	m.flag(&r)
	return r, nil
}

func axisOf(m *metric) Axis {
	return Axis{m.Key, m.UCUM, m.Resolution.String()}
}

// raw undoes the centring.
func (b *block) raw(h PairStats) PairSums[int64] {
	cx, cy := b.x.center, b.y.center
	return PairSums[int64]{
		N: h.N, SumX: h.SumX + cx*h.N, SumY: h.SumY + cy*h.N,
		SumSqX: h.SumSqX + 2*cx*h.SumX + cx*cx*h.N,
		SumSqY: h.SumSqY + 2*cy*h.SumY + cy*cy*h.N,
		SumXY:  h.SumXY + cx*h.SumY + cy*h.SumX + cx*cy*h.N,
	}
}

// pairKinds is the order of a gradient.
var pairKinds = [6]Kind{KindN, KindSumX, KindSumY, KindSumSqX, KindSumSqY, KindSumXY}

// gradient is how a figure changes with each of the six sums.
type gradient [6]*big.Rat

// plus returns g + factor*h.
func (g gradient) plus(factor *big.Rat, h gradient) gradient {
	var out gradient
	for i := range g {
		out[i] = add(g[i], mul(factor, h[i]))
	}
	return out
}

func (g gradient) times(factor *big.Rat) gradient {
	var out gradient
	for i := range g {
		out[i] = mul(factor, g[i])
	}
	return out
}

// moments computes in exact rationals, in centred units of the resolutions; only
// the last step rounds.
type moments struct {
	x, y     *metric
	noise    gradient // variances of the noise in the six sums
	n        *big.Rat
	mx, my   *big.Rat // means
	xx, yy   *big.Rat // mean squares
	xy       *big.Rat // mean product
	vx, vy   *big.Rat // variances
	cov      *big.Rat
	dvx, dvy gradient
	dcov     gradient
}

func newMoments(b *block, t PairTotals, plan *Plan, pieces int) *moments {
	m := &moments{x: b.x, y: b.y, n: whole(t.N)}
	for i, k := range pairKinds {
		m.noise[i] = new(big.Rat)
		if plan != nil {
			m.noise[i] = mul(whole(int64(pieces)), new(big.Rat).SetInt(plan.Variance(k)))
		}
	}
	if t.N <= 0 {
		return m
	}
	per := new(big.Rat).Inv(m.n)
	m.mx, m.my = mul(whole(t.SumX), per), mul(whole(t.SumY), per)
	m.xx, m.yy, m.xy = mul(whole(t.SumSqX), per), mul(whole(t.SumSqY), per), mul(whole(t.SumXY), per)
	m.vx = new(big.Rat).Sub(m.xx, mul(m.mx, m.mx))
	m.vy = new(big.Rat).Sub(m.yy, mul(m.my, m.my))
	m.cov = new(big.Rat).Sub(m.xy, mul(m.mx, m.my))
	// With a mean of products E = s/n, n dE = ds - E dn. So for a variance or
	// covariance E[uv] - E[u]E[v]:
	//   n d = d(sum uv) - E[v] d(sum u) - E[u] d(sum v) + (2 E[u]E[v] - E[uv]) dn
	two, zero, unit := whole(2), whole(0), whole(1)
	onN := func(product, u, v *big.Rat) *big.Rat { return new(big.Rat).Sub(mul(two, u, v), product) }
	m.dvx = gradient{onN(m.xx, m.mx, m.mx), mul(whole(-2), m.mx), zero, unit, zero, zero}.times(per)
	m.dvy = gradient{onN(m.yy, m.my, m.my), zero, mul(whole(-2), m.my), zero, unit, zero}.times(per)
	m.dcov = gradient{onN(m.xy, m.mx, m.my), minus(m.my), minus(m.mx), zero, zero, unit}.times(per)
	return m
}

func whole(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

func minus(x *big.Rat) *big.Rat { return new(big.Rat).Neg(x) }

// variance is that of a figure with this gradient: the noise of the six sums is
// independent.
func (m *moments) variance(g gradient) *big.Rat {
	// A sum of squares is what was opened and the offset times the count.
	g[0] = add(g[0], mul(whole(m.x.offset), g[3]), mul(whole(m.y.offset), g[4]))
	v := new(big.Rat)
	for i, d := range g {
		v.Add(v, mul(d, d, m.noise[i]))
	}
	return v
}

// figures fills in what is defined.
func (m *moments) figures(r *PairRelease) {
	rx, ry := m.x.Resolution.Rat(), m.y.Resolution.Rat()
	scale := mul(rx, ry)
	r.Covariance = newFigure(mul(m.cov, scale), mul(m.variance(m.dcov), scale, scale))
	if m.vx.Sign() <= 0 {
		return
	}
	inv := new(big.Rat).Inv(m.vx)
	slope := mul(m.cov, inv)
	dslope := m.dcov.plus(minus(slope), m.dvx).times(inv)
	scale = new(big.Rat).Quo(ry, rx)
	r.Slope = newFigure(mul(slope, scale), mul(m.variance(dslope), scale, scale))

	// intercept = mean y - slope * mean x, means not centred
	x0 := add(m.mx, whole(m.x.center))
	intercept := new(big.Rat).Sub(add(m.my, whole(m.y.center)), mul(slope, x0))
	per := new(big.Rat).Inv(m.n)
	zero := whole(0)
	dmx := gradient{minus(m.mx), whole(1), zero, zero, zero, zero}.times(per)
	dmy := gradient{minus(m.my), zero, whole(1), zero, zero, zero}.times(per)
	dintercept := dmy.plus(minus(slope), dmx).plus(minus(x0), dslope)
	r.Intercept = newFigure(mul(intercept, ry), mul(m.variance(dintercept), ry, ry))
	m.correlation(r)
}

// correlation is cov / sqrt(vx vy). Its gradient times that root is rational.
func (m *moments) correlation(r *PairRelease) {
	if m.vy.Sign() <= 0 {
		return
	}
	both := mul(m.vx, m.vy)
	half := mul(big.NewRat(-1, 2), m.cov)
	d := m.dcov.plus(mul(half, new(big.Rat).Inv(m.vx)), m.dvx).plus(mul(half, new(big.Rat).Inv(m.vy)), m.dvy)
	value := root(new(big.Rat).Quo(mul(m.cov, m.cov), both))
	if m.cov.Sign() < 0 {
		value = -value
	}
	r.Correlation = figureOf(value, root(new(big.Rat).Quo(m.variance(d), both)))
	r.Correlation.clip(-1, 1)
}

// rawSDs are the standard deviations of the sums that are not centred: the noise
// of a sum enters those that centring has mixed it into.
func (m *moments) rawSDs() PairSums[float64] {
	cx, cy, zero, unit := whole(m.x.center), whole(m.y.center), whole(0), whole(1)
	sd := func(g gradient) float64 { return root(m.variance(g)) }
	return PairSums[float64]{
		N:      sd(gradient{unit, zero, zero, zero, zero, zero}),
		SumX:   sd(gradient{cx, unit, zero, zero, zero, zero}),
		SumY:   sd(gradient{cy, zero, unit, zero, zero, zero}),
		SumSqX: sd(gradient{mul(cx, cx), mul(whole(2), cx), zero, unit, zero, zero}),
		SumSqY: sd(gradient{mul(cy, cy), zero, mul(whole(2), cy), zero, unit, zero}),
		SumXY:  sd(gradient{mul(cx, cy), cy, cx, zero, zero, unit}),
	}
}

// flag marks what noise has drowned; nothing in an exact release.
func (m *moments) flag(r *PairRelease) {
	if r.Exact {
		return
	}
	fewMinutes := weak(m.n, m.noise[0])
	flatX, flatY := true, true
	if !fewMinutes {
		flatX, flatY = weak(m.vx, m.variance(m.dvx)), weak(m.vy, m.variance(m.dvy))
	}
	wide := func(f Figure, most float64) bool { return !f.Defined || z95*f.SD > most }
	var sdX, sdY float64
	if !flatX && !flatY {
		sdX = root(mul(m.vx, m.x.Resolution.Rat(), m.x.Resolution.Rat()))
		sdY = root(mul(m.vy, m.y.Resolution.Rat(), m.y.Resolution.Rat()))
	}
	unknown := fewMinutes || flatX || flatY
	reach := m.y.reach()
	r.Covariance.TooNoisy = unknown || wide(r.Covariance, sdX*sdY/2)
	r.Correlation.TooNoisy = unknown || wide(r.Correlation, 0.5)
	r.Slope.TooNoisy = unknown || wide(r.Slope, sdY/sdX/2)
	r.Intercept.TooNoisy = unknown || wide(r.Intercept, reach/4)
}

// Text is the release in a few lines for people.
func (r PairRelease) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "both        %s", Round(float64(r.Sums.N), r.SDs.N))
	if !r.Exact {
		fmt.Fprintf(&b, " +- %s", Round(z95*r.SDs.N, r.SDs.N))
	}
	fmt.Fprintf(&b, " %s with %s and %s\n", r.Unit, r.X.Metric, r.Y.Metric)
	fmt.Fprintf(&b, "covariance  %s %s.%s\n", r.Covariance.Text(), r.X.Unit, r.Y.Unit)
	fmt.Fprintf(&b, "correlation %s\n", r.Correlation.Text())
	fmt.Fprintf(&b, "slope       %s %s per %s\n", r.Slope.Text(), r.Y.Unit, r.X.Unit)
	fmt.Fprintf(&b, "intercept   %s %s\n", r.Intercept.Text(), r.Y.Unit)
	return b.String()
}
