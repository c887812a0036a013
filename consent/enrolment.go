package consent

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// SignedByOne checks that one of the keys made a signature over a digest: in plain ES256
// or, with an assertion, by an authenticator on a page of one of the relying parties. It is
// for documents that do not say which of a patient's keys signed them.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func SignedByOne(keys [][]byte, parties []record.RelyingParty, digest record.ID, sig []byte, a *Assertion) error {
	err := fmt.Errorf("%w: there is no key that could have made it", record.ErrSignature)
	for _, key := range keys {
		if err = checkSignature(parties, digest, key, sig, a); err == nil {
			return nil
		}
	}
	return err
}

// VerifyEnrolment checks that the patient signed the own enrolment, with the first of the
// keys that it names. Who that is, is for whoever vouches.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func VerifyEnrolment(network string, parties []record.RelyingParty, e record.EnrolPatient) error {
	keys := e.Inception.ConsentKeys
	return SignedByOne(keys[:min(len(keys), 1)], parties, e.Digest(network), e.Signature, e.Assertion)
}

// VerifyRequest checks that a request to be enrolled is for a network, complete, and signed
// by the patient that it would enrol.
func VerifyRequest(network string, parties []record.RelyingParty, r record.PatientRequest) error {
	switch {
	case r.Network != network:
		return fmt.Errorf("the request is for network %q, this is %q", r.Network, network)
	case record.SumID(r.Boxes) != r.Enrolment.DetailsBlob:
		return fmt.Errorf("the request names other boxes than it carries")
	}
	return VerifyEnrolment(network, parties, r.Enrolment)
}
