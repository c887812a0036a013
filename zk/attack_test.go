package zk

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/std/rangecheck"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

func override(hint, with solver.Hint) solver.Option {
	return solver.OverrideHint(solver.GetHintID(hint), with)
}

// all sets every output of a hint to the same value.
func all(value int64) solver.Hint {
	return func(_ *big.Int, _, out []*big.Int) error {
		for _, o := range out {
			o.SetInt64(value)
		}
		return nil
	}
}

// lie runs a hint and changes what it gives.
func lie(hint solver.Hint, change func(in, out []*big.Int)) solver.Option {
	return override(hint, func(field *big.Int, in, out []*big.Int) error {
		if err := hint(field, in, out); err != nil {
			return err
		}
		change(in, out)
		for _, o := range out {
			o.Mod(o, field)
		}
		return nil
	})
}

// up adds to what a hint gives.
func up(o *big.Int, n int64) { o.Add(o, big.NewInt(n)) }

// lies about counts, of a column with 6 readings in the range 31..71, code 50, and 14 of
// code 90. In what edgesHint gives, 0 is the number of readings from Lo on, 1 that of
// those above Hi, and 2+c says how often code c is one of the two.
var lies = map[string][]solver.Option{
	"one more in range":        {lie(edgesHint, func(_, out []*big.Int) { up(out[0], 1) })},
	"one fewer above":          {lie(edgesHint, func(_, out []*big.Int) { up(out[1], -1) })},
	"a count as part of a key": {lie(edgesHint, func(_, out []*big.Int) { up(out[0], 1<<keyShift) })},
	"the key of no code":       {lie(edgesHint, func(in, out []*big.Int) { out[0].Set(in[2]); up(out[2], 1); up(out[2+31], -1) })},
	"the key of a greater code": {lie(edgesHint, func(in, out []*big.Int) {
		out[0].Add(in[2+32], big.NewInt(1<<keyShift))
		up(out[2+32], 1)
		up(out[2+31], -1)
	})},
	"the key of a lesser code": {lie(edgesHint, func(in, out []*big.Int) {
		out[1].Sub(in[2+71], big.NewInt(1<<keyShift))
		up(out[2+71], 1)
		up(out[2+72], -1)
	})},
	"a key asked twice": {lie(edgesHint, func(_, out []*big.Int) { up(out[2+31], 1); up(out[0], 1) })},
	"no key asked": {lie(edgesHint, func(_, out []*big.Int) {
		for _, o := range out[2:] {
			o.SetUint64(0)
		}
	})},
	"a reading more": {lie(atLeastHint, func(_, out []*big.Int) {
		for c := range 51 {
			up(out[c], 1)
		}
	})},
	"an outlier counted inside": {lie(atLeastHint, func(_, out []*big.Int) {
		for c := 72; c <= 90; c++ {
			up(out[c], -1)
		}
	})},
	"negative counts": {lie(atLeastHint, func(_, out []*big.Int) {
		for _, o := range out {
			o.Neg(o)
		}
	})},
	"a last count that is not zero": {lie(atLeastHint, func(_, out []*big.Int) {
		for _, o := range out {
			up(o, 1)
		}
	})},
	"quotients of nothing": {lie(quotientsHint, func(_, out []*big.Int) {
		for _, o := range out {
			o.SetUint64(0)
		}
	})},
	"a quotient of one more": {lie(quotientsHint, func(_, out []*big.Int) { up(out[0], 1) })},
	"every day passes":       {override(dayPassesHint, all(1))},
	"a day passes twice":     {override(dayPassesHint, all(2))},
}

