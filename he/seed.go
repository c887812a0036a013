package he

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Seed is one piece's part of a device's secret, before expansion. It prints as
// "[secret]".
type Seed [32]byte

// NewSeed returns a fresh seed. A seed is used for one device and one piece only.
func NewSeed() Seed {
	var s Seed
	rand.Read(s[:])
	return s
}

func (p *Params) place(c Context, device record.ID, piece int) opening.SeedPlace {
	return opening.SeedPlace{Network: c.Network, Profile: p.profile.Name, Epoch: c.Epoch, Device: device, Piece: piece}
}

// expansionID binds a seed's use, as its hash does: whatever differs here gives
// other secrets.
func (p *Params) expansionID(c Context, device record.ID, piece int) record.ID {
	return record.Digest(domainTernary, c.Network, []any{p.profile.Name, c.Epoch, device, piece})
}

// SeedHash is what the ledger keeps of a seed. It covers the same fields as the
// expansion, so a hash fits one device, piece, epoch, profile and network only.
func (p *Params) SeedHash(c Context, device record.ID, piece int, s Seed) record.ID {
	return p.place(c, device, piece).Hash(s[:])
}

// Ternary is an expanded piece: coefficients -1, 0 and 1. It prints as
// "[secret]".
type Ternary []int8

// shakeRate is the number of bytes that one permutation of cSHAKE128 gives.
const shakeRate = 168

// Expand derives a piece's ternary polynomial from its seed. Each byte of the
// stream below 243 = 3^5 makes five coefficients, lowest digit first.
func (p *Params) Expand(c Context, device record.ID, piece int, s Seed) Ternary {
	t := make(Ternary, p.n+ternarySpill)
	p.expand(t, c, device, piece, s)
	return t[:p.n:p.n]
}

// ternarySpill is how far the last byte of an expansion may write past its end.
const ternarySpill = 4

func (p *Params) expand(t Ternary, c Context, device record.ID, piece int, s Seed) {
	x := xof128("ternary", p.expansionID(c, device, piece), s[:])
	var buf [shakeRate]byte
	for n := 0; n < p.n; {
		x.Read(buf[:])
		for _, b := range buf {
			if b >= 243 {
				continue // says nothing about the bytes that count
			}
			digits, last := ternaryDigits(uint64(b))
			d := t[n : n+5 : n+5]
			d[0] = int8(digits) - 1
			d[1] = int8(digits>>16) - 1
			d[2] = int8(digits>>32) - 1
			d[3] = int8(digits>>48) - 1
			d[4] = int8(last) - 1
			if n += 5; n >= p.n {
				break
			}
		}
	}
}

// ternaryDigits splits v < 243 into its five digits to the base 3: the four lowest
// in lanes of 16 bits, the highest apart. Quotients by 3, 9 and 27 are one product,
// in such lanes; a test goes through all v.
func ternaryDigits(v uint64) (lanes, last uint64) {
	quotients := v * (171 | 57<<16 | 19<<32) >> 9 & 0x007f_007f_007f
	last = v * 203 >> 14 // v/81
	return v + quotients<<16 - 3*(quotients+last<<48), last
}

// KeySum is a sum of expanded pieces: of one piece over the devices of a cohort.
// It opens what those devices sealed, as far as one piece goes; it prints as
// "[secret]".
type KeySum []int32

// NewKeySum returns the sum of no pieces.
func (p *Params) NewKeySum() KeySum { return make(KeySum, p.n) }

// Add adds a device's piece.
func (s KeySum) Add(t Ternary) error {
	if len(s) != len(t) {
		return fmt.Errorf("a piece of %d coefficients does not fit a sum of %d", len(t), len(s))
	}
	for i, v := range t {
		s[i] += int32(v)
	}
	return nil
}

// AddPiece expands a device's piece and adds it to a sum, as Add of Expand does,
// without leaving the expansion in memory.
func (p *Params) AddPiece(sum KeySum, c Context, device record.ID, piece int, s Seed) error {
	buf := p.pieces.Get().(*Ternary)
	p.expand(*buf, c, device, piece, s)
	err := sum.Add((*buf)[:p.n])
	clear(*buf)
	p.pieces.Put(buf)
	return err
}

// Sub takes a device's piece out again.
func (s KeySum) Sub(t Ternary) error {
	if len(s) != len(t) {
		return fmt.Errorf("a piece of %d coefficients does not fit a sum of %d", len(t), len(s))
	}
	for i, v := range t {
		s[i] -= int32(v)
	}
	return nil
}

// AddSum adds a sum over other devices.
func (s KeySum) AddSum(o KeySum) error {
	if len(s) != len(o) {
		return fmt.Errorf("a sum of %d coefficients does not fit one of %d", len(o), len(s))
	}
	for i, v := range o {
		s[i] += v
	}
	return nil
}

// SubSum takes a sum over some of the devices out again.
func (s KeySum) SubSum(o KeySum) error {
	if len(s) != len(o) {
		return fmt.Errorf("a sum of %d coefficients does not fit one of %d", len(o), len(s))
	}
	for i, v := range o {
		s[i] -= v
	}
	return nil
}

// Digest lets a holder notice that a stored sum has changed. It is not salted: a
// sum of at least one piece has the entropy of a seed.
func (s KeySum) Digest() record.ID {
	b := make([]byte, 0, 4*len(s))
	for _, v := range s {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return record.SumID(b)
}

// transform turns small integers into a transformed ring element in Montgomery
// form, ready to be multiplied by a window.
func (p *Params) transform(small []int32) poly {
	s := p.newPoly()
	for l, r := range p.rings {
		q := r.Modulus
		for i, v := range small {
			s[l][i] = uint64(int64(v)) + uint64(int64(v)>>63)&q
		}
		r.NTT(s[l], s[l])
		r.MForm(s[l], s[l])
	}
	return s
}
