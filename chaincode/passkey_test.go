package chaincode_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const portal = "https://portal.example.org"

func portals() []record.RelyingParty {
	return []record.RelyingParty{{ID: "example.org", Origins: []string{portal}}}
}

// passkey signs a document as an authenticator does for a page of this origin.
func (p *person) passkey(d consent.Document, origin string) consent.Signed {
	p.w.Helper()
	s := p.assertion(d.Digest(p.w.genesis.Network), origin)
	s.Document = d
	return s
}

// assertion is an authenticator's signature over a digest, without the document.
func (p *person) assertion(digest record.ID, origin string) consent.Signed {
	p.w.Helper()
	const presentAndVerified = 0x05
	client := []byte(`{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(digest[:]) + `","origin":"` + origin + `"}`)
	party, clientHash := sha256.Sum256([]byte("example.org")), sha256.Sum256(client)
	data := append(party[:], presentAndVerified, 0, 0, 0, 0)
	signed := sha256.Sum256(append(data[:len(data):len(data)], clientHash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, p.key, signed[:])
	if err != nil {
		p.w.Fatal(err)
	}
	return consent.Signed{
		Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: sig,
		Assertion: &consent.Assertion{AuthenticatorData: data, ClientDataJSON: client},
	}
}

func TestPatientsConsentWithPasskeys(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = portals() })
	p := w.enrolled()
	d := p.document(hospitalA)
	signed := p.passkey(d, portal)
	w.must(gatewayMSP, "Consent:Put", signed, nil)
	w.must(gatewayMSP, "Consent:Put", signed, nil) // a repetition is no second version

	revocation := p.next(d, func(d *consent.Document) { d.Status = consent.StatusRevoked })
	w.must(gatewayMSP, "Consent:Put", p.passkey(revocation, portal), nil)
	w.refuses(fault.Conflict, "revoked", gatewayMSP, "Consent:Put", signed)

	plain := p.document(hospitalB)
	w.must(gatewayMSP, "Consent:Put", p.sign(plain), nil)
	var states []state.ConsentState
	w.read(gatewayMSP, "Consent:OfPatient", p.id.String(), &states)
	for _, s := range states {
		if err := s.Signed.Verify(w.genesis.Network, w.genesis.RelyingParties, p.state()); err != nil {
			t.Errorf("what the ledger returns: %v", err)
		}
	}
	if len(states) != 2 {
		t.Errorf("%d consents, want 2", len(states))
	}
}

func TestAttackReusedAssertion(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = portals() })
	p, other := w.enrolled(), w.enrolled()
	signed := p.passkey(p.document(hospitalA), portal)
	for name, alter := range map[string]func(*consent.Signed){
		"another grantee":           func(s *consent.Signed) { s.Document.Grantee = hospitalB },
		"a later expiry":            func(s *consent.Signed) { s.Document.Expires++ },
		"a consent more":            func(s *consent.Signed) { s.Document.ID = record.RandomID() },
		"another patient's consent": func(s *consent.Signed) { s.Document.Patient = other.id },
		"a stranger's authenticator": func(s *consent.Signed) {
			*s = other.passkey(s.Document, portal)
		},
		"a page of somebody else":      func(s *consent.Signed) { *s = p.passkey(s.Document, "https://portal.example.org.evil.example") },
		"a page of ours that is http":  func(s *consent.Signed) { *s = p.passkey(s.Document, "http://portal.example.org") },
		"its signature as a plain one": func(s *consent.Signed) { s.Assertion = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			forged := signed
			alter(&forged)
			w.refuses(fault.BadSignature, "", gatewayMSP, "Consent:Put", forged)
		})
	}
	w.must(gatewayMSP, "Consent:Put", signed, nil)
}

func TestAttackAssertionWhereTheNetworkHasNoPortal(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	w.refuses(fault.BadSignature, "relying party", gatewayMSP, "Consent:Put", p.passkey(p.document(hospitalA), portal))
}
