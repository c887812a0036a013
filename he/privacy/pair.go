package privacy

import (
	"fmt"
	"math/big"
)

// PairStats are the cross products of two metrics over the minutes in which both
// have a value, in units of their resolutions, both centred.
type PairStats struct {
	N, SumX, SumY, SumSqX, SumSqY, SumXY int64
}

// PairTotals are opened sums of PairStats over many rows, with the noise of all
// pieces if the query had any.
type PairTotals struct {
	PairStats
}

// pairFields are laid out so that three coefficients take them, or two those of
// person-days.
func pairFields(n int64, x, y *metric) []Field {
	fields := []Field{
		{Name: "n", Kind: KindN, Max: n},
		{Name: "sum_x", Kind: KindSumX, Max: n * x.half, Signed: true},
		{Name: "sum_y", Kind: KindSumY, Max: n * y.half, Signed: true},
		{Name: "sum_sq_x", Kind: KindSumSqX, Max: n * x.square(), Signed: x.offset > 0},
		{Name: "sum_sq_y", Kind: KindSumSqY, Max: n * y.square(), Signed: y.offset > 0},
		{Name: "sum_xy", Kind: KindSumXY, Max: n * x.half * y.half, Signed: true},
	}
	if n == 1 {
		return []Field{fields[0], fields[1], fields[5], fields[2], fields[3], fields[4]}
	}
	return fields
}

// square is the largest absolute value that a square, less its offset, can have.
func (m *metric) square() int64 { return m.half*m.half - m.offset }

// PairStats computes the cross products of the pair in slot from the codes of one
// window of its first and its second metric, minute by minute. Only minutes in
// which both have a value count.
func (s *Schema) PairStats(slot int, x, y []uint16) (PairStats, error) {
	var h PairStats
	b, err := s.shaped(slot, ShapePair)
	if err != nil {
		return h, err
	}
	if len(x) > MinutesPerRow || len(y) > MinutesPerRow {
		return h, fmt.Errorf("a window has at most %d readings, not %d and %d", MinutesPerRow, len(x), len(y))
	}
	for i := range min(len(x), len(y)) {
		if x[i] == 0 || y[i] == 0 {
			continue
		}
		cx, err := b.x.centred(x[i])
		if err != nil {
			return PairStats{}, fmt.Errorf("minute %d: %w", i, err)
		}
		cy, err := b.y.centred(y[i])
		if err != nil {
			return PairStats{}, fmt.Errorf("minute %d: %w", i, err)
		}
		h.N++
		h.SumX += cx
		h.SumY += cy
		h.SumSqX += cx * cx
		h.SumSqY += cy * cy
		h.SumXY += cx * cy
	}
	return h, nil
}

// centred is a code's value minus the centre.
func (m *metric) centred(code uint16) (int64, error) {
	if code == 0 || code > m.MaxCode() {
		return 0, fmt.Errorf("%s: code %d is out of range", m.Key, code)
	}
	return m.Units(code) - m.center, nil
}

// EncodePair packs the cross products of one pair into its coefficients, in the
// order of MetricCoefficients. It refuses what 60 minutes within both ranges
// cannot have.
func (s *Schema) EncodePair(slot int, h PairStats) ([]Payload, error) {
	b, err := s.shaped(slot, ShapePair)
	if err != nil {
		return nil, err
	}
	if h.N < 0 || h.N > MinutesPerRow {
		return nil, fmt.Errorf("%s: %d minutes in a window, the limit is %d", b.Key, h.N, MinutesPerRow)
	}
	if err := b.checkPair(h); err != nil {
		return nil, err
	}
	return b.pack(h.value), nil
}

// DecodePair splits the opened coefficients of a pair as Decode does those of a
// metric.
func (s *Schema) DecodePair(slot int, coeffs []*big.Int) (PairTotals, error) {
	b, err := s.shaped(slot, ShapePair)
	if err != nil {
		return PairTotals{}, err
	}
	values, err := b.unpack(coeffs)
	if err != nil {
		return PairTotals{}, err
	}
	return b.pairTotals(values), nil
}

func (b *block) pairTotals(values []int64) PairTotals {
	var t PairTotals
	for i, f := range b.fields {
		*t.place(f.Kind) = values[i]
	}
	t.SumSqX += b.x.offset * t.N
	t.SumSqY += b.y.offset * t.N
	return t
}

// place is where the statistic of a kind is.
func (h *PairStats) place(k Kind) *int64 {
	switch k {
	case KindN:
		return &h.N
	case KindSumX:
		return &h.SumX
	case KindSumY:
		return &h.SumY
	case KindSumSqX:
		return &h.SumSqX
	case KindSumSqY:
		return &h.SumSqY
	default:
		return &h.SumXY
	}
}

func (h PairStats) value(f Field) int64 { return *h.place(f.Kind) }

// offsetOf is what every value of a sum of squares was lowered by.
func (b *block) offsetOf(k Kind) int64 {
	switch k {
	case KindSumSqX:
		return b.x.offset
	case KindSumSqY:
		return b.y.offset
	default:
		return 0
	}
}

// checkPair refuses sums that no h.N minutes within both ranges have: each sum is
// within its range, and neither a variance nor the determinant of the covariance
// matrix is negative (Cauchy and Schwarz).
func (b *block) checkPair(h PairStats) error {
	wrong := func(what string) error {
		return fmt.Errorf("%s: %s of %d minutes is out of range", b.Key, what, h.N)
	}
	n := big.NewInt(h.N)
	for _, f := range b.fields {
		limit := new(big.Int).Mul(n, big.NewInt(f.Max/b.unit+b.offsetOf(f.Kind)))
		v := big.NewInt(h.value(f))
		if n.Sign() < 0 || v.CmpAbs(limit) > 0 || (f.Kind == KindSumSqX || f.Kind == KindSumSqY) && v.Sign() < 0 {
			return wrong(f.Name)
		}
	}
	// n times the sums of squares and products about the means.
	about := func(sum, x, y int64) *big.Int {
		d := new(big.Int).Mul(n, big.NewInt(sum))
		return d.Sub(d, new(big.Int).Mul(big.NewInt(x), big.NewInt(y)))
	}
	xx, yy, xy := about(h.SumSqX, h.SumX, h.SumX), about(h.SumSqY, h.SumY, h.SumY), about(h.SumXY, h.SumX, h.SumY)
	if xx.Sign() < 0 || yy.Sign() < 0 {
		return wrong("a variance")
	}
	if xy.Mul(xy, xy).Cmp(xx.Mul(xx, yy)) > 0 {
		return wrong("the covariance")
	}
	return nil
}