// A prover chooses its hints. Whatever they are, what is false has no proof, in whatever
// way the range check's own hint plays along.
func TestAttackOverCount(t *testing.T) {
	for what, b := range map[string]func(*record.Bounds){
		"more in range":      func(b *record.Bounds) { b.K = 7 },
		"fewer outside":      func(b *record.Bounds) { b.OutMax = 13 },
		"more measured":      func(b *record.Bounds) { b.MinCount = 21 },
		"a smaller mean":     func(b *record.Bounds) { b.MeanHi = 77 },
		"a larger mean":      func(b *record.Bounds) { b.MeanLo = 79 },
		"more in the second": func(b *record.Bounds) { b.MinHalf = 1 },
	} {
		s, openings := about(t, heartRate, bounds(b), column([3]int{0, 6, 50}, [3]int{6, 20, 90}))
		if accepts(t, s, openings) {
			t.Fatalf("%s: the honest prover proves what is false", what)
		}
		for name, hints := range lies {
			for decomposition, limbs := range map[string]solver.Option{
				"honest limbs":    override(rangecheck.DecomposeHint, rangecheck.DecomposeHint),
				"oversized limbs": override(rangecheck.DecomposeHint, oversizedLimbs),
			} {
				if accepts(t, s, openings, append([]solver.Option{limbs}, hints...)...) {
					t.Errorf("%s, %s, %s: the circuit accepts the lie", what, name, decomposition)
				}
			}
		}
	}
}

// oversizedLimbs recomposes to the checked value whatever its size: the lowest
// limb takes all of it.
func oversizedLimbs(_ *big.Int, in, out []*big.Int) error {
	for _, o := range out {
		o.SetInt64(0)
	}
	out[0].Set(in[2])
	return nil
}

// Counts are exact: a prover cannot even count too few, and so neither hide a reading
// outside nor make up for one.
func TestAttackUnderCount(t *testing.T) {
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.K = 6 }), column([3]int{0, 6, 50}, [3]int{6, 20, 90}))
	if !accepts(t, s, openings) {
		t.Fatal("the honest prover cannot prove what is true")
	}
	for name, hints := range lies {
		if strings.Contains(name, "passes") {
			continue // which is true
		}
		if accepts(t, s, openings, hints...) {
			t.Errorf("%s: accepted, though nothing false follows", name)
		}
	}
}

// Whether a day passes is hinted too.
func TestAttackDayThatDoesNotPass(t *testing.T) {
	passes := override(dayPassesHint, all(1))
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.K = 7 }), column([3]int{0, 6, 50}))
	if accepts(t, s, openings, passes) {
		t.Error("a day one reading short of K passes")
	}
	s, openings = about(t, heartRate, bounds(func(b *record.Bounds) { b.OutMax = 0 }), column([3]int{0, 1, 80}))
	if accepts(t, s, openings, passes) {
		t.Error("a day with a reading too many outside passes")
	}
	s, openings = about(t, heartRate, bounds(func(b *record.Bounds) { b.MinCount = 2 }), column([3]int{0, 1, 50}))
	if accepts(t, s, openings, passes) {
		t.Error("a day with too little measured passes")
	}
}

func TestAttackWeekCountsADayTwice(t *testing.T) {
	system(t, 7)
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.K, b.DayK = 60, 3 }),
		week(map[int][]uint16{0: good(), 1: good()})...)
	twice := func(f *big.Int, in, out []*big.Int) error {
		err := dayPassesHint(f, in, out)
		out[0].Lsh(out[0], 1)
		return err
	}
	for name, lie := range map[string]solver.Hint{"all pass": all(1), "those that pass count twice": twice} {
		if accepts(t, s, openings, override(dayPassesHint, lie)) {
			t.Errorf("two days make three: %s", name)
		}
	}
}

// Presence must be exact: readings invented or hidden would move the mean and
// the coverage.
func TestAttackPresence(t *testing.T) {
	invented := lie(atLeastHint, func(_, out []*big.Int) { up(out[0], 1); up(out[1], 1) })
	hidden := lie(atLeastHint, func(_, out []*big.Int) {
		for c := 1; c <= 80; c++ {
			up(out[c], -1)
		}
	})
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.MinCount = 2 }), column([3]int{0, 1, 50}))
	if accepts(t, s, openings, invented) {
		t.Error("a missing reading is present")
	}
	s, openings = about(t, heartRate, bounds(func(b *record.Bounds) { b.OutMax, b.MinCount = 0, 0 }), column([3]int{0, 1, 80}))
	if accepts(t, s, openings, hidden) {
		t.Error("a reading outside is hidden")
	}
}

