package verify

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
)

// TestDayRowsAreCheckedAsRowsOfDays: an hour's row is none, and a network of hours has none.
func TestDayRowsAreCheckedAsRowsOfDays(t *testing.T) {
	c := consortium.New(t, func(g *record.Genesis) { g.Schema = privacy.V3().Digest() })
	c.Seal()
	hour, day := consortium.Junk(c.Params, 1), consortium.Junk(c.Params.Day(), 1)
	hours := consortium.New(t)
	hours.Seal()
	for name, is := range map[string]struct {
		err  error
		want bool
	}{
		"an hour's row":                 {checkRow(c.Params, record.BlobRow{Row: hour}), true},
		"a day row":                     {checkRow(c.Params, record.BlobRow{Correction: record.PersonDayMark, Row: day}), true},
		"an hour's row in its place":    {checkRow(c.Params, record.BlobRow{Correction: record.PersonDayMark, Row: hour}), false},
		"a day row in an hour's place":  {checkRow(c.Params, record.BlobRow{Row: day}), false},
		"a day row where there is none": {checkRow(hours.Params, record.BlobRow{Correction: record.PersonDayMark, Row: day}), false},
	} {
		if (is.err == nil) != is.want {
			t.Errorf("%s: %v", name, is.err)
		}
	}
}

// TestAttackARowOfAnothersBlob: a device that points to another's row, right after the
// other has, is found out although the blob was just read.
func TestAttackARowOfAnothersBlob(t *testing.T) {
	w := consortium.New(t, func(g *record.Genesis) { g.Schema = privacy.V3().Digest() })
	w.Seal()
	owner, thief := w.NewPatient().NewDevice(consortium.StartHour, "heart_rate"), w.NewPatient().NewDevice(consortium.StartHour, "heart_rate")
	data, own := owner.Rows(record.BlobRow{Hour: 24 * consortium.StartDay, Correction: record.PersonDayMark, Row: consortium.Junk(w.Params.Day(), 1)})
	stolen := own[0].Pointer
	stolen.Device = thief.ID
	c := newChecker(record.Descriptor{Genesis: w.Genesis})
	c.schema = privacy.V3()
	var err error
	if c.blobs, err = blob.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer c.blobs.Close()
	if _, err := c.blobs.Put(t.Context(), data); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*consortium.Device{owner, thief} {
		c.devices[d.ID] = record.DeviceState{ID: d.ID, Device: d.Enrolment.Device}
	}
	c.anchored = []record.PointerState{{Signed: own[0]}, {Signed: thief.Pointer(stolen), Leaf: 1}}
	if c.pointers(t.Context()); len(c.failures) != 1 || !strings.Contains(c.failures[0], thief.ID.Short()) {
		t.Errorf("found: %q", c.failures)
	}
}
