package bridge

import (
	"fmt"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
)

// Hour is the minutes of one metric in one hour, as grid codes; 0 where there is none.
type Hour struct {
	Metric wearable.Metric
	Hour   int64 // since 1970
	Codes  [wearable.MinutesPerHour]uint16
}

// Hours returns the patient's own readings of the hours from one to before another, hour by
// hour, metrics in the order of their slots, those without a reading left out. What rows
// count is there, and what waits to be counted. Corrections of a committed day are there
// while the hour takes late data.
func (d *Device) Hours(from, until int64) ([]Hour, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return nil, d.failed
	}
	var list []Hour
	days := map[int64]*zk.Opening{}
	for hour := max(from, d.document.FirstHour); hour < until; hour++ {
		committed, err := committed(d, days, dayOfHour(hour))
		if err != nil {
			return nil, err
		}
		var counted countedRecord
		if _, err := d.vault.load(d.grid.countedKey(hour), &counted); err != nil {
			return nil, err
		}
		for _, m := range d.metrics {
			codes, _, err := d.grid.codes(hour, m.Slot)
			if err != nil {
				return nil, err
			}
			merge(&codes, counted.Codes[m.Slot])
			if committed != nil {
				merge(&codes, [wearable.MinutesPerHour]uint16(committed.Codes(m.Slot)[(hour-dayOfHour(hour)*24)*wearable.MinutesPerHour:]))
			}
			if codes != [wearable.MinutesPerHour]uint16{} {
				list = append(list, Hour{Metric: m, Hour: hour, Codes: codes})
			}
		}
	}
	return list, nil
}

// merge fills in what is missing.
func merge(codes *[wearable.MinutesPerHour]uint16, more [wearable.MinutesPerHour]uint16) {
	for i, c := range more {
		if codes[i] == 0 {
			codes[i] = c
		}
	}
}

// committed returns the opening of a day, or nil where it is not committed.
func committed(d *Device, days map[int64]*zk.Opening, day int64) (*zk.Opening, error) {
	if o, ok := days[day]; ok {
		return o, nil
	}
	clear(days) // hours come in order
	days[day] = nil
	if day >= d.state.DaysUntil {
		return nil, nil
	}
	var rec dayRecord
	found, err := d.vault.load(d.vault.key(kindOpening, ordered(day)...), &rec)
	if err != nil || !found {
		return nil, err
	}
	o := new(zk.Opening)
	if err := o.UnmarshalBinary(rec.Opening); err != nil {
		return nil, fmt.Errorf("%w: day %d: %v", ErrDamaged, day, err)
	}
	days[day] = o
	return o, nil
}

// MinuteNow is the minute at hand by the hub's clock, or where that follows data the latest
// with a reading.
func (d *Device) MinuteNow() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hub.clock.wall {
		return wearable.MinuteOf(d.hub.clock.now())
	}
	last := d.state.SealedUntil*wearable.MinutesPerHour - 1
	for _, s := range d.state.Sources {
		for _, minute := range s.Last {
			last = max(last, minute)
		}
	}
	return last
}
