package consent

import (
	"errors"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// request is of a patient who signs with a passkey's key, and has not signed yet.
func request(a authenticator) record.PatientRequest {
	boxes := []byte("boxes")
	return record.PatientRequest{Network: network, Boxes: boxes, Enrolment: record.EnrolPatient{
		Inception:   record.Inception{ConsentKeys: [][]byte{record.PublicKeyBytes(&a.key.PublicKey)}, Salt: record.RandomID()},
		DetailsBlob: record.SumID(boxes),
	}}
}

func TestARequestToBeEnrolledIsThePatientsAndWhole(t *testing.T) {
	a := *newAuthenticator(t)
	plain := request(a)
	var err error
	if plain.Enrolment.Signature, err = record.Sign(a.key, plain.Enrolment.Digest(network)); err != nil {
		t.Fatal(err)
	}
	passkey := request(a)
	s := a.signDigest(passkey.Enrolment.Digest(network))
	passkey.Enrolment.Signature, passkey.Enrolment.Assertion = s.Signature, s.Assertion
	for form, whole := range map[string]record.PatientRequest{"plain": plain, "passkey": passkey} {
		if err := VerifyRequest(network, parties(), whole); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		other := *newAuthenticator(t)
		for name, spoil := range map[string]func(*record.PatientRequest){
			"another network": func(r *record.PatientRequest) { r.Network = "m" },
			"other boxes":     func(r *record.PatientRequest) { r.Boxes = []byte("others") },
			"no key":          func(r *record.PatientRequest) { r.Enrolment.Inception.ConsentKeys = nil },
			"another's key": func(r *record.PatientRequest) {
				r.Enrolment.Inception.ConsentKeys = request(other).Enrolment.Inception.ConsentKeys
			},
			"another's key, and the patient's own behind it": func(r *record.PatientRequest) {
				r.Enrolment.Inception.ConsentKeys = append(request(other).Enrolment.Inception.ConsentKeys, r.Enrolment.Inception.ConsentKeys...)
			},
			"another recovery": func(r *record.PatientRequest) { r.Enrolment.Inception.RecoveryHash = record.RandomID() },
			"other details":    func(r *record.PatientRequest) { r.Boxes = []byte("x"); r.Enrolment.DetailsBlob = record.SumID(r.Boxes) },
			"the other form": func(r *record.PatientRequest) {
				r.Enrolment.Assertion = s.Assertion
				if form == "passkey" {
					r.Enrolment.Assertion = nil
				}
			},
		} {
			r := whole
			spoil(&r)
			if VerifyRequest(network, parties(), r) == nil {
				t.Errorf("%s, %s: taken", form, name)
			}
		}
		whole.Network = "m"
		if VerifyRequest("m", parties(), whole) == nil {
			t.Errorf("%s: a signature for one network counts in another", form)
		}
	}
	if err := VerifyEnrolment(network, nil, passkey.Enrolment); !errors.Is(err, record.ErrSignature) {
		t.Errorf("a passkey in a network without a portal: %v", err)
	}
}

func TestASignatureIsByOneOfTheKeys(t *testing.T) {
	a, other := *newAuthenticator(t), *newAuthenticator(t)
	digest := record.SumID([]byte("document"))
	s := a.signDigest(digest)
	mine, foreign := record.PublicKeyBytes(&a.key.PublicKey), record.PublicKeyBytes(&other.key.PublicKey)
	if err := SignedByOne([][]byte{foreign, mine}, parties(), digest, s.Signature, s.Assertion); err != nil {
		t.Error(err)
	}
	for name, keys := range map[string][][]byte{"another's": {foreign}, "none": nil} {
		if err := SignedByOne(keys, parties(), digest, s.Signature, s.Assertion); !errors.Is(err, record.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// signDigest signs what is no consent document.
func (a authenticator) signDigest(digest record.ID) Signed {
	a.challenge = func(Document) string { return challenge(digest) }
	return a.sign(Document{})
}
