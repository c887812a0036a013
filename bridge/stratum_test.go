package bridge

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
)

// openRows opens the sum of a device's rows on one question, with the shares of all
// pieces, as institutions do; rho 0 is exact.
func openRows(t *testing.T, w *world, d *Device, key string, rho uint64, rows map[he.Window][]byte) privacy.Result {
	t.Helper()
	p := w.params
	q, ok := p.Schema().Question(key)
	if !ok {
		t.Fatalf("no question %s", key)
	}
	var plan *privacy.Plan
	if rho > 0 {
		plan = must(p.Schema().Plan(q.Slot, int64(len(rows)), rho))
	}
	coeffs := p.Schema().MetricCoefficients(q.Slot)
	sum := must(p.NewSum(coeffs))
	var windows []he.Window
	for win, row := range rows {
		if err := sum.Add(row); err != nil {
			t.Fatal(err)
		}
		windows = append(windows, win)
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
			v := must(p.KeyProduct(ctx, coeffs, []he.KeyGroup{{Windows: windows, Secret: secret}}))
			shares[piece] = must(p.Share(he.NewPieceKey(), he.ShareRequest{
				Network: ctx.Network, Query: "q", Piece: piece, CohortRoot: record.ID{1}, Slot: q.Slot, Coeffs: coeffs, Plan: plan, Rows: sum.Rows(),
			}, v))
		}
	}
	return must(p.Schema().Result(q.Slot, must(p.Open(sum, shares)), plan, p.Sharing().Pieces()))
}

// firstHourRow is the row of a device's first hour.
func firstHourRow(t *testing.T, d *Device) map[he.Window][]byte {
	t.Helper()
	return map[he.Window][]byte{{Hour: hour0}: sealedRow(t, d, hour0)}
}

// TestSealedRowsOpenToPairs: cross products are over the minutes in which both
// metrics were measured.
func TestSealedRowsOpenToPairs(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate", "spo2")
	push(t, d,
		reading(t, "heart_rate", epochStart, "60"), reading(t, "spo2", epochStart, "97.5"),
		reading(t, "heart_rate", epochStart+60, "90"), // alone in its minute
		reading(t, "heart_rate", epochStart+120, "100"), reading(t, "spo2", epochStart+125, "91"))
	if err := d.Advance(t.Context(), epochStart+3600); err != nil {
		t.Fatal(err)
	}
	r := openRows(t, w, d, "heart_rate*spo2", 0, firstHourRow(t, d)).Pair
	want := privacy.PairSums[int64]{N: 2, SumX: 160, SumY: 1885, SumSqX: 13600, SumSqY: 975*975 + 910*910, SumXY: 60*975 + 100*910}
	if r.Sums != want {
		t.Errorf("opened to %+v, want %+v", r.Sums, want)
	}
	if r.Slope.Value != (91-97.5)/40 {
		t.Errorf("slope %v", r.Slope.Value)
	}
}

// TestLateReadingsMakePairsWithEarlierOnes: an hour and its corrections count every
// minute that has both values in the end, once, whichever came late.
func TestLateReadingsMakePairsWithEarlierOnes(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate", "spo2")
	push(t, d,
		reading(t, "heart_rate", epochStart, "60"), reading(t, "spo2", epochStart, "97"), // in time
		reading(t, "heart_rate", epochStart+60, "70"), reading(t, "spo2", epochStart+120, "95"))
	advance(t, w, d, 1)
	push(t, d, reading(t, "spo2", epochStart+60, "96"), // for an early heart rate
		reading(t, "heart_rate", epochStart+180, "90")) // alone, for now
	if err := d.SealLate(t.Context()); err != nil {
		t.Fatal(err)
	}
	push(t, d, reading(t, "heart_rate", epochStart+120, "80"), // for an early SpO2
		reading(t, "spo2", epochStart+180, "94"), // for the late heart rate
		reading(t, "heart_rate", epochStart+240, "100"), reading(t, "spo2", epochStart+240, "93"))
	if err := d.SealLate(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := firstHourRow(t, d)
	for _, l := range lateRows(t, d) {
		rows[he.Window{Hour: l.Hour, Correction: l.Number}] = l.Row
	}
	var want privacy.PairSums[int64]
	for i := range int64(5) {
		x, y := 60+10*i, 970-10*i
		want.N++
		want.SumX += x
		want.SumY += y
		want.SumSqX += x * x
		want.SumSqY += y * y
		want.SumXY += x * y
	}
	if got := openRows(t, w, d, "heart_rate*spo2", 0, rows).Pair.Sums; got != want || len(rows) != 3 {
		t.Errorf("%d rows open to %+v, want %+v", len(rows), got, want)
	}
}

// TestRowsCountForThePatientsStratum: hours are sealed for the stratum that the
// device has been told, also after a restart, and for no other. Strata open with
// noise only, so the answer is the mean of many.
func TestRowsCountForThePatientsStratum(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	if d.Stratum() != privacy.Unstated {
		t.Errorf("a new device is in %s", d.Stratum())
	}
	if err := d.SetStratum("male_65"); err == nil {
		t.Error("a stratum that the schema does not have was taken")
	}
	if err := d.SetStratum("male_65_up"); err != nil {
		t.Fatal(err)
	}
	for minute := range int64(60) {
		push(t, d, reading(t, "heart_rate", epochStart+minute*60, "20"))
	}
	id := d.ID()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h = w.hub(dir)
	for _, reopened := range h.Devices() {
		if reopened.ID() == id {
			d = reopened
		}
	}
	if d.Stratum() != "male_65_up" {
		t.Errorf("after a restart the device is in %s", d.Stratum())
	}
	if err := d.Advance(t.Context(), epochStart+3600); err != nil {
		t.Fatal(err)
	}
	const times = 16
	means := map[string]float64{}
	var sd float64
	for range times {
		for _, g := range openRows(t, w, d, "heart_rate@stratum", privacy.MaxRhoMicro, firstHourRow(t, d)).Strata.Groups {
			means[g.Stratum] += float64(g.N) / times
			sd = g.NSD / 4 // of the mean of 16
		}
	}
	for _, name := range w.params.Schema().Strata() {
		want := 0.0
		if name == "male_65_up" {
			want = 60
		}
		if d := means[name] - want; d > 6*sd || d < -6*sd {
			t.Errorf("%s has %.1f readings, want %.0f within %.1f", name, means[name], want, 6*sd)
		}
	}
	if sd*12 > 60 {
		t.Errorf("noise of %.1f would hide a wrong stratum", sd)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint(err))
	}
	return v
}
