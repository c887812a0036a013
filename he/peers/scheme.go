package main

import (
	"math/rand/v2"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
)

// A scheme seals device-hours and answers queries about them.
type scheme interface {
	// Seal makes the message of a device for an hour, keeps it as its servers would
	// and returns how many bytes were sent.
	Seal(device, hour int, row hour) (int, error)
	// Receive is what servers do with a message once, whatever is asked later.
	Receive(device, hour int) error
	// Ask sums metric 0 over the devices and hours of the query and opens the sum.
	Ask(q query) (privacy.HourStats, error)
}

// A warmer keeps something about a cohort that makes its next query cheaper. Warm
// brings it to where it is after a query about this cohort.
type warmer interface{ Warm(q query) error }

// A loner's devices share work in this process that each does for itself in earnest.
// Alone does all that one device does in a day.
type loner interface{ Alone(day int, row hour) error }

// contender is a scheme and what cannot be measured about it.
type contender struct {
	name, trust string
	arrival     bool // servers work when a message arrives
	buckets     bool // answers the histogram only
	whole       bool // seal whole devices: their hours belong together
	new         func(devices, hours int) (scheme, error)
}

// hour is a device-hour: the statistics of all metrics, by slot.
type hour [9]privacy.HourStats

// query asks for metric 0 of devices 0 to Devices-1 in hours 0 to Hours-1. Only
// Pool devices and PoolHours hours are really sealed; the others are these again,
// which costs the same.
type query struct {
	Devices, Hours  int
	Pool, PoolHours int
	Again           bool // the cohort of the last query
}

// each calls f for each device-hour with the one that stands for it.
func (q query) each(f func(device, hour int)) {
	for d := range q.Devices {
		for h := range q.Hours {
			f(d%q.Pool, h%q.PoolHours)
		}
	}
}

// makeHour draws plausible minutes and computes their statistics.
func makeHour(r *rand.Rand) (hour, error) {
	var row hour
	for slot, m := range wearable.Vitals() {
		codes := make([]uint16, privacy.MinutesPerRow)
		middle := float64(m.MaxCode()) * (0.3 + 0.2*r.Float64())
		for i := range codes {
			if r.IntN(10) == 0 {
				continue // missing
			}
			c := middle + float64(m.MaxCode())/20*r.NormFloat64()
			codes[i] = uint16(min(max(c, 1), float64(m.MaxCode())))
		}
		var err error
		if row[slot], err = privacy.V1().Stats(m, codes); err != nil {
			return row, err
		}
	}
	return row, nil
}

func add(a *privacy.HourStats, b privacy.HourStats) {
	a.N += b.N
	a.Sum += b.Sum
	a.SumSq += b.SumSq
	for i, c := range b.Buckets {
		a.Buckets[i] += c
	}
}

// valuesPerMetric are n, sum, sum of squares and the buckets.
const valuesPerMetric = 3 + privacy.Buckets

// values lists the statistics of a metric as numbers that are not negative, for
// schemes without a sign; half is the largest |value - center|.
func values(s privacy.HourStats, half int64) [valuesPerMetric]uint64 {
	v := [valuesPerMetric]uint64{uint64(s.N), uint64(s.Sum + half*s.N), uint64(s.SumSq)}
	for i, b := range s.Buckets {
		v[3+i] = uint64(b)
	}
	return v
}

// statsOf undoes values, for sums too.
func statsOf(v []uint64, half int64) privacy.HourStats {
	s := privacy.HourStats{N: int64(v[0]), SumSq: int64(v[2])}
	s.Sum = int64(v[1]) - half*s.N
	for i := range s.Buckets {
		s.Buckets[i] = int64(v[3+i])
	}
	return s
}

// maxima are the largest values of a metric in one hour, in the order of values.
func maxima(slot int) (most [valuesPerMetric]uint64, half int64) {
	for _, f := range privacy.V1().Fields(slot) {
		switch f.Kind {
		case privacy.KindN:
			most[0] = uint64(f.Max)
		case privacy.KindSum:
			half = f.Max / privacy.MinutesPerRow
			most[1] = uint64(2 * f.Max)
		case privacy.KindSumSq:
			most[2] = uint64(f.Max)
		default:
			most[3+f.Bucket] = uint64(f.Max)
		}
	}
	return most, half
}
