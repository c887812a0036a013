package consent

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

func TestADocumentSaysInWordsWhatItPermits(t *testing.T) {
	d := Document{
		ID: record.SumID([]byte("consent")), Version: 1, Patient: record.SumID([]byte("patient")),
		Grantee: "HospitalA", Purpose: "HRESCH", Status: StatusActive, Effect: EffectPermit,
		Operations: []string{OpAggregate, OpPredicate, OpShare}, Metrics: []string{"heart_rate", "glucose"},
		DataFrom: 482136, DataUntil: 482160, NotBefore: 1735689600, Expires: 1767225600,
		CapMicro: 3_000_000, BeyondShare: true, Claims: 4,
		Predicates: []Terms{{Metric: "heart_rate", Days: 1, Limits: Readings(1, 100)}},
	}
	if err := Validate(d); err != nil {
		t.Fatal(err)
	}
	permits := strings.Join(d.Words(), "\n")
	for _, want := range []string{
		"You allow HospitalA, for healthcare research, to use your",
		"from 2025-01-01 00:00 UTC until 2025-01-02 00:00 UTC",
		"until 2026-01-01 00:00 UTC, unless you take it back",
		"rho 3.", "more than its equal share", "At most 4 such claims in all.", "pass on to other institutions",
	} {
		if !strings.Contains(permits, want) {
			t.Errorf("%q is not said in:\n%s", want, permits)
		}
	}
	// What a permission gives up beyond the usual is never left unsaid.
	for want, change := range map[string]func(*Document){
		"Nothing protects what they say":                  func(d *Document) { d.Exact = true },
		"the cap is 0":                                    func(d *Document) { d.CapMicro = 0 },
		"You forbid HospitalA":                            func(d *Document) { d.Effect = EffectDeny },
		"Forbidden are: being part of statistics; claims": func(d *Document) { d.Effect = EffectDeny },
		"You take back what you said to HospitalA":        func(d *Document) { d.Status = StatusRevoked },
	} {
		other := d
		change(&other)
		if words := strings.Join(other.Words(), "\n"); !strings.Contains(words, want) {
			t.Errorf("%q is not said in:\n%s", want, words)
		}
	}
	if words := strings.Join(d.Words(), "\n"); strings.Contains(words, "exact") {
		t.Errorf("exact statistics are not permitted:\n%s", words)
	}
}
