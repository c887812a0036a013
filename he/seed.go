package he

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cloudflare/circl/simd/keccakf1600"

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
	sum := p.NewKeySum()
	p.addPieces(sum, c, []Piece{{device, piece, s}})
	t := make(Ternary, p.n)
	for i, v := range sum {
		t[i] = int8(v)
	}
	clear(sum)
	return t
}

// Piece is a seed of a device with what its expansion depends on besides.
type Piece struct {
	Device record.ID
	Number int
	Seed   Seed
}

// together is how many pieces are expanded at once: each has 16 bits of a word, in which
// the digits of a byte and their sum over all pieces have room.
const (
	together = 4
	lane     = 16
	inLanes  = 1 | 1<<lane | 1<<(2*lane) | 1<<(3*lane)
)

// digits is the bytes below 243 of a piece's stream: as many as its coefficients need,
// and what one permutation gives beyond.
func (p *Params) digits() int { return (p.n + 4) / 5 }

// readDigits fills out with the digits of a piece. Which bytes are passed over says
// nothing about those that count.
func (p *Params) readDigits(out []byte, id record.ID, s Seed) {
	x := xof128("ternary", id, s[:])
	var buf [shakeRate]byte
	for n := 0; n < p.digits(); {
		x.Read(buf[:])
		n += keepDigits(out[n:], &buf)
	}
	clear(buf[:])
}

// keepDigits copies the bytes of a block that count, and returns how many these are.
func keepDigits(out []byte, block *[shakeRate]byte) int {
	out = out[:shakeRate]
	kept := 0
	for _, b := range block {
		out[kept] = b
		kept += int((uint32(b) - 243) >> 31) // 1 below 243, else 0
	}
	return kept
}

// addPieces adds at most four pieces to a sum of the right length. The quotients of a
// byte by 3, 9, 27 and 81 are one product each for all pieces; a test goes through all
// bytes. So are the sums over the pieces, and a digit's is the difference of two.
func (p *Params) addPieces(sum KeySum, c Context, pieces []Piece) {
	streams := p.streams.Get().(*[together][]byte)
	var ids [together]record.ID
	for i, s := range pieces {
		ids[i] = p.expansionID(c, s.Device, s.Number)
	}
	if len(pieces) == together && keccakf1600.IsEnabledX4() {
		p.readDigitsTogether(streams, &ids, pieces)
	} else {
		for i, s := range pieces {
			p.readDigits(streams[i], ids[i], s.Seed)
		}
	}
	s0, s1, s2, s3 := streams[0][:p.digits()], streams[1][:p.digits()], streams[2][:p.digits()], streams[3][:p.digits()]
	less := int32(len(pieces)) // every digit is one more than its coefficient
	whole := p.n / 5
	for i := range whole {
		d0, d1, d2, d3, d4 := ternaryDigits(uint64(s0[i]) | uint64(s1[i])<<lane | uint64(s2[i])<<(2*lane) | uint64(s3[i])<<(3*lane))
		s := sum[5*i : 5*i+5 : 5*i+5]
		s[0] += d0 - less
		s[1] += d1 - less
		s[2] += d2 - less
		s[3] += d3 - less
		s[4] += d4 - less
	}
	if whole < p.digits() {
		var d [5]int32
		d[0], d[1], d[2], d[3], d[4] = ternaryDigits(uint64(s0[whole]) | uint64(s1[whole])<<lane | uint64(s2[whole])<<(2*lane) | uint64(s3[whole])<<(3*lane))
		for i, d := range d[:p.n-5*whole] {
			sum[5*whole+i] += d - less
		}
	}
	for i := range pieces {
		clear(streams[i])
	}
	p.streams.Put(streams)
}

// ternaryDigits splits each of four v < 243, in lanes of 16 bits, into its five digits to
// the base 3, and returns the sums of the lanes' digits, lowest first.
func ternaryDigits(v uint64) (d0, d1, d2, d3, d4 int32) {
	const seven = 0x7f * inLanes
	q3, q9, q27 := v*171>>9&seven, v*57>>9&seven, v*19>>9&seven
	q81 := v * 203 >> 14 & (3 * inLanes)
	total := func(lanes uint64) int32 { return int32(lanes * inLanes >> (3 * lane)) }
	t1, t3, t9, t27, t81 := total(v), total(q3), total(q9), total(q27), total(q81)
	return t1 - 3*t3, t3 - 3*t9, t9 - 3*t27, t27 - 3*t81, t81
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

// AddPieces expands pieces and adds them to a sum, as Add of Expand does for each, but
// faster for many, and without leaving the expansions in memory.
func (p *Params) AddPieces(sum KeySum, c Context, pieces []Piece) error {
	if len(sum) != p.n {
		return fmt.Errorf("a piece of %d coefficients does not fit a sum of %d", p.n, len(sum))
	}
	for some := range slices.Chunk(pieces, together) {
		p.addPieces(sum, c, some)
	}
	return nil
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