// Digits of 12 bits pack into an element in one way only if they have 12 bits. In hours
// that count, the histogram is what bounds them. In others another opening of the same
// element says nothing of the hours that do.
func TestAttackAnotherOpeningOfAnElement(t *testing.T) {
	for mask, want := range map[uint32]bool{verifier.AllHours: false, verifier.AllHours - 1: true} {
		s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.HourMask, b.K = mask, 2 }), column([3]int{0, 1, 80}, [3]int{60, 62, 50}))
		c, err := assign(s, openings)
		if err != nil {
			t.Fatal(err)
		}
		c.Days[0].Readings[0], c.Days[0].Readings[1] = 80+1<<verifier.CodeBits, -1
		if got := solve(t, c) == nil; got != want {
			t.Errorf("mask %x: accepted is %v", mask, got)
		}
		c.K = 3
		if solve(t, c) == nil {
			t.Errorf("mask %x: a reading of another opening counts", mask)
		}
	}
}

// Codes that the table does not have, which an honest device never commits, are in no
// range that Check allows, and commitments refuse them.
func TestAttackCodeOutsideTheTable(t *testing.T) {
	if _, _, err := Commit(newYear, map[int][]uint16{heartRate: column([3]int{0, 1, 202})}); err == nil {
		t.Error("Commit takes a code that the metric does not have")
	}
	o := &Opening{day: wearable.Day{Number: newYear}}
	o.day.Columns[heartRate] = &wearable.Column{verifier.Codes}
	if _, err := o.Root(); err == nil {
		t.Error("a code beyond the table is committed to")
	}
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.Lo, b.Hi, b.K = 1, 201, 1 }), column([3]int{0, 1, 201}))
	c, err := assign(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	c.Days[0].Readings[0] = verifier.Codes
	if solve(t, c) == nil {
		t.Error("a code beyond the table is in range")
	}
	for _, m := range wearable.Metrics() {
		if m.MaxCode() >= verifier.Codes {
			t.Errorf("%s has codes up to %d, statements are about codes below %d", m.Key, m.MaxCode(), verifier.Codes)
		}
	}
}

// Each private input is bound to the data digest, and so are slot and day.
func TestAttackOtherData(t *testing.T) {
	b := bounds(func(b *record.Bounds) { b.K = 6 })
	s, openings := about(t, heartRate, b, column([3]int{0, 6, 50}))
	for name, lie := range map[string]func(*circuit){
		"a reading":       func(c *circuit) { c.Days[0].Readings[7] = 50 },
		"readings moved":  func(c *circuit) { c.Days[0].Readings[0], c.Days[0].Readings[1439] = 0, 50 },
		"the column salt": func(c *circuit) { c.Days[0].ColumnSalt = 1 },
		"the day salt":    func(c *circuit) { c.Days[0].DaySalt = 1 },
		"a sibling":       func(c *circuit) { c.Days[0].Path[0][2] = 1 },
		"a sibling above": func(c *circuit) { c.Days[0].Path[1][3] = 1 },
		"the slot":        func(c *circuit) { c.Slot = 1 },
		"the day":         func(c *circuit) { c.FirstDay = newYear + 1 + 1<<31 },
		"the digest":      func(c *circuit) { c.DataDigest = 1 },
		"a slot too far":  func(c *circuit) { c.Slot = 16 },
		"a mask too wide": func(c *circuit) { c.HourMask = 1 << 24 },
		"nothing at all": func(c *circuit) {
			for i := range c.Days[0].Readings {
				c.Days[0].Readings[i] = 0
			}
			c.K = 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := assign(s, openings)
			if err != nil {
				t.Fatal(err)
			}
			lie(c)
			if err := solve(t, c); err == nil {
				t.Error("the circuit accepts it")
			}
		})
	}
}

