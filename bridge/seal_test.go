package bridge

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
)

func sealedRow(t testing.TB, d *Device, hour int64) []byte {
	t.Helper()
	row, err := d.vault.get(d.vault.key(kindRow, ordered(hour)...))
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestEveryHourIsSealedAndEveryDayCommittedEmptyOnesToo(t *testing.T) {
	w := newWorld(t)
	w.at(epochStart + 5*3600)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	if err := d.Advance(t.Context(), epochStart+2*86400+90*60); err != nil {
		t.Fatal(err)
	}
	first := int64(epochStart/3600 + 5)
	for hour := first - 1; hour < first+45; hour++ {
		row := sealedRow(t, d, hour)
		if want := hour >= first && hour < epochStart/3600+49; want != (row != nil) {
			t.Errorf("hour %d: sealed %t, want %t", hour-epochStart/3600, row != nil, want)
		}
		if row != nil && w.params.CheckRow(row) != nil {
			t.Errorf("hour %d: not a row", hour)
		}
	}
	if sealed, days := d.Progress(); sealed != epochStart/3600+49 || days != epochDay+2 {
		t.Errorf("sealed until %d, days until %d", sealed-epochStart/3600, days-epochDay)
	}
	dayOf(t, d, epochDay)
	dayOf(t, d, epochDay+1)
}

// The row opens, with the shares of all pieces, to the statistics of the grid.
func TestSealedRowsOpenToTheGridsStatistics(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate", "spo2")
	for hour := range int64(2) {
		push(t, d, reading(t, "heart_rate", epochStart+hour*3600, "60"), reading(t, "heart_rate", epochStart+hour*3600+60, "90"))
	}
	if err := d.Advance(t.Context(), epochStart+2*3600); err != nil {
		t.Fatal(err)
	}
	rows := map[he.Window][]byte{}
	for hour := epochStart / 3600; hour < epochStart/3600+2; hour++ {
		rows[he.Window{Hour: int64(hour)}] = sealedRow(t, d, int64(hour))
	}
	r := reveal(t, w, d, 0, rows)
	if r.N != 4 || r.Sum != 300 || r.SumSq != 2*(3600+8100) {
		t.Errorf("opened to n %v, sum %v, sum of squares %v", r.N, r.Sum, r.SumSq)
	}
}

// reveal opens the sum of rows of one metric with the shares of all pieces.
func reveal(t *testing.T, w *world, d *Device, slot int, rows map[he.Window][]byte) privacy.Release {
	t.Helper()
	return *openRows(t, w, d, wearable.Metrics()[slot].Key, 0, rows).Metric
}

func TestFinishEndsAReplay(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	push(t, d, reading(t, "heart_rate", epochStart+30*3600, "77"))
	ctx, end := t.Context(), int64(epochStart/3600+31)
	if err := d.Finish(ctx, end+1, epochStart+31*3600); err == nil {
		t.Error("finished with an hour that is not over")
	}
	if err := d.Finish(ctx, end, epochStart+31*3600); err != nil {
		t.Fatal(err)
	}
	if sealed, days := d.Progress(); sealed != end || days != epochDay+1 {
		t.Errorf("sealed until %d, days until %d", sealed, days)
	}
	if o := push(t, d, reading(t, "heart_rate", epochStart+32*3600, "77")); o.Late != 1 {
		t.Errorf("a reading after the end: %+v", o)
	}
	for range 2 { // the second finds nothing to do
		if err := d.Advance(ctx, epochStart+5*86400); err != nil {
			t.Fatal(err)
		}
		if sealed, days := d.Progress(); sealed != end || days != epochDay+2 {
			t.Errorf("sealed until %d, days until %d", sealed-epochStart/3600, days-epochDay)
		}
	}
	day := dayOf(t, d, epochDay+1)
	if code := day.Codes(0)[6*60]; code != 77-20+1 {
		t.Errorf("code %d in the last day", code)
	}
	if err := d.Finish(ctx, end+3, epochStart+6*86400); err == nil {
		t.Error("finished twice at different hours")
	}
}

func TestFinishBetweenDaysAndOnADayBoundary(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	for _, hours := range []int64{0, 24, 25, 48} {
		d := w.enrolled(h, "heart_rate")
		if err := d.Finish(t.Context(), epochStart/3600+hours, epochStart+10*86400); err != nil {
			t.Fatal(err)
		}
		if sealed, days := d.Progress(); sealed != epochStart/3600+hours || days != epochDay+(hours+23)/24 {
			t.Errorf("%d hours: sealed %d, days %d", hours, sealed-epochStart/3600, days-epochDay)
		}
	}
}

func TestReadingsBefore1970(t *testing.T) {
	w := newWorld(t)
	w.at(-86400*3 - 1)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	push(t, d, reading(t, "heart_rate", -86400*3-1, "60"))
	if err := d.Advance(t.Context(), -86400*2); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, -4)
	if code := day.Codes(0)[1439]; code != 60-20+1 {
		t.Errorf("code %d", code)
	}
}

