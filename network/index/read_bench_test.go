package index

import (
	"os"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
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

// TestAnAcknowledgementOfManyDevicesIsReadOnce: it has a write for each of them, and its
// argument names all of them.
func TestAnAcknowledgementOfManyDevicesIsReadOnce(t *testing.T) {
	allocations := func(n int) float64 {
		l := newLedger()
		var all record.AcknowledgeSeeds
		var writes []network.Write
		for i := range n {
			l.patient()
			d := l.device(l.patients[i], day0, metric)
			all.Devices = append(all.Devices, d.ID)
			writes = append(writes, put(state.AckKey(d.ID, members[0]), state.Acknowledged{Device: d.ID, Member: members[0]}))
		}
		l.cut()
		ix := apply(t, l.blocks)
		l.call(members[0], contracts.RegistryAcknowledgeSeeds, all, writes...)
		tx := &l.open[0]
		return testing.AllocsPerRun(3, func() {
			if err := ix.applyTx(tx, Position{ix.Height(), 0}); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocations(10), allocations(100)
	t.Logf("for 10 devices %.0f allocations, for 100 of them %.0f", few, many)
	if many > 10*few {
		t.Error("they grow faster than the devices")
	}
}
