package column

import (
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/keysum"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// world is columns with sealed rows of some devices.
type world struct {
	params  *he.Params
	store   *store.Store
	dir     string
	columns *Columns
	devices map[record.ID]int
	ids     []record.ID
	rows    map[[2]int][]byte // by device and hour
}

const columnHours = 30 // of two days

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{
		params: must(he.New(he.DefaultProfile(), privacy.V1(), must(he.NewSharing(3, 2)))), store: must(store.Open(filepath.Join(dir, "vault"), "")), dir: dir,
		devices: map[record.ID]int{}, rows: map[[2]int][]byte{},
	}
	t.Cleanup(func() { w.store.Close() })
	c := he.Context{Network: "n"}
	for d := range 5 {
		id := record.SumID([]byte{byte(d)})
		w.devices[id] = d
		w.ids = append(w.ids, id)
		var seeds []he.Seed
		for range w.params.Sharing().Pieces() {
			seeds = append(seeds, he.NewSeed())
		}
		key := must(w.params.NewDeviceKey(c, id, seeds))
		for h := range columnHours {
			w.rows[[2]int{d, h}] = must(w.params.Seal(c, key, he.Window{Hour: int64(h)}, make([]privacy.Payload, w.params.Schema().Coefficients())))
		}
	}
	w.open()
	return w
}

func (w *world) open() {
	w.columns = must(Open(w.params, "n", w.dir, w.store, keysum.NewNumbers(func(from int) []record.ID { return w.ids[from:] })))
}

func (w *world) add(t testing.TB, d, h int) {
	if err := w.columns.Add(w.ids[d], Row{he.Window{Hour: int64(h)}, w.rows[[2]int{d, h}]}); err != nil {
		t.Fatal(err)
	}
}

// sums returns what columns and the rows themselves give for a set of rows.
func (w *world) sums(t *rapid.T, slot int, set map[[2]int]bool) (*he.Sum, Wanted) {
	want := Wanted{}
	for at := range set {
		want.flip(at[0], he.Window{Hour: int64(at[1])})
	}
	got := must(w.params.NewSum(w.params.Schema().MetricCoefficients(slot)))
	_, err := w.columns.AddTo(t.Context(), got, want)
	if err != nil {
		t.Fatal(err)
	}
	return got, want
}

func TestColumnsGiveTheSumOfTheWantedRows(t *testing.T) {
	w := newWorld(t)
	here := map[[2]int]bool{}
	rapid.Check(t, func(r *rapid.T) {
		for range rapid.IntRange(0, 20).Draw(r, "rows") {
			at := [2]int{rapid.IntRange(0, 4).Draw(r, "device"), rapid.IntRange(0, columnHours-1).Draw(r, "hour")}
			w.add(t, at[0], at[1]) // again, for some
			here[at] = true
		}
		if err := w.columns.Flush(); err != nil {
			r.Fatal(err)
		}
		switch rapid.IntRange(0, 3).Draw(r, "then") {
		case 0:
			w.open()
		case 1: // a crash in the middle of a write
			for _, f := range must(filepath.Glob(filepath.Join(w.columns.dir, "*"))) {
				file := must(os.OpenFile(f, os.O_APPEND|os.O_WRONLY, 0))
				file.Write([]byte("1ocv\x07\x00\x00\x00 and no more"))
				file.Close()
			}
			w.open()
		}
		slot := rapid.IntRange(0, 8).Draw(r, "slot")
		set := map[[2]int]bool{}
		for d := range 5 {
			for h := range columnHours {
				if rapid.Bool().Draw(r, "wanted") {
					set[[2]int{d, h}] = true
				}
			}
		}
		got, left := w.sums(r, slot, set)
		direct := must(w.params.NewSum(w.params.Schema().MetricCoefficients(slot)))
		for at := range set {
			if here[at] == left.Has(at[0], he.Window{Hour: int64(at[1])}) {
				r.Fatalf("row %v: here %v, still wanted %v", at, here[at], left.Has(at[0], he.Window{Hour: int64(at[1])}))
			}
			if here[at] {
				if err := direct.Add(w.rows[at]); err != nil {
					r.Fatal(err)
				}
			}
		}
		if got.Rows() != direct.Rows() || !got.Equal(direct) {
			r.Fatal("columns give another sum than the rows")
		}
	})
}

