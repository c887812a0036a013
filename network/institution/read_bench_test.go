package institution

import (
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network/index"
)

// BenchmarkReadLedger reads the ledger of patients with devices and consents as a
// member does that starts without a checkpoint: block by block from the store, each
// document verified at its place. VITALVEIL_SOAK=1: of 10,000 patients.
// VITALVEIL_PROFILE names a file for a profile of the reading alone, in which pprof's
// -ignore 'crypto/ecdsa|crypto/ed25519' says what it costs beside the signatures.
func BenchmarkReadLedger(b *testing.B) {
	n := 1000
	if os.Getenv("VITALVEIL_SOAK") != "" {
		n = 10_000
	}
	w := newWorld(b)
	w.patience = time.Hour
	w.enrolAtOnce(n, 16)
	w.down(hospitalB)
	w.down(association)
	runtime.GC()
	if name := os.Getenv("VITALVEIL_PROFILE"); name != "" {
		f := must(os.Create(name))
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			b.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	client, height := w.Ledger.Client(w.ids[hospitalA]), w.Ledger.Height()
	for b.Loop() {
		ix := index.New()
		ix.OpenWith(w.members[hospitalA])
		for block, err := range client.Blocks(b.Context(), 0) {
			if err == nil {
				err = ix.Apply(block)
			}
			if err != nil {
				b.Fatal(err)
			}
			if ix.Height() == height {
				break
			}
		}
		if c := ix.Counts(); c.Ready != n || c.Refused > 0 || len(ix.Missing()) > 0 {
			b.Fatalf("%+v", c)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/patient")
	b.ReportMetric(float64(height), "blocks")
}
