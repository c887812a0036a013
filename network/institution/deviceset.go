package institution

import (
	"encoding/binary"
	"math/bits"
)

// deviceSet is a set of devices by their number on the ledger, one bit each.
// Sets of different lengths compare as if the shorter one were filled up with
// zeros.
type deviceSet []uint64

func (s deviceSet) has(n int) bool { return n/64 < len(s) && s[n/64]>>(n%64)&1 == 1 }

// flip puts n in or takes it out.
func (s *deviceSet) flip(n int) {
	for len(*s) <= n/64 {
		*s = append(*s, 0)
	}
	(*s)[n/64] ^= 1 << (n % 64)
}

func (s deviceSet) clone() deviceSet { return append(deviceSet(nil), s...) }

// difference is the word at i of the symmetric difference.
func (s deviceSet) difference(o deviceSet, i int) uint64 {
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
func (s deviceSet) distance(o deviceSet) int {
	n := 0
	for i := range max(len(s), len(o)) {
		n += bits.OnesCount64(s.difference(o, i))
	}
	return n
}

func (s deviceSet) size() int { return s.distance(nil) }

// each calls f with every device that is in one of the sets only.
func (s deviceSet) each(o deviceSet, f func(n int) error) error {
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
func (s deviceSet) bytes() []byte {
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

func deviceSetOf(b []byte) deviceSet {
	s := make(deviceSet, len(b)/8)
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s
}
