package bridge

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/wearable"
)

// minutes are the open minutes of one metric in one hour; nil where there is no
// sample. dirty says that the store has an older state.
type minutes struct {
	cells [wearable.MinutesPerHour]*wearable.Accumulator
	dirty bool
}

// gridHour is one hour that is not sealed yet. A slot is loaded from the store
// when it is first needed.
type gridHour struct {
	slots [wearable.Slots]*minutes
}

// maxOpenHours bounds how many hours of a device are held in memory; beyond it
// they are written and read again when needed.
const maxOpenHours = 48

// gridKey names the stored minutes of one hour and metric.
func (d *Device) gridKey(hour int64, slot int) []byte {
	return d.vault.key(kindGrid, append(ordered(hour), byte(slot))...)
}

// minutesOf returns the minutes of an hour and slot, from memory or the store.
func (d *Device) minutesOf(hour int64, slot int) (*minutes, error) {
	g := d.grid[hour]
	if g == nil {
		if err := d.makeRoom(); err != nil {
			return nil, err
		}
		g = &gridHour{}
		d.grid[hour] = g
	}
	if g.slots[slot] == nil {
		stored, err := d.vault.get(d.gridKey(hour, slot))
		if err != nil {
			return nil, err
		}
		m, err := parseMinutes(slot, stored)
		if err != nil {
			return nil, err
		}
		g.slots[slot] = m
	}
	return g.slots[slot], nil
}

// makeRoom forgets the earlier half of the hours in memory, written first.
func (d *Device) makeRoom() error {
	if len(d.grid) < maxOpenHours {
		return nil
	}
	if err := d.fail(d.vault.Update(false, d.writeGrid)); err != nil {
		return err
	}
	for _, hour := range slices.Sorted(maps.Keys(d.grid))[:maxOpenHours/2] {
		delete(d.grid, hour)
	}
	return nil
}

// writeGrid puts every changed hour, and the counts, into the batch.
func (d *Device) writeGrid(b *pebble.Batch) error {
	for hour, g := range d.grid {
		for slot, m := range g.slots {
			if m == nil || !m.dirty {
				continue
			}
			value, err := m.marshal()
			if err != nil {
				return err
			}
			if err := d.vault.Set(b, d.gridKey(hour, slot), value); err != nil {
				return err
			}
			m.dirty = false
			d.changed = true
		}
	}
	if !d.changed {
		return nil
	}
	d.changed = false
	return d.vault.store(b, d.vault.key(kindState), d.state)
}

// add takes one sample into its minute.
func (d *Device) add(m wearable.Metric, minute int64, v wearable.Decimal) error {
	hour := hourOfMinute(minute)
	cells, err := d.minutesOf(hour, m.Slot)
	if err != nil {
		return err
	}
	i := int(minute - hour*wearable.MinutesPerHour)
	a := cells.cells[i]
	if a == nil {
		a, _ = wearable.NewAccumulator(m.Key)
	}
	if !a.Add(v) {
		d.state.Counts.OutOfRange++
	} else {
		d.state.Counts.Gridded++
		cells.cells[i], cells.dirty = a, true
	}
	d.changed = true
	return nil
}

// codes returns the grid codes of an hour and slot, and false where every
// minute is missing.
func (d *Device) codes(hour int64, slot int) ([wearable.MinutesPerHour]uint16, bool, error) {
	var codes [wearable.MinutesPerHour]uint16
	var m *minutes
	if g := d.grid[hour]; g != nil {
		m = g.slots[slot]
	}
	if m == nil { // not in memory, and not worth keeping there
		stored, err := d.vault.get(d.gridKey(hour, slot))
		if err != nil || stored == nil {
			return codes, false, err
		}
		if m, err = parseMinutes(slot, stored); err != nil {
			return codes, false, err
		}
	}
	present := false
	for i, a := range m.cells {
		if a != nil {
			codes[i], _ = a.Code()
			present = present || codes[i] != 0
		}
	}
	return codes, present, nil
}

const minutesVersion = 1

// marshal returns the minutes that have samples: version, then per minute its
// number in the hour, the length of its accumulator in two bytes, and that.
func (m *minutes) marshal() ([]byte, error) {
	out := []byte{minutesVersion}
	for i, a := range m.cells {
		if a == nil {
			continue
		}
		state, err := a.MarshalBinary()
		if err != nil {
			return nil, err
		}
		out = append(out, byte(i))
		out = binary.BigEndian.AppendUint16(out, uint16(len(state)))
		out = append(out, state...)
	}
	return out, nil
}

// parseMinutes reads what marshal wrote; nothing stored means no sample.
func parseMinutes(slot int, b []byte) (*minutes, error) {
	m := &minutes{}
	if b == nil {
		return m, nil
	}
	if len(b) == 0 || b[0] != minutesVersion {
		return nil, fmt.Errorf("%w: minutes of a version that this program does not know", ErrDamaged)
	}
	last := -1
	for rest := b[1:]; len(rest) > 0; {
		if len(rest) < 3 {
			return nil, fmt.Errorf("%w: minutes end early", ErrDamaged)
		}
		i, n := int(rest[0]), int(binary.BigEndian.Uint16(rest[1:]))
		if i <= last || i >= len(m.cells) || len(rest) < 3+n {
			return nil, fmt.Errorf("%w: minute %d", ErrDamaged, i)
		}
		a := new(wearable.Accumulator)
		if err := a.UnmarshalBinary(rest[3 : 3+n]); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
		}
		if a.Metric().Slot != slot {
			return nil, fmt.Errorf("%w: minutes of another metric", ErrDamaged)
		}
		m.cells[i], last, rest = a, i, rest[3+n:]
	}
	return m, nil
}

// hourOfMinute and dayOfHour round to the floor.
func hourOfMinute(minute int64) int64 { return wearable.FloorDiv(minute, 60) }

func dayOfHour(hour int64) int64 { return wearable.FloorDiv(hour, 24) }
