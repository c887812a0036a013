package chaincode_test

import (
	"context"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// What is private about a patient is sealed on the ledger, opens with the patient's key
// alone, and is nothing but bytes without it.
func TestWhatAConsentSaysIsSealedOnTheLedger(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.Sign(p.document(hospitalA))
	w.Must(gatewayMSP, contracts.ConsentPut, signed)
	key, err := w.Details.DetailsKey(context.Background(), p.ref())
	if err != nil {
		t.Fatal(err)
	}
	name, found := state.ConsentDetailsKey(signed.Document.ID, 1), 0
	for b, err := range w.Ledger.Blocks(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, private := range tx.Private {
				found++
				if private.Key != name {
					t.Errorf("a private value of another name: %q", private.Key)
				}
				if _, err := key.Open(w.Genesis.Network, p.ID, name, private.Value); err != nil {
					t.Errorf("the patient's key does not open it: %v", err)
				}
			}
		}
		if b.Number+1 == w.Ledger.Height() {
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
	signed := p.Sign(p.document(hospitalA))
	ref := p.ref()
	lost := w.Details.Lose(ref)
	w.Refuses(fault.Unavailable, "try again", gatewayMSP, contracts.ConsentPut, signed)
	lost()
	w.Must(gatewayMSP, contracts.ConsentPut, signed)
	w.Details.Lose(ref)
	w.Refuses(fault.Unavailable, "try again", gatewayMSP, contracts.ConsentGet, signed.Document.ID)
	w.Details.Erase(ref)
	w.Refuses(fault.Purged, "final", gatewayMSP, contracts.ConsentGet, signed.Document.ID)
}
