package institution

import (
	"os"
	"testing"

	"github.com/vitalveil/vitalveil/network/index"
)

// BenchmarkReadLedger reads the ledger of patients with devices and consents as a
// member does that starts without a checkpoint: block by block from the store, each
// document verified at its place. VITALVEIL_SOAK=1: of 10,000 patients. With
// -cpuprofile, pprof's -ignore 'crypto/ecdsa|crypto/ed25519' says what that costs
// beside the signatures.
func BenchmarkReadLedger(b *testing.B) {
	n := 1000
	if os.Getenv("VITALVEIL_SOAK") != "" {
		n = 10_000
	}
	w := newWorld(b)
	w.enrol(n)
	client, height := w.ledger.Client(w.ids[hospitalA]), w.ledger.Height()
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
}
