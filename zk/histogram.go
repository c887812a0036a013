package zk

import (
	"math/big"

	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/std/multicommit"

	"github.com/vitalveil/vitalveil/zk/verifier"
)

// # How readings are counted
//
// How often each code occurs among the readings that count is proven at once; what a
// statement needs follows by additions. The idea is that of lookup arguments from
// logarithmic derivatives (Haböck, ePrint 2022/1530), of which a histogram is the
// simplest: multiplicities are what is looked for.
//
// For each half of the statement's time that a day touches, the prover gives M[c], the
// number of readings of at least c, for every code c below T = verifier.Codes; M[T] is
// 0. A challenge x is drawn after everything that the identities hold but x is
// committed to: the readings v, all M, the mask, Lo and Hi, and the edges below. With b
// the mask's bit of a reading's hour, the circuit asserts
//
//	sum over readings of b/(x-v)  =  sum over c of (M[c] - M[c+1])/(x-c)        (1)
//
// Both sides are rational functions of x of degree below 1440 + T. If they differ they
// agree at a random x with a chance below 2^-242. If they are equal, so are their poles
// and residues: the residue at c is the number of readings with code c that count, at
// most 1440, so nothing vanishes modulo the field's order; and there is no pole outside
// of 0..T-1, so no reading that counts is outside. So M is exact, up to a constant that
// M[T] = 0 fixes, and (1) is the readings' range check too. M[1] readings are present,
// and M[1] + M[2] + ... is the sum of their codes.
//
// Readings of hours that do not count are not checked. They need not be: an element of
// the column holds readings of one hour only, so that whatever they are, they say
// nothing of others.
//
// In range are M[Lo] - M[Hi+1], of the whole day. Both are looked up, by the same kind
// of identity, among the keys c 2^12 + M[c] for c = 0..T:
//
//	1/(x-key(Lo, from)) + 1/(x-key(Hi+1, above))  =  sum over c of asked[c]/(x-key(c, M[c]))   (2)
//
// A key tells its code and its count apart because M is at most 1440 by (1), and what is
// looked up is checked to have 12 bits.
//
// gnark adds a random mask to what is committed to, so that M, which holds little that
// could not be guessed, is not revealed by its commitment.

// keyShift keeps a code and a number of readings of one day apart in one number.
const keyShift = 12

// histogram is the readings of one day that count.
type histogram struct {
	m        *maker
	readings []frontend.Variable
	halves   [2][]frontend.Variable // M and its zero at the end, nil where no hour is in the half
	day      []frontend.Variable    // both halves together
	fromLo   frontend.Variable      // M[Lo] of the day
	aboveHi  frontend.Variable      // M[Hi+1]
	asked    []frontend.Variable
}

// countDay counts the readings of day d: in all, and what falls into each half of the
// statement's time.
func (m *maker) countDay(d int) (counts, [2]counts, error) {
	h := &histogram{m: m, readings: m.Days[d].Readings}
	committed := append([]frontend.Variable{m.HourMask, m.Lo, m.Hi}, h.readings...)
	for half := range h.halves {
		at, err := h.atLeast(d, half)
		if err != nil {
			return counts{}, [2]counts{}, err
		}
		if at != nil {
			committed = append(committed, at...)
			h.halves[half] = append(at, 0)
		}
	}
	if err := h.lookUpEdges(); err != nil {
		return counts{}, [2]counts{}, err
	}
	committed = append(append(committed, h.fromLo, h.aboveHi), h.asked...)
	multicommit.WithCommitment(m.api, func(api frontend.API, x frontend.Variable) error {
		if err := h.checkReadings(api, x, d); err != nil {
			return err
		}
		return h.checkEdges(api, x)
	}, committed...)
	day, halves := h.counts()
	return day, halves, nil
}

// atLeast has the prover give M of a half, for the hours of day d that are in it.
func (h *histogram) atLeast(d, half int) ([]frontend.Variable, error) {
	var in []frontend.Variable
	for hour := range hoursPerDay {
		if verifier.HalfOf(d*hoursPerDay+hour, len(h.m.Days)) == half {
			in = append(append(in, h.m.hours[hour]), h.hour(h.readings, hour)...)
		}
	}
	if len(in) == 0 {
		return nil, nil
	}
	return h.m.api.Compiler().NewHint(atLeastHint, verifier.Codes, in...)
}

func (h *histogram) hour(of []frontend.Variable, hour int) []frontend.Variable {
	return of[hour*minutesPerHour : (hour+1)*minutesPerHour]
}

