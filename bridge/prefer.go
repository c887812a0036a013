package bridge

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// sourceState is one source of readings: a sensor, or what pushes.
type sourceState struct {
	Name string
	Last map[string]int64 // latest minute with a reading, by metric key

	// Of a sensor: the patient's number in it, what to add to its stamps for Unix time, the
	// highest number of its records, and its battery in per cent.
	User         uint8
	UserSet      bool
	Offset       int64
	OffsetKnown  bool
	Sequence     uint32
	Battery      uint8
	BatteryKnown bool
}

// maxReasons bounds how many reasons of drops are told apart.
const maxReasons = 64

// dropped counts a part of a notification that was left out.
func (s *deviceState) dropped(reason string) {
	if s.Dropped == nil {
		s.Dropped = map[string]uint64{}
	}
	if _, ok := s.Dropped[reason]; ok || len(s.Dropped) < maxReasons {
		s.Dropped[reason]++
	}
}

// Dropped counts parts of notifications that had no value, by reason.
func (p Sensors) Dropped() map[string]uint64 {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.state.Dropped)
}

const (
	// appSource is the source of readings that are pushed without one.
	appSource = "app"
	// maxKnown is the most sources that are told apart; what further ones measure counts as
	// of the last.
	maxKnown = 200
)

func (s *sourceState) heard(metric string, minute int64) {
	if s.Last == nil {
		s.Last = map[string]int64{}
	}
	if last, ok := s.Last[metric]; !ok || minute > last {
		s.Last[metric] = minute
	}
}

// source returns the number of a source, which it gets when it is first heard of.
func (s *deviceState) source(name string) byte {
	if name == "" {
		name = appSource
	}
	for i := range s.Sources {
		if s.Sources[i].Name == name {
			return byte(i)
		}
	}
	if len(s.Sources) == maxKnown {
		return maxKnown - 1
	}
	s.Sources = append(s.Sources, sourceState{Name: name})
	return byte(len(s.Sources) - 1)
}

// rank is a source's place for a metric, lowest first: those that the patient put in order,
// then the others as they were first heard of.
func (s *deviceState) rank(metric string, source byte) int {
	if i := slices.Index(s.Preferred[metric], source); i >= 0 {
		return i - maxKnown
	}
	return int(source)
}

// migrateSensors keeps what version 3 of the store said.
func (s *deviceState) migrateSensors() {
	for _, metric := range slices.Sorted(maps.Keys(s.Sensors)) {
		if s.Preferred == nil {
			s.Preferred = map[string][]byte{}
		}
		s.Preferred[metric] = []byte{s.source(s.Sensors[metric])}
	}
	s.Sensors = nil
}

// Sensors is what a patient sees of a device's sensors and other sources, and says about
// them.
type Sensors struct{ device *Device }

// Sensors returns the device's.
func (d *Device) Sensors() Sensors { return Sensors{d} }

// Source is one that measured a metric, or that the patient named for it.
type Source struct {
	Name string
	// Last is the latest minute with a reading of the metric, since 1970; 0: none.
	Last int64
}

// Sources returns the sources of a metric, the one that goes first in every minute first.
func (p Sensors) Sources(metric string) []Source {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	var numbers []byte
	for i, s := range d.state.Sources {
		_, heard := s.Last[metric]
		if heard || slices.Contains(d.state.Preferred[metric], byte(i)) {
			numbers = append(numbers, byte(i))
		}
	}
	slices.SortFunc(numbers, func(a, b byte) int { return cmp.Compare(d.state.rank(metric, a), d.state.rank(metric, b)) })
	list := make([]Source, len(numbers))
	for i, n := range numbers {
		list[i] = Source{d.state.Sources[n].Name, d.state.Sources[n].Last[metric]}
	}
	return list
}

// Prefer puts sources of a metric in order, the others behind them as they were first heard
// of. A minute counts the samples of one source: the first in this order that measured in
// it. So no minute is lost while any of them measures, and none counts twice. What was
// sealed stays as it is. It is durable on return.
func (p Sensors) Prefer(metric string, sources ...string) error {
	d := p.device
	m, ok := d.metrics.find(metric)
	if !ok {
		return fmt.Errorf("bridge: device is not enrolled for %q", metric)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	var order []byte
	for _, name := range sources {
		if name == "" || len(name) > maxSource {
			return fmt.Errorf("bridge: a source's name has 1 to %d bytes", maxSource)
		}
		n := d.state.source(name)
		if slices.Contains(order, n) {
			return errors.New("bridge: a source has one place in the order")
		}
		order = append(order, n)
	}
	if d.state.Preferred == nil {
		d.state.Preferred = map[string][]byte{}
	}
	d.state.Preferred[m.Key] = order
	d.changed = true
	return d.flush(true)
}
