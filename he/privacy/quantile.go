package privacy

import (
	"math"
	"math/big"
	"strconv"

	"github.com/vitalveil/vitalveil/wearable"
)

// widest is how many buckets the interval of a noisy quantile may span: a quarter
// of the histogram. Beyond that it says too little to be printed.
const widest = wearable.Buckets / 4

// Quantile returns the histogram interval that holds the q-quantile of the
// readings, 0 <= q <= 1, as two edges in the metric's unit: low <= quantile < high,
// or <= high at the upper end of the range. The q-quantile of n readings is the
// smallest that at least q*n of them do not exceed, where q is the decimal number
// that q prints as; so q = 0 is the minimum, q = 0.5 the lower median and q = 1 the
// maximum.
//
// Resolution: one bucket. What lies where within a bucket is not in a row.
//
// With noise the interval is widened so that it holds the true quantile with a
// probability of at least 95 % for one q. ok is false if there are no readings, if
// q is out of range, or if the interval is wider than a quarter of the buckets: then
// it is too noisy (TooNoisy). One reading more or less never shows through noise, so
// a noisy minimum or maximum is mostly too noisy; ask for the quantiles 0.05 and
// 0.95 instead.
func (r Release) Quantile(q float64) (low, high string, ok bool) {
	first, last, ok := r.quantileBuckets(q)
	if !ok {
		return "", "", false
	}
	return r.Edges[first], r.Edges[last+1], true
}

// quantileBuckets returns the first and the last bucket that the quantile may be
// in. Let b be the bucket that it is in. The buckets up to i hold it exactly if
//
//	D(i) = counts up to i - max(q*n, 1) >= 0,
//
// so D(b) >= 0 > D(b-1). The first bucket is the first where D is not below zero by
// more than z95 standard deviations: it comes after b only if D(b) is off by that
// much, which has probability 2.5 %. The same holds for the last bucket and D(b-1).
// Neither depends on how many buckets there are.
func (r Release) quantileBuckets(q float64) (first, last int, ok bool) {
	rank, ok := r.rank(q)
	if !ok {
		return 0, 0, false
	}
	first = wearable.Buckets - 1
	upTo := new(big.Rat)
	for i, c := range r.Counts[:wearable.Buckets-1] {
		upTo.Add(upTo, new(big.Rat).SetInt64(c))
		d := new(big.Rat).Sub(upTo, rank)
		margin := r.rankMargin(q, i)
		if d.Cmp(new(big.Rat).Neg(margin)) >= 0 {
			first = min(first, i)
		}
		if d.Cmp(margin) < 0 {
			last = i + 1
		}
	}
	return first, last, r.Exact || last-first < widest && float64(r.N) >= 4*r.NSD
}

// rank is max(q*n, 1): how many readings the quantile needs at or below it.
func (r Release) rank(q float64) (*big.Rat, bool) {
	if !(q >= 0 && q <= 1) || r.N < 1 || !r.Defined {
		return nil, false
	}
	rank, ok := new(big.Rat).SetString(strconv.FormatFloat(q, 'g', -1, 64))
	if !ok {
		return nil, false
	}
	rank.Mul(rank, new(big.Rat).SetInt64(r.N))
	if one := big.NewRat(1, 1); rank.Cmp(one) < 0 {
		rank = one
	}
	return rank, true
}

// rankMargin is z95 standard deviations of the noise of the counts up to bucket i
// minus q times the number of readings.
func (r Release) rankMargin(q float64, i int) *big.Rat {
	variance := float64(i+1)*r.CountsSD[0]*r.CountsSD[0] + q*q*r.NSD*r.NSD
	margin := new(big.Rat)
	if r.Exact || margin.SetFloat64(z95*math.Sqrt(variance)) == nil {
		return new(big.Rat)
	}
	return margin
}
