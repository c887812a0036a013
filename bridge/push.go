package bridge

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/vitalveil/vitalveil/wearable"
)

// Reading is one measurement with its own time, from a source other than
// Bluetooth: an import, a health store, an app.
type Reading struct {
	Metric string // key of the metric
	// Time is in Unix seconds, exact; its minute is floor(Time / 60).
	Time  wearable.Decimal
	Value wearable.Decimal // in the metric's unit
	// Source is what measured it, such as a watch that a health store names; empty stands
	// for the app that pushes.
	Source string
}

// Outcome says what became of the readings of one Push.
type Outcome struct {
	Gridded    int // are part of the minute grid, durably
	OutOfRange int // outside the metric's range: dropped
	Counted    int // late, for a minute that a sealed row counts already: dropped
	Late       int // for an hour that can be corrected no more, or before the device's first: dropped
	Repeated   int // the same metric, time and value as one that counts: dropped
	Outranked  int // of a minute in which a source measured that the patient prefers: dropped
	Crowded    int // of a minute that has too many samples: dropped
}

// Plus is both outcomes in one.
func (o Outcome) Plus(p Outcome) Outcome {
	return Outcome{
		o.Gridded + p.Gridded, o.OutOfRange + p.OutOfRange, o.Counted + p.Counted, o.Late + p.Late,
		o.Repeated + p.Repeated, o.Outranked + p.Outranked, o.Crowded + p.Crowded,
	}
}

// MaxPush is the most readings in one Push.
const MaxPush = 100_000

const (
	// maxAheadHours bounds how far beyond the sealed hours readings are taken,
	// which bounds the store.
	maxAheadHours = 366 * 24
	// skewSeconds is how far a clock may be off.
	skewSeconds = 600
)

// ErrReading says that a reading cannot be taken as it is: no such metric, a
// time out of bounds or a value that is no decimal numeral. None of the Push was
// taken; correct it.
var ErrReading = errors.New("reading refused")

// Push takes readings with explicit times, in any order. It is durable when it
// returns without error: all of it or, with an error, nothing. Readings for
// hours that are sealed go into a correction (see SealLate) where there is one to
// come and the minute was missing; the others are counted and left out, which is
// no error, as a source cannot know what is sealed.
//
// An identical sample, of the same metric, time and value, counts once. Where several
// sources measured in one minute, the one that the patient prefers counts (see Sensors.Prefer).
func (d *Device) Push(ctx context.Context, readings []Reading) (Outcome, error) {
	return d.push(ctx, readings, func() error { return nil }, func(Reading) {})
}

// push takes readings once begin has allowed it, and tells taken of each before anything
// that it is part of may be written.
func (d *Device) push(ctx context.Context, readings []Reading, begin func() error, taken func(Reading)) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	if len(readings) > MaxPush {
		return Outcome{}, fmt.Errorf("%w: %d at once, the limit is %d", ErrReading, len(readings), MaxPush)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return Outcome{}, err
	}
	if err := begin(); err != nil {
		return Outcome{}, err
	}
	placed, err := d.place(readings)
	if err != nil {
		return Outcome{}, err
	}
	before := d.state.Counts
	for i, p := range placed {
		p.source = d.state.source(readings[i].Source)
		if err := d.take(p); err != nil {
			return Outcome{}, d.fail(err)
		}
		taken(readings[i])
	}
	if err := d.flush(true); err != nil {
		return Outcome{}, err
	}
	return d.state.Counts.since(before), nil
}

// Outcome is what became of readings that were decoded, from the first on.
func (c Counts) Outcome() Outcome { return c.since(Counts{}) }

// since says what became of readings that were pushed.
func (c Counts) since(before Counts) Outcome {
	return Outcome{
		Gridded:    int(c.Gridded - before.Gridded),
		OutOfRange: int(c.OutOfRange - before.OutOfRange),
		Counted:    int(c.Counted - before.Counted),
		Late:       int(c.Late - before.Late),
		Repeated:   int(c.Repeated - before.Repeated),
		Outranked:  int(c.NotDesignated - before.NotDesignated),
		Crowded:    int(c.Crowded - before.Crowded),
	}
}

