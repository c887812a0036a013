package wearable

import (
	"encoding/binary"
	"fmt"
)

const (
	secondsPerMinute = 60
	secondsPerHour   = 3600
	secondsPerDay    = 86400
)

// Column is one metric of one day: 1440 codes, 0 where a minute is missing.
type Column [MinutesPerDay]uint16

// Hour returns the 60 codes of one hour of the day, 0 to 23; it shares memory
// with the column and is nil for other hours.
func (c *Column) Hour(hour int) []uint16 {
	if hour < 0 || hour >= MinutesPerDay/MinutesPerHour {
		return nil
	}
	return c[hour*MinutesPerHour : (hour+1)*MinutesPerHour : (hour+1)*MinutesPerHour]
}

// Present returns how many minutes have a value.
func (c *Column) Present() int {
	n := 0
	for _, code := range c {
		if code != 0 {
			n++
		}
	}
	return n
}

// Day is the minute grid of one patient on one UTC day. The zero value is an
// empty day number 0 (1970-01-01).
type Day struct {
	// Number is the Unix day: floor(unix seconds / 86400), negative before 1970.
	Number int64
	// Columns are by slot; a metric without any value that day may be nil.
	Columns [Slots]*Column
}

// Set stores the code of one minute of the day, 0 to 1439. It fails where the
// table has no such slot or code.
func (d *Day) Set(slot, minute int, code uint16) error {
	known := slot >= 0 && slot < len(table)
	if !known || minute < 0 || minute >= MinutesPerDay || int64(code) > table[slot].maxUnits-table[slot].minUnits+1 {
		return fmt.Errorf("%w: slot %d, minute %d, code %d", ErrGrid, slot, minute, code)
	}
	if d.Columns[slot] == nil {
		d.Columns[slot] = new(Column)
	}
	d.Columns[slot][minute] = code
	return nil
}

// Codes returns the column of a slot, all zeros where there is none; nil where
// the slot does not exist. It shares memory with the day only if it has values.
func (d *Day) Codes(slot int) []uint16 {
	if slot < 0 || slot >= Slots {
		return nil
	}
	if d.Columns[slot] == nil {
		return make([]uint16, MinutesPerDay)
	}
	return d.Columns[slot][:]
}

const (
	dayVersion  = 1
	dayHead     = 1 + 8 + 2
	columnBytes = 2 * MinutesPerDay
)

// MarshalBinary returns the day: version, number, a bit per slot present, and
// those columns, all big-endian. Empty columns are left out.
func (d *Day) MarshalBinary() ([]byte, error) {
	var present uint16
	for slot, c := range d.Columns {
		if c != nil && c.Present() > 0 {
			present |= 1 << slot
		}
	}
	out := append(make([]byte, 0, dayHead+columnBytes), dayVersion)
	out = binary.BigEndian.AppendUint64(out, uint64(d.Number))
	out = binary.BigEndian.AppendUint16(out, present)
	for slot, c := range d.Columns {
		if present&(1<<slot) == 0 {
			continue
		}
		for _, code := range c {
			out = binary.BigEndian.AppendUint16(out, code)
		}
	}
	return out, nil
}

// UnmarshalBinary restores a day; it accepts only what MarshalBinary writes,
// with codes that the table has.
func (d *Day) UnmarshalBinary(data []byte) error {
	if len(data) < dayHead || len(data) > dayHead+Slots*columnBytes || data[0] != dayVersion {
		return fmt.Errorf("%w: day of %d bytes", ErrGrid, len(data))
	}
	parsed := Day{Number: int64(binary.BigEndian.Uint64(data[1:]))}
	present := binary.BigEndian.Uint16(data[9:])
	rest := data[dayHead:]
	for slot := range Slots {
		if present&(1<<slot) == 0 {
			continue
		}
		if len(rest) < columnBytes {
			return fmt.Errorf("%w: day ends within slot %d", ErrGrid, slot)
		}
		for minute := range MinutesPerDay {
			if err := parsed.Set(slot, minute, binary.BigEndian.Uint16(rest[2*minute:])); err != nil {
				return err
			}
		}
		if parsed.Columns[slot].Present() == 0 {
			return fmt.Errorf("%w: slot %d is announced but empty", ErrGrid, slot)
		}
		rest = rest[columnBytes:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the day", ErrGrid, len(rest))
	}
	*d = parsed
	return nil
}

// DayOf returns the Unix day of a time in Unix seconds.
func DayOf(unix int64) int64 { return FloorDiv(unix, secondsPerDay) }

// HourOf returns the Unix hour, which names a sealing window.
func HourOf(unix int64) int64 { return FloorDiv(unix, secondsPerHour) }

// MinuteOf returns the Unix minute.
func MinuteOf(unix int64) int64 { return FloorDiv(unix, secondsPerMinute) }

// SplitMinute returns the Unix day of a Unix minute and its place in that day,
// 0 to 1439.
func SplitMinute(minute int64) (int64, int) {
	day := FloorDiv(minute, MinutesPerDay)
	return day, int(minute - day*MinutesPerDay)
}

// FloorDiv is n/d, rounded to the floor, which Go's division does not for
// negatives; d is positive. Hours and days of times before 1970 need it.
func FloorDiv(n, d int64) int64 {
	q := n / d
	if n%d < 0 {
		q--
	}
	return q
}
