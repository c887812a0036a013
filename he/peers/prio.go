package main

import (
	"crypto/rand"
	"math"
	"math/bits"

	"github.com/cloudflare/circl/vdaf/prio3/histogram"
	"github.com/cloudflare/circl/vdaf/prio3/sumvec"

	"github.com/vitalveil/vitalveil/he/privacy"
)

const aggregators = 2

var prioContext = []byte("peers")

// prioSums is Prio3SumVec, a report per metric and hour so that one metric can be
// opened without the others. A vector's values have one width, and ours have many;
// so each value is given as its bits, which is cheaper than the widest width for
// all.
type prioSums struct {
	metrics []prioMetric
	key     sumvec.VerifyKey
	reports map[[2]int][]sumReport
	out     map[[2]int][]*sumvec.OutShare // of metric 0, by aggregator
}

type prioMetric struct {
	vdaf   *sumvec.SumVec
	widths [valuesPerMetric]int
	half   int64
}

type sumReport struct {
	nonce  sumvec.Nonce
	public sumvec.PublicShare
	inputs []sumvec.InputShare
}

func newPrioSums(int, int) (scheme, error) {
	s := &prioSums{reports: map[[2]int][]sumReport{}, out: map[[2]int][]*sumvec.OutShare{}}
	rand.Read(s.key[:])
	for slot := range privacy.V1().Slots() {
		most, half := maxima(slot)
		m := prioMetric{half: half}
		length := 0
		for i, x := range most {
			m.widths[i] = bits.Len64(x)
			length += m.widths[i]
		}
		var err error
		if m.vdaf, err = sumvec.New(aggregators, uint(length), 1, uint(math.Sqrt(float64(length))), prioContext); err != nil {
			return nil, err
		}
		s.metrics = append(s.metrics, m)
	}
	return s, nil
}

func (m *prioMetric) bits(v [valuesPerMetric]uint64) []uint64 {
	var out []uint64
	for i, w := range m.widths {
		for b := range w {
			out = append(out, v[i]>>b&1)
		}
	}
	return out
}

func (m *prioMetric) sums(counts []uint64) []uint64 {
	v := make([]uint64, valuesPerMetric)
	for i, w := range m.widths {
		for b := range w {
			v[i] += counts[b] << b
		}
		counts = counts[w:]
	}
	return v
}

func (s *prioSums) Seal(device, at int, row hour) (int, error) {
	size := 0
	var all []sumReport
	for slot, stats := range row {
		m := &s.metrics[slot]
		var r sumReport
		rand.Read(r.nonce[:])
		params := m.vdaf.Params()
		random := make([]byte, params.RandSize())
		rand.Read(random)
		var err error
		if r.public, r.inputs, err = m.vdaf.Shard(m.bits(values(stats, m.half)), &r.nonce, random); err != nil {
			return 0, err
		}
		b, err := r.public.MarshalBinary()
		if err != nil {
			return 0, err
		}
		size += len(r.nonce) + len(b)
		for i := range r.inputs {
			if b, err = r.inputs[i].MarshalBinary(); err != nil {
				return 0, err
			}
			size += len(b)
		}
		all = append(all, r)
	}
	s.reports[[2]int{device, at}] = all
	return size, nil
}

// Receive verifies the reports of all metrics, at both aggregators.
func (s *prioSums) Receive(device, at int) error {
	for slot, r := range s.reports[[2]int{device, at}] {
		v := s.metrics[slot].vdaf
		var states []*sumvec.PrepState
		var shares []sumvec.PrepShare
		for i := range uint8(aggregators) {
			state, share, err := v.PrepInit(&s.key, &r.nonce, i, r.public, r.inputs[i])
			if err != nil {
				return err
			}
			states, shares = append(states, state), append(shares, *share)
		}
		message, err := v.PrepSharesToPrep(shares)
		if err != nil {
			return err
		}
		var outs []*sumvec.OutShare
		for _, state := range states {
			out, err := v.PrepNext(state, message)
			if err != nil {
				return err
			}
			outs = append(outs, out)
		}
		if slot == 0 {
			s.out[[2]int{device, at}] = outs
		}
	}
	return nil
}

