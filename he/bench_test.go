package he

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkSealDay: all that a device computes in a day: its day's polynomial, the
// product with its secret, and 24 rows.
func BenchmarkSealDay(b *testing.B) {
	p := defaultParams(b)
	d := newTestDevice(b, p, testContext)
	row, _ := randomRow(b, p.Schema(), rand.New(rand.NewPCG(1, 1)))
	for number := int64(0); b.Loop(); number++ {
		clear(d.key.sealed)
		for hour := range int64(24) {
			if _, err := p.Seal(testContext, d.key, Window{Hour: 24*number + hour}, row); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/24, "ns/row")
}

// BenchmarkSeal: one more row of a day whose product is at hand.
func BenchmarkSeal(b *testing.B) {
	for _, p := range []*Params{defaultParams(b), pairParams(b)} {
		b.Run(p.Schema().Name, func(b *testing.B) {
			d := newTestDevice(b, p, testContext)
			row, _ := randomRow(b, p.Schema(), rand.New(rand.NewPCG(1, 1)))
			for b.Loop() {
				clear(d.key.sealed)
				if _, err := p.Seal(testContext, d.key, Window{}, row); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(p.RowBytes()), "bytes/row")
		})
	}
}

// BenchmarkDay: the public polynomial of a day, once for all devices.
func BenchmarkDay(b *testing.B) {
	p := defaultParams(b)
	for i := int64(0); b.Loop(); i++ {
		p.day(testContext.Network, day{number: i})
	}
}

// BenchmarkExpand: one piece of four devices, with adding them to a cohort's sum.
func BenchmarkExpand(b *testing.B) {
	p := defaultParams(b)
	var pieces []Piece
	for i := range together {
		d := fixedDevice(b, p, i)
		pieces = append(pieces, Piece{d.id, 0, d.seeds[0]})
	}
	sum := p.NewKeySum()
	for b.Loop() {
		if err := p.AddPieces(sum, testContext, pieces); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkShare: key product of one group over 24 known windows, flood and
// privacy noise.
func BenchmarkShare(b *testing.B) {
	p := defaultParams(b)
	d := newTestDevice(b, p, testContext)
	windows := make([]Window, 24)
	for i := range windows {
		windows[i].Hour = int64(i)
	}
	groups := groupsOf(b, p, []*testDevice{d}, windows...)[0]
	plan, err := p.Schema().Plan(0, 24, 660_000)
	if err != nil {
		b.Fatal(err)
	}
	shareOf(b, p, 0, 0, groups, 24, plan)
	for b.Loop() {
		shareOf(b, p, 0, 0, groups, 24, plan)
	}
}

// BenchmarkSum: one metric of packed rows. It reports the time for a million
// device-hours; the rows come from 12,000 different ones, 17 MB, as memory is part
// of the cost.
func BenchmarkSum(b *testing.B) {
	p := defaultParams(b)
	r := rand.New(rand.NewPCG(1, 1))
	const different, million = 12_000, 1_000_000
	rows := make([][]byte, different)
	for i := range rows {
		residues := make([]uint64, p.schema.Coefficients()*4)
		for j := range residues {
			residues[j] = r.Uint64N(p.profile.Primes[j%4])
		}
		rows[i] = p.pack(residues)
	}
	sum := sumOf(b, p, 4, nil)
	for b.Loop() {
		sum.rows = 0
		for i := range million {
			if err := sum.Add(rows[i%different]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/row")
}

// BenchmarkOpen: one metric.
func BenchmarkOpen(b *testing.B) {
	p := defaultParams(b)
	d := newTestDevice(b, p, testContext)
	sum := sumOf(b, p, 0, [][]byte{d.seal(b, p, testContext, Window{}, smallRow(b, p, 1, 1))})
	shares := allShares(b, p, 0, groupsOf(b, p, []*testDevice{d}, Window{}), 1, nil)
	for b.Loop() {
		if _, err := p.Open(sum, shares); err != nil {
			b.Fatal(err)
		}
	}
}
