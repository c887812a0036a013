package privacy

import (
	"fmt"
	"io"
	"math/big"
)

const (
	// MaxHours bounds the windows of one query: a leap year.
	MaxHours = 366 * 24
	// MaxRhoMicro bounds the privacy loss of one query: rho = 100 protects
	// nobody, so more is a mistake.
	MaxRhoMicro = 100_000_000
	// micro is 1 in units of micro-zCDP.
	micro = 1_000_000
)

// How the privacy loss of a query is split, in percent. The mean needs n and the
// centred sum; the error of the sum dominates, hence its larger part.
const (
	shareN, shareSum, shareSumSq, shareHistogram = 20, 50, 10, 20
)

// tailSigmas: noise beyond this many standard deviations has probability below
// 2 exp(-t^2/2) < 2^-102 (the discrete Gaussian is sub-Gaussian with its own
// variance parameter).
const tailSigmas = 12

// Plan is the privacy noise of one query on one metric. Every piece adds
// discrete Gaussian noise of these variances, at full scale. A Plan is made by
// Schema.Plan; all its figures are integers in units of the resolution.
type Plan struct {
	Slot        int    `json:"slot"`
	Hours       int64  `json:"hours"`        // windows asked
	RhoMicro    uint64 `json:"rho_micro"`    // asked
	ChargeMicro uint64 `json:"charge_micro"` // debited, at most RhoMicro

	// Sensitivities: the most that one patient changes each figure; for the
	// histogram, the L2 norm of the change of the whole vector.
	DeltaN         *big.Int `json:"delta_n"`
	DeltaSum       *big.Int `json:"delta_sum"`
	DeltaSumSq     *big.Int `json:"delta_sum_sq"`
	DeltaHistogram *big.Int `json:"delta_histogram"`

	// Variances of the noise of one piece. All buckets have the same.
	VarN      *big.Int `json:"var_n"`
	VarSum    *big.Int `json:"var_sum"`
	VarSumSq  *big.Int `json:"var_sum_sq"`
	VarBucket *big.Int `json:"var_bucket"`
}