// TestAttackTamperedColumns: whoever can write the files puts in other rows, or
// those of another day or metric; none is used.
func TestAttackTamperedColumns(t *testing.T) {
	w := newWorld(t)
	set := map[[2]int]bool{}
	for d := range 5 {
		for h := range columnHours {
			w.add(t, d, h)
			set[[2]int{d, h}] = true
		}
	}
	if err := w.columns.Flush(); err != nil {
		t.Fatal(err)
	}
	first, second := filepath.Join(w.columns.dir, "0-3"), filepath.Join(w.columns.dir, "1-3")
	honest := must(os.ReadFile(first))
	for what, data := range map[string][]byte{
		"a bit of a row":   flipped(honest, len(honest)-100),
		"a bit of a key":   flipped(honest, headerSize+2),
		"a bit of the MAC": flipped(honest, len(honest)-1),
		"another day's":    must(os.ReadFile(second)),
		"another metric's": must(os.ReadFile(filepath.Join(w.columns.dir, "0-4"))),
		"nothing":          nil,
		"a made-up header": []byte("1ocv\xff\xff\xff\xff"),
		"a header alone":   honest[:headerSize],
	} {
		if err := os.WriteFile(first, data, 0o600); err != nil {
			t.Fatal(err)
		}
		want := Wanted{}
		for at := range set {
			want.flip(at[0], he.Window{Hour: int64(at[1])})
		}
		got := must(w.params.NewSum(w.params.Schema().MetricCoefficients(3)))
		_, err := w.columns.AddTo(t.Context(), got, want)
		if err != nil || got.Rows() != 5*(columnHours-24) || want[0].Size() != 5*24 || want[1].Size() != 0 {
			t.Errorf("%s: %d rows were added (%v)", what, got.Rows(), err)
		}
	}
}

func flipped(b []byte, i int) []byte {
	out := append([]byte(nil), b...)
	out[i] ^= 1
	return out
}

func TestErasedDeviceIsInNoColumn(t *testing.T) {
	w := newWorld(t)
	for d := range 5 {
		w.add(t, d, 3)
	}
	w.add(t, 2, 27)
	w.add(t, 1, 28)
	if err := w.columns.Flush(); err != nil {
		t.Fatal(err)
	}
	w.add(t, 4, 29) // not written yet
	if err := w.columns.Drop(w.ids[4]); err != nil {
		t.Fatal(err)
	}
	for _, f := range must(filepath.Glob(filepath.Join(w.columns.dir, "*"))) {
		t.Errorf("%s is left", f)
	}
	w.add(t, 1, 3)
	if err := w.columns.Drop(w.ids[2]); err != nil {
		t.Fatal(err)
	}
	if files := must(filepath.Glob(filepath.Join(w.columns.dir, "0-*"))); len(files) != 9 {
		t.Errorf("%d files are left of a day without the device, want 9", len(files))
	}
}

// TestRowsGoIntoColumnsTogetherOrNotAtAll: rows of two days in one call, then some of
// which one is malformed.
func TestRowsGoIntoColumnsTogetherOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	row := func(h int) Row { return Row{he.Window{Hour: int64(h)}, w.rows[[2]int{1, h}]} }
	if err := w.columns.Add(w.ids[1], row(22), row(23), row(24), row(25)); err != nil {
		t.Fatal(err)
	}
	if err := w.columns.Add(w.ids[1], row(5), Row{he.Window{Hour: 6}, w.rows[[2]int{1, 6}][1:]}); err == nil {
		t.Error("a short row was taken")
	}
	if err := w.columns.Flush(); err != nil {
		t.Fatal(err)
	}
	want := Wanted{}
	rows := must(w.params.NewSum(w.params.Schema().MetricCoefficients(3)))
	for _, h := range []int{5, 6, 22, 23, 24, 25} {
		want.flip(w.devices[w.ids[1]], he.Window{Hour: int64(h)})
		if h > 6 {
			if err := rows.Add(w.rows[[2]int{1, h}]); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := must(w.params.NewSum(w.params.Schema().MetricCoefficients(3)))
	_, err := w.columns.AddTo(t.Context(), got, want)
	if err != nil || !got.Equal(rows) || want.Size() != 2 {
		t.Errorf("%d rows, %d are still wanted (%v)", got.Rows(), want.Size(), err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
