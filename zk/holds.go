package zk

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// ErrFalse says that the statement does not hold for the data: there is no
// proof, and trying again does not help. It is itself an answer about the
// patient: keep it where the opening is.
var ErrFalse = errors.New("the statement does not hold")

// ErrOpenings says that the openings are not those of the statement's days.
var ErrOpenings = errors.New("the openings do not open the statement's days")

// Part names a part of a statement, without figures.
type Part string

// The parts, in the order of verifier.Statement.
const (
	PartDays   Part = "days"
	PartMean   Part = "mean"
	PartTrend  Part = "trend"
	PartHalves Part = "halves"
)

// Holds tells whether the statement holds for the openings of its days, the
// first day first, exactly as the circuit decides it.
func Holds(s verifier.Statement, openings []*Opening) (bool, error) {
	failed, err := Explain(s, openings)
	return len(failed) == 0 && err == nil, err
}

// Explain returns the parts of the statement that do not hold. The error is
// about the statement (see verifier.Statement.Check) or wraps ErrOpenings.
func Explain(s verifier.Statement, openings []*Opening) ([]Part, error) {
	if err := check(s, openings); err != nil {
		return nil, err
	}
	var columns [][]uint16
	for _, o := range openings {
		columns = append(columns, o.day.Codes(s.Slot))
	}
	return failedParts(s, columns), nil
}

// check refuses malformed statements and openings of other days.
func check(s verifier.Statement, openings []*Opening) error {
	m, known := wearable.BySlot(s.Slot)
	if !known {
		return fmt.Errorf("no metric has slot %d", s.Slot)
	}
	if err := s.Check(len(openings), m); err != nil {
		return err
	}
	var roots []record.ID
	for i, o := range openings {
		if o == nil || o.Day() != s.FirstDay+int64(i) {
			return fmt.Errorf("%w: number %d is not of day %d", ErrOpenings, i, s.FirstDay+int64(i))
		}
		root, err := o.Root()
		if err != nil {
			return err
		}
		roots = append(roots, root)
	}
	digest, err := verifier.DataDigest(roots)
	if err != nil {
		return err
	}
	if digest != s.DataDigest {
		return fmt.Errorf("%w: their digest is another", ErrOpenings)
	}
	return nil
}

// tally are counts within the hour mask.
type tally struct{ inRange, present, sum int64 }

func (t *tally) add(code uint16, lo, hi uint32) {
	if code == 0 {
		return
	}
	t.present++
	t.sum += int64(code)
	if uint32(code) >= lo && uint32(code) <= hi {
		t.inRange++
	}
}

// failedParts decides the statement on columns of codes, one for each day. All
// products fit an int64: see the widths of the circuit.
func failedParts(s verifier.Statement, columns [][]uint16) []Part {
	var halves [2]tally
	var passed uint32
	for d, codes := range columns {
		var day tally
		for minute, code := range codes {
			hour := minute / minutesPerHour
			if s.HourMask>>hour&1 == 0 {
				continue
			}
			day.add(code, s.Lo, s.Hi)
			halves[verifier.HalfOf(d*hoursPerDay+hour, len(columns))].add(code, s.Lo, s.Hi)
		}
		if day.inRange >= int64(s.K) && day.present-day.inRange <= int64(s.OutMax) && day.present >= int64(s.MinCount) {
			passed++
		}
	}
	var failed []Part
	if passed < s.DayK {
		failed = append(failed, PartDays)
	}
	sum, present := halves[0].sum+halves[1].sum, halves[0].present+halves[1].present
	if sum < int64(s.MeanLo)*present || sum > int64(s.MeanHi)*present {
		failed = append(failed, PartMean)
	}
	both := halves[0].present * halves[1].present
	difference := halves[1].sum*halves[0].present - halves[0].sum*halves[1].present
	if difference < (int64(s.TrendLo)-verifier.TrendBias)*both || difference > (int64(s.TrendHi)-verifier.TrendBias)*both {
		failed = append(failed, PartTrend)
	}
	if min(halves[0].present, halves[1].present) < int64(s.MinHalf) {
		failed = append(failed, PartHalves)
	}
	return failed
}
