package he

import (
	"encoding/binary"
	"sync"

	"github.com/cloudflare/circl/simd/keccakf1600"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Where a processor permutes four states of Keccak at a time, the streams of four pieces
// are read together. They are the same streams: cSHAKE128 (NIST SP 800-185 section 3),
// whose state is here 25 words for each of four lanes, word by word.

const (
	stateWords = 25
	rateWords  = shakeRate / 8
)

// ternaryStart is the state of cSHAKE128 under the label of pieces, before anything is
// absorbed: its customisation is a block of its own.
var ternaryStart = sync.OnceValue(func() [stateWords]uint64 {
	const label = "vitalveil ternary"
	block := append(leftEncode(shakeRate), leftEncode(0)...)
	block = append(append(block, leftEncode(8*uint64(len(label)))...), label...)
	block = append(block, make([]byte, shakeRate-len(block))...)
	var x keccakf1600.StateX4
	a := x.Initialize(false)
	for i := range rateWords {
		a[together*i] = binary.LittleEndian.Uint64(block[8*i:])
	}
	x.Permute()
	var start [stateWords]uint64
	for i := range start {
		start[i] = a[together*i]
	}
	return start
})

// readDigitsTogether fills four streams as readDigits does, each from its digest and seed.
func (p *Params) readDigitsTogether(streams *[together][]byte, ids *[together]record.ID, pieces []Piece) {
	var x keccakf1600.StateX4
	a := x.Initialize(false)
	for i, w := range ternaryStart() {
		for l := range together {
			a[together*i+l] = w
		}
	}
	for l, s := range pieces {
		for i := range 4 {
			a[together*i+l] ^= binary.LittleEndian.Uint64(ids[l][8*i:])
			a[together*(4+i)+l] ^= binary.LittleEndian.Uint64(s.Seed[8*i:])
		}
	}
	const suffix, end = 0x04, 0x80 << 56 // of a cSHAKE message, and of the rate
	for l := range together {
		a[together*8+l] ^= suffix
		a[together*(rateWords-1)+l] ^= end
	}
	var buf [shakeRate]byte
	var have [together]int
	for slowest := 0; slowest < p.digits(); {
		x.Permute()
		slowest = p.digits()
		for l := range together {
			if have[l] < p.digits() {
				for i := range rateWords {
					binary.LittleEndian.PutUint64(buf[8*i:], a[together*i+l])
				}
				have[l] += keepDigits(streams[l][have[l]:], &buf)
				slowest = min(slowest, have[l])
			}
		}
	}
	clear(buf[:])
	clear(a)
}