// lookUpEdges adds up the halves and has the prover give M at Lo and above Hi.
func (h *histogram) lookUpEdges() error {
	for c := range verifier.Codes + 1 {
		var all frontend.Variable = 0
		for _, at := range h.halves {
			if at != nil {
				all = h.m.api.Add(all, at[c])
			}
		}
		h.day = append(h.day, all)
	}
	in := append([]frontend.Variable{h.m.Lo, h.m.Hi}, h.day...)
	out, err := h.m.api.Compiler().NewHint(edgesHint, 2+len(h.day), in...)
	if err != nil {
		return err
	}
	h.fromLo, h.aboveHi, h.asked = out[0], out[1], out[2:]
	h.m.checker.Check(h.fromLo, keyShift)
	h.m.checker.Check(h.aboveHi, keyShift)
	return nil
}

// checkReadings asserts identity (1) for each half.
func (h *histogram) checkReadings(api frontend.API, x frontend.Variable, d int) error {
	q := newQuotients(api)
	distance := make([]frontend.Variable, len(h.readings))
	for i, v := range h.readings {
		distance[i] = api.Sub(x, v)
	}
	poles, err := q.inverses(distance)
	if err != nil {
		return err
	}
	read := [2]frontend.Variable{0, 0}
	for hour := range hoursPerDay {
		half := verifier.HalfOf(d*hoursPerDay+hour, len(h.m.Days))
		read[half] = api.Add(read[half], api.Mul(h.m.hours[hour], total(api, h.hour(poles, hour))))
	}
	for half, at := range h.halves {
		if at == nil {
			continue
		}
		numbers, from := make([]frontend.Variable, verifier.Codes), make([]frontend.Variable, verifier.Codes)
		for c := range numbers {
			numbers[c], from[c] = api.Sub(at[c], at[c+1]), api.Sub(x, c)
		}
		counted, err := q.of(numbers, from)
		if err != nil {
			return err
		}
		api.AssertIsEqual(read[half], total(api, counted))
	}
	return nil
}

// checkEdges asserts identity (2).
func (h *histogram) checkEdges(api frontend.API, x frontend.Variable) error {
	key := func(code, count frontend.Variable) frontend.Variable {
		return api.Add(api.Mul(code, 1<<keyShift), count)
	}
	q := newQuotients(api)
	distance := make([]frontend.Variable, len(h.day))
	for c, count := range h.day {
		distance[c] = api.Sub(x, key(c, count))
	}
	there, err := q.of(h.asked, distance)
	if err != nil {
		return err
	}
	wanted, err := q.inverses([]frontend.Variable{
		api.Sub(x, key(h.m.Lo, h.fromLo)), api.Sub(x, key(api.Add(h.m.Hi, 1), h.aboveHi)),
	})
	if err != nil {
		return err
	}
	api.AssertIsEqual(total(api, wanted), total(api, there))
	return nil
}

func (h *histogram) counts() (counts, [2]counts) {
	halves := [2]counts{zeroCounts(), zeroCounts()}
	for half, at := range h.halves {
		if at != nil {
			halves[half].present = at[1]
			halves[half].sum = total(h.m.api, at[1:])
		}
	}
	day := h.m.add(halves[0], halves[1])
	day.inRange = h.m.api.Sub(h.fromLo, h.aboveHi)
	return day, halves
}

// atLeastHint takes, for each hour, the mask's bit and the readings, and gives the
// number of readings of at least c that count, for each c.
func atLeastHint(_ *big.Int, in, out []*big.Int) error {
	n := make([]int64, len(out)+1)
	for at := 0; at < len(in); at += 1 + minutesPerHour {
		if in[at].Sign() == 0 {
			continue
		}
		for _, v := range in[at+1 : at+1+minutesPerHour] {
			if v.IsInt64() && v.Int64() < int64(len(out)) {
				n[v.Int64()]++
			}
		}
	}
	for c := len(out) - 1; c >= 0; c-- {
		n[c] += n[c+1]
		out[c].SetInt64(n[c])
	}
	return nil
}

// edgesHint takes Lo, Hi and M, and gives M at Lo and at Hi+1, and for each c how many
// of the two it is.
func edgesHint(_ *big.Int, in, out []*big.Int) error {
	at := in[2:]
	for _, o := range out {
		o.SetUint64(0)
	}
	for i, code := range []*big.Int{in[0], new(big.Int).Add(in[1], big.NewInt(1))} {
		if !code.IsInt64() || code.Int64() < 0 || code.Int64() >= int64(len(at)) {
			continue
		}
		c := code.Int64()
		out[i].Set(at[c])
		out[2+c].Add(out[2+c], big.NewInt(1))
	}
	return nil
}
