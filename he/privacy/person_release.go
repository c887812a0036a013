package privacy

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/vitalveil/vitalveil/wearable"
)

// PersonFigure is one number about people, in the metric's unit or as a share of 1. SD
// and the interval describe the privacy noise alone; both are trivial in an exact
// release.
type PersonFigure struct {
	Value float64    `json:"value"`
	SD    float64    `json:"sd"`
	CI95  [2]float64 `json:"ci95"`
	// TooNoisy says that the interval is the whole range, or near it.
	TooNoisy bool `json:"too_noisy"`
}

// PersonHistogram is how many person-days have their mean in each bucket: never
// negative, and together the count. Raw has what was opened.
type PersonHistogram struct {
	Edges  [wearable.Buckets + 1]string `json:"edges"`
	Counts [wearable.Buckets]float64    `json:"counts"`
	SD     float64                      `json:"sd"` // of the noise in each raw count
	// Median is the middle one of the means; nil where there are none.
	Median *PersonFigure `json:"median"`
}

// PersonRelease is the answer to a query about person-days. Figures that were not
// asked are nil. Raw are the opened sums, centred, with the noise of all pieces; what
// is shown follows from them and is kept to what can be: no negative count, shares
// that add up. Figures are floating-point numbers: their last digits may differ
// between machines, Raw does not.
type PersonRelease struct {
	Metric string `json:"metric"`
	Slot   int    `json:"slot"`
	Unit   string `json:"unit"`
	Exact  bool   `json:"exact"`
	Want   Want   `json:"want"`
	// People is the size of the cohort, which is public; Days how many days of each
	// were asked.
	People int64      `json:"people"`
	Days   int64      `json:"days"`
	Raw    PersonSums `json:"raw"`

	PersonDays PersonFigure  `json:"person_days"`
	Mean       *PersonFigure `json:"mean"`
	// Population is the interval for the mean of the people whom the cohort stands
	// for: noise and chance together. It needs a spread that is not
	// too noisy.
	Population *[2]float64      `json:"population_ci95"`
	Spread     *PersonFigure    `json:"spread"`
	Below      *PersonFigure    `json:"below"`
	Within     *PersonFigure    `json:"within"`
	Above      *PersonFigure    `json:"above"`
	Low        *PersonFigure    `json:"low"`
	High       *PersonFigure    `json:"high"`
	Histogram  *PersonHistogram `json:"histogram"`

	// WorthOf is the number of people of whom an exact mean would be as good.
	WorthOf float64 `json:"worth_of"`
	// Usable says that half the mean's interval is at most Print, the metric's bound, where
	// everybody has every day: so it was promised (Forecast). To decide by the noisy count
	// would choose those answers whose intervals noise made short. Only one that came out
	// half as wide again, since many days are missing, is not usable all the same.
	Usable bool    `json:"usable"`
	Print  float64 `json:"print"`
}

// ReleaseDays turns the opened coefficients of a metric's person-days, those of
// Schema.Asked in its order, into figures; in an exact release, all of the metric's.
// plan is nil for an exact release, whose days and figures are given in exact;
// otherwise those of the plan count. people is the cohort's size; pieces is the number
// of pieces whose noise is in the coefficients.
func (s *Schema) ReleaseDays(slot int, opened []*big.Int, people int64, plan *Plan, exact int64, pieces int) (PersonRelease, error) {
	b, err := s.shaped(slot, ShapePerson)
	if err != nil {
		return PersonRelease{}, err
	}
	m := b.x
	r := PersonRelease{Metric: m.Key, Slot: slot, Unit: m.UCUM, Exact: plan == nil, Want: WantAll, People: people, Days: exact, Print: m.Value(m.person.Print).Float64()}
	if plan != nil {
		if plan.Slot != slot || pieces < 1 || s.CheckPlan(plan) != nil {
			return PersonRelease{}, fmt.Errorf("the plan is not for %s with noise of at least one piece", b.Key)
		}
		r.Want, r.Days = plan.Want, plan.Days
	}
	if people < 1 || r.Days < 1 || r.Days > MaxDays {
		return PersonRelease{}, fmt.Errorf("%s: a release is about at least one person and 1 to %d days, not %d and %d", b.Key, MaxDays, people, r.Days)
	}
	values, err := b.unpackAsked(opened, plan)
	if err != nil {
		return PersonRelease{}, err
	}
	r.Raw = b.personSums(values)
	if err := b.checkNoisyDays(values, people*r.Days, plan, pieces); err != nil {
		return PersonRelease{}, err
	}
	if plan == nil {
		if err := m.checkExactDays(r.Raw, people*r.Days); err != nil {
			return PersonRelease{}, err
		}
	}
	newDays(m, &r, plan, pieces).figures()
	return r, nil
}

