package zk

import (
	"math/big"

	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/std/permutation/poseidon2"
	"github.com/consensys/gnark/std/rangecheck"

	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Widths of range checks, each of which asserts that a difference is not
// negative. A negative one is a field element within 2^48 of the modulus, which
// has 254 bits, and never fits; one that is not negative always fits, because
//
//	codes, bounds and counts     < 2^16
//	sums of codes, bound * count < 7*1440*2^16 < 2^30
//	trend products               < 5040^2 * 2^18 < 2^43
const (
	codeBits  = verifier.CodeBits
	trendBits = 18 // width of the biased trend bounds
	sumBits   = 32
	crossBits = 48
)

const (
	hoursPerDay    = 24
	minutesPerHour = 60
)

// circuit is the predicate over so many days. Fields are exported for gnark's
// reflection only. The public ones are in the order of verifier.Statement.Inputs.
type circuit struct {
	DataDigest frontend.Variable `gnark:",public"`
	Binding    frontend.Variable `gnark:",public"`
	Slot       frontend.Variable `gnark:",public"`
	FirstDay   frontend.Variable `gnark:",public"`
	HourMask   frontend.Variable `gnark:",public"`
	Lo         frontend.Variable `gnark:",public"`
	Hi         frontend.Variable `gnark:",public"`
	K          frontend.Variable `gnark:",public"`
	OutMax     frontend.Variable `gnark:",public"`
	MinCount   frontend.Variable `gnark:",public"`
	DayK       frontend.Variable `gnark:",public"`
	MeanLo     frontend.Variable `gnark:",public"`
	MeanHi     frontend.Variable `gnark:",public"`
	TrendLo    frontend.Variable `gnark:",public"`
	TrendHi    frontend.Variable `gnark:",public"`
	MinHalf    frontend.Variable `gnark:",public"`

	Days []dayInputs
}

// dayInputs are the private inputs of one day.
type dayInputs struct {
	Readings   []frontend.Variable // codes, 0 = missing
	ColumnSalt frontend.Variable
	DaySalt    frontend.Variable
	Path       []frontend.Variable // siblings of the column, lowest first
}

// newCircuit returns the circuit for so many days, to compile or to fill in.
func newCircuit(days int) *circuit {
	c := &circuit{Days: make([]dayInputs, days)}
	for i := range c.Days {
		c.Days[i].Readings = make([]frontend.Variable, verifier.ReadingsPerDay)
		c.Days[i].Path = make([]frontend.Variable, verifier.TreeDepth)
	}
	return c
}

// maker carries what the parts of Define share.
type maker struct {
	*circuit
	api      frontend.API
	hasher   *poseidon2.Permutation
	checker  frontend.Rangechecker
	slotBits []frontend.Variable
	hours    []frontend.Variable // the mask's bits
}

// counts are what a part of the readings adds up to, within the hour mask.
type counts struct {
	inRange, present, sum frontend.Variable
}

func zeroCounts() counts { return counts{0, 0, 0} }

func (m *maker) add(a, b counts) counts {
	return counts{
		m.api.Add(a.inRange, b.inRange), m.api.Add(a.present, b.present), m.api.Add(a.sum, b.sum),
	}
}

// Define implements frontend.Circuit.
func (c *circuit) Define(api frontend.API) error {
	hasher, err := poseidon2.NewPoseidon2(api)
	if err != nil {
		return err
	}
	m := &maker{circuit: c, api: api, hasher: hasher, checker: rangecheck.New(api)}
	m.slotBits = api.ToBinary(c.Slot, verifier.TreeDepth)
	m.hours = api.ToBinary(c.HourMask, hoursPerDay)
	m.checkInputs()

	roots := []frontend.Variable{len(c.Days)}
	halves := [2]counts{zeroCounts(), zeroCounts()}
	var passed frontend.Variable = 0
	for d := range c.Days {
		hourly, err := m.countDay(c.Days[d].Readings)
		if err != nil {
			return err
		}
		day := zeroCounts()
		for h, n := range hourly {
			day = m.add(day, n)
			half := verifier.HalfOf(d*hoursPerDay+h, len(c.Days))
			halves[half] = m.add(halves[half], n)
		}
		pass, err := m.dayPasses(day)
		if err != nil {
			return err
		}
		passed = api.Add(passed, pass)
		roots = append(roots, m.dayRoot(d))
	}
	m.notLess(passed, c.DayK, codeBits)
	m.checkMean(m.add(halves[0], halves[1]))
	m.checkTrend(halves)
	api.AssertIsEqual(m.hash(verifier.DomainData, roots...), c.DataDigest)
	return nil
}

// checkInputs bounds the public inputs, which the widths above rest on, though
// the verifier does so too. Lo >= 1 keeps missing readings out of range.
//
// Binding appears in no part of the claim. Its square puts it into a constraint:
// a public input in none could be exchanged under a finished proof.
func (m *maker) checkInputs() {
	m.checker.Check(m.api.Sub(m.Lo, 1), codeBits)
	for _, v := range []frontend.Variable{
		m.Lo, m.Hi, m.K, m.OutMax, m.MinCount, m.DayK, m.MeanLo, m.MeanHi, m.MinHalf,
	} {
		m.checker.Check(v, codeBits)
	}
	m.checker.Check(m.TrendLo, trendBits)
	m.checker.Check(m.TrendHi, trendBits)
	m.api.Mul(m.Binding, m.Binding)
}

// notLess asserts a >= b for numbers whose difference fits the width.
func (m *maker) notLess(a, b frontend.Variable, width int) {
	m.checker.Check(m.api.Sub(a, b), width)
}

// countDay counts each hour of a day, zero for hours outside the mask.
func (m *maker) countDay(readings []frontend.Variable) ([]counts, error) {
	in := append([]frontend.Variable{m.Lo, m.Hi}, readings...)
	bits, err := m.api.Compiler().NewHint(inRangeHint, len(readings), in...)
	if err != nil {
		return nil, err
	}
	hourly := make([]counts, hoursPerDay)
	for h := range hourly {
		n := zeroCounts()
		for i := h * minutesPerHour; i < (h+1)*minutesPerHour; i++ {
			n = m.add(n, m.countReading(readings[i], bits[i]))
		}
		hourly[h] = counts{
			m.api.Mul(n.inRange, m.hours[h]), m.api.Mul(n.present, m.hours[h]), m.api.Mul(n.sum, m.hours[h]),
		}
	}
	return hourly, nil
}

// countReading binds the hinted bit in one direction: where it is set the
// reading v is in [Lo, Hi]; where it is not, nothing is said, so that a prover
// can only count too few. Both range checks together also bound v itself:
//
//	bit set:     v-Lo and Hi-v have 16 bits, so Lo <= v <= Hi
//	bit not set: v has 16 bits
//
// Present is exact: it is 0 if and only if v is.
func (m *maker) countReading(v, bit frontend.Variable) counts {
	m.api.AssertIsBoolean(bit)
	m.checker.Check(m.api.Sub(v, m.api.Mul(bit, m.Lo)), codeBits)
	m.checker.Check(m.api.Mul(bit, m.api.Sub(m.Hi, v)), codeBits)
	return counts{inRange: bit, present: m.api.Sub(1, m.api.IsZero(v)), sum: v}
}

// dayPasses returns a bit that is set only if the day meets its bounds; whether
// to set it is the prover's choice.
func (m *maker) dayPasses(day counts) (frontend.Variable, error) {
	slack := []frontend.Variable{
		m.api.Sub(day.inRange, m.K),
		m.api.Sub(m.OutMax, m.api.Sub(day.present, day.inRange)),
		m.api.Sub(day.present, m.MinCount),
	}
	bit, err := m.api.Compiler().NewHint(dayPassesHint, 1, slack...)
	if err != nil {
		return nil, err
	}
	m.api.AssertIsBoolean(bit[0])
	for _, s := range slack {
		m.checker.Check(m.api.Mul(bit[0], s), codeBits)
	}
	return bit[0], nil
}

// checkMean asserts MeanLo <= sum/present <= MeanHi, multiplied out. It holds
// for no readings at all: the verifier asks for MinCount where the mean is
// bounded.
func (m *maker) checkMean(all counts) {
	m.notLess(all.sum, m.api.Mul(m.MeanLo, all.present), sumBits)
	m.notLess(m.api.Mul(m.MeanHi, all.present), all.sum, sumBits)
}

// checkTrend asserts MinHalf and, for sums s0, s1 over n0, n1 readings, that
// s1/n1 - s0/n0 is in [TrendLo, TrendHi] less their bias, multiplied by n0*n1.
// With n0*n1 = 0 the latter says nothing: the verifier asks for MinHalf where
// the trend is bounded.
func (m *maker) checkTrend(halves [2]counts) {
	first, second := halves[0], halves[1]
	m.notLess(first.present, m.MinHalf, codeBits)
	m.notLess(second.present, m.MinHalf, codeBits)
	both := m.api.Mul(first.present, second.present)
	difference := m.api.Sub(m.api.Mul(second.sum, first.present), m.api.Mul(first.sum, second.present))
	m.notLess(difference, m.api.Mul(m.api.Sub(m.TrendLo, verifier.TrendBias), both), crossBits)
	m.notLess(m.api.Mul(m.api.Sub(m.TrendHi, verifier.TrendBias), both), difference, crossBits)
}

// dayRoot recomputes day d's root from its readings.
func (m *maker) dayRoot(d int) frontend.Variable {
	in := m.Days[d]
	day := m.api.Add(m.FirstDay, d)
	node := m.column(day, in)
	for l, sibling := range in.Path {
		left := m.api.Select(m.slotBits[l], sibling, node)
		right := m.api.Select(m.slotBits[l], node, sibling)
		node = m.hash(verifier.DomainNode, left, right)
	}
	return m.hash(verifier.DomainDay, day, in.DaySalt, node)
}

// column is the column's commitment, in the form for columns without readings
// where every reading is zero.
func (m *maker) column(day frontend.Variable, in dayInputs) frontend.Variable {
	full := []frontend.Variable{m.Slot, day, in.ColumnSalt}
	var sum frontend.Variable = 0
	for i := 0; i < len(in.Readings); i += verifier.CodesPerElement {
		full = append(full, m.pack(in.Readings[i:i+verifier.CodesPerElement]))
	}
	for _, v := range in.Readings {
		sum = m.api.Add(sum, v)
	}
	empty := m.hash(verifier.DomainEmpty, m.Slot, day, in.ColumnSalt)
	// Readings have 16 bits, so their sum is zero if and only if all are.
	return m.api.Select(m.api.IsZero(sum), empty, m.hash(verifier.DomainColumn, full...))
}

func (m *maker) pack(codes []frontend.Variable) frontend.Variable {
	var packed frontend.Variable = 0
	for i, v := range codes {
		packed = m.api.Add(packed, m.api.Mul(v, new(big.Int).Lsh(big.NewInt(1), uint(codeBits*i))))
	}
	return packed
}

// hash is verifier.Hash.
func (m *maker) hash(d verifier.Domain, xs ...frontend.Variable) frontend.Variable {
	domain := d.Element()
	state := m.hasher.Compress(0, domain.BigInt(new(big.Int)))
	for _, x := range xs {
		state = m.hasher.Compress(state, x)
	}
	return state
}
