package he

import (
	"errors"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// randomRows are canonical rows of random residues.
func randomRows(p *Params, r *rand.Rand, count int) [][]byte {
	rows := make([][]byte, count)
	primes := p.profile.Primes
	for i := range rows {
		residues := make([]uint64, p.schema.Coefficients()*len(primes))
		for j := range residues {
			residues[j] = r.Uint64N(primes[j%len(primes)])
		}
		rows[i] = p.pack(residues)
	}
	return rows
}

// TestColumnsAddUpToTheRows: for any coefficients and any cutting of the rows into
// parts, on top of rows that were added one by one.
func TestColumnsAddUpToTheRows(t *testing.T) {
	p := defaultParams(t)
	rows := randomRows(p, rand.New(rand.NewPCG(3, 3)), 200)
	rapid.Check(t, func(t *rapid.T) {
		coeffs := p.schema.MetricCoefficients(rapid.IntRange(0, p.schema.Slots()-1).Draw(t, "slot"))
		if rapid.Bool().Draw(t, "one only") {
			coeffs = coeffs[rapid.IntRange(0, len(coeffs)-1).Draw(t, "coefficient"):][:1]
		}
		count := rapid.IntRange(0, len(rows)).Draw(t, "rows")
		plain, err := p.NewSum(coeffs)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := p.NewSum(coeffs)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := p.Columns(coeffs)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[:count] {
			if err := plain.Add(row); err != nil {
				t.Fatal(err)
			}
		}
		single := rapid.IntRange(0, count).Draw(t, "added one by one")
		for _, row := range rows[:single] {
			if err := sum.Add(row); err != nil {
				t.Fatal(err)
			}
		}
		var packed []byte
		for _, row := range rows[single:count] {
			if packed, err = columns.Append(packed, row); err != nil {
				t.Fatal(err)
			}
		}
		cut := rapid.IntRange(0, count-single).Draw(t, "cut") * columns.Size()
		for _, part := range [][]byte{packed[:cut], packed[cut:]} {
			if err := columns.AddTo(sum, part); err != nil {
				t.Fatal(err)
			}
		}
		plain.reduce()
		sum.reduce()
		if sum.Rows() != plain.Rows() {
			t.Fatalf("%d rows, want %d", sum.Rows(), plain.Rows())
		}
		for i, want := range plain.acc {
			if sum.acc[i] != want {
				t.Fatalf("residue %d is %d, want %d", i, sum.acc[i], want)
			}
		}
	})
}

// TestColumnsOpen: a sealed row that was stored in columns opens to its statistics.
func TestColumnsOpen(t *testing.T) {
	p := defaultParams(t)
	d := newTestDevice(t, p, testContext)
	coeffs := p.schema.MetricCoefficients(0)
	columns, err := p.Columns(coeffs)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := columns.Append(nil, d.seal(t, p, testContext, Window{}, smallRow(t, p, 60, 42)))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := p.NewSum(coeffs)
	if err != nil {
		t.Fatal(err)
	}
	if err := columns.AddTo(sum, packed); err != nil {
		t.Fatal(err)
	}
	opened, err := p.Open(sum, allShares(t, p, 0, groupsOf(t, p, []*testDevice{d}, Window{}), 1, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := decode(t, p, 0, opened); got.N != 60 || got.Sum != 42 {
		t.Errorf("opened n %d and sum %d", got.N, got.Sum)
	}
}

// TestColumnsRefuseWhatTheyAreNot: other lengths, other coefficients, residues above
// their primes, too many rows; the sum stays as it was.
func TestColumnsRefuseWhatTheyAreNot(t *testing.T) {
	p := defaultParams(t)
	coeffs := p.schema.MetricCoefficients(0)
	columns, err := p.Columns(coeffs)
	if err != nil {
		t.Fatal(err)
	}
	if columns.Size() != p.ShareBytes(len(coeffs)) {
		t.Errorf("a row in columns has %d bytes", columns.Size())
	}
	row := randomRows(p, rand.New(rand.NewPCG(4, 4)), 1)[0]
	broken := append([]byte(nil), row...)
	for i := range broken {
		broken[i] = 0xff
	}
	for name, bad := range map[string][]byte{"short": row[1:], "nothing": nil, "residues": broken} {
		if dst, err := columns.Append([]byte{7}, bad); !errors.Is(err, ErrMalformed) || len(dst) != 1 {
			t.Errorf("%s: appended (%v)", name, err)
		}
	}
	packed, err := columns.Append(nil, row)
	if err != nil {
		t.Fatal(err)
	}
	sum, other := sumOf(t, p, 0, [][]byte{row}), sumOf(t, p, 1, nil)
	sum.reduce()
	before := append([]uint64(nil), sum.acc...)
	for name, bad := range map[string][]byte{"half a row": packed[:80], "residues": append(append([]byte(nil), packed...), broken[:len(packed)]...)} {
		if err := columns.AddTo(sum, bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: added (%v)", name, err)
		}
	}
	if err := columns.AddTo(other, packed); err == nil {
		t.Error("added to a sum of another metric")
	}
	sum.rows = p.profile.MaxRows
	if err := columns.AddTo(sum, packed); err == nil {
		t.Error("added beyond the most rows")
	}
	for i, want := range before {
		if sum.acc[i] != want {
			t.Fatal("a refused row has changed the sum")
		}
	}
	if _, err := p.Columns([]int{3, 2}); err == nil {
		t.Error("coefficients in descending order were accepted")
	}
}

// BenchmarkColumns: a million device-hours of one metric in columns, from 17 MB of
// different ones.
func BenchmarkColumns(b *testing.B) {
	p := defaultParams(b)
	coeffs := p.schema.MetricCoefficients(4)
	columns, err := p.Columns(coeffs)
	if err != nil {
		b.Fatal(err)
	}
	const different, million = 100_000, 1_000_000
	rows := randomRows(p, rand.New(rand.NewPCG(1, 1)), 100)
	var packed []byte
	for i := range different {
		if packed, err = columns.Append(packed, rows[i%len(rows)]); err != nil {
			b.Fatal(err)
		}
	}
	sum := sumOf(b, p, 4, nil)
	for b.Loop() {
		sum.rows = 0
		for range million / different {
			if err := columns.AddTo(sum, packed); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/row")
}
