package privacy

import (
	"fmt"
	"io"
	"math/big"
	"slices"
)

const (
	// MaxHours bounds the windows of one query: a leap year.
	MaxHours = 366 * 24
	// ExactUnit is what the hours of an exact query are a multiple of: whole UTC days.
	// Otherwise an hour in which one patient has readings could be asked alone.
	ExactUnit = 24
	// ExactHours is how many hours of rows a patient needs to count in an exact query,
	// so that nobody counts who has just begun or ended.
	ExactHours = 12
	// MaxDays bounds the person-days of one patient in one query.
	MaxDays = 366
	// MaxRhoMicro bounds the privacy loss of one query: rho = 100 protects
	// nobody, so more is a mistake.
	MaxRhoMicro = 100_000_000
	// micro is 1 in units of micro-zCDP.
	micro = 1_000_000
)

// share is how many parts of a query's privacy loss a kind of field gets.
type share struct {
	kind  Kind
	parts uint64
}

// hourShares splits the privacy loss of a query about hours, in percent. Of a metric, the mean needs n and the
// centred sum; the error of the sum dominates, hence its larger part. Of a pair,
// slope and covariance stand or fall with the products and the first metric's
// squares; centres are far from where most readings are, so both sums count too.
// By stratum, only the mean can be had.
var hourShares = map[Shape][]share{
	ShapeMetric: {{KindN, 20}, {KindSum, 50}, {KindSumSq, 10}, {KindBucket, 20}},
	ShapePair:   {{KindN, 10}, {KindSumX, 15}, {KindSumY, 15}, {KindSumSqX, 20}, {KindSumSqY, 15}, {KindSumXY, 25}},
	ShapeStrata: {{KindN, 30}, {KindSum, 70}},
}

// tailSigmas: noise beyond this many standard deviations has probability below
// 2 exp(-t^2/2) < 2^-102 (the discrete Gaussian is sub-Gaussian with its own
// variance parameter).
const tailSigmas = 12

// Part is the noise of the fields of one kind.
type Part struct {
	Kind Kind `json:"kind"`
	// Delta is the L2 norm of the most that one patient changes these fields by,
	// all together.
	Delta *big.Int `json:"delta"`
	// Variance is that of one piece's noise on each of them.
	Variance *big.Int `json:"variance"`
}

// Plan is the privacy noise of one query. Every piece adds discrete Gaussian noise
// of these variances, at full scale. A Plan is made by Schema.Plan or Schema.PlanDays; all its
// figures are integers in units of the resolutions.
type Plan struct {
	Slot        int    `json:"slot"`
	Hours       int64  `json:"hours,omitempty"` // windows asked, or
	Days        int64  `json:"days,omitempty"`  // days asked of each person, for
	Want        Want   `json:"want,omitzero"`   // these figures
	RhoMicro    uint64 `json:"rho_micro"`       // asked
	ChargeMicro uint64 `json:"charge_micro"`    // debited, at most RhoMicro
	Parts       []Part `json:"parts"`
}

// Plan sizes the noise for a query over hours windows of the question in slot so
// that it costs at most rhoMicro micro-zCDP for one patient.
//
// Proof. A patient has at most D = 60*hours minutes in a query. Let v be what one
// minute adds to the fields, and c(v) the sum over parts of |v_k|^2 / (2 s_k^2),
// where v_k is v on the fields of part k and s_k^2 their variance: sqrt(c) is a
// norm. The minutes of a patient add up, so the loss for the patient, c of the
// sum, is at most D^2 max c(v). And c(v) is at most the sum over k of
// max |v_k|^2 / (2 s_k^2), with the maxima 1 for a count, a bucket and a stratum's
// count (a minute is in one bucket and in one stratum, so |v_k| is the absolute
// value of one field), h for a sum, h^2 for a sum of squares and hx*hy for a sum
// of products. These maxima are reached together, where both values lie at the
// end of their range: for a pair the charge is what the worst patient loses, not
// more. It does not matter if a patient changes stratum between two minutes.
func (s *Schema) Plan(slot int, hours int64, rhoMicro uint64) (*Plan, error) {
	b, err := s.block(slot)
	if err != nil {
		return nil, err
	}
	if s.unit == 1 {
		return nil, fmt.Errorf("schema %s has days, not hours: use PlanDays", s.Name)
	}
	if hours < 1 || hours > MaxHours {
		return nil, fmt.Errorf("a query covers 1 to %d hours, not %d", MaxHours, hours)
	}
	return b.plan(&Plan{Slot: slot, Hours: hours, RhoMicro: rhoMicro}, hours, hourShares[b.Shape])
}

