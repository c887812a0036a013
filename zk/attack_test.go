package zk

import (
	"context"
	"errors"
	"math/big"
	"testing"

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

// A prover chooses its hints. Claiming that readings are in range which are not
// must not be accepted, in whatever way the range check's own hint plays along.
func TestAttackOverCount(t *testing.T) {
	lies := map[string]solver.Option{
		"every reading in range": override(inRangeHint, all(1)),
		"one reading more": override(inRangeHint, func(f *big.Int, in, out []*big.Int) error {
			err := inRangeHint(f, in, out)
			out[6].SetInt64(1)
			return err
		}),
		"one reading counts twice": override(inRangeHint, func(f *big.Int, in, out []*big.Int) error {
			err := inRangeHint(f, in, out)
			out[0].SetInt64(2)
			return err
		}),
	}
	for where, beyond := range map[string]int{"above the range": 72, "below the range": 1, "missing": 0} {
		s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.Lo, b.K = 2, 7 }),
			column([3]int{0, 6, 50}, [3]int{6, 20, beyond}))
		if accepts(t, s, openings) {
			t.Fatal("the honest prover proves what is false")
		}
		for name, lie := range lies {
			for decomposition, limbs := range map[string]solver.Option{
				"honest limbs":    override(rangecheck.DecomposeHint, rangecheck.DecomposeHint),
				"oversized limbs": override(rangecheck.DecomposeHint, oversizedLimbs),
			} {
				if accepts(t, s, openings, lie, limbs) {
					t.Errorf("%s, the others %s, %s: the circuit accepts the lie", name, where, decomposition)
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

// Counting too few is the prover's loss: it can make a true statement fail, and
// what still holds is accepted.
func TestUnderCountOnlyHurtsTheProver(t *testing.T) {
	none := override(inRangeHint, all(0))
	readings := column([3]int{0, 10, 50})
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.K = 10 }), readings)
	if !accepts(t, s, openings) || accepts(t, s, openings, none) {
		t.Error("K must hold with honest hints and fail with fewer")
	}
	s, openings = about(t, heartRate, bounds(func(b *record.Bounds) { b.OutMax = 9 }), readings)
	if !accepts(t, s, openings) || accepts(t, s, openings, none) {
		t.Error("a reading not counted in range counts outside")
	}
	s, openings = about(t, heartRate, bounds(func(b *record.Bounds) { b.MinCount = 10 }), readings)
	if !accepts(t, s, openings, none) {
		t.Error("what was measured does not depend on the hint")
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
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.MinCount = 2 }), column([3]int{0, 1, 50}))
	for _, value := range []int64{0, 1, -1} {
		if accepts(t, s, openings, override(solver.InvZeroHint, all(value))) {
			t.Errorf("a missing reading is present with inverses of %d", value)
		}
	}
	s, openings = about(t, heartRate, bounds(func(b *record.Bounds) { b.OutMax = 0 }), column([3]int{0, 1, 80}))
	if accepts(t, s, openings, override(solver.InvZeroHint, all(0))) {
		t.Error("a reading outside is hidden")
	}
}

// Two rows of codes pack into the same element if a code may have 17 bits: the
// prover could open a commitment to other readings.
func TestAttackCodeBeyond16Bits(t *testing.T) {
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.K = 1 }), column([3]int{0, 1, 80}, [3]int{1, 2, 51}))
	c, err := assign(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	c.Days[0].Readings[0], c.Days[0].Readings[1] = 80+1<<16, 50 // 80 + 2^16*51 either way
	if err := solve(t, c); err == nil {
		t.Error("a code of 17 bits is accepted")
	}
	if err := solve(t, c, override(inRangeHint, all(0))); err == nil {
		t.Error("a code of 17 bits that is not in range is accepted")
	}
}

// Codes above the metric's table, which an honest device never commits, are in
// no range that Check allows.
func TestAttackCodeOutsideTheTable(t *testing.T) {
	b := bounds(func(b *record.Bounds) { b.Lo, b.Hi, b.K = 1, 201, 1 })
	s, _ := about(t, heartRate, b, column())
	if _, _, err := Commit(newYear, map[int][]uint16{heartRate: column([3]int{0, 1, 202})}); err == nil {
		t.Error("Commit takes a code that the metric does not have")
	}
	o := &Opening{day: wearable.Day{Number: newYear}}
	o.day.Columns[heartRate] = &wearable.Column{65535}
	root, err := o.Root()
	if err != nil {
		t.Fatal(err)
	}
	if s.DataDigest, err = verifier.DataDigest([]record.ID{root}); err != nil {
		t.Fatal(err)
	}
	if accepts(t, s, []*Opening{o}) {
		t.Error("a code above the largest is in range")
	}
}

// Each private input is bound to the data digest, and so are slot and day.
func TestAttackOtherData(t *testing.T) {
	b := bounds(func(b *record.Bounds) { b.K = 6 })
	s, openings := about(t, heartRate, b, column([3]int{0, 6, 50}))
	lies := map[string]func(*circuit){
		"a reading":       func(c *circuit) { c.Days[0].Readings[7] = 50 },
		"readings moved":  func(c *circuit) { c.Days[0].Readings[0], c.Days[0].Readings[1439] = 0, 50 },
		"the column salt": func(c *circuit) { c.Days[0].ColumnSalt = 1 },
		"the day salt":    func(c *circuit) { c.Days[0].DaySalt = 1 },
		"a sibling":       func(c *circuit) { c.Days[0].Path[3] = 1 },
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
	}
	for name, lie := range lies {
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
	lies := map[string]func(*circuit){
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
	}
	for name, lie := range lies {
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
