package consent

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// CheckErasure checks that the signature of an erasure is its key's, made in plain
// ES256 or by an authenticator, as Signed.CheckSignature does for a consent. Whose
// key it is, is for VerifyErasure.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func CheckErasure(network string, parties []record.RelyingParty, s record.SignedErasure) error {
	if err := checkSignature(parties, s.Erasure.Digest(network), s.Key, s.Signature, s.Assertion); err != nil {
		return fmt.Errorf("%w (erasure of patient %s)", err, s.Erasure.Patient.Short())
	}
	return nil
}

// VerifyErasure checks that a consent key which the patient has now, or the recovery
// key, signed the erasure.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func VerifyErasure(network string, parties []record.RelyingParty, s record.SignedErasure, p record.Patient) error {
	if s.Erasure.Patient != p.ID {
		return fmt.Errorf("%w: the erasure is another patient's", record.ErrSignature)
	}
	if !holds(p.ConsentKeys(), s.Key) && RecoveryHash(s.Key) != p.RecoveryHash() {
		return fmt.Errorf("%w: the key is neither one that this patient signs with now nor the recovery key", record.ErrSignature)
	}
	return CheckErasure(network, parties, s)
}
