package consent

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// RecoveryHash is what a patient's inception record holds of the recovery key:
// the SHA-256 of its compressed form.
func RecoveryHash(publicKey []byte) record.ID { return record.SumID(publicKey) }

// Verify checks that the patient signed the document on this network: the
// document names that patient, the key is one that the patient signs with now and
// CheckSignature finds the signature to be that key's. The recovery key may sign
// revocations and nothing else. The relying parties are the genesis's.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func (s Signed) Verify(network string, parties []record.RelyingParty, p record.Patient) error {
	return s.VerifyDigest(s.Document.Digest(network), parties, p)
}

// VerifyDigest is Verify for who knows the document's digest.
func (s Signed) VerifyDigest(digest record.ID, parties []record.RelyingParty, p record.Patient) error {
	if s.Document.Patient != p.ID {
		return fmt.Errorf("%w: the document is another patient's", record.ErrSignature)
	}
	revokes := s.Document.Status == StatusRevoked && RecoveryHash(s.Key) == p.RecoveryHash()
	if !revokes && !holds(p.ConsentKeys(), s.Key) {
		return fmt.Errorf("%w: the key is not one that this patient may sign this document with", record.ErrSignature)
	}
	return s.checkDigest(digest, parties)
}

// CheckSignature checks that the signature is s.Key's over the document on this
// network, made in plain ES256 or by an authenticator on a page of one of the
// relying parties. Whose key it is, is for Verify.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func (s Signed) CheckSignature(network string, parties []record.RelyingParty) error {
	return s.checkDigest(s.Document.Digest(network), parties)
}

func (s Signed) checkDigest(digest record.ID, parties []record.RelyingParty) error {
	if err := checkSignature(parties, digest, s.Key, s.Signature, s.Assertion); err != nil {
		return fmt.Errorf("%w (consent %s version %d)", err, s.Document.ID.Short(), s.Document.Version)
	}
	return nil
}

// checkSignature checks a signature in either form over a digest.
func checkSignature(parties []record.RelyingParty, digest record.ID, key, sig []byte, a *Assertion) error {
	if a != nil {
		return checkAssertion(a, parties, digest, key, sig)
	}
	if err := record.Verify(key, digest, sig); err != nil {
		return fmt.Errorf("%w: it is not the key's over this document", record.ErrSignature)
	}
	return nil
}
