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

// signedByPasskey puts an authenticator's signatures in place of the plain ones of a patient's
// enrolment.
func signedByPasskey(w *world, p *consortium.Patient) {
	s := p.Assertion(p.Enrolment.Digest(w.Genesis.Network), consortium.Portal)
	p.Enrolment.Signature, p.Enrolment.Assertion = s.Signature, s.Assertion
}

// deviceByPasskey is a device of a patient, whose enrolment an authenticator signed.
func deviceByPasskey(w *world, p *consortium.Patient) *consortium.Device {
	d := p.NewDevice(startHour, "heart_rate")
	s := p.Assertion(record.Digest(record.DomainDevice, w.Genesis.Network, d.Enrolment.Device), consortium.Portal)
	d.Enrolment.PatientSignature, d.Enrolment.PatientAssertion = s.Signature, s.Assertion
	return d
}

func TestAPatientWithNothingButAPasskeyIsEnrolledWithADeviceAndRetiresIt(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p := w.NewPatient()
	signedByPasskey(w, p)
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	d := deviceByPasskey(w, p)
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment)
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment, nil) // once more is no second device

	retire := record.RetireDevice{Device: d.ID, Lost: true}
	s := p.Assertion(record.Digest(record.DomainRetire, w.Genesis.Network, retire), consortium.Portal)
	signed := record.SignedRetirement{Retire: retire, Signature: s.Signature, Assertion: s.Assertion}
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, signed)
	var state record.DeviceState
	w.Read(gatewayMSP, contracts.RegistryGetDevice, d.ID.String(), &state)
	if state.Retired == nil || !state.Retired.Lost {
		t.Errorf("the device is %+v, want lost", state.Retired)
	}
}

// TestAttackAPasskeysSignatureForAnotherPurpose: what a patient signs in one place counts
// nowhere else, and no page but the portal's may ask for it.
func TestAttackAPasskeysSignatureForAnotherPurpose(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p, mallory := w.enrolled(), w.enrolled()
	d, other := deviceByPasskey(w, &p.Patient), deviceByPasskey(w, &mallory.Patient)
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, other.Enrolment)
	digest := record.Digest(record.DomainDevice, w.Genesis.Network, d.Enrolment.Device)
	consented := p.Passkey(p.document(hospitalA), consortium.Portal)
	elsewhere := p.Assertion(digest, "https://portal.example.org.evil.example")
	stranger := mallory.Assertion(digest, consortium.Portal)
	for name, s := range map[string]consent.Signed{
		"of a consent": consented, "asked for by a page of somebody else": elsewhere, "of a stranger's authenticator": stranger,
		"as a plain one": {Signature: d.Enrolment.PatientSignature},
	} {
		forged := d.Enrolment
		forged.PatientSignature, forged.PatientAssertion = s.Signature, s.Assertion
		t.Run("a device with the signature "+name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.Refuses(fault.BadSignature, "patient", gatewayMSP, contracts.RegistryEnrolDevice, forged)
		})
	}
	for name, s := range map[string]record.SignedRetirement{
		"the patient's consent":    {Signature: consented.Signature, Assertion: consented.Assertion},
		"the enrolment's":          {Signature: d.Enrolment.PatientSignature, Assertion: d.Enrolment.PatientAssertion},
		"the device's, by its own": {Signature: consortium.Sign(other.Key, digest), Assertion: elsewhere.Assertion},
	} {
		s.Retire = record.RetireDevice{Device: other.ID}
		t.Run("a retirement with "+name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.Refuses(fault.BadSignature, "signed neither", gatewayMSP, contracts.RegistryRetireDevice, s)
		})
	}
	twin := w.NewPatient()
	signedByPasskey(w, twin)
	for name, spoil := range map[string]func(*record.EnrolPatient){
		"of another inception":      func(e *record.EnrolPatient) { e.Signature, e.Assertion = consented.Signature, consented.Assertion },
		"without what it is over":   func(e *record.EnrolPatient) { e.Assertion = nil },
		"of the details of another": func(e *record.EnrolPatient) { e.DetailsBlob = record.RandomID() },
	} {
		forged := twin.Enrolment
		spoil(&forged)
		t.Run("a patient with the signature "+name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.Refuses(fault.BadSignature, "own signature", gatewayMSP, contracts.RegistryEnrolPatient, forged)
		})
	}
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, twin.Enrolment)
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment)
}
