package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestPatientsConsentWithPasskeys(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p := w.enrolled()
	d := p.document(hospitalA)
	signed := p.Passkey(d, consortium.Portal)
	w.Must(gatewayMSP, contracts.ConsentPut, signed)
	w.Must(gatewayMSP, contracts.ConsentPut, signed, nil) // a repetition is no second version

	revocation := p.Next(d, func(d *consent.Document) { d.Status = consent.StatusRevoked })
	w.Must(gatewayMSP, contracts.ConsentPut, p.Passkey(revocation, consortium.Portal))
	w.Refuses(fault.Conflict, "revoked", gatewayMSP, contracts.ConsentPut, signed)

	plain := p.document(hospitalB)
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(plain))
	var states []state.ConsentState
	w.Read(gatewayMSP, contracts.ConsentOfPatient, p.ID.String(), &states)
	for _, s := range states {
		if err := s.Signed.Verify(w.Genesis.Network, w.Genesis.RelyingParties, p.state()); err != nil {
			t.Errorf("what the ledger returns: %v", err)
		}
	}
	if len(states) != 2 {
		t.Errorf("%d consents, want 2", len(states))
	}
}

func TestAttackReusedAssertion(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p, other := w.enrolled(), w.enrolled()
	signed := p.Passkey(p.document(hospitalA), consortium.Portal)
	for name, alter := range map[string]func(*consent.Signed){
		"another grantee":           func(s *consent.Signed) { s.Document.Grantee = hospitalB },
		"a later expiry":            func(s *consent.Signed) { s.Document.Expires++ },
		"a consent more":            func(s *consent.Signed) { s.Document.ID = record.RandomID() },
		"another patient's consent": func(s *consent.Signed) { s.Document.Patient = other.ID },
		"a stranger's authenticator": func(s *consent.Signed) {
			*s = other.Passkey(s.Document, consortium.Portal)
		},
		"a page of somebody else":      func(s *consent.Signed) { *s = p.Passkey(s.Document, "https://portal.example.org.evil.example") },
		"a page of ours that is http":  func(s *consent.Signed) { *s = p.Passkey(s.Document, "http://portal.example.org") },
		"its signature as a plain one": func(s *consent.Signed) { s.Assertion = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			forged := signed
			alter(&forged)
			w.Refuses(fault.BadSignature, "", gatewayMSP, contracts.ConsentPut, forged)
		})
	}
	w.Must(gatewayMSP, contracts.ConsentPut, signed)
}

func TestAttackAssertionWhereTheNetworkHasNoPortal(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	w.Refuses(fault.BadSignature, "relying party", gatewayMSP, contracts.ConsentPut, p.Passkey(p.document(hospitalA), consortium.Portal))
}
