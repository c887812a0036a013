package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// sizes are the numbers of devices whose query is timed.
var sizes = []int{1_000, 10_000, 100_000, 1_000_000}

// reading is what one contender costs. Times are CPU time.
type reading struct {
	contender
	sent    int           // bytes of a device-hour
	seal    time.Duration // device, per device-hour
	receive time.Duration // all servers, per device-hour, once
	pool    query         // what was really sealed
	first   []timing      // a query, by sizes
	again   []timing      // the next one about the same cohort, where that is cheaper
	memory  uint64        // peak heap of the smallest query above what was stored
}

// timing is measured or, where that would take longer than the budget, extrapolated
// in proportion to the devices.
type timing struct {
	took     time.Duration
	measured bool
}

// cpu runs f and returns the CPU time that the process spent meanwhile, collector
// included.
func cpu(f func() error) (time.Duration, error) {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		return 0, err
	}
	err := f()
	if e := syscall.Getrusage(syscall.RUSAGE_SELF, &after); e != nil {
		return 0, e
	}
	spent := func(r syscall.Rusage) time.Duration {
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return spent(after) - spent(before), err
}

// limits bound the time that one contender may take in each stage.
type limits struct {
	seal, query time.Duration
}

// measure seals, receives, checks that a query gives the right numbers, and times
// queries.
func measure(c contender, devices, hours int, limit limits) (reading, error) {
	r := reading{contender: c}
	s, err := c.new(devices, hours)
	if err != nil {
		return r, err
	}
	data, err := r.sealSome(s, devices, hours, limit.seal)
	if err != nil {
		return r, err
	}
	if l, ok := s.(loner); ok {
		if r.seal, err = lone(l, data[0][0]); err != nil {
			return r, err
		}
	}
	stored := heap()
	ask := func(q query) (time.Duration, error) {
		var got privacy.HourStats
		took, err := cpu(func() error {
			var err error
			got, err = s.Ask(q)
			return err
		})
		if err == nil {
			err = c.check(got, q, data)
		}
		return took, err
	}
	all := r.pool
	all.Devices, all.Hours = r.pool.Pool, r.pool.PoolHours
	if _, err := ask(all); err != nil { // also brings caches to where they stay
		return r, err
	}
	small := r.pool
	small.Devices, small.Hours = sizes[0], hours
	if r.first, err = times(ask, small, limit.query); err != nil {
		return r, err
	}
	r.memory = peak(func() { _, err = s.Ask(small) })
	r.memory -= min(r.memory, stored)
	if w, ok := s.(warmer); ok && err == nil {
		small.Again = true
		r.again, err = times(func(q query) (time.Duration, error) {
			if err := w.Warm(q); err != nil {
				return 0, err
			}
			return ask(q)
		}, small, limit.query)
	}
	return r, err
}

// loneDays is how many days a device is timed alone.
const loneDays = 50

// lone is the time of a device-hour for a device that derives everything itself.
func lone(l loner, row hour) (time.Duration, error) {
	took, err := cpu(func() error {
		for day := range loneDays {
			if err := l.Alone(day, row); err != nil {
				return err
			}
		}
		return nil
	})
	return took / (24 * loneDays), err
}

// sealSome seals devices x hours, or fewer if that takes too long, and receives
// them.
func (r *reading) sealSome(s scheme, devices, hours int, limit time.Duration) ([][]hour, error) {
	random := rand.New(rand.NewPCG(1, 2))
	var data [][]hour
	sealed := 0
	for d := range devices {
		if d > 0 && r.seal+r.receive > limit {
			break
		}
		data = append(data, nil)
		for h := range hours {
			if h > 0 && d == 0 && !r.whole && r.seal+r.receive > limit {
				hours = h // a device with fewer hours is enough for schemes that are this slow
				break
			}
			row, err := makeHour(random)
			if err != nil {
				return nil, err
			}
			data[d] = append(data[d], row)
			took, err := cpu(func() error {
				var err error
				r.sent, err = s.Seal(d, h, row)
				return err
			})
			if err != nil {
				return nil, err
			}
			r.seal += took
			if took, err = cpu(func() error { return s.Receive(d, h) }); err != nil {
				return nil, err
			}
			r.receive += took
			sealed++
		}
	}
	r.pool = query{Pool: len(data), PoolHours: hours}
	r.seal /= time.Duration(sealed)
	r.receive /= time.Duration(sealed)
	return data, nil
}

// check compares an answer with the plain sums.
func (c contender) check(got privacy.HourStats, q query, data [][]hour) error {
	var want privacy.HourStats
	q.each(func(d, h int) { add(&want, data[d][h][0]) })
	if c.buckets {
		want = privacy.HourStats{Buckets: want.Buckets}
	}
	if got != want {
		return fmt.Errorf("%s opened %+v, the plain sums are %+v", c.name, got, want)
	}
	return nil
}

// times runs the query at every size that fits into the budget.
func times(ask func(query) (time.Duration, error), q query, budget time.Duration) ([]timing, error) {
	var all []timing
	for i, n := range sizes {
		q.Devices = n
		if i > 0 {
			last := all[i-1]
			expected := last.took * time.Duration(n/sizes[i-1])
			if !last.measured || expected > budget {
				all = append(all, timing{expected, false})
				continue
			}
		}
		took, err := ask(q)
		if err != nil {
			return nil, err
		}
		all = append(all, timing{took, true})
	}
	return all, nil
}

// heap is the size of the live heap.
func heap() uint64 {
	runtime.GC()
	return objects()
}

func objects() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// peak is the largest heap while f runs, sampled.
func peak(f func()) uint64 {
	runtime.GC()
	var most atomic.Uint64
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			most.Store(max(most.Load(), objects()))
			select {
			case <-done:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return max(most.Load(), objects())
}
