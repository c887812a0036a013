package bridge

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

const hour0 = int64(epochStart / 3600)

// lateRows lists the corrections that the store still has the rows of, in the
// order in which they were sealed.
func lateRows(t testing.TB, d *Device) []lateRecord {
	t.Helper()
	var out []lateRecord
	for e, err := range d.vault.each(kindLate, nil) {
		if err != nil {
			t.Fatal(err)
		}
		var l lateRecord
		if err := decode(e.Value, &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func advance(t testing.TB, w *world, d *Device, hours int64) {
	t.Helper()
	w.at(epochStart + hours*3600)
	if err := d.Advance(t.Context(), epochStart+hours*3600); err != nil {
		t.Fatal(err)
	}
}

// at is a heart rate of a minute since the start of the epoch.
func at(t testing.TB, minute int64, value string) Reading {
	return reading(t, "heart_rate", epochStart+minute*60, value)
}

// The rows of an hour open to all its readings, each minute once, and the day
// root covers what came before the day ended.
func TestLateReadingsFillTheMinutesThatWereMissing(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate")
	push(t, d, at(t, 0, "60"), at(t, 1, "70"))
	advance(t, w, d, 2)
	o := push(t, d, at(t, 0, "200"), at(t, 2, "80"), at(t, 3, "90"), at(t, 2, "84"), at(t, 4, "9999"), at(t, -1, "60"), at(t, 2*60, "50"))
	if o != (Outcome{Gridded: 4, OutOfRange: 1, Counted: 1, Late: 1}) {
		t.Errorf("outcome %+v", o)
	}
	if n := len(lateRows(t, d)); n != 0 {
		t.Errorf("%d corrections before the day is over", n)
	}
	advance(t, w, d, 24)
	late := lateRows(t, d)
	if len(late) != 1 || late[0].Hour != hour0 || late[0].Number != 1 {
		t.Fatalf("corrections %+v", late)
	}
	r := reveal(t, w, d, 0, map[he.Window][]byte{{Hour: hour0}: sealedRow(t, d, hour0), {Hour: hour0, Correction: 1}: late[0].Row})
	if r.N != 4 || r.Sum != 60+70+82+90 || r.SumSq != 60*60+70*70+82*82+90*90 {
		t.Errorf("opened to n %v, sum %v, sum of squares %v", r.N, r.Sum, r.SumSq)
	}
	day := dayOf(t, d, epochDay)
	for minute, want := range []uint16{41, 51, 63, 71, 0} {
		if got := day.Codes(0)[minute]; got != want {
			t.Errorf("minute %d of the day has code %d, want %d", minute, got, want)
		}
	}
	// A minute that a correction counts is counted as well.
	if o := push(t, d, at(t, 2, "80")); o.Counted != 1 {
		t.Errorf("outcome %+v", o)
	}
	w.findAvailable(0)
	syncs(t, h)
	w.findAvailable(2)
	if r := syncs(t, h); r.Awaited != 0 || len(r.Refused) != 0 {
		t.Errorf("%+v", r)
	}
	receipt, ok, err := d.CorrectionReceipt(hour0, 1)
	if err != nil || !ok || receipt.Pointer.Pointer.Commitment != record.SumID(late[0].Row) {
		t.Errorf("receipt of the correction: %t, %v", ok, err)
	}
	if n := len(lateRows(t, d)); n != 0 {
		t.Errorf("%d rows are kept though there are receipts", n)
	}
}

// Late data of many days do not use up the corrections of an hour: the third is
// kept for the last day, and what comes after it is dropped.
func TestAnHourHasThreeCorrections(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	advance(t, w, d, 1)
	for day := range int64(7) {
		if o := push(t, d, at(t, day, "60")); o.Gridded != 1 {
			t.Errorf("day %d: %+v", day, o)
		}
		advance(t, w, d, (day+1)*24)
		if want := []int{1, 2, 2, 2, 2, 2, 3}[day]; len(lateRows(t, d)) != want {
			t.Errorf("%d corrections at the end of day %d, want %d", len(lateRows(t, d)), day, want)
		}
	}
	if o := push(t, d, at(t, 30, "60")); o.Late != 1 {
		t.Errorf("after the last day: %+v", o)
	}
	rows := map[he.Window][]byte{{Hour: hour0}: sealedRow(t, d, hour0)}
	for _, l := range lateRows(t, d) {
		rows[he.Window{Hour: l.Hour, Correction: l.Number}] = l.Row
	}
	if r := reveal(t, w, d, 0, rows); len(rows) != 4 || r.N != 7 || r.Sum != 7*60 {
		t.Errorf("%d rows with n = %d, sum %d", len(rows), r.N, r.Sum)
	}
}

// The third correction does not wait for a day end that comes too late: a bridge
// that was off seals many days at once.
func TestTheLastCorrectionIsSealedAlsoByABridgeThatWasOff(t *testing.T) {
	for _, jump := range []int64{5, 12} { // days; the second is more than one commit
		w := newWorld(t)
		d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
		for i := range int64(3) {
			advance(t, w, d, 1+24*i)
			push(t, d, at(t, i, "60"))
		}
		advance(t, w, d, (2+jump)*24)
		if n := len(lateRows(t, d)); n != 3 {
			t.Errorf("%d days: %d corrections", jump, n)
		}
	}
}

// A bridge that was off does not take what the ledger will refuse.
func TestLateByTheClockAndNotByWhatIsSealed(t *testing.T) {
	w := newWorld(t)
	w.genesis.Clock = record.ClockWall
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	advance(t, w, d, 1)
	w.at(epochStart + 7*86400 - 1)
	if o := push(t, d, at(t, 1, "60")); o.Gridded != 1 {
		t.Errorf("on the last day: %+v", o)
	}
	w.at(epochStart + 7*86400)
	if o := push(t, d, at(t, 2, "60")); o.Late != 1 {
		t.Errorf("on the day after: %+v", o)
	}
}

func TestSealLateDoesNotWaitForTheEndOfTheDay(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	ctx := t.Context()
	advance(t, w, d, 30)
	for i := range int64(4) {
		o := push(t, d, at(t, 25*60+i, "60"), at(t, 3*60+i, "61"))
		if want := 2; i < 3 && o.Gridded != want || i == 3 && o.Late != want {
			t.Errorf("round %d: %+v", i, o)
		}
		for range 2 { // the second finds nothing to do
			if err := d.SealLate(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(lateRows(t, d)); n != 6 {
		t.Errorf("%d corrections, want three of each hour", n)
	}
	// The day at hand has what came before its end, the day before has not.
	advance(t, w, d, 48)
	yesterday, today := dayOf(t, d, epochDay), dayOf(t, d, epochDay+1)
	if yesterday.Codes(0)[180] != 0 || today.Codes(0)[60] != 41 || today.Codes(0)[62] != 41 {
		t.Error("day roots do not have what came before they were made")
	}
}

// A device that finished, as in a replay, takes late data for its hours too.
func TestLateReadingsAfterTheEndOfARecording(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	ctx := t.Context()
	if err := d.Finish(ctx, hour0+30, epochStart+50*3600); err != nil {
		t.Fatal(err)
	}
	if o := push(t, d, at(t, 29*60, "60"), at(t, 30*60, "60")); o.Gridded != 1 || o.Late != 1 {
		t.Errorf("outcome %+v", o)
	}
	if err := d.SealLate(ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(lateRows(t, d)); n != 1 {
		t.Errorf("%d corrections", n)
	}
	before := dayOf(t, d, epochDay+1)
	if err := d.Advance(ctx, epochStart+9*86400); err != nil {
		t.Fatal(err)
	}
	if _, days := d.Progress(); days != epochDay+2 || before.Number != epochDay+1 {
		t.Errorf("days until %d", days)
	}
}

// A store of the version before corrections is taken up; what it had sealed takes
// no late data, as it does not say which minutes count.
func TestHoursSealedBeforeThereWereCorrectionsTakeNone(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	advance(t, w, d, 1)
	if err := d.vault.DB().Delete(d.grid.countedKey(hour0), nil); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	version := filepath.Join(dir, state.VersionFile)
	if err := os.WriteFile(version, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, _ = w.hub(dir).Device(d.ID())
	if o := push(t, d, at(t, 5, "60"), at(t, 65, "60")); o.Late != 1 || o.Gridded != 1 {
		t.Errorf("outcome %+v", o)
	}
	// The program of then would not know what this one has sealed.
	if err := state.Check(dir, 1); !errors.Is(err, ErrNewer) {
		t.Errorf("the old program is not kept off: %v", err)
	}
}

// However the caller turns it, a correction has one row, ever.
func TestAttackSealACorrectionTwice(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "heart_rate")
	advance(t, w, d, 1)
	push(t, d, at(t, 5, "60"))
	if err := d.SealLate(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := lateRows(t, d)
	// After a crash, the same minute again and another one.
	d2, _ := w.hub(crashed(t, dir)).Device(d.ID())
	if o := push(t, d2, at(t, 5, "90"), at(t, 6, "61")); o.Counted != 1 || o.Gridded != 1 {
		t.Errorf("outcome %+v", o)
	}
	if err := d2.SealLate(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := lateRows(t, d2)
	if len(second) != 2 || !bytes.Equal(second[0].Row, first[0].Row) || second[1].Number != 2 {
		t.Errorf("corrections %d, the second with number %d", len(second), second[len(second)-1].Number)
	}
	// A store that was made to believe that the hour was never corrected.
	push(t, d, at(t, 7, "62"))
	counted := newCounted()
	believe := func(b *pebble.Batch) error { return d.vault.store(b, d.grid.countedKey(hour0), counted) }
	if err := d.vault.Update(true, believe); err != nil {
		t.Fatal(err)
	}
	if err := d.SealLate(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("sealing number 1 again: %v", err)
	}
	if now := lateRows(t, d); len(now) != 1 || !bytes.Equal(now[0].Row, first[0].Row) {
		t.Error("the row was replaced")
	}
}

// A copy of the store from before a correction was sealed is put back: only the
// number of corrections tells, as no hour was sealed since.
func TestAttackRollBackACorrection(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir, old string){
		"rollback guard kept": func(t *testing.T, dir, old string) {
			data, err := os.ReadFile(dir + ".mark")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(old+".mark", data, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"both restored: the ledger is ahead": func(*testing.T, string, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := filepath.Join(t.TempDir(), "hub")
			h := w.hub(dir)
			d := w.enrolled(h, "heart_rate")
			advance(t, w, d, 5)
			syncs(t, h)
			push(t, d, at(t, 5, "60"))
			old := crashed(t, dir)
			if err := d.SealLate(t.Context()); err != nil {
				t.Fatal(err)
			}
			syncs(t, h)
			w.findAvailable(2)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, old)
			again := w.hub(old)
			d2, _ := again.Device(d.ID())
			uploaded := len(w.blobs)
			if marked := name == "rollback guard kept"; marked != (d2.Retired() != "") {
				t.Fatalf("retired when opened: %q", d2.Retired())
			}
			if d2.Retired() == "" {
				push(t, d2, at(t, 6, "99"))
				if err := d2.SealLate(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := again.Sync(t.Context()); !errors.Is(err, ErrRetired) {
					t.Errorf("synced: %v", err)
				}
			}
			if len(w.blobs) != uploaded {
				t.Error("a second row left for a window that has one")
			}
			retired(t, w, again, d2)
		})
	}
}

func BenchmarkPushLate(b *testing.B) {
	w := newWorld(b)
	d := w.enrolled(w.hub(filepath.Join(b.TempDir(), "hub")), "heart_rate")
	advance(b, w, d, 48)
	var readings []Reading
	for minute := range int64(48 * 60) {
		readings = append(readings, at(b, minute, "60"))
	}
	for b.Loop() {
		push(b, d, readings...)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(readings)), "us/reading")
}
