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

// grid is the minutes of a device that are not sealed yet: what is in memory, over what
// is in the store. Memory never has less than the store.
type grid struct {
	vault *deviceVault
	hours map[int64]*gridHour
}

// key names the stored minutes of one hour and metric.
func (g *grid) key(hour int64, slot int) []byte {
	return g.vault.key(kindGrid, append(ordered(hour), byte(slot))...)
}

// minutesOf returns the minutes of an hour and slot, from memory or the store.
func (g *grid) minutesOf(hour int64, slot int) (*minutes, error) {
	h := g.hours[hour]
	if h == nil {
		h = &gridHour{}
		g.hours[hour] = h
	}
	if h.slots[slot] == nil {
		stored, err := g.vault.get(g.key(hour, slot))
		if err != nil {
			return nil, err
		}
		m, err := parseMinutes(slot, stored)
		if err != nil {
			return nil, err
		}
		h.slots[slot] = m
	}
	return h.slots[slot], nil
}

// full tells whether an hour is one too many for memory: write, and halve.
func (g *grid) full(hour int64) bool { return g.hours[hour] == nil && len(g.hours) >= maxOpenHours }

// halve forgets the earlier half of the hours in memory, which have been written.
func (g *grid) halve() {
	for _, hour := range slices.Sorted(maps.Keys(g.hours))[:maxOpenHours/2] {
		delete(g.hours, hour)
	}
}

// forget drops hours before this one, which are sealed, from memory.
func (g *grid) forget(before int64) {
	maps.DeleteFunc(g.hours, func(hour int64, _ *gridHour) bool { return hour < before })
}

// write puts every changed hour into the batch, and tells whether there was one.
func (g *grid) write(b *pebble.Batch) (bool, error) {
	changed := false
	for hour, h := range g.hours {
		for slot, m := range h.slots {
			if m == nil || !m.dirty {
				continue
			}
			value, err := m.marshal()
			if err != nil {
				return changed, err
			}
			if err := g.vault.Set(b, g.key(hour, slot), value); err != nil {
				return changed, err
			}
			m.dirty, changed = false, true
		}
	}
	return changed, nil
}

// add takes one sample into its minute, and tells whether it is in the metric's range.
func (g *grid) add(m wearable.Metric, minute int64, v wearable.Decimal) (bool, error) {
	hour := hourOfMinute(minute)
	cells, err := g.minutesOf(hour, m.Slot)
	if err != nil {
		return false, err
	}
	i := int(minute - hour*wearable.MinutesPerHour)
	a := cells.cells[i]
	if a == nil {
		a, _ = wearable.NewAccumulator(m.Key)
	}
	if !a.Add(v) {
		return false, nil
	}
	cells.cells[i], cells.dirty = a, true
	return true, nil
}

// codes returns the grid codes of an hour and slot, and false where every
// minute is missing.
func (g *grid) codes(hour int64, slot int) ([wearable.MinutesPerHour]uint16, bool, error) {
	var codes [wearable.MinutesPerHour]uint16
	var m *minutes
	if h := g.hours[hour]; h != nil {
		m = h.slots[slot]
	}
	if m == nil { // not in memory, and not worth keeping there
		stored, err := g.vault.get(g.key(hour, slot))
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