// unpackAsked splits the opened coefficients into the values of the fields that the
// plan asks for; others are zero. What covers them is not looked at.
func (b *block) unpackAsked(opened []*big.Int, plan *Plan) ([]int64, error) {
	if plan == nil {
		return b.unpack(opened)
	}
	values := make([]int64, len(b.fields))
	var rest *big.Int
	coeff, next := -1, 0
	for i, f := range b.fields {
		if !plan.has(f.Kind) {
			continue
		}
		if f.Coeff != coeff {
			if next == len(opened) || opened[next] == nil {
				return nil, fmt.Errorf("%s: coefficient %d is missing", b.Key, f.Coeff)
			}
			coeff, rest, next = f.Coeff, Centre(new(big.Int).Set(opened[next])), next+1
		}
		values[i] = takeDigit(rest, f.Width)
		last := i+1 == len(b.fields) || b.fields[i+1].Coeff != f.Coeff
		if last && rest.Sign() != 0 && f.Shift+f.Width < PayloadBits {
			return nil, fmt.Errorf("%s: coefficient %d does not hold sums of rows: it overflowed or the shares do not belong to it", b.Key, f.Coeff)
		}
	}
	if next != len(opened) {
		return nil, fmt.Errorf("%s: %d coefficients were opened, %d asked", b.Key, len(opened), next)
	}
	return values, nil
}

// checkNoisyDays refuses sums that true person-days and the plan's noise never have: its
// tail beyond tailSigmas is negligible. What covers fields that are not asked says nothing,
// so junk would show nowhere else.
func (b *block) checkNoisyDays(values []int64, most int64, plan *Plan, pieces int) error {
	if plan == nil {
		return nil
	}
	for i, f := range b.fields {
		if !plan.has(f.Kind) {
			continue
		}
		variance, _ := new(big.Float).SetInt(plan.Variance(f.Kind)).Float64()
		tail := float64(pieces) * (tailSigmas*math.Sqrt(variance) + 1)
		high := float64(most)*float64(f.Max) + tail
		low := -tail
		if f.Signed {
			low = -high
		}
		if v := float64(values[i]); v < low || v > high {
			return fmt.Errorf("%s: %s is none of %d person-days, whatever the noise: a row is none, or the shares do not belong to these rows", b.Key, f.Name, most)
		}
	}
	return nil
}

// checkExactDays refuses totals that sums of true person-days cannot have.
func (m *metric) checkExactDays(p PersonSums, most int64) error {
	var inBuckets int64
	for _, c := range p.Buckets {
		if c < 0 {
			return fmt.Errorf("%s: a bucket of an exact sum is negative: the shares do not belong to these rows", m.Key)
		}
		inBuckets += c
	}
	squares := new(big.Int).Mul(big.NewInt(m.offset), big.NewInt(p.N))
	squares.Add(squares, big.NewInt(p.SumSq))
	about := new(big.Int).Mul(big.NewInt(p.N), squares)
	about.Sub(about, new(big.Int).Mul(big.NewInt(p.Sum), big.NewInt(p.Sum)))
	shares := p.Within + halfShare*p.N + p.Below + p.Above
	if p.N < 0 || p.N > most || inBuckets != p.N || shares != 1000*p.N || p.Below < 0 || p.Above < 0 || squares.Sign() < 0 || about.Sign() < 0 {
		return fmt.Errorf("%s: an exact sum of %d person-days is none of true rows: the shares do not belong to these rows", m.Key, p.N)
	}
	return nil
}

// days computes figures from opened sums; noise has the variances of what was opened,
// of all pieces together, zero in an exact release.
type days struct {
	*metric
	r     *PersonRelease
	noise func(Kind) float64
	res   float64
	n, vn float64 // estimate of the count, and the variance of its noise
}

func newDays(m *metric, r *PersonRelease, plan *Plan, pieces int) *days {
	d := &days{metric: m, r: r, res: m.Resolution.Float64(), noise: func(Kind) float64 { return 0 }}
	if plan != nil {
		d.noise = func(k Kind) float64 {
			if !plan.has(k) {
				return 0
			}
			v, _ := new(big.Float).SetInt(plan.Variance(k)).Float64()
			return v * float64(pieces)
		}
	}
	d.count(plan)
	return d
}

