package he

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// largeCohort is what a part of a cohort adds up to.
type largeCohort struct {
	sums []*Sum // by slot
	keys []KeySum
	want []privacy.Totals
}

// sealMany seals one row of each of count devices, among them rows at the very
// bounds of every field, and adds them up.
func sealMany(t *testing.T, p *Params, w Window, seed uint64, count int) *largeCohort {
	r := rand.New(rand.NewPCG(seed, 5))
	c := &largeCohort{want: make([]privacy.Totals, p.Schema().Slots())}
	for slot := range p.Schema().Slots() {
		c.sums = append(c.sums, sumOf(t, p, slot, nil))
	}
	for range p.Sharing().Pieces() {
		c.keys = append(c.keys, p.NewKeySum())
	}
	for range count {
		d := newTestDevice(t, p, testContext)
		payloads, stats := randomRow(t, p.Schema(), r)
		row := d.seal(t, p, testContext, w, payloads)
		for slot, sum := range c.sums {
			if err := sum.Add(row); err != nil {
				t.Error(err)
				return c
			}
			accumulate(&c.want[slot], stats[slot])
		}
		for piece, s := range d.seeds {
			if err := c.keys[piece].Add(p.Expand(testContext, d.id, piece, s)); err != nil {
				t.Error(err)
				return c
			}
		}
	}
	return c
}

// TestThousandsOfDevicesOpenExactly: 5,000 devices, each really enrolled and sealed
// (20,000 with VITALVEIL_SOAK=1), open to exactly what their plain numbers add up
// to, in every figure of every metric. Two parts are summed apart and merged.
func TestThousandsOfDevicesOpenExactly(t *testing.T) {
	devices := 5_000
	if os.Getenv("VITALVEIL_SOAK") == "1" {
		devices = 20_000
	}
	if testing.Short() || raced {
		devices = 200
	}
	p := defaultParams(t)
	w := Window{Hour: 482136}
	var parts [2]*largeCohort
	var done sync.WaitGroup
	for i := range parts {
		done.Go(func() { parts[i] = sealMany(t, p, w, uint64(i), devices/2) })
	}
	done.Wait()
	if t.Failed() {
		return
	}
	groups := make([][]KeyGroup, p.Sharing().Pieces())
	for piece := range groups {
		for _, part := range parts {
			groups[piece] = append(groups[piece], KeyGroup{[]Window{w}, part.keys[piece]})
		}
	}
	for slot := range p.Schema().Slots() {
		want, sum := parts[0].want[slot], parts[0].sums[slot]
		accumulate(&want, parts[1].want[slot].HourStats)
		if err := sum.Merge(parts[1].sums[slot]); err != nil {
			t.Fatal(err)
		}
		got, ok := opens(p, slot, sum, allShares(t, p, slot, groups, int64(devices), nil))
		if !ok || got != want {
			t.Errorf("slot %d opens to %+v (%v), the data add up to %+v", slot, got, ok, want)
		}
	}
}

// TestTooLargeOrForeignIsRefusedNeverWrong: what a field or a profile has no room
// for, and what was made under other parameters, gives an error and no number.
func TestTooLargeOrForeignIsRefusedNeverWrong(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	w := Window{Hour: 1}
	row := d.seal(t, p, testContext, w, smallRow(t, p, 60, 5))
	shares := allShares(t, p, 0, groupsOf(t, p, []*testDevice{d}, w), 1, nil)
	columns, err := p.Columns(p.Schema().MetricCoefficients(0))
	if err != nil {
		t.Fatal(err)
	}
	packed, err := columns.Append(nil, row)
	if err != nil {
		t.Fatal(err)
	}
	full := sumOf(t, p, 0, [][]byte{row})
	full.rows = p.profile.MaxRows
	for name, err := range map[string]error{
		"a row":    full.Add(row),
		"a sum":    full.Merge(sumOf(t, p, 0, [][]byte{row})),
		"a column": columns.AddTo(full, packed),
	} {
		if err == nil || full.Rows() != p.profile.MaxRows {
			t.Errorf("%s was added to a sum that is full", name)
		}
	}
	tight, err := New(TightProfile(), privacy.V1(), p.Sharing())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tight.Open(sumOf(t, p, 0, [][]byte{row}), shares); err == nil {
		t.Error("a sum of one profile was opened under another")
	}
	if err := sumOf(t, p, 0, nil).Merge(sumOf(t, tight, 0, nil)); err == nil {
		t.Error("sums of two profiles were merged")
	}
	if _, err := tight.Seal(testContext, d.key, Window{Hour: 2}, smallRow(t, p, 1, 1)); err == nil {
		t.Error("a key of one profile sealed under another")
	}
	wide := sumOf(t, p, 1, [][]byte{row})
	if totals, ok := opens(p, 0, wide, shares); ok {
		t.Errorf("shares of one metric open another: %+v", totals)
	}
}
