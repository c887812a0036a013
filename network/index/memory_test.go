package index

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// many devices: 10,000 with VITALVEIL_SOAK=1.
func many() int {
	if os.Getenv("VITALVEIL_SOAK") != "" {
		return 10_000
	}
	return 500
}

// filled is an index of n devices with rows of the given hours, anchored in batches
// of an hour's rows and found by two members, and with consents. The blocks are
// not kept.
func filled(t testing.TB, n int, hours int64) *Index {
	t.Helper()
	ix, l := blank(), newLedger()
	cut := func() {
		l.cut()
		last := l.blocks[len(l.blocks)-1]
		if err := ix.Apply(last); err != nil {
			t.Fatal(err)
		}
		last.Txs = nil
	}
	for i := range n {
		l.patient()
		p := l.patients[i]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		l.consent(l.permit(p, members[0], hour0, hour0+hours))
		l.consents = nil
		if i%500 == 499 || i == n-1 {
			cut()
		}
	}
	var ids []record.ID
	for _, d := range l.devices {
		ids = append(ids, d.ID)
	}
	for h := hour0; h < hour0+hours; h++ {
		for some := range slices.Chunk(ids, 250) {
			l.anchorAll(some, h)
			for _, m := range members[:2] {
				l.available(len(l.batches)-1, m, ^uint64(0))
			}
			cut()
			clear(l.anchored)
		}
	}
	return ix
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// An institution holds this for every row of every device, so it is what bounds
// how long a network can run on a small machine.
func TestARowTakesLittleMemory(t *testing.T) {
	n := many()
	var file bytes.Buffer
	measure := func(how string, open func() *Index) {
		before := heap()
		ix := open()
		used := heap() - before
		rows := ix.Counts().Available
		if rows != 24*n {
			t.Fatalf("%s: %d rows count, want %d", how, rows, 24*n)
		}
		perRow := used / uint64(rows)
		t.Logf("%s: %d rows of %d devices: %.1f MB, %d bytes for each row", how, rows, n, float64(used)/1e6, perRow)
		if perRow > 450 {
			t.Errorf("%s: a row takes %d bytes, with its share of everything else", how, perRow)
		}
		if file.Len() == 0 {
			if err := ix.Save(&file); err != nil {
				t.Fatal(err)
			}
		}
	}
	measure("read", func() *Index { return filled(t, n, 24) })
	measure("loaded", func() *Index { return loaded(t, file.Bytes()) })
}

// BenchmarkSave and its other half show how long blocks wait, and a restart.
func BenchmarkSave(b *testing.B) {
	n := many()
	ix := filled(b, n, 24)
	var buf bytes.Buffer
	perRow := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(24*n), "ns/row")
		b.ReportMetric(float64(buf.Len())/float64(24*n), "bytes/row")
	}
	b.Run("save", func(b *testing.B) {
		for b.Loop() {
			buf.Reset()
			if err := ix.Save(&buf); err != nil {
				b.Fatal(err)
			}
		}
		perRow(b)
	})
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			if _, err := Load(bytes.NewReader(buf.Bytes())); err != nil {
				b.Fatal(err)
			}
		}
		perRow(b)
	})
}