// PlanDays sizes the noise for a query of a day row's question, about at most days
// person-days of each patient, so that the figures want cost at most rhoMicro
// micro-zCDP for one patient. A pair and a metric by stratum have one answer each:
// there want is WantMean.
//
// The proof is Plan's, with one value a day in place of sixty minutes an hour: D is
// days, and the maxima of |v_k| are 1 for the count and for the histogram, in which a
// day is in one bucket; S for the centred mean, which is clipped; ceil(S^2/2) for its
// square less floor(S^2/2); the half of their range for the 5 % and the 95 % minute;
// 500 for the share within the limits less 500; and 1000 for the shares below and
// above together, because |(a, b)| <= a + b <= 1000. One person reaches all of them at
// once, so a joint bound over the parts would gain nothing.
//
// Neighbours are a person's rows and zeros in their place. Another value of the same
// person is two such steps: four times the loss.
func (s *Schema) PlanDays(slot int, want Want, days int64, rhoMicro uint64) (*Plan, error) {
	b, err := s.block(slot)
	if err != nil {
		return nil, err
	}
	if s.unit != 1 {
		return nil, fmt.Errorf("schema %s has no person-days", s.Name)
	}
	if err := want.check(); err != nil {
		return nil, err
	}
	if b.Shape != ShapePerson && want != WantMean {
		return nil, fmt.Errorf("%s has one answer: ask for %s", b.Key, WantMean)
	}
	if days < 1 || days > MaxDays {
		return nil, fmt.Errorf("a query covers 1 to %d days, not %d", MaxDays, days)
	}
	return b.plan(&Plan{Slot: slot, Days: days, Want: want, RhoMicro: rhoMicro}, days, b.dayShares(want))
}

// dayShares splits the privacy loss of a query about person-days.
func (b *block) dayShares(want Want) []share {
	switch b.Shape {
	case ShapePair:
		return []share{{KindN, 1}, {KindSumX, 1}, {KindSumY, 1}, {KindSumSqX, 1}, {KindSumSqY, 1}, {KindSumXY, 1}}
	case ShapeStrata:
		return WantMean.shares()
	}
	return want.shares()
}

// plan fills in the parts for windows rows of a patient.
func (b *block) plan(p *Plan, windows int64, shares []share) (*Plan, error) {
	if p.RhoMicro < 100 || p.RhoMicro > MaxRhoMicro {
		return nil, fmt.Errorf("rho is from 100 to %d micro-zCDP, not %d", MaxRhoMicro, p.RhoMicro)
	}
	var all uint64
	for _, share := range shares {
		all += share.parts
	}
	for _, share := range shares {
		delta := new(big.Int).Mul(big.NewInt(windows*b.unit), big.NewInt(b.reach(share.kind)))
		p.Parts = append(p.Parts, Part{share.kind, delta, varianceFor(delta, p.RhoMicro, share.parts, all)})
	}
	p.ChargeMicro = p.charge()
	return p, nil
}

// reach is the most that one value of a patient changes the fields of a kind by (L2):
// of several fields of a kind only one is not zero, or they add up to at most the
// largest of one.
func (b *block) reach(k Kind) int64 {
	i := slices.IndexFunc(b.fields, func(f Field) bool { return f.Kind == k })
	return b.fields[i].Max / b.unit
}

// varianceFor is the least integer variance at which a change of delta costs at
// most parts of all of rhoMicro: delta^2 / (2 variance) <= rho.
func varianceFor(delta *big.Int, rhoMicro, parts, all uint64) *big.Int {
	num := new(big.Int).Mul(delta, delta)
	num.Mul(num, new(big.Int).SetUint64(micro*all))
	den := new(big.Int).SetUint64(2 * rhoMicro * parts)
	return ceilDiv(num, den)
}

func ceilDiv(num, den *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(num, den, new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, one)
	}
	return q
}

// charge is the exact loss of all parts together, rounded up.
func (p *Plan) charge() uint64 {
	sum := new(big.Rat)
	for _, part := range p.Parts {
		num := new(big.Int).Mul(part.Delta, part.Delta)
		num.Mul(num, big.NewInt(micro))
		sum.Add(sum, new(big.Rat).SetFrac(num, new(big.Int).Lsh(part.Variance, 1)))
	}
	return ceilDiv(sum.Num(), sum.Denom()).Uint64()
}

// Variance returns the variance of one piece's noise on a field, nil if the plan
// has no such fields.
func (p *Plan) Variance(k Kind) *big.Int { return p.part(k).Variance }

// Delta returns the sensitivity of the fields of a kind (Part.Delta), nil if the
// plan has none.
func (p *Plan) Delta(k Kind) *big.Int { return p.part(k).Delta }

func (p *Plan) part(k Kind) Part {
	for _, part := range p.Parts {
		if part.Kind == k {
			return part
		}
	}
	return Part{}
}

// CheckPlan refuses a plan that Plan or PlanDays would not have made from its own slot,
// windows, figures and rho, such as one whose noise was made smaller.
func (s *Schema) CheckPlan(p *Plan) error {
	if p == nil {
		return fmt.Errorf("there is no plan")
	}
	want, err := s.again(p)
	if err != nil {
		return err
	}
	same := want.Hours == p.Hours && want.Days == p.Days && want.Want == p.Want && want.ChargeMicro == p.ChargeMicro && slices.EqualFunc(want.Parts, p.Parts, func(a, b Part) bool {
		return a.Kind == b.Kind && b.Delta != nil && b.Variance != nil && a.Delta.Cmp(b.Delta) == 0 && a.Variance.Cmp(b.Variance) == 0
	})
	if !same {
		return fmt.Errorf("the plan is not the one for slot %d, %d hours or %d days and %d micro-zCDP", p.Slot, p.Hours, p.Days, p.RhoMicro)
	}
	return nil
}

