package privacy

import (
	"fmt"
	"math/big"

	"github.com/vitalveil/vitalveil/wearable"
)

// HourStats are the statistics of one metric in one window, in units of the
// metric's resolution. Values are centred: Sum and SumSq are over value - center.
// The zero value says that there was no reading.
type HourStats struct {
	N, Sum, SumSq int64
	Buckets       [Buckets]int64
}

// Stats computes the statistics of the codes of one window (package wearable; 0
// is missing, at most 60 codes).
func (s *Schema) Stats(w wearable.Metric, codes []uint16) (HourStats, error) {
	var h HourStats
	m, err := s.metric(w.Slot)
	if err != nil {
		return h, err
	}
	if m.Key != w.Key {
		return h, fmt.Errorf("slot %d is %s, not %s", w.Slot, m.Key, w.Key)
	}
	if len(codes) > MinutesPerRow {
		return h, fmt.Errorf("a window has at most %d readings, not %d", MinutesPerRow, len(codes))
	}
	for i, code := range codes {
		if code == 0 {
			continue
		}
		units := m.Units(code)
		bucket, ok := m.Bucket(units)
		if !ok {
			return HourStats{}, fmt.Errorf("%s: code %d of minute %d is out of range", m.Key, code, i)
		}
		c := units - m.center
		h.N++
		h.Sum += c
		h.SumSq += c * c
		if bucket < Buckets {
			h.Buckets[bucket]++
		}
	}
	return h, nil
}

// check refuses statistics that no 60 readings within the range can have.
func (m *metric) check(h HourStats) error {
	rest := h.N
	for _, b := range h.Buckets {
		if b < 0 {
			return fmt.Errorf("%s: a bucket count is negative", m.Key)
		}
		rest -= min(b, MinutesPerRow+1)
	}
	switch {
	case h.N < 0 || h.N > MinutesPerRow:
		return fmt.Errorf("%s: %d readings in a window, the limit is %d", m.Key, h.N, MinutesPerRow)
	case rest < 0:
		return fmt.Errorf("%s: the buckets hold more readings than there are", m.Key)
	case h.Sum > h.N*m.half || h.Sum < -h.N*m.half:
		return fmt.Errorf("%s: the sum of %d readings is out of range", m.Key, h.N)
	case h.SumSq < 0 || h.SumSq > h.N*m.half*m.half || h.SumSq*h.N < h.Sum*h.Sum:
		return fmt.Errorf("%s: the sum of squares of %d readings is out of range", m.Key, h.N)
	}
	return nil
}

// value returns the statistic that a field carries.
func (h *HourStats) value(f Field) int64 {
	switch f.Kind {
	case KindN:
		return h.N
	case KindSum:
		return h.Sum
	case KindSumSq:
		return h.SumSq
	default:
		return h.Buckets[f.Bucket]
	}
}

func (h *HourStats) set(f Field, v int64) {
	switch f.Kind {
	case KindN:
		h.N = v
	case KindSum:
		h.Sum = v
	case KindSumSq:
		h.SumSq = v
	default:
		h.Buckets[f.Bucket] = v
	}
}

// Totals are opened sums of HourStats over many rows, with the noise of all
// pieces if the query had any. Values are centred, in units of the resolution.
type Totals struct {
	HourStats
}

// Counts returns all 16 histogram counts: the last bucket is n minus the others.
func (t Totals) Counts() [wearable.Buckets]int64 {
	var counts [wearable.Buckets]int64
	counts[Buckets] = t.N
	for i, b := range t.Buckets {
		counts[i] = b
		counts[Buckets] -= b
	}
	return counts
}

// checkExact refuses totals that sums of true rows cannot have: shares, rows and
// query do not belong together.
func (m *metric) checkExact(t Totals) error {
	for i, c := range t.Counts() {
		if c < 0 {
			return fmt.Errorf("%s: bucket %d of an exact sum is negative: the shares do not belong to these rows", m.Key, i)
		}
	}
	n, sum, sq, half := big.NewInt(t.N), big.NewInt(t.Sum), big.NewInt(t.SumSq), big.NewInt(m.half)
	limit := new(big.Int).Mul(n, half)
	if sum.CmpAbs(limit) > 0 || sq.Sign() < 0 || sq.Cmp(limit.Mul(limit, half)) > 0 {
		return fmt.Errorf("%s: an exact sum is out of range: the shares do not belong to these rows", m.Key)
	}
	if new(big.Int).Mul(n, sq).Cmp(new(big.Int).Mul(sum, sum)) < 0 {
		return fmt.Errorf("%s: an exact sum has a negative variance: the shares do not belong to these rows", m.Key)
	}
	return nil
}
