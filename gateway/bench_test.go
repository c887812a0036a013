package gateway

import (
	"context"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// BenchmarkUpload is 32 devices that upload a day of rows each, over HTTP, until
// all are anchored on the embedded ledger.
func BenchmarkUpload(b *testing.B) {
	const devices, hours = 32, 24
	w := newWorld(b)
	ctx := context.Background()
	var all []*device
	for range devices {
		all = append(all, w.device())
	}
	w.advance(int64(b.N*hours+1) * 3600)
	b.ResetTimer()
	for round := range b.N {
		var wg sync.WaitGroup
		for _, d := range all {
			b.StopTimer()
			from := int64(startHour + round*hours)
			data, pointers := d.rows(from, from+hours)
			b.StartTimer()
			wg.Go(func() {
				c := d.client()
				op, err := c.Upload(ctx, d.ID, [][]byte{data}, pointers)
				if err != nil {
					b.Error(err)
					return
				}
				op, err = c.Wait(ctx, op)
				if err != nil || op.Items[0].Outcome != record.Anchored {
					b.Errorf("%v, %+v", err, op)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.N*devices*hours)/b.Elapsed().Seconds(), "pointers/s")
}

// BenchmarkEnrolPatient is one patient after the other, from post to ledger.
func BenchmarkEnrolPatient(b *testing.B) {
	w := newWorld(b)
	ctx := context.Background()
	c := w.as("", nil)
	for range b.N {
		b.StopTimer()
		p := w.newPatient()
		b.StartTimer()
		op, err := c.EnrolPatient(ctx, p.Enrolment, p.Boxes)
		if err == nil {
			_, err = c.Wait(ctx, op)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
