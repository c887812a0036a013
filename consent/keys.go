package consent

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// MaxConsentKeys is how many keys a patient may sign with.
const MaxConsentKeys = 8

// SignedKeys is a change of a patient's keys with the signature of one of the
// keys before it: a consent key, plain or of an authenticator, or the recovery
// key. The forms are those of Signed.
type SignedKeys struct {
	Change    record.PatientKeys `json:"change"`
	Key       []byte             `json:"key"` // that signed, compressed P-256
	Signature []byte             `json:"signature"`
	Assertion *Assertion         `json:"assertion,omitempty"`
}

// Challenge is what a browser is asked to have signed for this change.
func (s SignedKeys) Challenge(network string) string { return challenge(s.Change.Digest(network)) }

// CheckSignature checks that the signature is s.Key's over the change, as
// Signed.CheckSignature does.
func (s SignedKeys) CheckSignature(network string, parties []record.RelyingParty) error {
	if err := checkSignature(parties, s.Change.Digest(network), s.Key, s.Signature, s.Assertion); err != nil {
		return fmt.Errorf("%w (change %d of the keys of patient %s)", err, s.Change.Version, s.Change.Patient.Short())
	}
	return nil
}

// Verify checks that a key which the patient has now signed the change.
//
// The error wraps record.ErrSignature in every case: refuse the document.
func (s SignedKeys) Verify(network string, parties []record.RelyingParty, p record.Patient) error {
	if s.Change.Patient != p.ID {
		return fmt.Errorf("%w: the keys are another patient's", record.ErrSignature)
	}
	if !holds(p.ConsentKeys(), s.Key) && !s.ByRecovery(p) {
		return fmt.Errorf("%w: the key is neither one that this patient signs with now nor the recovery key", record.ErrSignature)
	}
	return s.CheckSignature(network, parties)
}

// ByRecovery reports whether the key that signed is the patient's recovery key.
func (s SignedKeys) ByRecovery(p record.Patient) bool {
	return RecoveryHash(s.Key) == p.RecoveryHash()
}

// Adds reports whether the change lets a key sign that does not sign yet.
func (s SignedKeys) Adds(p record.Patient) bool {
	for _, key := range s.Change.ConsentKeys {
		if !holds(p.ConsentKeys(), key) {
			return true
		}
	}
	return false
}

func holds(keys [][]byte, key []byte) bool {
	return slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
}

// ValidateKeys checks a set of a patient's keys by itself: 1 to MaxConsentKeys
// points of the curve, none twice, and a recovery hash that is of none of them.
func ValidateKeys(keys [][]byte, recovery record.ID) error {
	if len(keys) < 1 || len(keys) > MaxConsentKeys {
		return fmt.Errorf("it has %d consent keys, 1 to %d are possible", len(keys), MaxConsentKeys)
	}
	for i, k := range keys {
		if _, err := record.ParsePublicKey(k); err != nil {
			return fmt.Errorf("consent key %d: %w", i, err)
		}
		if holds(keys[:i], k) {
			return errors.New("a consent key is there twice")
		}
		if RecoveryHash(k) == recovery {
			return errors.New("the recovery key cannot sign consents")
		}
	}
	if recovery.IsZero() {
		return errors.New("the recovery hash cannot be zero")
	}
	return nil
}

// FollowsKeys checks that a change may be recorded next for a patient: its
// version counts on and its digest chains; a consent key leaves the recovery key
// as it is, and the recovery key, which counts once, names another. That the
// other was never used before is for whoever keeps all of them.
func FollowsKeys(network string, p record.Patient, s SignedKeys) error {
	c, previous := s.Change, record.ID{}
	if p.Keys != nil {
		previous = p.Keys.Digest(network)
	}
	switch {
	case c.Version != p.KeysVersion()+1:
		return fmt.Errorf("change %d is recorded, so the next is %d and not %d", p.KeysVersion(), p.KeysVersion()+1, c.Version)
	case c.Previous != previous:
		return errors.New("previous is not the digest of the change on the ledger")
	case s.ByRecovery(p) && c.RecoveryHash == p.RecoveryHash():
		return errors.New("a recovery code counts once; name the hash of a new one")
	case !s.ByRecovery(p) && c.RecoveryHash != p.RecoveryHash():
		return errors.New("only the recovery key can name another")
	}
	return nil
}

// Withdrawn is the document as it counts after its patient has revoked everything
// permitted so far: a permission is revoked, while a denial stays what it is.
func Withdrawn(d Document) Document {
	if d.Effect == EffectPermit {
		d.Status = StatusRevoked
	}
	return d
}
