package consent_test

import (
	"fmt"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// BenchmarkDecide is one decision over all documents of a patient, of which the
// last permits.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			docs := make([]consent.Document, n)
			for i := range docs {
				docs[i] = consent.Document{
					ID: record.RandomID(), Version: 1, Grantee: fmt.Sprintf("Hospital%d", i), Purpose: "HRESCH",
					Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate},
					Metrics: []string{"heart_rate"}, DataFrom: 0, DataUntil: 1000, Expires: 1000, CapMicro: 1,
				}
			}
			ask := consent.Request{
				Grantee: docs[n-1].Grantee, Purpose: "HRESCH", Operation: consent.OpAggregate, Metric: "heart_rate", From: 10, Until: 34, At: 100,
			}
			b.ReportAllocs()
			for b.Loop() {
				if d := consent.Decide(docs, ask); !d.Permit {
					b.Fatal(d)
				}
			}
		})
	}
}