// sample is a reading with its metric and minute found.
type sample struct {
	metric wearable.Metric
	minute int64
	value  wearable.Decimal
	source byte
	digest uint64 // of a sample that came with its time; 0: it arrived
}

// place checks all readings before the first is taken.
func (d *Device) place(readings []Reading) ([]sample, error) {
	latest := d.latestMinute()
	placed := make([]sample, len(readings))
	for i, r := range readings {
		m, ok := d.metrics.find(r.Metric)
		if !ok {
			return nil, fmt.Errorf("%w: number %d is of %q, for which this device is not enrolled", ErrReading, i, r.Metric)
		}
		if !r.Value.Finite() || !r.Time.Finite() {
			return nil, fmt.Errorf("%w: number %d is not a decimal numeral", ErrReading, i)
		}
		minute := r.Time.FloorDiv(60)
		if minute > latest {
			return nil, fmt.Errorf("%w: number %d is of a time that is still to come", ErrReading, i)
		}
		if len(r.Source) > maxSource {
			return nil, fmt.Errorf("%w: number %d is of a source whose name has more than %d bytes", ErrReading, i, maxSource)
		}
		placed[i] = sample{metric: m, minute: minute, value: r.Value, digest: digestOf(r)}
	}
	return placed, nil
}

// digestOf is what a sample with a time is known by: a collision costs one sample.
func digestOf(r Reading) uint64 {
	h := fnv.New64a()
	h.Write([]byte(r.Time.String() + " " + r.Value.String()))
	return max(h.Sum64(), 1)
}

// latestMinute is the last minute for which readings are taken. On a network
// whose clock is simulated the data may run ahead of it.
func (d *Device) latestMinute() int64 {
	latest := (d.state.SealedUntil+maxAheadHours)*60 - 1
	if d.hub.clock.wall {
		latest = min(latest, wearable.MinuteOf(d.hub.clock.now()+skewSeconds))
	}
	return latest
}

// add takes one sample into its minute.
func (d *Device) add(s sample) error {
	if d.grid.full(hourOfMinute(s.minute)) {
		if err := d.flush(false); err != nil {
			return err
		}
		d.grid.halve()
	}
	end, replaced, err := d.grid.add(s, func(a, b byte) bool { return d.state.rank(s.metric.Key, a) < d.state.rank(s.metric.Key, b) })
	if err != nil {
		return err
	}
	c := &d.state.Counts
	switch end {
	case counted:
		c.Gridded++
	case outOfRange:
		c.OutOfRange++
	case repeated:
		c.Repeated++
	case outranked:
		c.NotDesignated++
	case crowded:
		c.Crowded++
	}
	c.NotDesignated += uint64(replaced)
	d.changed = true
	return nil
}

// take grids one sample: of an hour that is sealed for its next correction, if
// there is one to come. It is called with mu held.
func (d *Device) take(s sample) error {
	hour := hourOfMinute(s.minute)
	d.state.Sources[s.source].heard(s.metric.Key, s.minute)
	if d.state.beyondFinish(hour) {
		d.state.Counts.Late++
		d.changed = true
		return nil
	}
	if hour < d.state.SealedUntil {
		return d.takeLate(s)
	}
	return d.add(s)
}

func (s *deviceState) beyondFinish(hour int64) bool { return s.Finished && hour >= s.FinishAt }

// metricList is the metrics that a device is enrolled for, by slot.
type metricList []wearable.Metric

func (l metricList) find(key string) (wearable.Metric, bool) {
	for _, m := range l {
		if m.Key == key {
			return m, true
		}
	}
	return wearable.Metric{}, false
}
