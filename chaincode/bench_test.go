package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// BenchmarkAnchor500 anchors full batches: 500 rows of 50 devices, signatures
// checked, recorded and synced on the embedded ledger.
func BenchmarkAnchor500(b *testing.B) {
	w := newWorld(b)
	var devices []*device
	for range 50 {
		devices = append(devices, w.enrolled().Devices[0])
	}
	w.Tick(start + 86400*365)
	hour := int64(startHour)
	for b.Loop() {
		b.StopTimer()
		var batch []record.SignedPointer
		for range 10 {
			for _, d := range devices {
				batch = append(batch, d.Row(hour, 0))
			}
			hour++
		}
		b.StartTimer()
		if r := w.anchor(batch...); r.Items[499].Outcome != record.Anchored {
			b.Fatalf("%+v", r.Items[499])
		}
	}
	b.ReportMetric(float64(500*b.N)/b.Elapsed().Seconds(), "pointers/s")
}
