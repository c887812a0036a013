package gateway

import (
	"context"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAnErasedPatientCanBeLookedUp(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p := w.enrolled()
	w.done(w.as("", nil).Erase(ctx, p.Erasure(p.Key)))
	for who, c := range map[string]interface {
		Patient(context.Context, record.ID) (record.Patient, error)
	}{"patient": p.client(), "member": w.member(hospitalA)} {
		got, err := c.Patient(ctx, p.ID)
		if err != nil || !got.Erased || got.ID != p.ID {
			t.Errorf("%s: %+v, %v", who, got, err)
		}
	}
}

// TestConsentsOfEveryStatusGoThroughTheGateway: each of these ends, or makes, a
// consent on the ledger.
func TestConsentsOfEveryStatusGoThroughTheGateway(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	for _, status := range []string{consent.StatusActive, consent.StatusRevoked, consent.StatusInError} {
		p := w.enrolled() // after a revocation the same institution has to wait
		given := p.consent()
		w.done(w.as("", nil).PutConsent(ctx, given))
		next := given.Document
		next.Version, next.Previous, next.Status = 2, given.Document.Digest(w.Genesis.Network), status
		if status == consent.StatusActive {
			next.CapMicro--
		}
		signed := p.Sign(next)
		w.done(w.as("", nil).PutConsent(ctx, signed))
		got, err := p.client().Consent(ctx, next.ID)
		if err != nil || got.Document.Status != status || got.Document.Version != 2 {
			t.Errorf("%s: %+v, %v", status, got, err)
		}
	}
}
