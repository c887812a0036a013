package bridge

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/wearable"
)

func hourly(n int) []Reading {
	list := make([]Reading, n)
	for i := range list {
		list[i] = Reading{Metric: "heart_rate", Time: wearable.Int(epochStart + int64(i)*3600), Value: wearable.Int(60 + int64(i)%7)}
	}
	return list
}

// stored counts hours of the grid in the store, of which each reading of hourly has one.
func stored(t *testing.T, d *Device) uint64 {
	t.Helper()
	n := uint64(0)
	for _, err := range d.vault.each(kindGrid, nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// Whatever moment the machine stops at, the position on disk is that of the readings on
// disk: a push of more hours than memory holds writes on the way.
func TestASourcesPositionIsNeverBeforeOrBehindItsReadings(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	var from Position
	writes, last := 0, uint64(0)
	check := func() {
		var p Position
		if _, err := d.vault.load(d.sources.key("log"), &p); err != nil {
			t.Fatal(err)
		}
		if n := stored(t, d); n != p.Taken {
			t.Fatalf("%d readings are on disk, the position says %d", n, p.Taken)
		}
		if p.Taken != last {
			writes, last = writes+1, p.Taken
		}
	}
	_, err := d.push(t.Context(), hourly(2*maxOpenHours), func() error { return nil }, func(r Reading) {
		from = from.After(r)
		d.sources.moved["log"] = from
		check()
	})
	if err != nil {
		t.Fatal(err)
	}
	check()
	if writes < 3 || last != 2*maxOpenHours {
		t.Errorf("%d writes, the last after %d readings: nothing was shown", writes, last)
	}
}

func TestASourceIsContinuedWhereItWasLeftAndNowhereElse(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	all := hourly(10)
	out, err := d.PushFrom(t.Context(), "log", Position{}, all[:4])
	if err != nil || out.Gridded != 4 {
		t.Fatalf("%+v, %v", out, err)
	}
	// The answer was lost on the way: the same again is refused and changes nothing.
	if _, err := d.PushFrom(t.Context(), "log", Position{}, all[:4]); !errors.Is(err, ErrPosition) {
		t.Errorf("a repeated push: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = w.hub(dir)
	d, _ = h.Device(d.ID())
	at, err := d.Position("log")
	if err != nil || at.Taken != 4 {
		t.Fatalf("%+v, %v", at, err)
	}
	// Another file under the same name shows by its digest.
	other := Position{}.After(all[1]).After(all[2]).After(all[3]).After(all[4])
	if _, err := d.PushFrom(t.Context(), "log", other, all[4:]); !errors.Is(err, ErrPosition) {
		t.Errorf("another file: %v", err)
	}
	if _, err := d.PushFrom(t.Context(), "log", at, all[4:]); err != nil {
		t.Fatal(err)
	}
	if c := d.Counts(); c.Gridded != 10 {
		t.Errorf("%d readings are gridded, want each of 10 once", c.Gridded)
	}
	// A reading that is refused leaves the position where it was.
	bad := append(hourly(1), Reading{Metric: "glucose"})
	if _, err := d.PushFrom(t.Context(), "next", Position{}, bad); !errors.Is(err, ErrReading) {
		t.Errorf("a reading that cannot be: %v", err)
	}
	if at, err := d.Position("next"); err != nil || at.Taken != 0 {
		t.Errorf("%+v, %v", at, err)
	}
	for _, name := range []string{"", string(make([]byte, maxSource+1))} {
		if _, err := d.PushFrom(t.Context(), name, Position{}, all); !errors.Is(err, ErrReading) {
			t.Errorf("a name of %d bytes: %v", len(name), err)
		}
	}
}