// Two rows under one window open their difference to everyone. However the
// caller turns it, an hour has one row, ever.
func TestAttackSealTwice(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	ctx, hour := t.Context(), int64(epochStart/3600)
	push(t, d, reading(t, "heart_rate", epochStart, "60"))
	if err := d.Advance(ctx, epochStart+3600); err != nil {
		t.Fatal(err)
	}
	row := bytes.Clone(sealedRow(t, d, hour))
	// Late data, and advancing again, also with an earlier clock.
	push(t, d, reading(t, "heart_rate", epochStart+1, "90"))
	for _, now := range []int64{epochStart + 3600, epochStart, epochStart + 2*3600} {
		if err := d.Advance(ctx, now); err != nil {
			t.Fatal(err)
		}
	}
	// After a crash.
	d2, _ := w.hub(crashed(t, dir)).Device(d.ID())
	push(t, d2, reading(t, "heart_rate", epochStart+1, "90"))
	if err := d2.Advance(ctx, epochStart+3*3600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(row, sealedRow(t, d, hour)) || !bytes.Equal(row, sealedRow(t, d2, hour)) {
		t.Error("the row of a sealed hour changed")
	}
	// A store whose mark was turned back still has the row.
	d.mu.Lock()
	d.state.SealedUntil = hour
	d.mu.Unlock()
	if err := d.Advance(ctx, epochStart+3*3600); !errors.Is(err, ErrDamaged) {
		t.Errorf("sealing with the mark turned back: %v", err)
	}
	if !bytes.Equal(row, sealedRow(t, d, hour)) {
		t.Error("the row was replaced")
	}
}

// restored runs a device, copies its store, runs it further, and then brings the
// copy back after spoil has been at it.
func restored(t *testing.T, spoil func(dir, old string)) (*world, *Hub, *Device) {
	t.Helper()
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	run := func(hours int64) {
		w.at(epochStart + hours*3600)
		if err := d.Advance(t.Context(), epochStart+hours*3600); err != nil {
			t.Fatal(err)
		}
		syncs(t, h)
	}
	run(1)
	old := crashed(t, dir)
	run(5)
	w.findAvailable(2)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(dir, old)
	again := w.hub(old)
	d2, _ := again.Device(d.ID())
	return w, again, d2
}

// retired checks that a device never seals again and that a new one does.
func retired(t *testing.T, w *world, h *Hub, d *Device) {
	t.Helper()
	if d.Retired() == "" {
		t.Fatal("the device is not retired")
	}
	if err := d.Advance(t.Context(), epochStart+6*3600); !errors.Is(err, ErrRetired) {
		t.Errorf("sealing: %v", err)
	}
	if _, err := d.Push(t.Context(), []Reading{reading(t, "heart_rate", epochStart+5*3600, "60")}); !errors.Is(err, ErrRetired) {
		t.Errorf("pushing: %v", err)
	}
	if len(d.rec.Seeds) != 0 {
		t.Error("a retired device keeps its seeds")
	}
	fresh := w.enrolled(h, "heart_rate")
	if err := fresh.Advance(t.Context(), epochStart+6*3600); err != nil || fresh.ID() == d.ID() {
		t.Errorf("a new device does not work: %v", err)
	}
}

// An older copy of the store is put back, with and without its rollback guard, or the
// rollback guard alone gets lost: the device never seals again.
func TestAttackRollBack(t *testing.T) {
	t.Run("store restored, rollback guard not", func(t *testing.T) {
		w, h, d := restored(t, func(dir, old string) {
			data, err := os.ReadFile(dir + ".mark")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(old+".mark", data, 0o600); err != nil {
				t.Fatal(err)
			}
		})
		retired(t, w, h, d)
	})
	t.Run("rollback guard lost", func(t *testing.T) {
		w, h, d := restored(t, func(_, old string) {
			if err := os.Remove(old + ".mark"); err != nil {
				t.Fatal(err)
			}
		})
		retired(t, w, h, d)
	})
	t.Run("both restored: the ledger is ahead", func(t *testing.T) {
		w, h, d := restored(t, func(_, _ string) {})
		if d.Retired() != "" {
			t.Fatal("retired before the ledger was asked")
		}
		if err := d.Advance(t.Context(), epochStart+6*3600); err != nil {
			t.Fatal(err)
		}
		uploaded := len(w.blobs)
		r, err := h.Sync(t.Context())
		if !errors.Is(err, ErrRetired) || len(r.Retired) != 1 {
			t.Errorf("report %+v, %v", r, err)
		}
		// Hours 1 to 4 are on the ledger with other rows than those sealed here.
		if len(w.blobs) != uploaded {
			t.Error("a second row left for a window that has one")
		}
		retired(t, w, h, d)
	})
}

func TestSealingDoesNotTouchOtherMetrics(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "glucose")
	push(t, d, reading(t, "glucose", epochStart, "100"))
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, epochDay)
	for slot := range wearable.Slots {
		if has := day.Columns[slot] != nil; has != (slot == 8) {
			t.Errorf("slot %d has readings: %t", slot, has)
		}
	}
}

// TestThingsAreCommittedToAlone: the temperature of a thing is in the day's root and in
// no row.
func TestThingsAreCommittedToAlone(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "storage_temp", "heart_rate")
	push(t, d, reading(t, "storage_temp", epochStart, "4.5"), reading(t, "heart_rate", epochStart, "60"))
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	if day := dayOf(t, d, epochDay); day.Columns[9] == nil || day.Columns[0] == nil {
		t.Error("the day lacks a column")
	}
}

func BenchmarkAdvance(b *testing.B) {
	w := newWorld(b)
	d := w.enrolled(w.hub(filepath.Join(b.TempDir(), "hub")), "heart_rate", "resp_rate", "body_temp", "bp_systolic", "bp_diastolic", "glucose")
	var readings []Reading
	for hour := range int64(240) {
		for _, m := range d.metrics {
			readings = append(readings, Reading{Metric: m.Key, Time: wearable.Int(epochStart + hour*3600), Value: m.Min})
		}
	}
	push(b, d, readings...)
	b.ResetTimer()
	rows := 0
	for i := int64(0); b.Loop(); i++ {
		if err := d.Advance(b.Context(), epochStart+(i+1)*240*3600); err != nil {
			b.Fatal(err)
		}
		rows += 240
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(rows), "us/row")
}
