package gateway

import (
	"bytes"
	"context"
	"net/http"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/vitalveil/vitalveil/consent"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const nativeApp = "android:apk-key-hash:RGBUe807tmxkP4i8i12naSdqLbEYDUAGemX4iqa5uXs"

func TestAPatientConsentsWithAPasskey(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	signed := p.Passkey(p.consent().Document, consortium.Portal)
	w.done(w.as("", nil).PutConsent(context.Background(), signed))
	back, err := w.member(hospitalB).Consent(context.Background(), signed.Document.ID)
	w.ok(err)
	if back.Assertion == nil || !bytes.Equal(back.Assertion.ClientDataJSON, signed.Assertion.ClientDataJSON) {
		t.Fatalf("came back as %+v", back)
	}
	w.ok(back.Verify(w.Genesis.Network, w.Genesis.RelyingParties, record.Patient{ID: p.ID, Inception: p.Enrolment.Inception}))
}

// TestAPatientWithAPasskeyEnrolsAndRetires: the gateway takes an enrolment, a device and its
// retirement that an authenticator has signed, each for itself only.
func TestAPatientWithAPasskeyEnrolsAndRetires(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	p := w.NewPatient()
	s := p.Assertion(p.Enrolment.Digest(w.Genesis.Network), consortium.Portal)
	p.Enrolment.Signature, p.Enrolment.Assertion = s.Signature, s.Assertion
	w.done(w.as("", nil).EnrolPatient(ctx, p.Enrolment, p.Boxes))

	d := p.NewDevice(w.Now/3600, "heart_rate")
	d.Enrolment.PatientSignature, d.Enrolment.PatientAssertion = s.Signature, s.Assertion
	_, err := w.as("", nil).EnrolDevice(ctx, d.Enrolment, d.Seeds)
	wantFault(t, fault.BadSignature, err)
	by := p.Assertion(record.Digest(record.DomainDevice, w.Genesis.Network, d.Enrolment.Device), consortium.Portal)
	d.Enrolment.PatientSignature, d.Enrolment.PatientAssertion = by.Signature, by.Assertion
	w.done(w.as("", nil).EnrolDevice(ctx, d.Enrolment, d.Seeds))

	retire := record.RetireDevice{Device: d.ID}
	_, err = w.as("", nil).RetireDevice(ctx, record.SignedRetirement{Retire: retire, Signature: by.Signature, Assertion: by.Assertion})
	wantFault(t, fault.BadSignature, err)
	by = p.Assertion(record.Digest(record.DomainRetire, w.Genesis.Network, retire), consortium.Portal)
	w.done(w.as("", nil).RetireDevice(ctx, record.SignedRetirement{Retire: retire, Signature: by.Signature, Assertion: by.Assertion}))
}

func TestAttackAssertionsTheGatewayRefuses(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.consent().Document
	honest := p.Passkey(d, consortium.Portal)
	for what, c := range map[string]struct {
		change func(*consent.Signed)
		code   fault.Code
	}{
		"reused for a later expiry": {func(s *consent.Signed) { s.Document.Expires++ }, fault.BadSignature},
		"made on another page":      {func(s *consent.Signed) { *s = p.Passkey(d, "https://evil.example") }, fault.BadSignature},
		"sent as a plain signature": {func(s *consent.Signed) { s.Assertion = nil }, fault.Invalid},
		"with a plain signature":    {func(s *consent.Signed) { s.Signature = p.Sign(d).Signature }, fault.BadSignature},
		"without its data":          {func(s *consent.Signed) { s.Assertion = &consent.Assertion{} }, fault.Invalid},
		"with too long data": {func(s *consent.Signed) {
			s.Assertion = &consent.Assertion{AuthenticatorData: honest.Assertion.AuthenticatorData, ClientDataJSON: make([]byte, consent.MaxClientData+1)}
		}, fault.Invalid},
	} {
		s := honest
		c.change(&s)
		body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(apiv1.SignedConsentOf(s))
		w.ok(err)
		r := w.request(http.MethodPost, "/v1/consents", body)
		resp, answer := w.raw(r)
		problem(w, resp, answer, fault.Codes[c.code].HTTP, c.code)
		if t.Failed() {
			t.Fatalf("assertion %s: %s", what, answer)
		}
	}
}

// TestAPatientConsentsInAnApp: an Android app that the genesis names counts as one of
// the relying party's pages does, and no other app.
func TestAPatientConsentsInAnApp(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	w.done(w.as("", nil).PutConsent(context.Background(), p.Passkey(p.consent().Document, nativeApp)))
	for _, origin := range []string{"android:apk-key-hash:" + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", nativeApp + "A", "android:apk-key-hash:"} {
		_, err := w.as("", nil).PutConsent(context.Background(), p.Passkey(p.consent().Document, origin))
		wantFault(t, fault.BadSignature, err)
	}
}