func (s *prioSums) Ask(q query) (privacy.HourStats, error) {
	v := s.metrics[0].vdaf
	totals := []sumvec.AggShare{v.AggregateInit(), v.AggregateInit()}
	q.each(func(d, h int) {
		for i, out := range s.out[[2]int{d, h}] {
			v.AggregateUpdate(&totals[i], out)
		}
	})
	counts, err := v.Unshard(totals, uint(q.Devices*q.Hours))
	if err != nil {
		return privacy.HourStats{}, err
	}
	return statsOf(s.metrics[0].sums(*counts), s.metrics[0].half), nil
}

// prioBuckets is Prio3Histogram: a report per reading. It answers the histogram
// only, of 16 buckets.
type prioBuckets struct {
	vdaf    *histogram.Histogram
	key     histogram.VerifyKey
	reports map[[2]int][][]bucketReport // by metric
	out     map[[2]int][][]*histogram.OutShare
}

type bucketReport struct {
	nonce  histogram.Nonce
	public histogram.PublicShare
	inputs []histogram.InputShare
}

func newPrioBuckets(int, int) (scheme, error) {
	v, err := histogram.New(aggregators, privacy.Buckets+1, 4, prioContext)
	if err != nil {
		return nil, err
	}
	s := &prioBuckets{vdaf: v, reports: map[[2]int][][]bucketReport{}, out: map[[2]int][][]*histogram.OutShare{}}
	rand.Read(s.key[:])
	return s, nil
}

func (s *prioBuckets) Seal(device, at int, row hour) (int, error) {
	size := 0
	var all [][]bucketReport
	for _, stats := range row {
		var reports []bucketReport
		for bucket, count := range (privacy.Totals{HourStats: stats}).Counts() {
			for range count {
				r, bytes, err := s.shard(uint64(bucket))
				if err != nil {
					return 0, err
				}
				size += bytes
				reports = append(reports, r)
			}
		}
		all = append(all, reports)
	}
	s.reports[[2]int{device, at}] = all
	return size, nil
}

func (s *prioBuckets) shard(bucket uint64) (bucketReport, int, error) {
	var r bucketReport
	rand.Read(r.nonce[:])
	params := s.vdaf.Params()
	random := make([]byte, params.RandSize())
	rand.Read(random)
	var err error
	if r.public, r.inputs, err = s.vdaf.Shard(bucket, &r.nonce, random); err != nil {
		return r, 0, err
	}
	b, err := r.public.MarshalBinary()
	if err != nil {
		return r, 0, err
	}
	size := len(r.nonce) + len(b)
	for i := range r.inputs {
		if b, err = r.inputs[i].MarshalBinary(); err != nil {
			return r, 0, err
		}
		size += len(b)
	}
	return r, size, nil
}

func (s *prioBuckets) Receive(device, at int) error {
	for slot, reports := range s.reports[[2]int{device, at}] {
		for _, r := range reports {
			outs, err := s.verify(r)
			if err != nil {
				return err
			}
			if slot == 0 {
				key := [2]int{device, at}
				s.out[key] = append(s.out[key], outs)
			}
		}
	}
	return nil
}

func (s *prioBuckets) verify(r bucketReport) ([]*histogram.OutShare, error) {
	var states []*histogram.PrepState
	var shares []histogram.PrepShare
	for i := range uint8(aggregators) {
		state, share, err := s.vdaf.PrepInit(&s.key, &r.nonce, i, r.public, r.inputs[i])
		if err != nil {
			return nil, err
		}
		states, shares = append(states, state), append(shares, *share)
	}
	message, err := s.vdaf.PrepSharesToPrep(shares)
	if err != nil {
		return nil, err
	}
	var outs []*histogram.OutShare
	for _, state := range states {
		out, err := s.vdaf.PrepNext(state, message)
		if err != nil {
			return nil, err
		}
		outs = append(outs, out)
	}
	return outs, nil
}

func (s *prioBuckets) Ask(q query) (privacy.HourStats, error) {
	totals := []histogram.AggShare{s.vdaf.AggregateInit(), s.vdaf.AggregateInit()}
	reports := 0
	q.each(func(d, h int) {
		for _, outs := range s.out[[2]int{d, h}] {
			for i, out := range outs {
				s.vdaf.AggregateUpdate(&totals[i], out)
			}
			reports++
		}
	})
	counts, err := s.vdaf.Unshard(totals, uint(reports))
	if err != nil {
		return privacy.HourStats{}, err
	}
	var stats privacy.HourStats
	for i := range stats.Buckets {
		stats.Buckets[i] = int64((*counts)[i])
	}
	return stats, nil
}
