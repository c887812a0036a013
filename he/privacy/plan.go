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
	// MaxRhoMicro bounds the privacy loss of one query: rho = 100 protects
	// nobody, so more is a mistake.
	MaxRhoMicro = 100_000_000
	// micro is 1 in units of micro-zCDP.
	micro = 1_000_000
)

// share is how much of a query's privacy loss, in percent, a kind of field gets.
type share struct {
	kind    Kind
	percent uint64
}

// shares splits the privacy loss of a query. Of a metric, the mean needs n and the
// centred sum; the error of the sum dominates, hence its larger part. Of a pair,
// slope and covariance stand or fall with the products and the first metric's
// squares; centres are far from where most readings are, so both sums count too.
// By stratum, only the mean can be had.
var shares = map[Shape][]share{
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
// of these variances, at full scale. A Plan is made by Schema.Plan; all its
// figures are integers in units of the resolutions.
type Plan struct {
	Slot        int    `json:"slot"`
	Hours       int64  `json:"hours"`        // windows asked
	RhoMicro    uint64 `json:"rho_micro"`    // asked
	ChargeMicro uint64 `json:"charge_micro"` // debited, at most RhoMicro
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
	if hours < 1 || hours > MaxHours {
		return nil, fmt.Errorf("a query covers 1 to %d hours, not %d", MaxHours, hours)
	}
	if rhoMicro < 100 || rhoMicro > MaxRhoMicro {
		return nil, fmt.Errorf("rho is from 100 to %d micro-zCDP, not %d", MaxRhoMicro, rhoMicro)
	}
	p := &Plan{Slot: slot, Hours: hours, RhoMicro: rhoMicro}
	for _, share := range shares[b.Shape] {
		delta := new(big.Int).Mul(big.NewInt(hours*MinutesPerRow), big.NewInt(b.reach(share.kind)))
		p.Parts = append(p.Parts, Part{share.kind, delta, varianceFor(delta, rhoMicro, share.percent)})
	}
	p.ChargeMicro = p.charge()
	return p, nil
}

// reach is the most that one minute changes the fields of a kind by (L2).
func (b *block) reach(k Kind) int64 {
	switch k {
	case KindSum, KindSumX:
		return b.x.half
	case KindSumSq, KindSumSqX:
		return b.x.half * b.x.half
	case KindSumY:
		return b.y.half
	case KindSumSqY:
		return b.y.half * b.y.half
	case KindSumXY:
		return b.x.half * b.y.half
	default:
		return 1
	}
}

// varianceFor is the least integer variance at which a change of delta costs at
// most percent of rhoMicro: delta^2 / (2 variance) <= rho.
func varianceFor(delta *big.Int, rhoMicro uint64, percent uint64) *big.Int {
	num := new(big.Int).Mul(delta, delta)
	num.Mul(num, big.NewInt(micro*100))
	den := new(big.Int).SetUint64(2 * rhoMicro * percent)
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

// CheckPlan refuses a plan that Plan would not have made from its own slot, hours
// and rho, such as one whose noise was made smaller.
func (s *Schema) CheckPlan(p *Plan) error {
	if p == nil {
		return fmt.Errorf("there is no plan")
	}
	want, err := s.Plan(p.Slot, p.Hours, p.RhoMicro)
	if err != nil {
		return err
	}
	same := want.ChargeMicro == p.ChargeMicro && slices.EqualFunc(want.Parts, p.Parts, func(a, b Part) bool {
		return a.Kind == b.Kind && b.Delta != nil && b.Variance != nil && a.Delta.Cmp(b.Delta) == 0 && a.Variance.Cmp(b.Variance) == 0
	})
	if !same {
		return fmt.Errorf("the plan is not the one for slot %d, %d hours and %d micro-zCDP", p.Slot, p.Hours, p.RhoMicro)
	}
	return nil
}

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
// one field; every field has its own.
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
	for _, f := range b.fields {
		i, ok := place[f.Coeff]
		if !ok {
			continue
		}
		x, err := SampleDiscreteGaussian(stream(f), p.Variance(f.Kind))
		if err != nil {
			return nil, fmt.Errorf("%s: noise of field %s: %w", b.Key, f.Name, err)
		}
		out[i] = out[i].Plus(PayloadOf(x.Lsh(x, uint(f.Shift))))
	}
	return out, nil
}
