package bridge

import (
	"bytes"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

func sealedDay(t testing.TB, d *Device, day int64) []byte {
	t.Helper()
	return must(d.vault.get(d.vault.key(kindDayRow, ordered(day)...)))
}

// opened is what a day row holds, opened with the shares of all pieces as institutions
// do, of a question of the day schema.
func opened(t testing.TB, w *world, d *Device, key string, day int64, row []byte) []*big.Int {
	t.Helper()
	p := w.params.Day()
	q, ok := p.Schema().Question(key)
	if !ok {
		t.Fatalf("no question %s", key)
	}
	coeffs := p.Schema().MetricCoefficients(q.Slot)
	var plan *privacy.Plan // exact, but that strata never are
	if q.Shape == privacy.ShapeStrata {
		plan = must(p.Schema().PlanDays(q.Slot, privacy.WantMean, 1, privacy.MaxRhoMicro))
	}
	sum := must(p.NewSum(coeffs))
	if err := sum.Add(row); err != nil {
		t.Fatal(err)
	}
	ctx := he.Context{Network: w.genesis.Network}
	shares := map[int][]byte{}
	for i, m := range w.members {
		seeds := must(p.OpenSeeds(ctx, d.ID(), i, m.Member, m.boxes.Seed, w.seeds[d.ID()], d.Document().SeedHashes))
		for piece, seed := range seeds {
			secret := p.NewKeySum()
			if err := secret.Add(p.Expand(ctx, d.ID(), piece, seed)); err != nil {
				t.Fatal(err)
			}
			v := must(p.KeyProduct(ctx, coeffs, []he.KeyGroup{{Windows: []he.Window{he.DayWindow(day)}, Secret: secret}}))
			shares[piece] = must(p.Share(he.NewPieceKey(), he.ShareRequest{
				Network: ctx.Network, Query: "q", Piece: piece, CohortRoot: record.ID{1}, Slot: q.Slot, Coeffs: coeffs, Plan: plan, Rows: sum.Rows(),
			}, v))
		}
	}
	return must(p.Open(sum, shares))
}

// wantDay compares a day row with the grid of its day, opened for some questions.
func wantDay(t testing.TB, w *world, d *Device, stratum int, grid wearable.Day, row []byte, keys ...string) {
	t.Helper()
	schema := w.params.Day().Schema()
	payloads := must(schema.DayRow(&grid, stratum))
	for _, key := range keys {
		q, _ := schema.Question(key)
		got := opened(t, w, d, key, grid.Number, row)
		for i, c := range schema.MetricCoefficients(q.Slot) {
			if want := privacy.Centre(payloads[c].Big()); got[i].Cmp(want) != 0 {
				t.Errorf("day %d, %s: coefficient %d opens to %v, the grid gives %v", grid.Number, key, c, got[i], want)
			}
		}
	}
}

// TestADayIsSealedOnceWithItsRootTwoHoursAfterItsEnd: the row opens to what the grid of
// the committed day gives, with what came in the two hours; empty days have one too.
func TestADayIsSealedOnceWithItsRootTwoHoursAfterItsEnd(t *testing.T) {
	w := newDayWorld(t)
	w.at(epochStart + 5*3600) // in the middle of a day
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate", "spo2")
	for minute := range int64(10) {
		push(t, d, at(t, 6*60+minute, "60"), at(t, 7*60+minute, "91"), reading(t, "spo2", epochStart+(8*60+minute)*60, "97"))
	}
	advance(t, w, d, 25)
	push(t, d, at(t, 23*60, "120")) // after its hour and day were over, before the day is committed
	if _, days := d.Progress(); days != epochDay || sealedDay(t, d, epochDay) != nil {
		t.Fatal("the day is committed an hour after its end")
	}
	advance(t, w, d, 26)
	first := slices.Clone(sealedDay(t, d, epochDay))
	grid := dayOf(t, d, epochDay)
	if first == nil || grid.Codes(0)[23*60] != 101 {
		t.Fatalf("the day has code %d in the minute that came last", grid.Codes(0)[23*60])
	}
	wantDay(t, w, d, 0, grid, first, "heart_rate", "spo2", "glucose", "heart_rate*spo2")
	if o := push(t, d, at(t, 22*60, "130"), at(t, 22*60+1, "130")); o.Gridded != 2 {
		t.Errorf("what comes later still: %+v", o)
	}
	advance(t, w, d, 4*24)
	if !bytes.Equal(first, sealedDay(t, d, epochDay)) {
		t.Error("the day's row has changed")
	}
	if grid := dayOf(t, d, epochDay); grid.Codes(0)[22*60] != 0 {
		t.Error("the day's root has changed")
	}
	late := lateRows(t, d)
	if c := d.Counts(); c.AfterDay != 2 || len(late) != 2 || late[1].Hour != hour0+22 {
		t.Errorf("%d minutes are counted as dropped from the day, want 2; %d corrections", c.AfterDay, len(late))
	}
	empty := dayOf(t, d, epochDay+1)
	wantDay(t, w, d, 0, empty, sealedDay(t, d, epochDay+1), "heart_rate")
	if sealedDay(t, d, epochDay+3) != nil {
		t.Error("a day is sealed at its end")
	}
}

// TestADayMayBeHeldForASourceThatDeliversLate, on its sixth day at the latest; hours are
// sealed all the same.
func TestADayMayBeHeldForASourceThatDeliversLate(t *testing.T) {
	w := newDayWorld(t)
	cfg := w.config(filepath.Join(t.TempDir(), "hub"))
	cfg.HeldDays = MaxHeldDays
	h := must(Open(cfg))
	t.Cleanup(func() { _ = h.Close() })
	d := w.enrolled(h, "heart_rate")
	for day := range int64(MaxHeldDays) {
		advance(t, w, d, (day+1)*24)
		push(t, d, at(t, day, "60"))
	}
	advance(t, w, d, 7*24+1)
	if _, days := d.Progress(); days != epochDay {
		t.Fatalf("committed until day %d", days-epochDay)
	}
	advance(t, w, d, 7*24+2)
	grid := dayOf(t, d, epochDay)
	if n := grid.Columns[0].Present(); n != MaxHeldDays || d.Counts().AfterDay != 0 {
		t.Errorf("the day has %d minutes, %d are dropped", n, d.Counts().AfterDay)
	}
	wantDay(t, w, d, 0, grid, sealedDay(t, d, epochDay), "heart_rate")
	syncs(t, h)
	if w.pointers[ledgerName{d.ID(), record.KindPersonDay, epochDay, 0}] == nil {
		t.Error("the ledger takes it no more")
	}
	if refused := must(d.Refused()); len(refused) != 0 {
		t.Errorf("refused: %+v", refused)
	}
	cfg.HeldDays++
	if err := cfg.Check(); err == nil {
		t.Error("a day is held for longer than the ledger takes it")
	}
}

// TestAFinishedDeviceSealsItsDaysWhenTheyAreOver: nothing more comes in time.
func TestAFinishedDeviceSealsItsDaysWhenTheyAreOver(t *testing.T) {
	w := newDayWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	for _, hours := range []int64{0, 24, 25, 48} {
		d := w.enrolled(h, "heart_rate")
		end := (hours + 23) / 24
		if err := d.Finish(t.Context(), hour0+hours, epochStart+end*86400); err != nil {
			t.Fatal(err)
		}
		if _, days := d.Progress(); days != epochDay+end {
			t.Errorf("%d hours: committed until day %d", hours, days-epochDay)
		}
		for day := range int64(3) {
			if has := sealedDay(t, d, epochDay+day) != nil; has != (day < end) {
				t.Errorf("%d hours: day %d is sealed: %t", hours, day, has)
			}
		}
	}
}

// TestDayRowsCountForThePatientsStratum, in a network whose hours have no strata.
func TestDayRowsCountForThePatientsStratum(t *testing.T) {
	w := newDayWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	if err := d.SetStratum("male_65"); err == nil {
		t.Error("a stratum that no row has was taken")
	}
	if err := d.SetStratum("male_65_up"); err != nil {
		t.Fatal(err)
	}
	for minute := range int64(10) {
		push(t, d, at(t, minute, "60"))
	}
	advance(t, w, d, 26)
	schema := w.params.Day().Schema()
	stratum := must(schema.Stratum("male_65_up"))
	q, _ := schema.Question(privacy.StrataKey("heart_rate"))
	plan := must(schema.PlanDays(q.Slot, privacy.WantMean, 1, privacy.MaxRhoMicro))
	r := must(schema.Result(q.Slot, opened(t, w, d, q.Key, epochDay, sealedDay(t, d, epochDay)), plan, w.params.Sharing().Pieces()))
	for i, g := range r.Strata.Groups {
		if want := map[bool]float64{true: 1}[i == stratum]; float64(g.N) < want-6*g.NSD || float64(g.N) > want+6*g.NSD {
			t.Errorf("%s has %d people, want %v within %.2f", g.Stratum, g.N, want, 6*g.NSD)
		}
	}
}

// TestDayRowsTravelToReceipts, in the blob of the rows of their hours, and are forgotten
// once members hold them.
func TestDayRowsTravelToReceipts(t *testing.T) {
	w := newDayWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 50)
	if n := must(d.Waiting()); n != 50+2+2 {
		t.Errorf("%d rows and days wait, want 50, 2 day rows and 2 roots", n)
	}
	row := slices.Clone(sealedDay(t, d, epochDay))
	if r := syncs(t, h); r.Anchored != 54 || len(w.blobs) != 1 {
		t.Errorf("%+v in %d blobs", r, len(w.blobs))
	}
	w.findAvailable(2)
	if r := syncs(t, h); r.Receipts != 54 || r.Awaited != 0 {
		t.Errorf("%+v", r)
	}
	receipt, ok, err := d.Receipt(record.KindPersonDay, epochDay)
	if err != nil || !ok || receipt.Pointer.Pointer.Commitment != record.SumID(row) {
		t.Errorf("receipt of the day row: %t, %v", ok, err)
	}
	if sealedDay(t, d, epochDay) != nil || sealedDay(t, d, epochDay+1) != nil {
		t.Error("rows are kept though there are receipts")
	}
	hours := newWorld(t)
	other := hours.enrolled(hours.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	if _, _, err := other.Receipt(record.KindPersonDay, epochDay); err == nil {
		t.Error("a network of hours has receipts of day rows")
	}
}

// TestADayRowThatCameTooLateKeepsNoRows: what the ledger never takes is not offered for
// ever with its whole blob.
func TestADayRowThatCameTooLateKeepsNoRows(t *testing.T) {
	w := newDayWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 30)
	w.at(epochStart + 8*86400 + 7200) // due until two hours ago
	if r := syncs(t, h); len(r.Refused) != 2 || r.Anchored != 30 {
		t.Fatalf("%+v", r)
	}
	w.findAvailable(2)
	syncs(t, h)
	if uploads := must(d.outbox.uploads()); len(uploads) != 1 || uploads[0].RowsFrom == uploads[0].RowsUntil {
		t.Errorf("while clocks may differ it is offered again: %+v", uploads)
	}
	w.at(epochStart + 9*86400 + 7200)
	syncs(t, h)
	w.at(epochStart + 10*86400 + 7200)
	syncs(t, h)
	if uploads := must(d.outbox.uploads()); len(uploads) != 1 || uploads[0].RowsFrom != uploads[0].RowsUntil {
		t.Errorf("left: %+v", uploads)
	}
	if err := d.Advance(t.Context(), epochStart+31*3600); err != nil {
		t.Fatal(err)
	}
	syncs(t, h)
	w.findAvailable(2)
	syncs(t, h)
	if sealedRow(t, d, hour0) != nil {
		t.Error("a row that the members keep is still here after the next receipt")
	}
	if refused := must(d.Refused()); len(refused) != 2 {
		t.Errorf("refused %+v", refused)
	}
}

