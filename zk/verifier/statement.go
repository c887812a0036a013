package verifier

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Values of bounds that switch a part of the statement off.
const (
	MeanLoOff  = 0
	MeanHiOff  = 1<<16 - 1
	TrendLoOff = 0
	TrendHiOff = 1<<18 - 1
	// TrendBias is added to a difference of codes to make a trend bound.
	TrendBias = 1 << 17
	// OutMaxOff allows every reading to be out of range.
	OutMaxOff = ReadingsPerDay
	// AllHours is the hour mask of a whole day.
	AllHours = 1<<24 - 1
)

const minutesPerHour = 60

// Statement is the claim of a proof. For the D consecutive days of its circuit
// class, from FirstDay (a Unix day), and the minutes of the hours in HourMask:
//
//   - on at least DayK days, at least K readings are in [Lo, Hi], at most OutMax
//     are outside, and at least MinCount minutes were measured;
//   - over all D days the mean is in [MeanLo, MeanHi];
//   - the mean of the second half of the D*24 hours minus that of the first is
//     in [TrendLo, TrendHi], biased by TrendBias;
//   - each half has at least MinHalf measured minutes.
//
// Bounds are codes of the metric (package wearable), and a mean is a mean of
// codes, which is the mean of values on the metric's scale.
type Statement struct {
	DataDigest record.ID `json:"data_digest"` // over the day roots
	Binding    record.ID `json:"binding"`
	Slot       int       `json:"slot"` // of the metric
	FirstDay   int64     `json:"first_day"`
	record.Bounds
}

// Unbounded returns bounds with every part off that can be: all hours, no limit
// outside, no mean, no trend, one day. Set Lo, Hi, and K or MinCount.
func Unbounded() record.Bounds {
	return record.Bounds{
		HourMask: AllHours, OutMax: OutMaxOff, DayK: 1,
		MeanLo: MeanLoOff, MeanHi: MeanHiOff, TrendLo: TrendLoOff, TrendHi: TrendHiOff,
	}
}

// Check refuses a statement that is malformed or that could hold without data,
// for a class of so many days and the metric of its slot. A statement that was
// not checked says nothing, whatever its proof.
func (s Statement) Check(days int, m wearable.Metric) error {
	if s.Slot != m.Slot {
		return fmt.Errorf("the statement is about metric slot %d, %s has slot %d", s.Slot, m.Key, m.Slot)
	}
	if days < 1 || days > MaxDays {
		return fmt.Errorf("a statement is about 1 to %d days, not %d", MaxDays, days)
	}
	if s.FirstDay < MinDay || s.FirstDay > MaxDay-int64(days)+1 {
		return fmt.Errorf("first day %d is outside the years 1 to 9999", s.FirstDay)
	}
	if _, err := ToElement(s.DataDigest); err != nil {
		return fmt.Errorf("data digest: %w", err)
	}
	if s.Binding[0] != 0 || s.Binding.IsZero() {
		return errors.New("the binding is not a binding of this version: use Binding to make it")
	}
	return CheckBounds(s.Bounds, days, m)
}

// CheckBounds is the part of Check that needs no ledger state, for whoever
// writes or allows a request.
func CheckBounds(b record.Bounds, days int, m wearable.Metric) error {
	if known, ok := wearable.BySlot(m.Slot); !ok || known.Key != m.Key {
		return fmt.Errorf("no metric %q in slot %d", m.Key, m.Slot)
	}
	if days < 1 || days > MaxDays {
		return fmt.Errorf("a statement is about 1 to %d days, not %d", MaxDays, days)
	}
	if b.HourMask < 1 || b.HourMask > AllHours {
		return fmt.Errorf("hour_mask is %d, want 1 to %d: a bit for each hour that counts", b.HourMask, AllHours)
	}
	if err := checkDay(b, days, uint32(m.MaxCode())); err != nil {
		return err
	}
	if err := checkMean(b, uint32(m.MaxCode())); err != nil {
		return err
	}
	return checkTrend(b, days, uint32(m.MaxCode()))
}

func checkDay(b record.Bounds, days int, maxCode uint32) error {
	minutes := uint32(minutesPerHour * bits.OnesCount32(b.HourMask))
	switch {
	case b.Lo < 1 || b.Lo > b.Hi || b.Hi > maxCode:
		return fmt.Errorf("the range is codes %d..%d, want 1 <= lo <= hi <= %d", b.Lo, b.Hi, maxCode)
	case b.K > minutes:
		return fmt.Errorf("k is %d, but the hours asked have %d minutes", b.K, minutes)
	case b.MinCount > minutes:
		return fmt.Errorf("min_count is %d, but the hours asked have %d minutes", b.MinCount, minutes)
	case max(b.K, b.MinCount) < 1:
		return errors.New("k and min_count are both 0: the statement would hold without data")
	case b.OutMax > OutMaxOff:
		return fmt.Errorf("out_max is %d, want at most %d", b.OutMax, OutMaxOff)
	case b.DayK < 1 || b.DayK > uint32(days):
		return fmt.Errorf("day_k is %d, want 1 to %d", b.DayK, days)
	}
	return nil
}

