package record

// DomainPatientKeys is the domain of key changes.
const DomainPatientKeys = "patient-keys/v1"

// PatientKeys is one change of a patient's keys. Changes form a chain that
// begins after the inception record; a change is immutable.
type PatientKeys struct {
	Patient      ID       `json:"patient"`
	Version      uint32   `json:"version"`       // 1, 2, ...
	Previous     ID       `json:"previous"`      // digest of the change before; zero for version 1
	ConsentKeys  [][]byte `json:"consent_keys"`  // all that count from now on, compressed P-256
	RecoveryHash ID       `json:"recovery_hash"` // SHA-256 of the recovery key from now on
	// RevokeAll revokes everything that the patient has permitted so far.
	RevokeAll bool `json:"revoke_all"`
}

// Digest is what the patient signs.
func (k PatientKeys) Digest(network string) ID { return Digest(DomainPatientKeys, network, k) }

// Patient is the ledger's record of a patient.
type Patient struct {
	ID        ID        `json:"id"`
	Inception Inception `json:"inception"`
	// DetailsBlob is the blob with the sealed details key, until the erasure.
	DetailsBlob ID    `json:"details_blob"`
	Person      ID    `json:"person"`
	Enrolled    int64 `json:"enrolled"`
	// Keys is the latest change of the patient's keys; nil while those of the
	// inception record count.
	Keys *PatientKeys `json:"keys,omitempty"`
	// RevokedAt is the ledger time of the latest change that revoked everything;
	// nil when none did.
	RevokedAt *int64 `json:"revoked_at,omitempty"`
	// Erased is final; ErasureState says when.
	Erased bool `json:"erased,omitempty"`
}

// ConsentKeys are the keys with which the patient signs now.
func (p Patient) ConsentKeys() [][]byte {
	if p.Keys != nil {
		return p.Keys.ConsentKeys
	}
	return p.Inception.ConsentKeys
}

// RecoveryHash is the SHA-256 of the key that recovers the patient now.
func (p Patient) RecoveryHash() ID {
	if p.Keys != nil {
		return p.Keys.RecoveryHash
	}
	return p.Inception.RecoveryHash
}

// KeysVersion is how often the patient's keys have changed.
func (p Patient) KeysVersion() uint32 {
	if p.Keys != nil {
		return p.Keys.Version
	}
	return 0
}

// RevokedSince reports whether the patient has revoked everything at ledger time
// t or after.
func (p Patient) RevokedSince(t int64) bool { return p.RevokedAt != nil && t <= *p.RevokedAt }
