package bridge

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/wearable"
)

// minutes are the open minutes of one metric in one hour. dirty says that the store has
// an older state.
type minutes struct {
	cells [wearable.MinutesPerHour]cell
	dirty bool
}

// cell is one minute: the samples of one source, the one that the patient prefers of those
// that measured in it. sum is nil where there is no sample.
type cell struct {
	sum    *wearable.Accumulator
	source byte
	// seen are the samples that came with their time, by a digest: the same sample counts
	// once. What only arrives is another sample each time.
	seen []uint64
}

// maxSeen is the most samples of a minute that come with their time: 100 a second.
const maxSeen = 6000

// fate is what became of a sample.
type fate byte

const (
	counted    fate = iota
	outOfRange      // of its metric's range
	repeated        // the minute has this sample
	outranked       // the minute has samples of a source that is preferred
	crowded         // the minute has maxSeen samples
)

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

// add takes one sample into its minute, and tells what became of it, and how many samples
// of another source it took the place of. prefers tells whether one source goes before
// another.
func (g *grid) add(s sample, prefers func(a, b byte) bool) (fate, int, error) {
	hour := hourOfMinute(s.minute)
	cells, err := g.minutesOf(hour, s.metric.Slot)
	if err != nil {
		return counted, 0, err
	}
	c := &cells.cells[s.minute-hour*wearable.MinutesPerHour]
	replaced := 0
	switch {
	case !s.metric.InRange(s.value):
		return outOfRange, 0, nil
	case c.sum == nil || c.source != s.source && prefers(s.source, c.source):
		if c.sum != nil {
			replaced = c.sum.Count()
		}
		*c = cell{source: s.source}
		c.sum, _ = wearable.NewAccumulator(s.metric.Key)
	case c.source != s.source:
		return outranked, 0, nil
	case s.digest != 0 && slices.Contains(c.seen, s.digest):
		return repeated, 0, nil
	case s.digest != 0 && len(c.seen) >= maxSeen:
		return crowded, 0, nil
	}
	cells.dirty = true
	if !c.sum.Add(s.value) {
		return outOfRange, replaced, nil
	}
	if s.digest != 0 {
		c.seen = append(c.seen, s.digest)
	}
	return counted, replaced, nil
}

// codes returns the grid codes of an hour and slot, and how many minutes are present.
func (g *grid) codes(hour int64, slot int) (codes [wearable.MinutesPerHour]uint16, present uint64, err error) {
	var m *minutes
	if h := g.hours[hour]; h != nil {
		m = h.slots[slot]
	}
	if m == nil { // not in memory, and not worth keeping there
		stored, err := g.vault.get(g.key(hour, slot))
		if err != nil || stored == nil {
			return codes, 0, err
		}
		if m, err = parseMinutes(slot, stored); err != nil {
			return codes, 0, err
		}
	}
	for i, c := range m.cells {
		if c.sum != nil {
			codes[i], _ = c.sum.Code()
			if codes[i] != 0 {
				present++
			}
		}
	}
	return codes, present, nil
}

// minutesVersion is that of stored minutes. Version 1 had accumulators alone.
const minutesVersion = 2

// marshal returns the minutes that have samples: version, then per minute its
// number in the hour, the length of its accumulator in two bytes, and that; then the
// source, and the digests of samples in 8 bytes each after their number in two.
func (m *minutes) marshal() ([]byte, error) {
	out := []byte{minutesVersion}
	for i, c := range m.cells {
		if c.sum == nil {
			continue
		}
		state, err := c.sum.MarshalBinary()
		if err != nil {
			return nil, err
		}
		out = append(out, byte(i))
		out = binary.BigEndian.AppendUint16(out, uint16(len(state)))
		out = append(append(out, state...), c.source)
		out = binary.BigEndian.AppendUint16(out, uint16(len(c.seen)))
		for _, d := range c.seen {
			out = binary.BigEndian.AppendUint64(out, d)
		}
	}
	return out, nil
}

// parseMinutes reads what marshal wrote; nothing stored means no sample.
func parseMinutes(slot int, b []byte) (*minutes, error) {
	m := &minutes{}
	if b == nil {
		return m, nil
	}
	if len(b) == 0 || b[0] == 0 || b[0] > minutesVersion {
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
		m.cells[i].sum, last, rest = a, i, rest[3+n:]
		if b[0] == 1 {
			continue
		}
		var err error
		if rest, err = m.cells[i].parseSource(rest); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// parseSource reads what marshal wrote behind the accumulator, and returns the rest.
func (c *cell) parseSource(b []byte) ([]byte, error) {
	if len(b) < 3 {
		return nil, fmt.Errorf("%w: minutes end early", ErrDamaged)
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	c.source, b = b[0], b[3:]
	if n > maxSeen || len(b) < 8*n {
		return nil, fmt.Errorf("%w: %d samples in %d bytes", ErrDamaged, n, len(b))
	}
	for ; n > 0; n-- {
		c.seen, b = append(c.seen, binary.BigEndian.Uint64(b)), b[8:]
	}
	return b, nil
}

// hourOfMinute and dayOfHour round to the floor.
func hourOfMinute(minute int64) int64 { return wearable.FloorDiv(minute, 60) }

func dayOfHour(hour int64) int64 { return wearable.FloorDiv(hour, 24) }
