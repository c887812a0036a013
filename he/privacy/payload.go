package privacy

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
)

// Payload is a signed 128-bit number in two's complement: low word, high word.
// Payloads add up modulo 2^128.
type Payload [2]uint64

var (
	two128 = new(big.Int).Lsh(big.NewInt(1), PayloadBits)
	max128 = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), PayloadBits-1), big.NewInt(1))
)

// PayloadOf reduces x modulo 2^128.
func PayloadOf(x *big.Int) Payload {
	var b [16]byte
	new(big.Int).Mod(x, two128).FillBytes(b[:])
	return Payload{binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[:8])}
}

// Big returns the signed number.
func (p Payload) Big() *big.Int {
	x := new(big.Int).SetUint64(p[1])
	x.Lsh(x, 64).Add(x, new(big.Int).SetUint64(p[0]))
	return Centre(x)
}

// Centre reduces x modulo 2^128 into [-2^127, 2^127), in place, and returns it.
func Centre(x *big.Int) *big.Int {
	if x.Mod(x, two128).Cmp(max128) > 0 {
		x.Sub(x, two128)
	}
	return x
}

// Plus returns p + q modulo 2^128.
func (p Payload) Plus(q Payload) Payload {
	lo, carry := bits.Add64(p[0], q[0], 0)
	hi, _ := bits.Add64(p[1], q[1], carry)
	return Payload{lo, hi}
}

// shifted returns v * 2^shift modulo 2^128, for 0 <= shift < 128.
func shifted(v int64, shift int) Payload {
	lo, hi := uint64(v), uint64(v>>63)
	if shift >= 64 {
		return Payload{0, lo << (shift - 64)}
	}
	return Payload{lo << shift, hi<<shift | lo>>1>>(63-shift)}
}

// Encode packs the statistics of one metric into its coefficients, in the order
// of MetricCoefficients. It refuses statistics that 60 readings within the
// metric's range cannot have.
func (s *Schema) Encode(slot int, h HourStats) ([]Payload, error) {
	b, err := s.shaped(slot, ShapeMetric)
	if err != nil {
		return nil, err
	}
	if err := b.x.check(h); err != nil {
		return nil, err
	}
	return b.pack(h.value), nil
}

// pack places the value of every field.
func (b *block) pack(value func(Field) int64) []Payload {
	out := make([]Payload, len(b.coeffs))
	for _, f := range b.fields {
		c := f.Coeff - b.coeffs[0]
		out[c] = out[c].Plus(shifted(value(f), f.Shift))
	}
	return out
}

// Row packs the statistics of all metrics, by slot, into a whole row; a metric
// that is not in the map had no reading. Pairs and strata stay zero: HourRow
// fills them too. The zero coefficient is zero in every row.
func (s *Schema) Row(stats map[int]HourStats) ([]Payload, error) {
	row := make([]Payload, s.Coefficients())
	for slot, h := range stats {
		packed, err := s.Encode(slot, h)
		if err != nil {
			return nil, err
		}
		copy(row[slot*MetricCoefficients:], packed)
	}
	return row, nil
}

// Decode splits the opened coefficients of one metric, in the order of
// MetricCoefficients, into fields: balanced digits, lowest first. Bits above the
// fields must be clear, or the sum has overflowed or was opened with shares that
// do not belong to it.
func (s *Schema) Decode(slot int, coeffs []*big.Int) (Totals, error) {
	b, err := s.shaped(slot, ShapeMetric)
	if err != nil {
		return Totals{}, err
	}
	values, err := b.unpack(coeffs)
	if err != nil {
		return Totals{}, err
	}
	return b.totals(values), nil
}

// totals are the values of a metric's fields.
func (b *block) totals(values []int64) Totals {
	var t Totals
	for i, f := range b.fields {
		t.set(f, values[i])
	}
	return t
}

// unpack splits opened coefficients into the values of the fields, in order.
func (b *block) unpack(coeffs []*big.Int) ([]int64, error) {
	if len(coeffs) != len(b.coeffs) {
		return nil, fmt.Errorf("%s has %d coefficients, not %d", b.Key, len(b.coeffs), len(coeffs))
	}
	rest := make([]*big.Int, len(coeffs))
	used := make([]int, len(coeffs))
	for i, c := range coeffs {
		if c == nil {
			return nil, fmt.Errorf("%s: coefficient %d is missing", b.Key, i)
		}
		rest[i] = Centre(new(big.Int).Set(c))
	}
	values := make([]int64, len(b.fields))
	for i, f := range b.fields {
		c := f.Coeff - b.coeffs[0]
		values[i] = takeDigit(rest[c], f.Width)
		used[c] += f.Width
	}
	for i, r := range rest {
		// A fully used coefficient may carry out of its 128 bits: that is the
		// reduction modulo 2^128.
		if r.Sign() != 0 && used[i] < PayloadBits {
			return nil, fmt.Errorf("%s: coefficient %d does not hold sums of rows: it overflowed or the shares do not belong to it", b.Key, b.coeffs[i])
		}
	}
	return values, nil
}

// takeDigit removes the lowest digit in [-2^(width-1), 2^(width-1)) from x.
func takeDigit(x *big.Int, width int) int64 {
	mask := new(big.Int).Lsh(big.NewInt(1), uint(width))
	digit := new(big.Int).And(x, new(big.Int).Sub(mask, big.NewInt(1)))
	if digit.Bit(width-1) == 1 {
		digit.Sub(digit, mask)
	}
	x.Sub(x, digit).Rsh(x, uint(width))
	return digit.Int64()
}
