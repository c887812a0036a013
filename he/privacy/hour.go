package privacy

import "fmt"

// Hour is what one device has to say about one window.
type Hour struct {
	// Codes are the minutes by metric slot (package wearable; 0 is missing, at
	// most 60); a metric that is not in the map had no reading.
	Codes map[int][]uint16
	// Sealed are the minutes that earlier rows of the same window were made from,
	// if this row is an addition to them: nil in a first sealing. A minute of a
	// metric is sealed once.
	Sealed map[int][]uint16
	// Stratum is the patient's, as Schema.Stratum gives it.
	Stratum int
}

// HourRow packs an hour into a whole row: every metric, every pair over the
// minutes in which both metrics have a value, and the patient's own stratum. Rows
// of one window add up to the row of all its minutes.
func (s *Schema) HourRow(h Hour) ([]Payload, error) {
	stats := map[int]HourStats{}
	for slot, codes := range h.Codes {
		m, err := s.metric(slot)
		if err != nil {
			return nil, err
		}
		if err := once(codes, h.Sealed[slot]); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Key, err)
		}
		if stats[slot], err = s.Stats(m.Metric, codes); err != nil {
			return nil, err
		}
	}
	row, err := s.Row(stats)
	if err != nil {
		return nil, err
	}
	for i := range s.blocks {
		b := &s.blocks[i]
		var packed []Payload
		switch b.Shape {
		case ShapePair:
			var p PairStats
			if p, err = s.pairOf(b, h); err == nil {
				packed, err = s.EncodePair(b.Slot, p)
			}
		case ShapeStrata:
			packed, err = s.EncodeStratum(b.Slot, h.Stratum, stats[b.x.Slot])
		}
		if err != nil {
			return nil, err
		}
		copy(row[b.coeffs[0]:], packed)
	}
	return row, nil
}

// once refuses a minute that was sealed before.
func once(codes, sealed []uint16) error {
	for i := range min(len(codes), len(sealed)) {
		if codes[i] != 0 && sealed[i] != 0 {
			return fmt.Errorf("minute %d is sealed already", i)
		}
	}
	return nil
}

// pairOf is the cross products over the minutes that have both values now and did
// not before.
func (s *Schema) pairOf(b *block, h Hour) (PairStats, error) {
	x, y := h.Codes[b.x.Slot], h.Codes[b.y.Slot]
	oldX, oldY := h.Sealed[b.x.Slot], h.Sealed[b.y.Slot]
	if oldX == nil && oldY == nil {
		return s.PairStats(b.Slot, x, y)
	}
	for _, codes := range [][]uint16{x, y, oldX, oldY} {
		if len(codes) > MinutesPerRow {
			return PairStats{}, fmt.Errorf("a window has at most %d readings, not %d", MinutesPerRow, len(codes))
		}
	}
	var allX, allY [MinutesPerRow]uint16
	for i := range MinutesPerRow {
		if at(oldX, i) != 0 && at(oldY, i) != 0 {
			continue // counted when they were sealed
		}
		allX[i], allY[i] = max(at(x, i), at(oldX, i)), max(at(y, i), at(oldY, i))
	}
	return s.PairStats(b.Slot, allX[:], allY[:])
}

// at is the code of a minute, 0 beyond the end.
func at(codes []uint16, i int) uint16 {
	if i < len(codes) {
		return codes[i]
	}
	return 0
}
