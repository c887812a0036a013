package main

import (
	"maps"
	"slices"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
)

// set is one metric's first person-day of everybody who has one.
type set struct {
	wearable.Metric
	person wearable.Person
	days   []wearable.PersonDay
}

// load reads recorded people, or makes up two hundred.
func load(replay string) ([]set, error) {
	src := recording.Synthesize(200, 24)
	if replay != "" {
		var err error
		if src, err = recording.Load(replay); err != nil {
			return nil, err
		}
	}
	var all []set
	for _, m := range wearable.Vitals() {
		s := set{Metric: m}
		s.person, _ = m.Person()
		for _, p := range src.People {
			if d, ok := firstDay(m, p); ok {
				s.days = append(s.days, d)
			}
		}
		if len(s.days) > 0 {
			all = append(all, s)
		}
	}
	return all, nil
}

// firstDay sums up a person's first day that has enough minutes.
func firstDay(m wearable.Metric, p *recording.Person) (wearable.PersonDay, bool) {
	days := map[int64]map[int]*wearable.Accumulator{}
	for _, x := range p.Samples {
		if x.Slot != m.Slot {
			continue
		}
		day, minute := wearable.SplitMinute(wearable.MinuteOf(x.Unix))
		if days[day] == nil {
			days[day] = map[int]*wearable.Accumulator{}
		}
		if days[day][minute] == nil {
			days[day][minute], _ = wearable.NewAccumulator(m.Key)
		}
		days[day][minute].Add(x.Value)
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		column := new(wearable.Column)
		for i, a := range days[day] {
			column[i], _ = a.Code()
		}
		if d, ok := m.PersonDay(column); ok {
			return d, true
		}
	}
	return wearable.PersonDay{}, false
}
