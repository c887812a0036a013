package he

import (
	"fmt"
	"slices"
)

// Sum adds rows on the asked coefficients, without any key. Sums of sums are the
// same as sums of rows, so partial sums may be kept and merged. A Sum is not safe
// for concurrent use.
type Sum struct {
	params  *Params
	coeffs  []int
	places  []place
	primes  []uint64 // by residue
	acc     []uint64
	row     []uint64
	pending int // rows since the last reduction
	limit   int // rows that can be added without one
	rows    int64
}

// NewSum starts an empty sum over the given coefficients of the schema, which
// must be ascending.
func (p *Params) NewSum(coeffs []int) (*Sum, error) {
	if err := p.checkCoeffs(coeffs); err != nil {
		return nil, err
	}
	s := &Sum{params: p, coeffs: slices.Clone(coeffs), limit: 1<<(64-p.profile.ResidueBits) - 1}
	for _, c := range coeffs {
		for l, q := range p.profile.Primes {
			s.places = append(s.places, placeOf(c*len(p.profile.Primes)+l, p.profile.ResidueBits, p.RowBytes()))
			s.primes = append(s.primes, q)
		}
	}
	s.acc = make([]uint64, len(s.places))
	s.row = make([]uint64, len(s.places))
	return s, nil
}

// checkCoeffs refuses coefficients that the schema does not have, and any order
// but the ascending one.
func (p *Params) checkCoeffs(coeffs []int) error {
	if len(coeffs) == 0 {
		return fmt.Errorf("no coefficients are asked")
	}
	for i, c := range coeffs {
		if c < 0 || c >= p.schema.Coefficients() || i > 0 && c <= coeffs[i-1] {
			return fmt.Errorf("coefficients must be ascending and below %d, not %v", p.schema.Coefficients(), coeffs)
		}
	}
	return nil
}

// Add adds a row. It checks the length and the asked residues; that the whole row
// is canonical is CheckRow's, once when the row is fetched. A row that is refused
// leaves the sum as it was.
func (s *Sum) Add(row []byte) error {
	if len(row) != s.params.RowBytes() {
		return fmt.Errorf("row: %w: %d bytes instead of %d", ErrMalformed, len(row), s.params.RowBytes())
	}
	if s.rows >= s.params.profile.MaxRows {
		return fmt.Errorf("a sum has at most %d rows", s.params.profile.MaxRows)
	}
	mask := uint64(1)<<s.params.profile.ResidueBits - 1
	var bad uint64
	for i, at := range s.places {
		r := at.residue(row, mask)
		bad |= s.primes[i] - 1 - r
		s.row[i] = r
	}
	if bad>>63 != 0 {
		return fmt.Errorf("row: %w: a residue is not below its prime", ErrMalformed)
	}
	for i, r := range s.row {
		s.acc[i] += r
	}
	s.rows++
	if s.pending++; s.pending == s.limit-1 {
		s.reduce()
	}
	return nil
}

// reduce brings every residue below its prime.
func (s *Sum) reduce() {
	for i := range s.acc {
		s.acc[i] %= s.primes[i]
	}
	s.pending = 0
}

// Merge adds another sum over the same coefficients.
func (s *Sum) Merge(o *Sum) error {
	if o.params.kind != s.params.kind || !slices.Equal(s.coeffs, o.coeffs) {
		return fmt.Errorf("sums over different coefficients, profiles or kinds of rows cannot be merged")
	}
	if s.rows+o.rows > s.params.profile.MaxRows {
		return fmt.Errorf("a sum has at most %d rows", s.params.profile.MaxRows)
	}
	s.reduce()
	for i := range s.acc {
		s.acc[i] += o.acc[i] % s.primes[i]
	}
	s.reduce()
	s.rows += o.rows
	return nil
}

// Rows returns how many rows are in the sum.
func (s *Sum) Rows() int64 { return s.rows }

// Coefficients returns the coefficients that the sum covers.
func (s *Sum) Coefficients() []int { return slices.Clone(s.coeffs) }

// Equal reports whether two sums are of as many rows and open to the same.
func (s *Sum) Equal(o *Sum) bool {
	s.reduce()
	o.reduce()
	return s.params.kind == o.params.kind && s.rows == o.rows && slices.Equal(s.coeffs, o.coeffs) && slices.Equal(s.acc, o.acc)
}