// Plan sizes the noise for a query over hours windows of the metric in slot so
// that it costs at most rhoMicro micro-zCDP for one patient.
func (s *Schema) Plan(slot int, hours int64, rhoMicro uint64) (*Plan, error) {
	m, err := s.metric(slot)
	if err != nil {
		return nil, err
	}
	if hours < 1 || hours > MaxHours {
		return nil, fmt.Errorf("a query covers 1 to %d hours, not %d", MaxHours, hours)
	}
	if rhoMicro < 100 || rhoMicro > MaxRhoMicro {
		return nil, fmt.Errorf("rho is from 100 to %d micro-zCDP, not %d", MaxRhoMicro, rhoMicro)
	}
	readings := big.NewInt(hours * MinutesPerRow)
	half := big.NewInt(m.half)
	p := &Plan{Slot: slot, Hours: hours, RhoMicro: rhoMicro, DeltaN: readings, DeltaHistogram: new(big.Int).Set(readings)}
	p.DeltaSum = new(big.Int).Mul(readings, half)
	p.DeltaSumSq = new(big.Int).Mul(p.DeltaSum, half)
	p.VarN = varianceFor(p.DeltaN, rhoMicro, shareN)
	p.VarSum = varianceFor(p.DeltaSum, rhoMicro, shareSum)
	p.VarSumSq = varianceFor(p.DeltaSumSq, rhoMicro, shareSumSq)
	p.VarBucket = varianceFor(p.DeltaHistogram, rhoMicro, shareHistogram)
	p.ChargeMicro = p.charge()
	return p, nil
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

// charge is the exact loss of the four releases together, rounded up.
func (p *Plan) charge() uint64 {
	sum := new(big.Rat)
	for _, part := range [][2]*big.Int{{p.DeltaN, p.VarN}, {p.DeltaSum, p.VarSum}, {p.DeltaSumSq, p.VarSumSq}, {p.DeltaHistogram, p.VarBucket}} {
		num := new(big.Int).Mul(part[0], part[0])
		num.Mul(num, big.NewInt(micro))
		sum.Add(sum, new(big.Rat).SetFrac(num, new(big.Int).Lsh(part[1], 1)))
	}
	return ceilDiv(sum.Num(), sum.Denom()).Uint64()
}

// Variance returns the variance of one piece's noise on a field.
func (p *Plan) Variance(k Kind) *big.Int {
	switch k {
	case KindN:
		return p.VarN
	case KindSum:
		return p.VarSum
	case KindSumSq:
		return p.VarSumSq
	default:
		return p.VarBucket
	}
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
	same := want.ChargeMicro == p.ChargeMicro
	for _, k := range []Kind{KindN, KindSum, KindSumSq, KindBucket} {
		v := p.Variance(k)
		same = same && v != nil && v.Cmp(want.Variance(k)) == 0
	}
	for _, d := range [][2]*big.Int{{p.DeltaN, want.DeltaN}, {p.DeltaSum, want.DeltaSum}, {p.DeltaSumSq, want.DeltaSumSq}, {p.DeltaHistogram, want.DeltaHistogram}} {
		same = same && d[0] != nil && d[0].Cmp(d[1]) == 0
	}
	if !same {
		return fmt.Errorf("the plan is not the one for slot %d, %d hours and %d micro-zCDP", p.Slot, p.Hours, p.RhoMicro)
	}
	return nil
}

// Safe checks that sums of rows rows with the noise of all pieces stay within
// every field: of the plan's metric, or of every metric without noise if plan is
// nil.
func (s *Schema) Safe(rows int64, plan *Plan, pieces int) error {
	if rows < 1 || rows > 1<<RowBits {
		return fmt.Errorf("a sum has 1 to 2^%d rows, not %d", RowBits, rows)
	}
	if pieces < 1 || pieces > 1<<16 {
		return fmt.Errorf("%d pieces make no sharing", pieces)
	}
	if plan != nil {
		m, err := s.metric(plan.Slot)
		if err != nil {
			return err
		}
		return m.safe(rows, plan, pieces)
	}
	for i := range s.metrics {
		if err := s.metrics[i].safe(rows, nil, pieces); err != nil {
			return err
		}
	}
	return nil
}

func (m *metric) safe(rows int64, plan *Plan, pieces int) error {
	for _, f := range m.fields {
		need := new(big.Int).Mul(big.NewInt(rows), big.NewInt(f.Max))
		if plan != nil {
			need.Add(need, noiseBound(plan.Variance(f.Kind), pieces))
		}
		if room := new(big.Int).Lsh(one, uint(f.Width-1)); need.Cmp(room) >= 0 {
			return fmt.Errorf("%s: field %s can reach %s, its room is %s: ask for fewer rows or more rho", m.Key, f.Name, need, room)
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

// Noise draws one piece's noise on the given coefficients of the plan's metric
// and packs it as Encode packs statistics. stream returns the random stream of
// one field; every field has its own.
func (s *Schema) Noise(p *Plan, coeffs []int, stream func(f Field) io.Reader) ([]Payload, error) {
	m, err := s.metric(p.Slot)
	if err != nil {
		return nil, err
	}
	place := make(map[int]int, len(coeffs))
	for i, c := range coeffs {
		place[c] = i
	}
	out := make([]Payload, len(coeffs))
	for _, f := range m.fields {
		i, ok := place[f.Coeff]
		if !ok {
			continue
		}
		x, err := SampleDiscreteGaussian(stream(f), p.Variance(f.Kind))
		if err != nil {
			return nil, fmt.Errorf("%s: noise of field %s: %w", m.Key, f.Name, err)
		}
		out[i] = out[i].Plus(PayloadOf(x.Lsh(x, uint(f.Shift))))
	}
	return out, nil
}