// However the caller turns it, a day has one row, ever: two under its one polynomial
// would open their difference to everyone.
func TestAttackSealADayTwice(t *testing.T) {
	w := newDayWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	push(t, d, at(t, 5, "60"))
	advance(t, w, d, 26)
	row := slices.Clone(sealedDay(t, d, epochDay))
	// Late data, and advancing again, also with an earlier clock, and after a crash.
	d2, _ := w.hub(crashed(t, dir)).Device(d.ID())
	for _, x := range []*Device{d, d2} {
		push(t, x, at(t, 6, "90"))
		for _, now := range []int64{26, 10, 40} {
			if err := x.Advance(t.Context(), epochStart+now*3600); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(row, sealedDay(t, x, epochDay)) {
			t.Error("the row of a sealed day changed")
		}
	}
	// A store whose mark was turned back, with and without the row.
	for _, forgotten := range []bool{false, true} {
		back := must(Open(w.config(crashed(t, dir))))
		t.Cleanup(func() { _ = back.Close() })
		x, _ := back.Device(d.ID())
		if forgotten {
			if err := x.vault.DB().Delete(x.vault.key(kindDayRow, ordered(epochDay)...), nil); err != nil {
				t.Fatal(err)
			}
		}
		x.mu.Lock()
		x.state.DaysUntil = epochDay
		x.mu.Unlock()
		if err := x.Advance(t.Context(), epochStart+50*3600); !errors.Is(err, ErrDamaged) {
			t.Errorf("sealing with the mark turned back: %v", err)
		}
		if got := sealedDay(t, x, epochDay); !forgotten && !bytes.Equal(row, got) || forgotten && got != nil {
			t.Error("there is another row")
		}
	}
	// The sealer alone remembers as well, while it has the key.
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range 2 {
		if _, err := d.sealer.dayRow(&wearable.Day{Number: 5}, 0); (i == 1) != errors.Is(err, he.ErrSealedTwice) {
			t.Errorf("sealing number %d: %v", i, err)
		}
	}
	d.sealer.forget()
}

// A copy of the store from before a day was sealed is put back: no hour was sealed since,
// as the device had finished, so only days tell.
func TestAttackRollBackADay(t *testing.T) {
	for name, kept := range map[string]bool{"rollback guard kept": true, "both restored: the ledger is ahead": false} {
		t.Run(name, func(t *testing.T) {
			w := newDayWorld(t)
			dir := filepath.Join(t.TempDir(), "hub")
			h := w.hub(dir)
			d := w.enrolled(h, "heart_rate")
			w.at(epochStart + 20*3600)
			if err := d.Finish(t.Context(), hour0+20, epochStart+20*3600); err != nil {
				t.Fatal(err)
			}
			syncs(t, h)
			old := crashed(t, dir)
			advance(t, w, d, 24)
			if sealedDay(t, d, epochDay) == nil {
				t.Fatal("the day is not sealed")
			}
			syncs(t, h)
			w.findAvailable(2)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			if kept {
				if err := os.WriteFile(old+".mark", must(os.ReadFile(dir+".mark")), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			again := w.hub(old)
			d2, _ := again.Device(d.ID())
			if kept != (d2.Retired() != "") {
				t.Fatalf("retired when opened: %q", d2.Retired())
			}
			uploaded := len(w.blobs)
			if !kept {
				push(t, d2, at(t, 6, "99"))
				advance(t, w, d2, 24) // a second row, of another day
				if _, err := again.Sync(t.Context()); !errors.Is(err, ErrRetired) {
					t.Errorf("synced: %v", err)
				}
			}
			if len(w.blobs) != uploaded {
				t.Error("a second row left for a day that has one")
			}
			retired(t, w, again, d2)
		})
	}
}

// A mark of a version without day rows covers no day.
func TestMarksFromBeforeThereWereDayRowsCoverNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mark")
	id := record.SumID([]byte("device"))
	if err := os.WriteFile(path, []byte(`{"version":3,"sealed":{"`+id.String()+`":7},"corrected":{"`+id.String()+`":2}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	m := must(loadMarks(path))[id]
	if m.Hour != 7 || m.Corrected != 2 || m.ahead(&deviceState{SealedUntil: 7, Corrected: 2, DaysUntil: -4}) {
		t.Errorf("mark %+v", m)
	}
	if !m.ahead(&deviceState{SealedUntil: 7, Corrected: 1, DaysUntil: -4}) {
		t.Error("a store with fewer corrections passes")
	}
}

// A gateway hands out a receipt of the day root where one of the day row is asked for, both
// under the device's own signature: that proves no copy of the store.
func TestAttackReceiptOfAnotherKind(t *testing.T) {
	w := newDayWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := sealedFor(t, w, h, 26)
	syncs(t, h)
	w.findAvailable(2)
	root := w.pointers[ledgerName{d.ID(), record.KindDay, epochDay, 0}]
	w.mangle = func(r *record.Receipt) {
		if r.Pointer.Pointer.Kind == record.KindPersonDay {
			b := w.batches[root.batch]
			r.Pointer, r.Leaf, r.Path = root.signed, root.leaf, record.Path(b.leaves, root.leaf)
		}
	}
	if _, err := h.Sync(t.Context()); !errors.Is(err, ErrReceipt) || !strings.Contains(err.Error(), "not a person-day") {
		t.Errorf("a receipt of another kind: %v", err)
	}
	if d.Retired() != "" {
		t.Error("a lying gateway retired the device")
	}
	w.mangle = nil
	syncs(t, h)
	if _, ok, err := d.Receipt(record.KindPersonDay, epochDay); !ok || err != nil {
		t.Errorf("honest again: %t, %v", ok, err)
	}
}

// TestADayThatCouldNotBeWrittenLeavesNoTrace: the batch is one, so there is no day root
// without its row, nor a row without what opens its day.
func TestADayThatCouldNotBeWrittenLeavesNoTrace(t *testing.T) {
	w := newDayWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "heart_rate")
	push(t, d, at(t, 5, "60"))
	advance(t, w, d, 25)
	full := errors.New("no space left on device")
	d.mu.Lock()
	err := d.seal(func(s *sealing) error {
		if err := s.run(hour0+26, epochDay+1); err != nil {
			return err
		}
		return full // as it would be when the batch is written
	})
	d.mu.Unlock()
	if !errors.Is(err, full) {
		t.Fatal(err)
	}
	if err := d.Advance(t.Context(), epochStart+26*3600); !errors.Is(err, full) {
		t.Errorf("it goes on: %v", err)
	}
	d2, _ := w.hub(crashed(t, dir)).Device(d.ID())
	if sealedDay(t, d2, epochDay) != nil || must(d2.vault.Has(d2.vault.key(kindOpening, ordered(epochDay)...))) {
		t.Fatal("something of the day is there")
	}
	advance(t, w, d2, 26)
	wantDay(t, w, d2, 0, dayOf(t, d2, epochDay), sealedDay(t, d2, epochDay), "heart_rate")
	// A row without its root is found out, and not replaced.
	d3, _ := w.hub(crashed(t, dir)).Device(d.ID())
	if err := d3.vault.Update(true, func(b *pebble.Batch) error {
		return d3.vault.Set(b, d3.vault.key(kindDayRow, ordered(epochDay)...), []byte("a row"))
	}); err != nil {
		t.Fatal(err)
	}
	if err := d3.Advance(t.Context(), epochStart+26*3600); !errors.Is(err, ErrDamaged) {
		t.Errorf("a day with a row is sealed: %v", err)
	}
}
