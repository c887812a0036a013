package institution

import (
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/column"
	"github.com/vitalveil/vitalveil/wearable"
)

func withDays(g *record.Genesis) { g.Schema = privacy.V3().Digest() }

// A day row counts as the row of its own day and of nothing else: members vouch for no
// pointer that takes it for an hour's, an hour's for it, or one day's for another's.
func TestAttackRowsOfDaysAndHoursPassedOffForEachOther(t *testing.T) {
	w := newWorld(t, withDays)
	w.enrol(1)
	d := w.patients[0].device
	const day = firstHour / 24
	w.Tick((day + 4) * 86400)
	hour, days := d.Measure(firstHour, privacy.Hour{}), []record.BlobRow{}
	for i := range int64(3) {
		days = append(days, d.MeasureDay(&wearable.Day{Number: day + i}))
	}
	short, astray := hour, days[2] // an hour's bytes in a day row's place; a day row of no day
	short.Hour, short.Correction = firstHour+24*3, record.PersonDayMark
	astray.Hour++
	honest := d.Upload(hour, days[0], days[1])
	worse := d.Upload(short)
	blob := honest[0].Pointer.Blob
	lie := func(kind string, index int64, commitment record.ID) record.SignedPointer {
		return d.Pointer(record.Pointer{Device: d.ID, Kind: kind, Index: index, Blob: blob, Commitment: commitment})
	}
	rowOf, dayRowOf := record.SumID(hour.Row), func(i int) record.ID { return record.SumID(days[i].Row) }
	lies := []record.SignedPointer{
		lie(record.KindRow, firstHour+1, dayRowOf(0)),
		lie(record.KindRow, firstHour+24, dayRowOf(1)), // where that day begins
		lie(record.KindPersonDay, day+2, dayRowOf(1)),
	}
	lies = append(lies, worse...)
	w.Anchor(append(honest, lies...)...)
	w.everywhere("what is honest is available", func(in *Institution) bool { return in.Index().Counts().Available >= len(honest) })
	count := 0
	for _, kind := range []string{record.KindRow, record.KindPersonDay} {
		for _, r := range consortium.Must(w.members[hospitalB].Index().Receipts(d.ID, kind, 0, firstHour*2)) {
			count++
			if p := r.Pointer.Pointer; kind == record.KindRow && p.Index != firstHour || kind == record.KindPersonDay && p.Index > day+1 {
				t.Errorf("members vouch for %s %d", p.Kind, p.Index)
			}
		}
	}
	if count != len(honest) {
		t.Errorf("%d pointers have receipts, %d are honest", count, len(honest))
	}
	// In the place of a day there is nothing but the day's own.
	for name, p := range map[string]record.Pointer{
		"an hour's row": lie(record.KindPersonDay, day, rowOf).Pointer,
		"no such place": {Device: d.ID, Kind: record.KindPersonDay, Index: day + 2, Blob: w.put(consortium.Must(record.EncodeRows(d.ID, []record.BlobRow{astray}))), Commitment: dayRowOf(2)},
	} {
		if row := consortium.Must(w.members[hospitalA].rows.of(t.Context(), p)); row.hash == p.Commitment {
			t.Errorf("%s is found as a day row", name)
		}
	}
}

// In a network of hours a day row is no row.
func TestAttackDayRowInABlobOfANetworkOfHours(t *testing.T) {
	w := newWorld(t)
	w.enrol(1)
	d := w.patients[0].device
	row := d.Measure(firstHour, privacy.Hour{})
	row.Correction = record.PersonDayMark
	blob, pointers := d.Rows(row)
	w.put(blob)
	if got := consortium.Must(w.members[hospitalA].rows.of(t.Context(), pointers[0].Pointer)); got.row != nil {
		t.Error("it is found")
	}
	var r record.AnchorResult
	w.Must(msps[hospitalA], contracts.PointerAnchor, record.Anchor{Pointers: pointers}, &r)
	if r.Items[0].Outcome != record.Refused {
		t.Errorf("it is %s", r.Items[0].Outcome)
	}
}

// An erasure takes a device's day rows out of the columns too, and what was on its way
// when it went does not come back.
func TestErasedDeviceLeavesNoDayRowBehind(t *testing.T) {
	w := dayWorld(t, 11, 2)
	in := w.members[hospitalB].Institution
	device := w.patients[3].device.ID
	params := in.params.Day()
	held := func() int64 {
		want := must(column.Want(params, []record.CohortMember{{Device: device, Ranges: [][2]int64{{firstHour, firstHour + 48}}}}, in.numbers))
		sum := must(params.NewSum(params.Schema().MetricCoefficients(0)))
		must(in.days.columns.AddTo(t.Context(), sum, want))
		return sum.Rows()
	}
	in.rows.flush()
	if n := held(); n != 2 {
		t.Fatalf("columns have %d day rows of the device, want 2", n)
	}
	w.check(in.seeds.drop(device))
	for _, b := range in.index.Batches(0) {
		in.attester.inspect(t.Context(), b, nil)
	}
	in.rows.flush()
	if n := held(); n != 0 {
		t.Errorf("columns have %d day rows of the device", n)
	}
}