// count estimates the person-days from the count and from the histogram, weighted by
// their precision, and cuts the estimate at what the public cohort allows.
func (d *days) count(plan *Plan) {
	n, most := float64(d.r.Raw.N), float64(d.r.People*d.r.Days)
	var inBuckets float64
	for _, c := range d.r.Raw.Buckets {
		inBuckets += float64(c)
	}
	vn, vb := d.noise(KindN), wearable.Buckets*d.noise(KindBucket)
	switch {
	case plan == nil || vb == 0:
		d.n, d.vn = n, vn
	case vn == 0:
		d.n, d.vn = inBuckets, vb
	default:
		d.n, d.vn = (n*vb+inBuckets*vn)/(vn+vb), vn*vb/(vn+vb)
	}
	cut := func(v float64) float64 { return min(max(v, 0), most) }
	sd := math.Sqrt(d.vn)
	ci := [2]float64{cut(d.n - z95*sd), cut(d.n + z95*sd)}
	d.n = cut(d.n)
	d.r.PersonDays = PersonFigure{Value: d.n, SD: sd, CI95: ci, TooNoisy: 2*sd > most}
}

// quotient is a sum over the count, as a figure between low and high; its interval is
// Fieller's (Quarterly Journal of Pharmacy and Pharmacology 17 (1944) 117; Journal of
// the Royal Statistical Society B 16 (1954) 175): all mu for which sum - mu n may be
// zero. Where these are no interval it is the whole range. scale and shift turn it
// into the figure's unit.
func (d *days) quotient(sum int64, kind Kind, low, high int64, shift, scale float64) *PersonFigure {
	s, vs := float64(sum), d.noise(kind)
	bounds := [2]float64{float64(low), float64(high)}
	f := &PersonFigure{CI95: bounds, TooNoisy: true}
	if d.n > 0 {
		f.Value = min(max(s/d.n, bounds[0]), bounds[1])
		f.SD = math.Sqrt(vs+f.Value*f.Value*d.vn) / d.n
		if at, ok := fieller(s, d.n, vs, d.vn); ok {
			f.CI95 = [2]float64{min(max(at[0], bounds[0]), bounds[1]), max(min(at[1], bounds[1]), bounds[0])}
			f.TooNoisy = false
		}
	}
	f.Value, f.SD = (f.Value+shift)*scale, f.SD*scale
	for i := range f.CI95 {
		f.CI95[i] = (f.CI95[i] + shift) * scale
	}
	return f
}

// fieller solves (s - mu n)^2 <= z^2 (vs + mu^2 vn) for mu.
func fieller(s, n, vs, vn float64) ([2]float64, bool) {
	a := n*n - z95*z95*vn
	if a <= 0 {
		return [2]float64{}, false
	}
	b, c := s*n, s*s-z95*z95*vs
	root := math.Sqrt(max(b*b-a*c, 0))
	return [2]float64{(b - root) / a, (b + root) / a}, true
}

// tolerable is how much wider than Print an interval of a usable mean may come out.
const tolerable = 1.5

// usualHalf is half the interval of the mean where everybody has every day and means lie
// a quarter of their reach from the centre.
func (d *days) usualHalf() float64 {
	offset := float64(d.half) / 4
	return z95 * math.Sqrt(d.noise(KindSum)+offset*offset*d.vn) / float64(d.r.People*d.r.Days) * d.res
}

func (d *days) figures() {
	r, w := d.r, d.r.Want
	if w.has(WantMean | WantSpread) {
		r.Mean = d.quotient(r.Raw.Sum, KindSum, d.person.Low-d.center, d.person.High-d.center, float64(d.center), d.res)
		spread := float64(d.person.Spread) * d.res
		if w.has(WantSpread) {
			spread = d.spread()
		}
		half := (r.Mean.CI95[1] - r.Mean.CI95[0]) / 2
		r.Usable = d.n > 0 && !r.Mean.TooNoisy && d.usualHalf() <= r.Print && half <= tolerable*r.Print
		r.WorthOf = float64(r.People) * spread * spread / (spread*spread + float64(r.People)*r.Mean.SD*r.Mean.SD)
		switch {
		case d.n <= 0:
			r.WorthOf = 0
		case r.Mean.SD == 0:
			r.WorthOf = float64(r.People)
		}
	}
	if w.has(WantWithin | WantLimits) {
		d.shares()
	}
	if w.has(WantRange) {
		low, high := d.middles()
		r.Low = d.quotient(r.Raw.Low, KindLow, d.person.LowMin-low, d.person.LowMax-low, float64(low), d.res)
		r.High = d.quotient(r.Raw.High, KindHigh, d.person.HighMin-high, d.person.HighMax-high, float64(high), d.res)
	}
	if w.has(WantDistribution) {
		d.histogram()
	}
}

