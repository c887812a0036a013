package he

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// columnRows is how many rows AddTo sums at a time: few enough to stay in the
// cache, and to add up without a reduction.
const columnRows = 64

// Columns is a layout for storage: of each row only some coefficients, those of
// one metric, packed as in a share and one row after another. A query about the
// metric then reads a ninth of the bytes, in order. It is immutable and safe for
// concurrent use; different cores may sum different parts into sums of their own
// and merge them.
type Columns struct {
	params *Params
	coeffs []int
	size   int // bytes of one row
	from   []place
	to     []place
	primes []uint64 // by residue
}

// Columns makes the layout for the given coefficients of the schema, which must be
// ascending.
func (p *Params) Columns(coeffs []int) (*Columns, error) {
	if err := p.checkCoeffs(coeffs); err != nil {
		return nil, err
	}
	c := &Columns{params: p, coeffs: slices.Clone(coeffs), size: p.packedBytes(len(coeffs))}
	for _, coeff := range coeffs {
		for l, q := range p.profile.Primes {
			c.from = append(c.from, placeOf(coeff*len(p.profile.Primes)+l, p.profile.ResidueBits, p.RowBytes()))
			c.to = append(c.to, placeOf(len(c.primes), p.profile.ResidueBits, c.size))
			c.primes = append(c.primes, q)
		}
	}
	return c, nil
}

// Size is the number of bytes of a row in this layout, 159 for a metric under
// DefaultProfile.
func (c *Columns) Size() int { return c.size }

// Append appends a row's part to dst and returns it. It checks the row's length and
// the residues that it takes, and returns ErrMalformed, wrapped, with dst as it was.
func (c *Columns) Append(dst, row []byte) ([]byte, error) {
	if len(row) != c.params.RowBytes() {
		return dst, fmt.Errorf("row: %w: %d bytes instead of %d", ErrMalformed, len(row), c.params.RowBytes())
	}
	mask := uint64(1)<<c.params.profile.ResidueBits - 1
	have := len(dst)
	dst = slices.Grow(dst, c.size)[:have+c.size]
	out := dst[have:]
	clear(out)
	var bad uint64
	for i, from := range c.from {
		r := from.residue(row, mask)
		bad |= c.primes[i] - 1 - r
		c.to[i].put(out, r)
	}
	if bad>>63 != 0 {
		return dst[:have], fmt.Errorf("row: %w: a residue is not below its prime", ErrMalformed)
	}
	return dst, nil
}

// Cover reports whether the layout has all of these coefficients.
func (c *Columns) Cover(coeffs []int) bool {
	return !slices.ContainsFunc(coeffs, func(coeff int) bool { return !slices.Contains(c.coeffs, coeff) })
}

// AddTo adds all rows of packed, a whole number of them, to a sum over coefficients that
// the layout covers. It checks every residue that it adds; what it refuses leaves the sum
// as it was.
func (c *Columns) AddTo(s *Sum, packed []byte) error {
	if s.params.kind != c.params.kind || !c.Cover(s.coeffs) {
		return fmt.Errorf("the sum covers other coefficients than the columns or another profile")
	}
	if len(packed)%c.size != 0 {
		return fmt.Errorf("columns: %w: %d bytes are not a whole number of rows of %d", ErrMalformed, len(packed), c.size)
	}
	rows := int64(len(packed) / c.size)
	if rows > s.params.profile.MaxRows-s.rows {
		return fmt.Errorf("a sum has at most %d rows", s.params.profile.MaxRows)
	}
	asked := c.residues(s.coeffs)
	total := make([]uint64, len(asked))
	for chunk := range slices.Chunk(packed, columnRows*c.size) {
		for j, i := range asked {
			sum, bad := c.sumColumn(chunk, c.to[i], c.primes[i])
			if bad>>63 != 0 {
				return fmt.Errorf("columns: %w: a residue is not below its prime", ErrMalformed)
			}
			total[j] = (total[j] + sum) % c.primes[i]
		}
	}
	s.reduce()
	for i, t := range total {
		s.acc[i] = reduceOnce(s.acc[i]+t, s.primes[i])
	}
	s.rows += rows
	return nil
}

// residues returns the places of these coefficients' residues in a row of the layout.
func (c *Columns) residues(coeffs []int) []int {
	var out []int
	primes := len(c.primes) / len(c.coeffs)
	for _, coeff := range coeffs {
		first := slices.Index(c.coeffs, coeff) * primes
		for i := range primes {
			out = append(out, first+i)
		}
	}
	return out
}

// sumColumn adds one residue of every row of a chunk. The top bit of bad is set if
// one is not below its prime.
func (c *Columns) sumColumn(chunk []byte, at place, prime uint64) (sum, bad uint64) {
	mask := uint64(1)<<c.params.profile.ResidueBits - 1
	shift, size, most := at.shift&63, c.size, prime-1
	for from := at.base; from+8 <= len(chunk); from += size {
		r := binary.LittleEndian.Uint64(chunk[from:from+8]) >> shift & mask
		bad |= most - r
		sum += r
	}
	return sum, bad
}
