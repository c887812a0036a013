// Package details seals what is private about a patient: what consents say, and
// whatever else is in the private collection of a ledger.
//
// Ledgers keep what was once written. Peers of Fabric keep private values after a
// purge, and those of transactions that were invalid. So what is written is sealed
// under a key of the patient's own, which is nowhere but in the vaults of members:
// where that key is destroyed, what a ledger has kept opens no more.
//
// Entry points: NewKey and SealBoxes are for the patient's side, once, at the
// enrolment; OpenBox is for a member; Key.Seal and Key.Open are for whoever writes
// and reads private values; Serve and Client bring keys from a member's vault to
// the processes of that member that run its contracts.
//
// Trust: whoever has a patient's key reads the patient's details for as long as it
// keeps the key. Members are trusted to destroy it when the patient is erased.
//
// Promise: sealing is deterministic, so that all who endorse a transaction write
// the same bytes. A sealed value opens in the network, for the patient and under the
// name that it was sealed for, and nowhere else.
package details

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// KeyBytes is the length of a key.
const KeyBytes = 32

// Domains of digests.
const (
	domainKey   = "details-key/v1"
	domainBox   = "details-box/v1"
	domainValue = "details-value/v1"
)

// Key is a patient's details key. It prints as "[secret]".
type Key struct{ secret [KeyBytes]byte }

// NewKey makes a fresh key. The patient's side makes one at the enrolment, seals it
// to the members and keeps no copy.
func NewKey() Key {
	var k Key
	rand.Read(k.secret[:])
	return k
}

// ParseKey reads what Bytes returned.
func ParseKey(b []byte) (Key, error) {
	var k Key
	if len(b) != KeyBytes {
		return k, fmt.Errorf("a details key has %d bytes, not %d", KeyBytes, len(b))
	}
	copy(k.secret[:], b)
	return k, nil
}

// Bytes returns the key, 32 bytes, to be stored as a secret.
func (k Key) Bytes() []byte { return append([]byte(nil), k.secret[:]...) }

// Digest is what the patient signs of the key, and everybody sees. The key is
// random, so its digest says nothing about it.
func (k Key) Digest(network string) record.ID {
	return record.Digest(domainKey, network, k.secret[:])
}

// is reports whether the key is the one with this digest.
func (k Key) is(network string, digest record.ID) bool {
	got := k.Digest(network)
	return subtle.ConstantTimeCompare(got[:], digest[:]) == 1
}

const hidden = "[secret]"

// Format keeps the key out of logs, whatever the verb.
func (Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// Ref is what the ledger says about a patient's key.
type Ref struct {
	Patient record.ID
	Digest  record.ID // Key.Digest
	Blob    record.ID // SHA-256 of the boxes (SealBoxes)
}

// RefOf returns the Ref of an enrolled patient.
func RefOf(p record.Patient) Ref {
	return Ref{Patient: p.ID, Digest: p.Inception.DetailsKey, Blob: p.DetailsBlob}
}
