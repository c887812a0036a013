package virtual

import (
	"iter"
	"math/rand/v2"

	"github.com/vitalveil/vitalveil/wearable"
)

// Sample is one generated reading.
type Sample struct {
	// Time is in Unix seconds.
	Time int64
	wearable.Reading
}

// Person is a made-up patient: what is usual for this body. The same seed gives
// the same person and the same samples. It is not safe for concurrent use.
type Person struct {
	random *rand.PCG
	usual  [9]int64
	// poise scales how strongly effort shows, in thousandths.
	poise int64
	// phase is where within its interval a slow sensor samples, in minutes.
	phase int64
	state state
}

// All values are in thousandths of the metric's unit, in slot order, so that
// the arithmetic is the same on every machine.
const (
	heartRate = iota
	pulseRate
	respRate
	spo2
	bodyTemp
	skinTemp
	systolic
	diastolic
	glucose
)

// spread is the range from which a person's usual values are drawn.
var spread = [9][2]int64{
	heartRate: {54_000, 84_000},
	respRate:  {12_500, 18_500},
	spo2:      {95_500, 98_800},
	bodyTemp:  {36_400, 37_000},
	skinTemp:  {31_000, 34_000},
	systolic:  {104_000, 146_000},
	diastolic: {64_000, 90_000},
	glucose:   {84_000, 132_000},
}

// state is what changes from minute to minute.
type state struct {
	// effort is 0 at rest and 1000 at hard exercise; goal is where it is heading.
	effort, goal int64
	// drift is the slow random part of each value.
	drift [9]int64
	// meal is the glucose still to be absorbed.
	meal int64
	// off counts the minutes for which a device is not worn, by device.
	off [devices]int64
}

// The devices that a person wears, which are off independently of each other.
const (
	strap = iota
	oximeter
	patch
	cuff
	glucometer
	devices
)

// NewPerson returns the person with this seed.
func NewPerson(seed uint64) *Person {
	p := &Person{random: rand.NewPCG(seed, 0x76697461_6c766569)}
	for metric, limits := range spread {
		p.usual[metric] = p.between(limits[0], limits[1])
	}
	p.usual[pulseRate] = p.usual[heartRate]
	p.poise = p.between(700, 1300)
	p.phase = p.between(0, 59)
	return p
}

// between draws a whole number, both ends included.
func (p *Person) between(low, high int64) int64 {
	return low + int64(p.random.Uint64()%uint64(high-low+1))
}

// chance is true n times in 100,000.
func (p *Person) chance(n int64) bool { return p.between(0, 99_999) < n }

// Samples generates hours of samples from a time in Unix seconds, in order of
// time: heart rate, pulse rate, respiration and oxygen saturation each minute,
// temperatures and glucose every 5 minutes, blood pressure every 30 minutes by
// day and 60 by night, less the times when a device is not worn. Further calls
// go on from the state that the last one left.
func (p *Person) Samples(from int64, hours int) iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		first := wearable.MinuteOf(from)
		for minute := first; minute < first+int64(hours)*wearable.MinutesPerHour; minute++ {
			_, clock := wearable.SplitMinute(minute)
			p.live(int64(clock))
			for _, s := range p.sense(minute, int64(clock)) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// rhythm is the time of day's part, by hour, in thousandths of a metric's own
// swing: lowest before dawn, highest in the late afternoon.
var rhythm = [25]int64{
	-620, -760, -880, -960, -1000, -900, -600, -150, 150, 300, 400, 480,
	500, 480, 560, 700, 860, 960, 900, 680, 400, 100, -200, -420, -620,
}

// swing is how far the rhythm moves each value.
var swing = [9]int64{9_000, 9_000, 1_600, -400, 350, -700, 7_000, 5_000, 4_000}

// noise is the largest step of the slow random part.
var noise = [9]int64{1_300, 1_300, 500, 220, 30, 120, 2_500, 1_800, 1_500}

// effect is what hard exercise adds.
var effect = [9]int64{75_000, 75_000, 16_000, -900, 700, 900, 38_000, 9_000, -14_000}

// live advances the person by one minute.
func (p *Person) live(clock int64) {
	s := &p.state
	hour := clock / 60
	awake := hour >= 6 && hour < 23
	switch {
	case !awake:
		s.goal = 0
	case p.chance(4_000):
		s.goal = p.between(0, 250) // pottering about
	case p.chance(150):
		s.goal = p.between(400, 900) // exercise
	}
	s.effort += (s.goal - s.effort) / 5
	for metric := range s.drift {
		s.drift[metric] += p.between(-noise[metric], noise[metric]) - s.drift[metric]/12
	}
	if awake && (clock%60 == p.phase) && (hour == 7 || hour == 12 || hour == 18) {
		s.meal += p.between(25_000, 60_000)
	}
	s.meal -= s.meal / 50
	for device := range s.off {
		if s.off[device] > 0 {
			s.off[device]--
		} else if p.chance(170) {
			s.off[device] = p.between(15, 120)
		}
	}
}

// level is the present value of a metric, in thousandths.
func (p *Person) level(metric int, clock int64) int64 {
	hour, within := clock/60, clock%60
	tide := (rhythm[hour]*(60-within) + rhythm[hour+1]*within) / 60
	v := p.usual[metric] + swing[metric]*tide/1000 + p.state.drift[metric]
	v += effect[metric] * p.state.effort / 1000 * p.poise / 1000
	if metric == glucose {
		v += p.state.meal
	}
	return v
}

// sense returns what the devices measure in this minute.
func (p *Person) sense(minute, clock int64) []Sample {
	var out []Sample
	take := func(device, metric int, step int64) {
		if p.state.off[device] == 0 {
			out = append(out, p.sample(minute, clock, metric, step))
		}
	}
	take(strap, heartRate, 1000)
	take(strap, respRate, 1000)
	take(oximeter, spo2, 1000)
	take(oximeter, pulseRate, 1000)
	if (clock+p.phase)%5 == 0 {
		take(patch, bodyTemp, 100)
		take(patch, skinTemp, 100)
		take(glucometer, glucose, 1000)
	}
	interval := int64(30)
	if clock < 6*60 {
		interval = 60
	}
	if (clock+p.phase)%interval == 0 {
		take(cuff, systolic, 1000)
		take(cuff, diastolic, 1000)
	}
	return out
}

// sample rounds a value to the step in which the device displays it, within what
// the metric table allows.
func (p *Person) sample(minute, clock int64, metric int, step int64) Sample {
	m, _ := wearable.BySlot(metric)
	v := p.level(metric, clock)
	if metric == pulseRate {
		// The oximeter sees the same heart.
		v = p.level(heartRate, clock) + p.between(-1_500, 1_500)
	}
	resolution := int64(1000)
	if metric == spo2 || metric == bodyTemp || metric == skinTemp {
		resolution = 100
	}
	units := (v + step/2) / step * step / resolution
	units = min(max(units, m.MinUnits()), m.MaxUnits())
	return Sample{minute * 60, wearable.Reading{Metric: m.Key, Value: m.Value(units)}}
}
