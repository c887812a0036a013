package privacy

import (
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestLayoutIsPinned: the digest of every schema and every field's place are in
// testdata. They never change under this name.
func TestLayoutIsPinned(t *testing.T) {
	for _, s := range append(Schemas(), V3().Day()) {
		type pinned struct {
			Name      string
			Digest    record.ID
			Strata    []string   `json:",omitempty"`
			Questions []Question `json:",omitempty"`
			Fields    map[string][]Field
		}
		v := pinned{s.Name, s.Digest(), s.Strata(), nil, map[string][]Field{}}
		for _, q := range s.Questions() {
			v.Fields[q.Key] = s.Fields(q.Slot)
			if q.Shape != ShapeMetric {
				v.Questions = append(v.Questions, q)
			}
		}
		got, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", strings.ReplaceAll(s.Name, "/", "-")+".json")
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(got)+"\n" {
			t.Errorf("the layout of %s has changed: it needs a new name (go test -update)", s.Name)
		}
	}
}

// TestFieldsDoNotOverlap: each field lies within 128 bits, apart from the others,
// in a coefficient of its own question, and has room for 2^30 rows.
func TestFieldsDoNotOverlap(t *testing.T) {
	for s, coefficients := range map[*Schema]int{V1(): 55, V2(): 94, V3(): 55, V3().Day(): 98} {
		if s.Coefficients() != coefficients {
			t.Errorf("a row of %s has %d coefficients", s.Name, s.Coefficients())
		}
		used, owner := map[[2]int]bool{}, map[int]string{}
		for _, q := range s.Questions() {
			for _, c := range s.MetricCoefficients(q.Slot) {
				if owner[c] != "" || c < 0 || c >= coefficients {
					t.Errorf("coefficient %d is of %s and of %s", c, owner[c], q.Key)
				}
				owner[c] = q.Key
			}
			fields := map[Shape]int{ShapeMetric: 3 + Buckets, ShapePair: 6, ShapeStrata: 2 * len(s.Strata()), ShapePerson: 8 + wearable.Buckets}[q.Shape]
			if len(s.Fields(q.Slot)) != fields {
				t.Errorf("%s has %d fields, not %d", q.Key, len(s.Fields(q.Slot)), fields)
			}
			names := map[string]bool{}
			for _, f := range s.Fields(q.Slot) {
				if owner[f.Coeff] != q.Key || f.Shift+f.Width > PayloadBits || names[f.Name] {
					t.Errorf("%s: field %s is outside of its coefficients or there twice", q.Key, f.Name)
				}
				names[f.Name] = true
				if f.Max >= 1<<(f.Width-1-RowBits) {
					t.Errorf("%s: field %s has no room for 2^%d rows", q.Key, f.Name, RowBits)
				}
				for b := f.Shift; b < f.Shift+f.Width; b++ {
					if used[[2]int{f.Coeff, b}] {
						t.Fatalf("%s: field %s overlaps another", q.Key, f.Name)
					}
					used[[2]int{f.Coeff, b}] = true
				}
			}
		}
		if len(owner) != coefficients-1 || owner[s.ZeroCoefficient()] != "" || s.ZeroCoefficient() != coefficients-1 {
			t.Errorf("%d of %d coefficients of %s belong to a question; all but the zero coefficient %d should", len(owner), coefficients, s.Name, s.ZeroCoefficient())
		}
	}
	if V1().MetricCoefficients(9) != nil || V1().Fields(-1) != nil || V1().MetricCoefficients(pairSlot) != nil {
		t.Error("slots that the schema does not have have coefficients")
	}
}

// TestTheSecondSchemaBeginsLikeTheFirst: what is known about a metric's
// coefficients holds in both, and each is found by its digest alone.
func TestTheSecondSchemaBeginsLikeTheFirst(t *testing.T) {
	for slot := range V1().Slots() {
		if !slices.Equal(V1().Fields(slot), V2().Fields(slot)) {
			t.Errorf("slot %d is laid out differently", slot)
		}
	}
	for _, s := range Schemas() {
		if got, ok := SchemaByDigest(s.Digest()); !ok || got != s {
			t.Errorf("%s is not found by its digest", s.Name)
		}
		if got, ok := SchemaByName(s.Name); !ok || got != s {
			t.Errorf("%s is not found by its name", s.Name)
		}
	}
	if _, ok := SchemaByDigest(record.ID{1}); ok {
		t.Error("a digest of nothing names a schema")
	}
	if _, ok := V1().Question("heart_rate*spo2"); ok {
		t.Error("vitals-v1 has pairs")
	}
}

// drawCodes draws an hour of readings of a metric.
func drawCodes(t *rapid.T, m wearable.Metric) []uint16 {
	return rapid.SliceOfN(rapid.Uint16Range(0, m.MaxCode()), 0, MinutesPerRow).Draw(t, "codes")
}

// TestSumsOfRowsDecodeToSums: packing is additive up to the bounds, in any number
// of rows, with the extreme hours among them.
func TestSumsOfRowsDecodeToSums(t *testing.T) {
	s := V1()
	rapid.Check(t, func(t *rapid.T) {
		m := wearable.Vitals()[rapid.IntRange(0, 8).Draw(t, "slot")]
		var want Totals
		sums := make([]*big.Int, MetricCoefficients)
		for i := range sums {
			sums[i] = new(big.Int)
		}
		for range rapid.IntRange(1, 5).Draw(t, "kinds") {
			h, err := s.Stats(m, drawCodes(t, m))
			if err != nil {
				t.Fatal(err)
			}
			times := rapid.Int64Range(1, 1<<RowBits/5).Draw(t, "times")
			packed, err := s.Encode(m.Slot, h)
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range packed {
				sums[i].Add(sums[i], new(big.Int).Mul(p.Big(), big.NewInt(times)))
			}
			want.N += times * h.N
			want.Sum += times * h.Sum
			want.SumSq += times * h.SumSq
			for i, b := range h.Buckets {
				want.Buckets[i] += times * b
			}
		}
		got, err := s.Decode(m.Slot, sums)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Fatalf("decoded %+v, want %+v", got, want)
		}
	})
}

