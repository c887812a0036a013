package chaincode_test

import (
	"context"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// What is private about a patient is sealed on the ledger, opens with the patient's key
// alone, and is nothing but bytes without it.
func TestWhatAConsentSaysIsSealedOnTheLedger(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.sign(p.document(hospitalA))
	w.must(gatewayMSP, "Consent:Put", signed, nil)
	key, err := w.details.DetailsKey(context.Background(), p.ref())
	if err != nil {
		t.Fatal(err)
	}
	name, found := state.ConsentDetailsKey(signed.Document.ID, 1), 0
	for b, err := range w.ledger.Blocks(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, private := range tx.Private {
				found++
				if private.Key != name {
					t.Errorf("a private value of another name: %q", private.Key)
				}
				if _, err := key.Open(w.genesis.Network, p.id, name, private.Value); err != nil {
					t.Errorf("the patient's key does not open it: %v", err)
				}
			}
		}
		if b.Number+1 == w.ledger.Height() {
			break
		}
	}
	if found != 1 {
		t.Errorf("%d private values, want 1", found)
	}
}

// Without the key nothing is taken or read, for a while or, of an erased patient, for
// good.
func TestWithoutAKeyNothingIsTakenOrRead(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.sign(p.document(hospitalA))
	ref := p.ref()
	lost := w.details.Lose(ref)
	w.refuses(fault.Unavailable, "try again", gatewayMSP, "Consent:Put", signed)
	lost()
	w.must(gatewayMSP, "Consent:Put", signed, nil)
	w.details.Lose(ref)
	w.refuses(fault.Unavailable, "try again", gatewayMSP, "Consent:Get", signed.Document.ID)
	w.details.Erase(ref)
	w.refuses(fault.Purged, "final", gatewayMSP, "Consent:Get", signed.Document.ID)
}

// ref is what the ledger says about the patient's key.
func (p *person) ref() details.Ref {
	p.w.Helper()
	var state record.Patient
	p.w.read(gatewayMSP, "Registry:GetPatient", p.id, &state)
	return details.RefOf(state)
}
