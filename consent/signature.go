package consent

import (
	"bytes"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// RecoveryHash is what a patient's inception record holds of the recovery key:
// the SHA-256 of its compressed form.
func RecoveryHash(publicKey []byte) record.ID { return record.SumID(publicKey) }

// Verify checks that the patient behind an inception record signed the document
// on this network: the document names that patient, the key is one of the
// record's consent keys and CheckSignature finds the signature to be that key's.
// The recovery key may sign revocations and nothing else. The relying parties are
// the genesis's.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func (s Signed) Verify(network string, parties []record.RelyingParty, in record.Inception) error {
	if s.Document.Patient != in.PatientID(network) {
		return fmt.Errorf("%w: the inception record is another patient's", record.ErrSignature)
	}
	if !s.mayUse(in) {
		return fmt.Errorf("%w: the key is not one that this patient may sign this document with", record.ErrSignature)
	}
	return s.CheckSignature(network, parties)
}

// CheckSignature checks that the signature is s.Key's over the document on this
// network, made in plain ES256 or by an authenticator on a page of one of the
// relying parties. Whose key it is, is for Verify.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func (s Signed) CheckSignature(network string, parties []record.RelyingParty) error {
	if s.Assertion != nil {
		return s.checkAssertion(network, parties)
	}
	if err := record.Verify(s.Key, s.Document.Digest(network), s.Signature); err != nil {
		return fmt.Errorf("%w: consent %s version %d", record.ErrSignature, s.Document.ID.Short(), s.Document.Version)
	}
	return nil
}

func (s Signed) mayUse(in record.Inception) bool {
	for _, key := range in.ConsentKeys {
		if bytes.Equal(key, s.Key) {
			return true
		}
	}
	return s.Document.Status == StatusRevoked && RecoveryHash(s.Key) == in.RecoveryHash
}
