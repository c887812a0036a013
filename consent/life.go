package consent

import "github.com/vitalveil/vitalveil/internal/record"

// States of a version in its life. A patient signs StatusActive, StatusRevoked
// or StatusInError; the others follow from what is on the ledger and when.
const (
	// StateDraft: it is not on the ledger, so it says nothing.
	StateDraft = "draft"
	// StateSuperseded: a later version counts in its place.
	StateSuperseded = "superseded"
	// StateExpired: it is the latest version and its time is over.
	StateExpired = "expired"
)

// State says where a version stands in its life at a ledger time, given the
// latest version of its consent on the ledger (0: none).
//
//	draft -> active -> superseded | expired | revoked | entered-in-error
//
// An active version may have a begin in the future (NotBefore): that is for
// Decide.
func State(d Document, latest uint32, at int64) string {
	switch {
	case latest < d.Version:
		return StateDraft
	case latest > d.Version:
		return StateSuperseded
	case d.Status == StatusActive && at >= d.Expires:
		return StateExpired
	}
	return d.Status
}

// Details is what the consortium keeps of a version beside the chain, where it
// can be purged.
type Details struct {
	Signed Signed    `json:"signed"`
	Salt   record.ID `json:"salt"` // 32 random bytes, which nobody uses twice
}

// MaxDetails bounds the JSON of details in bytes.
const MaxDetails = MaxDocument + 256

// Entry is what everybody may see of the version.
func (d Details) Entry(network string) record.ConsentEntry {
	return d.EntryOf(network, d.Signed.Document.Digest(network))
}

// EntryOf is Entry for who knows the document's digest.
func (d Details) EntryOf(network string, digest record.ID) record.ConsentEntry {
	doc := d.Signed.Document
	return record.ConsentEntry{
		ID: doc.ID, Patient: doc.Patient, Version: doc.Version, Status: doc.Status,
		Hash: record.ConsentHash(network, d.Salt, digest),
	}
}
