package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"math/big"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// masks adds to each coefficient one output of AES-256 per piece: counter mode,
// with a region of the counter for each metric, so that a holder gets the masks of
// consecutive hours of one metric as one stream. Pieces are those of 2 of 3.
type masks struct {
	devices map[int]*maskedDevice
	stored  map[int][]byte // metric 0 of an hour, all devices
}

type maskedDevice struct {
	keys   [3][32]byte
	blocks [3]cipher.Block
	rows   map[int][]privacy.Payload
}

const metricMaskBytes = privacy.MetricCoefficients * 16

func newMasks(int, int) (scheme, error) {
	return &masks{devices: map[int]*maskedDevice{}, stored: map[int][]byte{}}, nil
}

func (s *masks) device(number int) (*maskedDevice, error) {
	if d := s.devices[number]; d != nil {
		return d, nil
	}
	d := &maskedDevice{rows: map[int][]privacy.Payload{}}
	for p := range d.keys {
		rand.Read(d.keys[p][:])
		var err error
		if d.blocks[p], err = aes.NewCipher(d.keys[p][:]); err != nil {
			return nil, err
		}
	}
	s.devices[number] = d
	return d, nil
}

// stream writes the masks of a metric from an hour on.
func stream(block cipher.Block, slot, hour int, out []byte) {
	var counter [16]byte
	binary.BigEndian.PutUint32(counter[:], uint32(slot))
	binary.BigEndian.PutUint64(counter[8:], uint64(hour*privacy.MetricCoefficients))
	clear(out)
	cipher.NewCTR(block, counter[:]).XORKeyStream(out, out)
}

func payloadAt(b []byte) privacy.Payload {
	return privacy.Payload{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}

func (s *masks) Seal(device, at int, row hour) (int, error) {
	d, err := s.device(device)
	if err != nil {
		return 0, err
	}
	payloads, err := payloadsOf(privacy.V1(), row)
	if err != nil {
		return 0, err
	}
	var mask [metricMaskBytes]byte
	for _, block := range d.blocks {
		for slot := range row {
			stream(block, slot, at, mask[:])
			for c := range privacy.MetricCoefficients {
				p := &payloads[slot*privacy.MetricCoefficients+c]
				*p = p.Plus(payloadAt(mask[16*c:]))
			}
		}
	}
	d.rows[at] = payloads
	return 16 * len(payloads), nil
}

// Receive stores the part that Ask reads, as sealed does.
func (s *masks) Receive(device, at int) error {
	for _, p := range s.devices[device].rows[at][:privacy.MetricCoefficients] {
		s.stored[at] = binary.LittleEndian.AppendUint64(s.stored[at], p[0])
		s.stored[at] = binary.LittleEndian.AppendUint64(s.stored[at], p[1])
	}
	return nil
}

func (s *masks) Ask(q query) (privacy.HourStats, error) {
	var total [privacy.MetricCoefficients]privacy.Payload
	for h := range q.Hours {
		for left := q.Devices; left > 0; left -= q.Pool {
			addPayloads(&total, s.stored[h%q.PoolHours][:min(left, q.Pool)*metricMaskBytes])
		}
	}
	for piece := range 3 {
		share, err := s.share(q, piece)
		if err != nil {
			return privacy.HourStats{}, err
		}
		for c := range total {
			total[c] = total[c].Plus(privacy.PayloadOf(new(big.Int).Neg(share[c].Big())))
		}
	}
	opened := make([]*big.Int, len(total))
	for c := range total {
		opened[c] = total[c].Big()
	}
	totals, err := privacy.V1().Decode(0, opened)
	return totals.HourStats, err
}

// share is the sum of a piece's masks: a key schedule per device, then a stream.
func (s *masks) share(q query, piece int) ([privacy.MetricCoefficients]privacy.Payload, error) {
	var sum [privacy.MetricCoefficients]privacy.Payload
	out := make([]byte, q.Hours*metricMaskBytes)
	for n := range q.Devices {
		block, err := aes.NewCipher(s.devices[n%q.Pool].keys[piece][:])
		if err != nil {
			return sum, err
		}
		stream(block, 0, 0, out)
		addPayloads(&sum, out)
	}
	return sum, nil
}

// addPayloads adds packed coefficients of one metric.
func addPayloads(sum *[privacy.MetricCoefficients]privacy.Payload, packed []byte) {
	for ; len(packed) >= metricMaskBytes; packed = packed[metricMaskBytes:] {
		for c := range sum {
			sum[c] = sum[c].Plus(payloadAt(packed[16*c:]))
		}
	}
}