// TestFullFieldsDecode: every field at the largest and at the smallest value that
// 2^30 rows can give, all at once.
func TestFullFieldsDecode(t *testing.T) {
	s := V1()
	for slot := range s.Slots() {
		for _, sign := range []int64{1, -1} {
			coeffs := make([]*big.Int, MetricCoefficients)
			for i := range coeffs {
				coeffs[i] = new(big.Int)
			}
			var want Totals
			first := s.MetricCoefficients(slot)[0]
			for _, f := range s.Fields(slot) {
				v := sign * f.Max << RowBits
				want.set(f, v)
				coeffs[f.Coeff-first].Add(coeffs[f.Coeff-first], new(big.Int).Lsh(big.NewInt(v), uint(f.Shift)))
			}
			got, err := s.Decode(slot, coeffs)
			if err != nil || got != want {
				t.Errorf("slot %d, sign %d: %+v (%v)", slot, sign, got, err)
			}
		}
	}
}

// TestStatsAreThoseOfTheReadings: a known hour.
func TestStatsAreThoseOfTheReadings(t *testing.T) {
	m, _ := wearable.ByKey("heart_rate")
	codes := make([]uint16, MinutesPerRow)
	for i, v := range []int64{72, 20, 220, 84} {
		codes[i*7], _ = m.Code(v)
	}
	h, err := V1().Stats(m, codes)
	if err != nil {
		t.Fatal(err)
	}
	want := HourStats{N: 4, Sum: -48 - 100 + 100 - 36, SumSq: 48*48 + 100*100 + 100*100 + 36*36}
	for _, v := range []int64{72, 20, 84} {
		b, _ := m.Bucket(v)
		want.Buckets[b]++
	}
	if h != want {
		t.Errorf("got %+v, want %+v", h, want)
	}
	if got := (Totals{h}).Counts()[Buckets]; got != 1 {
		t.Errorf("the last bucket holds %d, want the one reading at the maximum", got)
	}
	if _, err := V1().Stats(m, []uint16{m.MaxCode() + 1}); err == nil {
		t.Error("a code beyond the range was counted")
	}
	if _, err := V1().Stats(m, make([]uint16, 61)); err == nil {
		t.Error("61 minutes were counted as an hour")
	}
}

// TestImpossibleStatisticsAreNotSealed: the clipping that sensitivity relies on.
func TestImpossibleStatisticsAreNotSealed(t *testing.T) {
	for name, h := range map[string]HourStats{
		"61 readings":         {N: 61},
		"negative count":      {N: -1},
		"sum out of range":    {N: 1, Sum: 101, SumSq: 10000},
		"square out of range": {N: 1, Sum: 100, SumSq: 10001},
		"negative variance":   {N: 2, Sum: 100, SumSq: 4999},
		"negative square":     {N: 0, SumSq: -1},
		"too many in buckets": {N: 1, Buckets: [Buckets]int64{1, 1}},
		"negative bucket":     {N: 1, Buckets: [Buckets]int64{2, -1}},
		"huge bucket":         {N: 1, Buckets: [Buckets]int64{1 << 62, 1 << 62, 1 << 62, 1 << 62}},
	} {
		if _, err := V1().Encode(0, h); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
	if _, err := V1().Encode(9, HourStats{}); err == nil {
		t.Error("encoded for a slot that the schema does not have")
	}
}

// TestGarbageDoesNotDecode: a coefficient with bits above its fields is refused.
func TestGarbageDoesNotDecode(t *testing.T) {
	s := V1()
	zero := func() []*big.Int {
		c := make([]*big.Int, MetricCoefficients)
		for i := range c {
			c[i] = new(big.Int)
		}
		return c
	}
	high := zero()
	high[0].Lsh(big.NewInt(1), 120)
	if _, err := s.Decode(0, high); err == nil || !strings.Contains(err.Error(), "overflowed") {
		t.Errorf("bits above the fields: %v", err)
	}
	if _, err := s.Decode(0, zero()[1:]); err == nil {
		t.Error("five coefficients were decoded")
	}
	missing := zero()
	missing[3] = nil
	if _, err := s.Decode(0, missing); err == nil {
		t.Error("a missing coefficient was decoded")
	}
}

// TestPayloadsAreSigned128BitNumbers: words and big numbers agree.
func TestPayloadsAreSigned128BitNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, shift := rapid.Int64().Draw(t, "v"), rapid.IntRange(0, 127).Draw(t, "shift")
		want := Centre(new(big.Int).Lsh(big.NewInt(v), uint(shift)))
		if got := shifted(v, shift).Big(); got.Cmp(want) != 0 {
			t.Fatalf("%d << %d is %s, want %s", v, shift, got, want)
		}
		p := Payload{rapid.Uint64().Draw(t, "lo"), rapid.Uint64().Draw(t, "hi")}
		if PayloadOf(p.Big()) != p {
			t.Fatalf("%v does not survive", p)
		}
		sum := p.Plus(shifted(v, shift)).Big()
		if sum.Cmp(Centre(want.Add(want, p.Big()))) != 0 {
			t.Fatal("the sum is wrong")
		}
	})
}
