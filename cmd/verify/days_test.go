package verify

import (
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
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