// spread fills in the standard deviation between person-days and the population's
// interval, and returns the former. The interval of the variance is by the delta
// method, that of its root the root of it: the delta method for the root itself would
// fail where the noise is as large as the variance.
func (d *days) spread() float64 {
	r := d.r
	reach, usual := float64(d.person.High-d.person.Low)/2, float64(d.person.Spread)
	f := &PersonFigure{CI95: [2]float64{0, reach * d.res}, TooNoisy: true}
	r.Spread = f
	if d.n <= 0 || r.Mean.TooNoisy {
		return usual * d.res
	}
	m := float64(r.Raw.Sum) / d.n
	m = min(max(m, float64(d.person.Low-d.center)), float64(d.person.High-d.center))
	squares := float64(r.Raw.SumSq)/d.n + float64(d.offset)
	v := min(max(squares-m*m, 0), reach*reach)
	// n d v = dq - 2 m ds + (2 m^2 - E[x^2] + offset) dn
	onN := 2*m*m - squares + float64(d.offset)
	sdOfV := math.Sqrt(d.noise(KindSumSq)+4*m*m*d.noise(KindSum)+onN*onN*d.vn) / d.n
	f.Value = math.Sqrt(v) * d.res
	f.CI95 = [2]float64{math.Sqrt(max(v-z95*sdOfV, 0)) * d.res, min(math.Sqrt(v+z95*sdOfV), reach) * d.res}
	if v > 0 {
		f.SD = sdOfV / (2 * math.Sqrt(v)) * d.res
	}
	// By what is usual and public, not by what came out: who looks only at spreads that
	// noise made large, or at those of counts that noise made large, is misled by their
	// intervals. An interval that is everything says nothing either way.
	f.TooNoisy = z95*d.usualDoubt() > usual*usual || f.CI95 == [2]float64{0, reach * d.res}
	if f.TooNoisy {
		return usual * d.res
	}
	// Person-days of one person are not independent: with D days, D times the variance
	// of a mean of independent ones is a bound, since sum k_i^2 <= D sum k_i.
	half := studentT(max(d.n-1, 1)) * math.Sqrt(v*d.res*d.res*float64(r.Days)/d.n+r.Mean.SD*r.Mean.SD)
	low, high := d.Value(d.person.Low).Float64(), d.Value(d.person.High).Float64()
	r.Population = &[2]float64{max(r.Mean.Value-half, low), min(r.Mean.Value+half, high)}
	return f.Value
}

// usualDoubt is the standard deviation of the noise in the variance where everybody has
// every day, and means lie and differ as they usually do.
func (d *days) usualDoubt() float64 {
	m, usual := float64(d.half)/4, float64(d.person.Spread)
	onN := m*m - usual*usual + float64(d.offset)
	return math.Sqrt(d.noise(KindSumSq)+4*m*m*d.noise(KindSum)+onN*onN*d.vn) / float64(d.r.People*d.r.Days)
}

// studentT is the two-sided 95 % point of Student's t (Abramowitz and Stegun, 26.7.5).
func studentT(freedom float64) float64 {
	z := z95
	g := []float64{
		(math.Pow(z, 3) + z) / 4,
		(5*math.Pow(z, 5) + 16*math.Pow(z, 3) + 3*z) / 96,
		(3*math.Pow(z, 7) + 19*math.Pow(z, 5) + 17*math.Pow(z, 3) - 15*z) / 384,
		(79*math.Pow(z, 9) + 776*math.Pow(z, 7) + 1482*math.Pow(z, 5) - 1920*math.Pow(z, 3) - 945*z) / 92160,
	}
	t := z
	for i, c := range g {
		t += c / math.Pow(freedom, float64(i+1))
	}
	return t
}