// MeanBounded tells whether the bounds limit the mean.
func MeanBounded(b record.Bounds) bool { return b.MeanLo != MeanLoOff || b.MeanHi != MeanHiOff }

// TrendBounded tells whether the bounds limit the trend.
func TrendBounded(b record.Bounds) bool { return b.TrendLo != TrendLoOff || b.TrendHi != TrendHiOff }

func checkMean(b record.Bounds, maxCode uint32) error {
	switch {
	case b.MeanLo > maxCode:
		return fmt.Errorf("mean_lo is code %d, want at most %d", b.MeanLo, maxCode)
	case b.MeanHi != MeanHiOff && (b.MeanHi < 1 || b.MeanHi > maxCode):
		return fmt.Errorf("mean_hi is code %d, want 1 to %d, or %d for no limit", b.MeanHi, maxCode, MeanHiOff)
	case b.MeanLo > b.MeanHi:
		return fmt.Errorf("mean_lo %d is above mean_hi %d", b.MeanLo, b.MeanHi)
	case MeanBounded(b) && b.MinCount < 1:
		return errors.New("the mean is bounded but min_count is 0: say how much must have been measured")
	}
	return nil
}

func checkTrend(b record.Bounds, days int, maxCode uint32) error {
	low, high := TrendBias-(maxCode-1), TrendBias+(maxCode-1)
	half := uint32(minutesPerHour * smallerHalf(b.HourMask, days))
	switch {
	case b.TrendLo != TrendLoOff && (b.TrendLo < low || b.TrendLo > high):
		return fmt.Errorf("trend_lo is %d, want %d to %d, or %d for no limit", b.TrendLo, low, high, TrendLoOff)
	case b.TrendHi != TrendHiOff && (b.TrendHi < low || b.TrendHi > high):
		return fmt.Errorf("trend_hi is %d, want %d to %d, or %d for no limit", b.TrendHi, low, high, TrendHiOff)
	case b.TrendLo > b.TrendHi:
		return fmt.Errorf("trend_lo %d is above trend_hi %d", b.TrendLo, b.TrendHi)
	case b.MinHalf > half:
		return fmt.Errorf("min_half is %d, but a half of the hours asked has %d minutes", b.MinHalf, half)
	case TrendBounded(b) && b.MinHalf < 1:
		return errors.New("the trend is bounded but min_half is 0: a half without data has no mean")
	}
	return nil
}

// smallerHalf is the number of masked hours in the half that has fewer; the
// days*24 hours are split in the middle.
func smallerHalf(mask uint32, days int) int {
	var hours [2]int
	for h := range 24 * days {
		if mask>>(h%24)&1 == 1 {
			hours[HalfOf(h, days)]++
		}
	}
	return min(hours[0], hours[1])
}

// HalfOf returns 0 or 1: the half that hour number h, from the start of the
// first day, belongs to.
func HalfOf(h, days int) int {
	if h < 12*days {
		return 0
	}
	return 1
}

// PublicInputs is the number of public inputs of every class.
const PublicInputs = 16

// Inputs returns the public inputs in the circuit's order. It fails where Check
// would for want of an encoding.
func (s Statement) Inputs() ([]Element, error) {
	digest, err := ToElement(s.DataDigest)
	if err != nil {
		return nil, fmt.Errorf("data digest: %w", err)
	}
	binding, err := ToElement(s.Binding)
	if err != nil {
		return nil, fmt.Errorf("binding: %w", err)
	}
	day, err := DayElement(s.FirstDay)
	if err != nil {
		return nil, err
	}
	if s.Slot < 0 || s.Slot >= Slots {
		return nil, fmt.Errorf("metric slot %d is outside 0..%d", s.Slot, Slots-1)
	}
	in := []Element{digest, binding, number(uint64(s.Slot)), day}
	for _, n := range []uint32{
		s.HourMask, s.Lo, s.Hi, s.K, s.OutMax, s.MinCount, s.DayK,
		s.MeanLo, s.MeanHi, s.TrendLo, s.TrendHi, s.MinHalf,
	} {
		in = append(in, number(uint64(n)))
	}
	return in, nil
}

// Digest names a statement. Its binding says for whom and under which key. Of one proof
// anybody can make others of the same statement, so whoever counts proofs counts these.
func (s Statement) Digest() record.ID { return record.Digest("predicate-statement/v1", "", s) }
