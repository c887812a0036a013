package he

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// Rows and shares are residues of ResidueBits bits each, coefficient by
// coefficient, prime by prime, least significant bit first, padded with zero bits
// to whole bytes. There is one encoding of each: residues are below their primes
// and padding is zero.

// maxResidueBits lets any residue be read as one 64-bit word.
const maxResidueBits = 57

// ErrMalformed says that a row or a share has the wrong length or is not in its
// one canonical form. Nothing makes it valid: refuse it.
var ErrMalformed = errors.New("malformed")

func (p *Params) packedBytes(coeffs int) int {
	return (coeffs*len(p.profile.Primes)*p.profile.ResidueBits + 7) / 8
}

// place is where a residue lies: bits shift.. of the word at byte base.
type place struct {
	base  int
	shift uint
}

// residue reads it.
func (at *place) residue(b []byte, mask uint64) uint64 {
	return binary.LittleEndian.Uint64(b[at.base:]) >> (at.shift & 63) & mask
}

// put writes a residue where there are zeros.
func (at *place) put(b []byte, residue uint64) {
	w := b[at.base : at.base+8]
	binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)|residue<<(at.shift&63))
}

// placeOf locates residue number i in length packed bytes. The word is moved back
// where it would reach past the end.
func placeOf(i, residueBits, length int) place {
	bit := i * residueBits
	base := min(bit/8, length-8)
	return place{base, uint(bit - 8*base)}
}

// pack encodes residues.
func (p *Params) pack(residues []uint64) []byte {
	size := p.packedBytes(len(residues) / len(p.profile.Primes))
	out := make([]byte, size+8)
	for i, r := range residues {
		bit := i * p.profile.ResidueBits
		w := out[bit/8:]
		binary.LittleEndian.PutUint64(w, binary.LittleEndian.Uint64(w)|r<<(bit%8))
	}
	return out[:size]
}

// unpack decodes the residues of coeffs coefficients strictly.
func (p *Params) unpack(b []byte, coeffs int) ([]uint64, error) {
	if err := p.checkPacked(b, coeffs); err != nil {
		return nil, err
	}
	width := p.profile.ResidueBits
	mask := uint64(1)<<width - 1
	residues := make([]uint64, coeffs*len(p.profile.Primes))
	for i := range residues {
		at := placeOf(i, width, len(b))
		residues[i] = at.residue(b, mask)
	}
	return residues, nil
}

func (p *Params) checkPacked(b []byte, coeffs int) error {
	if len(b) != p.packedBytes(coeffs) {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrMalformed, len(b), p.packedBytes(coeffs))
	}
	width, primes := p.profile.ResidueBits, p.profile.Primes
	mask := uint64(1)<<width - 1
	count := coeffs * len(primes)
	for i := range count {
		at := placeOf(i, width, len(b))
		if r := at.residue(b, mask); r >= primes[i%len(primes)] {
			return fmt.Errorf("%w: residue %d of coefficient %d is not below its prime", ErrMalformed, i%len(primes), i/len(primes))
		}
	}
	if used := count * width % 8; used != 0 && bits.Len8(b[len(b)-1]) > used {
		return fmt.Errorf("%w: padding is not zero", ErrMalformed)
	}
	return nil
}

// CheckRow checks that row is the canonical encoding of a row. It says nothing
// about what the row opens to or who made it. It returns ErrMalformed, wrapped.
func (p *Params) CheckRow(row []byte) error {
	if err := p.checkPacked(row, p.schema.Coefficients()); err != nil {
		return fmt.Errorf("row: %w", err)
	}
	return nil
}