// Bounds far outside their widths must not wrap around the field.
func TestAttackBoundsThatWrap(t *testing.T) {
	s, openings := about(t, heartRate, bounds(func(*record.Bounds) {}), column([3]int{0, 6, 80}))
	for name, lie := range map[string]func(*circuit){
		"lo 0":               func(c *circuit) { c.Lo = 0 },
		"negative k":         func(c *circuit) { c.K = -1 },
		"negative min_count": func(c *circuit) { c.MinCount = -1 },
		"negative min_half":  func(c *circuit) { c.MinHalf = -1 },
		"negative day_k":     func(c *circuit) { c.DayK = -1 },
		"wide out_max":       func(c *circuit) { c.OutMax = 1 << 16 },
		"wide hi":            func(c *circuit) { c.Hi = 1 << 16 },
		"wide mean_hi":       func(c *circuit) { c.MeanHi = 1 << 16 },
		"negative mean_lo":   func(c *circuit) { c.MeanLo = -1 },
		"wide trend_hi":      func(c *circuit) { c.TrendHi = 1 << 18 },
		"negative trend_lo":  func(c *circuit) { c.TrendLo = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			c, err := assign(s, openings)
			if err != nil {
				t.Fatal(err)
			}
			if err := solve(t, c); err != nil {
				t.Fatal("the honest statement fails")
			}
			lie(c)
			if err := solve(t, c); err == nil {
				t.Error("the circuit accepts it")
			}
		})
	}
}

// Without data the circuit alone accepts any mean and any trend, because nothing
// divided by nothing is within every bound once multiplied out. The statement's
// Check is what refuses these, before the prover proves and before the verifier
// looks at a proof.
func TestAttackVacuousTruths(t *testing.T) {
	empty, morning := column(), column([3]int{0, 720, 50})
	for name, c := range map[string]struct {
		edit    func(*record.Bounds)
		columns []uint16
	}{
		"nothing asked":              {func(b *record.Bounds) { b.MinCount = 0 }, empty},
		"the mean of an empty day":   {func(b *record.Bounds) { b.MinCount, b.MeanLo, b.MeanHi = 0, 40, 50 }, empty},
		"a mean without coverage":    {func(b *record.Bounds) { b.K, b.MinCount, b.MeanLo = 1, 0, 40 }, morning},
		"a trend with half a day":    {trend(10, 20, 0), morning},
		"a trend of an empty day":    {func(b *record.Bounds) { trend(10, 20, 0)(b); b.MinCount = 0 }, empty},
		"no day need pass":           {func(b *record.Bounds) { b.DayK, b.K = 0, 100 }, empty},
		"none outside an empty day":  {func(b *record.Bounds) { b.MinCount, b.OutMax = 0, 0 }, empty},
		"no hour counts, no reading": {func(b *record.Bounds) { b.HourMask, b.MinCount = 0, 0 }, morning},
	} {
		t.Run(name, func(t *testing.T) {
			s, openings := about(t, heartRate, bounds(c.edit), c.columns)
			if !accepts(t, s, openings) {
				t.Fatal("not vacuous: the circuit refuses it by itself")
			}
			if _, err := Holds(s, openings); err == nil {
				t.Error("it is decided as if it said something")
			}
			if _, err := (&Keys{Class: verifier.Class{Name: "day", Days: 1}}).Prove(context.Background(), s, openings); err == nil || errors.Is(err, ErrFalse) {
				t.Errorf("Prove got as far as: %v", err)
			}
		})
	}
}

