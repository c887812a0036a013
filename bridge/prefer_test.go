package bridge

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/wearable"
)

// from is a reading of a source.
func from(source string, r Reading) Reading {
	r.Source = source
	return r
}

func TestAnIdenticalSampleCountsOnce(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "heart_rate")
	one, two := reading(t, "heart_rate", epochStart+5, "60"), reading(t, "heart_rate", epochStart+6, "63")
	push(t, d, one)
	// The phone pushes again, with something new.
	if o := push(t, d, one, two, two); o != (Outcome{Gridded: 1, Repeated: 2}) {
		t.Errorf("outcome %+v", o)
	}
	again, _ := w.hub(crashed(t, dir)).Device(d.ID())
	if o := push(t, again, two, one); o != (Outcome{Repeated: 2}) {
		t.Errorf("outcome %+v after a crash", o)
	}
	if err := again.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, again, epochDay)
	if got := day.Codes(0)[0]; got != 62-20+1 { // 61.5
		t.Errorf("code %d", got)
	}
}

func TestAMinuteTakesSoManySamplesAndNoMore(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	var list []Reading
	for i := range int64(maxSeen + 5) {
		at, _ := wearable.NewDecimal(epochStart*1000+i, 3)
		list = append(list, Reading{Metric: "heart_rate", Time: at, Value: wearable.Int(60)})
	}
	if o := push(t, d, list...); o.Gridded != maxSeen || o.Crowded != 5 {
		t.Errorf("outcome %+v", o)
	}
}

// A second provider of a metric takes nothing away from the first, and fills what is
// missing; a phone that counts what the watch counts does not count twice.
func TestComplaintASecondSourceCostsNoMinuteAndDoublesNone(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	night := func(minute int64, value string) Reading {
		return reading(t, "heart_rate", epochStart+60*minute, value)
	}
	push(t, d, from("watch", night(0, "60")), from("watch", night(1, "61")))
	push(t, d, from("phone", night(1, "90")), from("phone", night(2, "92")), from("phone", night(3, "93")))
	push(t, d, from("watch", night(3, "63")))
	if s := d.Sensors().Sources("heart_rate"); len(s) != 2 || s[0].Name != "watch" || s[1].Name != "phone" {
		t.Errorf("sources %v", s)
	}
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, epochDay)
	for minute, want := range []uint16{60, 61, 92, 63} {
		if got := day.Codes(0)[minute]; got != want-20+1 {
			t.Errorf("minute %d counts code %d, want %d", minute, got, want-20+1)
		}
	}
	if c := d.Counts(); c.NotDesignated != 2 { // of minutes 1 and 3
		t.Errorf("counts %+v", c)
	}
	if err := d.Sensors().Prefer("heart_rate", "phone", "phone"); err == nil {
		t.Error("a source has two places")
	}
}

// The grid does not depend on the order in which sources deliver, nor on how often.
func TestTheGridIsOfTheSamplesAndNotOfTheirOrder(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	rapid.Check(t, func(rt *rapid.T) {
		var list []Reading
		for range rapid.IntRange(1, 30).Draw(rt, "n") {
			list = append(list, Reading{
				Metric: "heart_rate", Time: wearable.Int(epochStart + rapid.Int64Range(0, 300).Draw(rt, "s")),
				Value: wearable.Int(rapid.Int64Range(10, 100).Draw(rt, "value")), Source: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "source"),
			})
		}
		var first [][wearable.MinutesPerHour]uint16
		for range 3 {
			d := w.enrolled(h, "heart_rate")
			if err := d.Sensors().Prefer("heart_rate", "b", "a"); err != nil {
				rt.Fatal(err)
			}
			for part := range slices.Chunk(append(slices.Clone(list), rapid.Permutation(list).Draw(rt, "again")...), 7) {
				push(t, d, part...)
			}
			codes, _, err := d.grid.codes(epochStart/3600, 0)
			if err != nil {
				rt.Fatal(err)
			}
			first = append(first, codes)
			list = rapid.Permutation(list).Draw(rt, "order")
		}
		if first[0] != first[1] || first[1] != first[2] {
			rt.Fatalf("three orders, three grids: %v", first)
		}
	})
}

func TestAStoreOfOneSensorForEachMetricIsRead(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	d.mu.Lock()
	d.state.Sensors = map[string]string{"heart_rate": "strap"} // as version 3 kept it
	a, _ := wearable.NewAccumulator("heart_rate")
	a.Add(wearable.Int(60))
	old, err := a.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	value := append([]byte{1, 0, 0, byte(len(old))}, old...)
	b := d.hub.store.DB().NewBatch()
	if err := d.vault.Set(b, d.grid.key(epochStart/3600, 0), value); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(nil); err != nil {
		t.Fatal(err)
	}
	d.changed = true
	err = d.flush(true)
	d.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	copied := crashed(t, dir)
	if err := os.WriteFile(filepath.Join(copied, "VERSION"), []byte("3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, _ := w.hub(copied).Device(d.ID())
	if s := again.Sensors().Sources("heart_rate"); len(s) != 1 || s[0] != (Source{Name: "strap"}) {
		t.Errorf("sources %v", s)
	}
	push(t, again, from("strap", reading(t, "heart_rate", epochStart+1, "62")))
	codes, _, err := again.grid.codes(epochStart/3600, 0)
	if err != nil || codes[0] != 61-20+1 {
		t.Errorf("code %d, %v", codes[0], err)
	}
}