// shares fills in the shares of minutes. Where all three were asked, what they lack to
// 1 is spread over them by their variances (least squares); intervals stay those of
// what was opened.
func (d *days) shares() {
	r := d.r
	r.Within = d.quotient(r.Raw.Within, KindWithin, -halfShare, halfShare, halfShare, 0.001)
	if !r.Want.has(WantLimits) {
		return
	}
	r.Below = d.quotient(r.Raw.Below, KindOutside, 0, 1000, 0, 0.001)
	r.Above = d.quotient(r.Raw.Above, KindOutside, 0, 1000, 0, 0.001)
	if d.n <= 0 {
		return
	}
	all := []float64{r.Below.Value, r.Within.Value, r.Above.Value}
	if in, out := d.noise(KindWithin), d.noise(KindOutside); in > 0 {
		missing := (1 - all[0] - all[1] - all[2]) / (in + 2*out)
		all[0], all[1], all[2] = all[0]+missing*out, all[1]+missing*in, all[2]+missing*out
	}
	project(all, 1)
	r.Below.Value, r.Within.Value, r.Above.Value = all[0], all[1], all[2]
}

// project moves x to the nearest point (L2) without negative parts whose sum is total
// (Held, Wolfe and Crowder, Mathematical Programming 6 (1974) 62).
func project(x []float64, total float64) {
	sorted := slices.Clone(x)
	slices.SortFunc(sorted, func(a, b float64) int { return cmp.Compare(b, a) })
	var sum, tau float64
	for i, v := range sorted {
		sum += v
		if t := (sum - total) / float64(i+1); v > t {
			tau = t
		}
	}
	for i := range x {
		x[i] = max(x[i]-tau, 0)
	}
}

// histogram fills in the counts and the median.
func (d *days) histogram() {
	h := &PersonHistogram{SD: math.Sqrt(d.noise(KindBucket))}
	for i, e := range d.person.Edges {
		h.Edges[i] = d.Value(e).String()
	}
	for i, c := range d.r.Raw.Buckets {
		h.Counts[i] = float64(c)
	}
	project(h.Counts[:], d.n)
	h.Median = d.median(h.SD)
	d.r.Histogram = h
}

// median reads the middle off the raw histogram: at each edge, what is below less what
// is above, which is minus all at the first and plus all at the last, made to ascend
// (Ayer et al., Annals of Mathematical Statistics 26 (1955) 641), and followed to zero;
// its interval, to as much as noise may have added or taken. Within a bucket people are
// taken to be spread evenly.
func (d *days) median(sd float64) *PersonFigure {
	var total float64
	for _, c := range d.r.Raw.Buckets {
		total += float64(c)
	}
	if total < 1 {
		return nil
	}
	var balance [wearable.Buckets + 1]float64
	balance[0], balance[wearable.Buckets] = -total, total
	run := -total
	for i, c := range d.r.Raw.Buckets[:wearable.Buckets-1] {
		run += 2 * float64(c)
		balance[i+1] = run
	}
	ascend(balance[:])
	doubt := z95 * math.Sqrt(wearable.Buckets) * sd
	at := func(level float64) float64 {
		return min(max(math.Round(d.crossing(balance, level)), float64(d.person.Low)), float64(d.person.High))
	}
	return &PersonFigure{
		Value: at(0) * d.res, CI95: [2]float64{at(-doubt) * d.res, at(doubt) * d.res},
		TooNoisy: doubt > d.n/2,
	}
}

// crossing is where an ascending balance passes a level, between the edges. A mean of v
// whole units may have been anything in v - 1/2 .. v + 1/2.
func (d *days) crossing(balance [wearable.Buckets + 1]float64, level float64) float64 {
	at := func(i int) float64 { return float64(d.person.Edges[i]) - 0.5 }
	low, high := 0, wearable.Buckets
	for i, v := range balance {
		if v < level {
			low = i
		}
	}
	for i := range balance {
		if j := wearable.Buckets - i; balance[j] > level {
			high = j
		}
	}
	if high == low+1 {
		return at(low) + (level-balance[low])/(balance[high]-balance[low])*(at(high)-at(low))
	}
	return (at(low) + at(high)) / 2
}

// ascend makes values ascend, with the least change (pool adjacent violators).
func ascend(values []float64) {
	type pool struct {
		sum float64
		n   int
	}
	mean := func(p pool) float64 { return p.sum / float64(p.n) }
	var pools []pool
	for _, v := range values {
		pools = append(pools, pool{v, 1})
		for k := len(pools); k > 1 && mean(pools[k-2]) > mean(pools[k-1]); k = len(pools) {
			pools[k-2] = pool{pools[k-2].sum + pools[k-1].sum, pools[k-2].n + pools[k-1].n}
			pools = pools[:k-1]
		}
	}
	i := 0
	for _, p := range pools {
		for range p.n {
			values[i] = mean(p)
			i++
		}
	}
}
