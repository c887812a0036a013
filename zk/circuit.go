package zk

import (
	"math/big"

	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/std/rangecheck"

	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Widths of range checks, each of which asserts that a difference is not
// negative. A negative one is a field element within 2^48 of the modulus, which
// has 254 bits, and never fits; one that is not negative always fits, because
//
//	bounds and counts            < 2^16
//	sums of codes, bound * count < 7*1440*2^16 < 2^30
//	trend products               < 5040^2 * 2^18 < 2^43
const (
	countBits = 16
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
	Path       [verifier.TreeDepth][verifier.Arity]frontend.Variable
}

// newCircuit returns the circuit for so many days, to compile or to fill in.
func newCircuit(days int) *circuit {
	c := &circuit{Days: make([]dayInputs, days)}
	for i := range c.Days {
		c.Days[i].Readings = make([]frontend.Variable, verifier.ReadingsPerDay)
	}
	return c
}

// maker carries what the parts of Define share.
type maker struct {
	*circuit
	api      frontend.API
	checker  frontend.Rangechecker
	slotBits []frontend.Variable
	hours    []frontend.Variable // the mask's bits
}

// counts are what a part of the readings adds up to, within the hour mask. How many
// are in range is known of whole days only.
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
	m := &maker{circuit: c, api: api, checker: rangecheck.New(api)}
	m.slotBits = api.ToBinary(c.Slot, 2*verifier.TreeDepth)
	m.hours = api.ToBinary(c.HourMask, hoursPerDay)
	m.checkInputs()

	var roots []frontend.Variable
	halves := [2]counts{zeroCounts(), zeroCounts()}
	var passed frontend.Variable = 0
	for d := range c.Days {
		day, of, err := m.countDay(d)
		if err != nil {
			return err
		}
		for half := range halves {
			halves[half] = m.add(halves[half], of[half])
		}
		pass, err := m.dayPasses(day)
		if err != nil {
			return err
		}
		passed = api.Add(passed, pass)
		roots = append(roots, m.dayRoot(d))
	}
	m.notLess(passed, c.DayK, countBits)
	m.checkMean(m.add(halves[0], halves[1]))
	m.checkTrend(halves)
	api.AssertIsEqual(m.dataDigest(roots), c.DataDigest)
	return nil
}

// checkInputs bounds the public inputs, which the widths above rest on, though
// the verifier does so too. Lo >= 1 keeps missing readings out of range.
//
// Binding appears in no part of the claim. Its square puts it into a constraint:
// a public input in none could be exchanged under a finished proof.
func (m *maker) checkInputs() {
	m.checker.Check(m.api.Sub(m.Lo, 1), countBits)
	for _, v := range []frontend.Variable{
		m.Lo, m.Hi, m.K, m.OutMax, m.MinCount, m.DayK, m.MeanLo, m.MeanHi, m.MinHalf,
	} {
		m.checker.Check(v, countBits)
	}
	m.checker.Check(m.TrendLo, trendBits)
	m.checker.Check(m.TrendHi, trendBits)
	m.api.Mul(m.Binding, m.Binding)
}

// notLess asserts a >= b for numbers whose difference fits the width.
func (m *maker) notLess(a, b frontend.Variable, width int) {
	m.checker.Check(m.api.Sub(a, b), width)
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
		m.checker.Check(m.api.Mul(bit[0], s), countBits)
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
	m.notLess(first.present, m.MinHalf, countBits)
	m.notLess(second.present, m.MinHalf, countBits)
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
	for level, row := range in.Path {
		children := make([]frontend.Variable, verifier.Arity)
		for i, place := range m.places(level) {
			children[i] = m.api.Select(place, node, row[i])
		}
		node = compress(m.api, children...)
	}
	return compress(m.api, constant(verifier.DomainDay.Element()), day, in.DaySalt, node)
}

// places are four bits, of which the own place at a level of the tree is set.
func (m *maker) places(level int) [verifier.Arity]frontend.Variable {
	low, high := m.slotBits[2*level], m.slotBits[2*level+1]
	three := m.api.Mul(low, high)
	return [verifier.Arity]frontend.Variable{
		m.api.Add(m.api.Sub(1, low, high), three), m.api.Sub(low, three), m.api.Sub(high, three), three,
	}
}

// column is the column's commitment.
func (m *maker) column(day frontend.Variable, in dayInputs) frontend.Variable {
	xs := []frontend.Variable{m.Slot, day, in.ColumnSalt}
	for i := 0; i < len(in.Readings); i += verifier.CodesPerElement {
		xs = append(xs, m.pack(in.Readings[i:i+verifier.CodesPerElement]))
	}
	return sponge(m.api, verifier.DomainColumn, xs...)
}

func (m *maker) pack(codes []frontend.Variable) frontend.Variable {
	var packed frontend.Variable = 0
	for i, v := range codes {
		packed = m.api.Add(packed, m.api.Mul(v, new(big.Int).Lsh(big.NewInt(1), uint(verifier.CodeBits*i))))
	}
	return packed
}

// dataDigest is verifier.DataDigest.
func (m *maker) dataDigest(roots []frontend.Variable) frontend.Variable {
	xs := append([]frontend.Variable{constant(verifier.DomainData(len(roots)).Element())}, roots...)
	for len(xs) <= verifier.MaxDays {
		xs = append(xs, 0)
	}
	return compress(m.api, xs...)
}
