package keysum

import (
	"encoding/binary"
	"math/bits"
)

// Set is a set of devices by their number on the ledger, one bit each.
// Sets of different lengths compare as if the shorter one were filled up with
// zeros.
type Set []uint64

func (s Set) Has(n int) bool { return n/64 < len(s) && s[n/64]>>(n%64)&1 == 1 }

// Flip puts n in or takes it out.
func (s *Set) Flip(n int) {
	for len(*s) <= n/64 {
		*s = append(*s, 0)
	}
	(*s)[n/64] ^= 1 << (n % 64)
}

func (s Set) clone() Set { return append(Set(nil), s...) }

// difference is the word at i of the symmetric difference.
func (s Set) difference(o Set, i int) uint64 {
	var d uint64
	if i < len(s) {
		d = s[i]
	}
	if i < len(o) {
		d ^= o[i]
	}
	return d
}

// distance is how many devices are in one of the sets only.
func (s Set) distance(o Set) int {
	n := 0
	for i := range max(len(s), len(o)) {
		n += bits.OnesCount64(s.difference(o, i))
	}
	return n
}

func (s Set) Size() int { return s.distance(nil) }

// each calls f with every device that is in one of the sets only.
func (s Set) each(o Set, f func(n int) error) error {
	for i := range max(len(s), len(o)) {
		for d := s.difference(o, i); d != 0; d &= d - 1 {
			if err := f(64*i + bits.TrailingZeros64(d)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bytes is the set without trailing zeros: equal sets have equal bytes.
func (s Set) bytes() []byte {
	n := len(s)
	for n > 0 && s[n-1] == 0 {
		n--
	}
	b := make([]byte, 0, 8*n)
	for _, w := range s[:n] {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func setOf(b []byte) Set {
	s := make(Set, len(b)/8)
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s
}
