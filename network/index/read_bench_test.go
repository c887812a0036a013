package index

import (
	"os"
	"testing"

	"github.com/vitalveil/vitalveil/network"
)

// readers is how many patients' ledger is read: 10,000 with VITALVEIL_SOAK=1.
func readers() int {
	if os.Getenv("VITALVEIL_SOAK") != "" {
		return 10_000
	}
	return 1000
}

// enrolled is the ledger of n patients, each with a device whose seeds all members
// hold and a consent for each hospital, in blocks of some 400 transactions.
func enrolled(n int) []*network.Block {
	l := newLedger()
	for i := range n {
		l.patient()
		p := l.patients[i]
		d := l.device(p, day0, metric)
		for _, m := range members {
			l.ack(d.ID, m)
		}
		for _, grantee := range members[:2] {
			l.consent(l.permit(p, grantee, hour0, hour0+1000))
		}
		l.consents = nil
		if i%70 == 69 || i == n-1 {
			l.cut()
		}
	}
	return l.blocks
}

// BenchmarkReadPatients reads such a ledger. With -cpuprofile and pprof's -ignore it
// says what that costs beside the signatures.
func BenchmarkReadPatients(b *testing.B) {
	n := readers()
	blocks := enrolled(n)
	for b.Loop() {
		if ix := apply(b, blocks); ix.Counts().Ready != n || ix.Counts().Refused > 0 {
			b.Fatal(ix.Counts())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/patient")
}
