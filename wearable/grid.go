package wearable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

const (
	// MinutesPerDay is the length of a column of the minute grid.
	MinutesPerDay = 1440
	// MinutesPerHour is the number of grid slots that one sealed row covers.
	MinutesPerHour = 60
	// MaxSamples is the most samples that one minute takes; further ones are
	// dropped and counted.
	MaxSamples = 1 << 24
)

// fineScale is the decimals of the running sum. In-range samples with at most
// that many, which is what sensors send, need no big arithmetic: with values
// below 1000 and MaxSamples of them the sum stays below 2^54.
const fineScale = 6

// maxDivisorBits bounds the common divisor of one minute's samples. All that
// GATT can transmit stays below 200 bits.
const maxDivisorBits = 512

// Accumulator takes the samples of one metric in one minute and gives their
// code in the minute grid: the arithmetic mean of those in range, rounded half
// away from zero to the metric's resolution. The arithmetic is exact. It is not
// safe for concurrent use. The zero value has no metric and drops everything.
type Accumulator struct {
	metric  *Metric
	count   uint32
	dropped uint32
	// sum is in 10^-fineScale; rest holds what sum cannot, or is nil.
	sum  int64
	rest *big.Rat
}

// NewAccumulator returns an empty minute of the metric with this key, and false
// where the table has none.
func NewAccumulator(key string) (*Accumulator, bool) {
	m := lookup(key)
	if m == nil {
		return nil, false
	}
	return &Accumulator{metric: m}, true
}

// Metric returns the metric whose samples are taken.
func (a *Accumulator) Metric() Metric {
	if a.metric == nil {
		return Metric{}
	}
	return *a.metric
}

// Add takes one sample, and returns false where it was dropped because it is
// out of the metric's range.
func (a *Accumulator) Add(v Decimal) bool {
	if a.metric == nil || a.count >= MaxSamples || !a.metric.InRange(v) {
		a.Drop()
		return false
	}
	if v.over == 0 && v.scale <= fineScale {
		a.sum += v.coef * pow10[fineScale-v.scale]
		a.count++
		return true
	}
	rest := v.Rat()
	if a.rest != nil {
		rest.Add(rest, a.rest)
	}
	if rest.Denom().BitLen() > maxDivisorBits {
		a.Drop()
		return false
	}
	a.rest = rest
	a.count++
	return true
}

// Drop counts a sample that had no value to add.
func (a *Accumulator) Drop() {
	if a.dropped < math.MaxUint32 {
		a.dropped++
	}
}

// Count returns how many samples entered the mean; Dropped how many did not.
func (a *Accumulator) Count() int { return int(a.count) }

// Dropped returns how many samples were out of range or had no value.
func (a *Accumulator) Dropped() int { return int(a.dropped) }

// Code returns the minute's grid code and the number of samples in it; code 0
// where there is none.
func (a *Accumulator) Code() (uint16, int) {
	if a.count == 0 {
		return 0, 0
	}
	total := big.NewRat(a.sum, pow10[fineScale])
	if a.rest != nil {
		total.Add(total, a.rest)
	}
	total.Quo(total, a.metric.Resolution.Rat())
	total.Quo(total, new(big.Rat).SetInt64(int64(a.count)))
	// In range before rounding is in range after it: both bounds are multiples
	// of the resolution.
	code, _ := a.metric.Code(RoundHalfAway(total))
	return code, int(a.count)
}

// RoundHalfAway returns the whole number nearest to r, ties away from zero. The
// result must fit an int64.
func RoundHalfAway(r *big.Rat) int64 {
	num := new(big.Int).Abs(r.Num())
	den := r.Denom()
	num.Lsh(num, 1).Add(num, den)
	num.Quo(num, new(big.Int).Lsh(den, 1))
	if r.Sign() < 0 {
		num.Neg(num)
	}
	return num.Int64()
}

const (
	accumulatorVersion = 1
	accumulatorHead    = 2 + 4 + 4 + 8
	// maxAccumulator has room for a numerator and a divisor of maxDivisorBits.
	maxAccumulator = 512
)

// ErrGrid is wrapped by every refusal of stored grid data. The store is damaged
// or from another version; the data cannot be used.
var ErrGrid = errors.New("grid data is malformed")

// MarshalBinary returns the state, for a store that survives a crash.
func (a *Accumulator) MarshalBinary() ([]byte, error) {
	if a.metric == nil {
		return nil, fmt.Errorf("%w: accumulator without a metric", ErrGrid)
	}
	out := []byte{accumulatorVersion, byte(a.metric.Slot)}
	out = binary.BigEndian.AppendUint32(out, a.count)
	out = binary.BigEndian.AppendUint32(out, a.dropped)
	out = binary.BigEndian.AppendUint64(out, uint64(a.sum))
	if a.rest != nil {
		out = append(out, a.rest.String()...)
	}
	return out, nil
}

// UnmarshalBinary restores a state; it accepts only what MarshalBinary writes.
func (a *Accumulator) UnmarshalBinary(data []byte) error {
	if len(data) < accumulatorHead || len(data) > maxAccumulator || data[0] != accumulatorVersion {
		return fmt.Errorf("%w: accumulator of %d bytes", ErrGrid, len(data))
	}
	if int(data[1]) >= len(table) {
		return fmt.Errorf("%w: no metric in slot %d", ErrGrid, data[1])
	}
	b := Accumulator{
		metric:  &table[data[1]],
		count:   binary.BigEndian.Uint32(data[2:]),
		dropped: binary.BigEndian.Uint32(data[6:]),
		sum:     int64(binary.BigEndian.Uint64(data[10:])),
	}
	if text := string(data[accumulatorHead:]); text != "" {
		rest, ok := parseRatio(text)
		if !ok {
			return fmt.Errorf("%w: remainder of the sum", ErrGrid)
		}
		b.rest = rest
	}
	if !b.plausible() {
		return fmt.Errorf("%w: the sum does not fit %d samples in range", ErrGrid, b.count)
	}
	*a = b
	return nil
}

// parseRatio reads what big.Rat.String writes, and none of the other forms that
// big.Rat reads: an exponent could ask for gigabytes.
func parseRatio(text string) (*big.Rat, bool) {
	if strings.Trim(text, "-/0123456789") != "" {
		return nil, false
	}
	r, ok := new(big.Rat).SetString(text)
	return r, ok && r.String() == text && r.Denom().BitLen() <= maxDivisorBits
}

// plausible checks that the mean is in range, on which Code relies.
func (a *Accumulator) plausible() bool {
	if a.count > MaxSamples {
		return false
	}
	total := big.NewRat(a.sum, pow10[fineScale])
	if a.rest != nil {
		total.Add(total, a.rest)
	}
	n := new(big.Rat).SetInt64(int64(a.count))
	low := new(big.Rat).Mul(a.metric.Min.Rat(), n)
	high := new(big.Rat).Mul(a.metric.Max.Rat(), n)
	return total.Cmp(low) >= 0 && total.Cmp(high) <= 0
}