// again makes the plan anew from what was asked.
func (s *Schema) again(p *Plan) (*Plan, error) {
	if s.unit == 1 {
		return s.PlanDays(p.Slot, p.Want, p.Days, p.RhoMicro)
	}
	return s.Plan(p.Slot, p.Hours, p.RhoMicro)
}

// Asked returns the coefficients that answer the plan, ascending: those with a field
// that it has noise for.
func (s *Schema) Asked(p *Plan) []int {
	var coeffs []int
	b := s.bySlot[p.Slot]
	if b == nil {
		return nil
	}
	for _, f := range b.fields {
		if p.has(f.Kind) && !slices.Contains(coeffs, f.Coeff) {
			coeffs = append(coeffs, f.Coeff)
		}
	}
	return coeffs
}

func (p *Plan) has(k Kind) bool { return p.Variance(k) != nil }

// Safe checks a plan (CheckPlan), and that sums of rows rows with the noise of all
// pieces stay within every field: of the plan's question, or of the whole row
// without noise if plan is nil.
func (s *Schema) Safe(rows int64, plan *Plan, pieces int) error {
	if rows < 1 || rows > 1<<RowBits {
		return fmt.Errorf("a sum has 1 to 2^%d rows, not %d", RowBits, rows)
	}
	if pieces < 1 || pieces > 1<<16 {
		return fmt.Errorf("%d pieces make no sharing", pieces)
	}
	if plan != nil {
		if err := s.CheckPlan(plan); err != nil {
			return err
		}
		return s.bySlot[plan.Slot].safe(rows, plan, pieces)
	}
	for i := range s.blocks {
		if err := s.blocks[i].safe(rows, nil, pieces); err != nil {
			return err
		}
	}
	return nil
}

func (b *block) safe(rows int64, plan *Plan, pieces int) error {
	for _, f := range b.fields {
		need := new(big.Int).Mul(big.NewInt(rows), big.NewInt(f.Max))
		if plan != nil && !plan.has(f.Kind) {
			continue // not opened
		}
		if plan != nil {
			need.Add(need, noiseBound(plan.Variance(f.Kind), pieces))
		}
		if room := new(big.Int).Lsh(one, uint(f.Width-1)); need.Cmp(room) >= 0 {
			return fmt.Errorf("%s: field %s can reach %s, its room is %s: ask for fewer rows or more rho", b.Key, f.Name, need, room)
		}
	}
	return nil
}

// noiseBound is what the noise of all pieces together stays below, but for a
// probability under 2^-100: tailSigmas * ceil(sqrt(pieces * variance)).
func noiseBound(variance *big.Int, pieces int) *big.Int {
	v := new(big.Int).Mul(variance, big.NewInt(int64(pieces)))
	root := new(big.Int).Sqrt(v)
	root.Add(root, one)
	return root.Mul(root, big.NewInt(tailSigmas))
}

// Noise draws one piece's noise on the given coefficients of the plan's question
// and packs it as Encode packs statistics. stream returns the random stream of
// one field; every field has its own. Fields of these coefficients that the plan does
// not ask for are the highest in them, and uniformly random bits cover them. A
// coefficient without a field that is asked, or that is there twice, is refused.
func (s *Schema) Noise(p *Plan, coeffs []int, stream func(f Field) io.Reader) ([]Payload, error) {
	if err := s.CheckPlan(p); err != nil {
		return nil, err
	}
	b := s.bySlot[p.Slot]
	place := make(map[int]int, len(coeffs))
	for i, c := range coeffs {
		place[c] = i
	}
	out := make([]Payload, len(coeffs))
	asked := s.Asked(p)
	for i, c := range coeffs {
		if place[c] != i || !slices.Contains(asked, c) {
			return nil, fmt.Errorf("%s: coefficient %d is there twice, or the plan does not ask for it", b.Key, c)
		}
	}
	covered := map[int]bool{}
	for _, f := range b.fields {
		i, ok := place[f.Coeff]
		if !ok || covered[f.Coeff] {
			continue
		}
		var x *big.Int
		var err error
		if p.has(f.Kind) {
			x, err = SampleDiscreteGaussian(stream(f), p.Variance(f.Kind))
		} else {
			covered[f.Coeff] = true
			x, err = uniform(stream(f), PayloadBits-f.Shift)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: noise of field %s: %w", b.Key, f.Name, err)
		}
		out[i] = out[i].Plus(PayloadOf(x.Lsh(x, uint(f.Shift))))
	}
	return out, nil
}

// uniform draws from [0, 2^bits).
func uniform(r io.Reader, bits int) (*big.Int, error) {
	b := make([]byte, (bits+7)/8)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, fmt.Errorf("read the random stream: %w", err)
	}
	b[0] &= 0xff >> (8*len(b) - bits)
	return new(big.Int).SetBytes(b), nil
}