// A week's roots in another order, of other days or of another patient are other roots,
// also where the readings are the same.
func TestAttackRootsOfAnotherWeek(t *testing.T) {
	system(t, 7)
	b := bounds(func(b *record.Bounds) { b.K, b.DayK = 60, 7 })
	days := [][]uint16{good(), good(), good(), good(), good(), good(), good()}
	s, openings := about(t, heartRate, b, days...)
	_, foreign := about(t, heartRate, b, days...)
	honest, err := assign(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	if solve(t, honest) != nil {
		t.Fatal("the honest prover cannot prove what is true")
	}
	for name, other := range map[string][]*Opening{
		"two days exchanged":     {openings[1], openings[0], openings[2], openings[3], openings[4], openings[5], openings[6]},
		"a day twice":            {openings[0], openings[0], openings[2], openings[3], openings[4], openings[5], openings[6]},
		"a day of another":       {openings[0], openings[1], openings[2], foreign[3], openings[4], openings[5], openings[6]},
		"the week of another":    foreign,
		"the days back to front": {openings[6], openings[5], openings[4], openings[3], openings[2], openings[1], openings[0]},
	} {
		c, err := assign(s, other)
		if err != nil {
			t.Fatal(err)
		}
		if solve(t, c) == nil {
			t.Errorf("%s: the circuit accepts it", name)
		}
		if _, err := (&Keys{Class: verifier.Class{Name: "week", Days: 7}}).Prove(t.Context(), s, other); !errors.Is(err, ErrOpenings) {
			t.Errorf("%s: %v, want ErrOpenings", name, err)
		}
	}
	for name, lie := range map[string]func(*circuit){
		"a week later":   func(c *circuit) { c.FirstDay = newYear + 7 + 1<<31 },
		"another metric": func(c *circuit) { c.Slot = spo2 },
		"the digest of one day": func(c *circuit) {
			d, _ := commitDays(t, heartRate, good())
			e, _ := verifier.ToElement(d)
			c.DataDigest = e
		},
		"a reading of the third": func(c *circuit) { c.Days[2].Readings[700] = 50 },
		"a salt of the seventh":  func(c *circuit) { c.Days[6].DaySalt = 1 },
	} {
		c, err := assign(s, openings)
		if err != nil {
			t.Fatal(err)
		}
		lie(c)
		if solve(t, c) == nil {
			t.Errorf("%s: the circuit accepts it", name)
		}
	}
}

// A prover that knew the challenge before it gives the histogram could give one with
// another sum: two counts, of codes that nobody looks up, make up for each other in
// identity (1). What it gives is in what the challenge is drawn from, so it does not.
func TestAttackHistogramMadeForTheChallenge(t *testing.T) {
	const more = 100 // what the sum of codes is to grow by
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.MeanLo = 51 }), column([3]int{0, 60, 50}, [3]int{720, 721, 50}))
	if accepts(t, s, openings) {
		t.Fatal("the honest prover proves what is false")
	}
	// First with that sum and an identity that does not hold, to see the challenge.
	var x fr.Element
	seen := override(quotientsHint, func(field *big.Int, in, out []*big.Int) error {
		if len(out) == wearable.MinutesPerDay {
			x.SetBigInt(new(big.Int).Add(in[len(out)], big.NewInt(50))) // x less the first reading
		}
		return quotientsHint(field, in, out)
	})
	grown := func(counts func(out []*big.Int)) solver.Option {
		return lie(atLeastHint, func(_, out []*big.Int) {
			if out[1].Int64() == 60 { // the first half
				counts(out)
			}
		})
	}
	if accepts(t, s, openings, seen, grown(func(out []*big.Int) { up(out[100], more) })) {
		t.Fatal("a sum that the histogram does not bear out is accepted")
	}
	if x.IsZero() {
		t.Fatal("the challenge was not seen")
	}
	// Then a, b with a+b = more and a w(100) + b w(200) = 0, where w(c) is what one more
	// in M[c] adds to the identity's right side.
	w := func(c uint64) fr.Element {
		var at, before, sum fr.Element
		at.SetUint64(c)
		at.Sub(&x, &at).Inverse(&at)
		before.SetUint64(c - 1)
		before.Sub(&x, &before).Inverse(&before)
		return *sum.Sub(&at, &before)
	}
	var a, b, all fr.Element
	w1, w2 := w(100), w(200)
	all.SetUint64(more)
	b.Sub(&w1, &w2)
	b.Div(&w1, &b).Mul(&b, &all)
	a.Sub(&all, &b)
	if accepts(t, s, openings, grown(func(out []*big.Int) {
		out[100].Add(out[100], a.BigInt(new(big.Int)))
		out[200].Add(out[200], b.BigInt(new(big.Int)))
	})) {
		t.Error("a histogram that was made for the challenge is accepted")
	}
}
