package wearable

import (
	"bytes"
	"errors"
	"testing"
)

func TestDaysHoursAndMinutesAreFloors(t *testing.T) {
	for _, c := range []struct{ unix, day, hour, minute int64 }{
		{0, 0, 0, 0}, {-1, -1, -1, -1}, {86399, 0, 23, 1439}, {86400, 1, 24, 1440}, {-86400, -1, -24, -1440}, {-86401, -2, -25, -1441},
	} {
		if DayOf(c.unix) != c.day || HourOf(c.unix) != c.hour || MinuteOf(c.unix) != c.minute {
			t.Errorf("%d s is day %d, hour %d, minute %d", c.unix, DayOf(c.unix), HourOf(c.unix), MinuteOf(c.unix))
		}
	}
	// One second before 2025 is the last minute of the last day of 2024.
	if day, minute := SplitMinute(MinuteOf(1735689599)); day != 20088 || minute != 1439 {
		t.Errorf("day %d, minute %d", day, minute)
	}
	if day, minute := SplitMinute(-1); day != -1 || minute != 1439 {
		t.Errorf("day %d, minute %d", day, minute)
	}
}

func sampleDay(t testing.TB) *Day {
	t.Helper()
	d := &Day{Number: -3}
	for _, set := range []struct {
		slot, minute int
		code         uint16
	}{{0, 0, 1}, {0, 1439, 201}, {8, 720, 591}, {3, 5, 0}} {
		if err := d.Set(set.slot, set.minute, set.code); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestADayKeepsItsCodes(t *testing.T) {
	data, err := sampleDay(t).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var d Day
	if err := d.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if d.Number != -3 || d.Codes(0)[0] != 1 || d.Columns[0].Hour(23)[59] != 201 || d.Codes(8)[720] != 591 || d.Columns[8].Present() != 1 {
		t.Fatal("the day changed")
	}
	if d.Columns[3] != nil || len(d.Codes(3)) != MinutesPerDay || d.Codes(16) != nil || d.Columns[0].Hour(24) != nil {
		t.Fatal("a column without values is not empty")
	}
}

func TestADayRefusesWhatTheTableLacks(t *testing.T) {
	d := new(Day)
	for _, c := range []struct {
		slot, minute int
		code         uint16
	}{{-1, 0, 1}, {10, 0, 1}, {0, -1, 1}, {0, 1440, 1}, {0, 0, 202}} {
		if err := d.Set(c.slot, c.minute, c.code); !errors.Is(err, ErrGrid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func FuzzDay(f *testing.F) {
	data, err := sampleDay(f).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	empty, err := new(Day).MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty)
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add(append(data, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d Day
		if d.UnmarshalBinary(data) != nil {
			return
		}
		again, err := d.MarshalBinary()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("stored form is not unique, %v", err)
		}
	})
}
