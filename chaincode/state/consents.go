package state

import (
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Where the details of consents travel and stay, out of the chain.
const (
	// Collection is the private data collection with the details
	// (consent.Details) of every version, under ConsentDetailsKey. All members
	// hold it.
	Collection = "consents"
	// TransientDetails is the transient entry in which Consent:Put gets them.
	TransientDetails = "details"
)

// ConsentPublic is the ledger's record of the latest version of a consent.
type ConsentPublic struct {
	Entry record.ConsentEntry `json:"entry"`
	Time  int64               `json:"time"` // ledger time when it was recorded
}

// ConsentState is the latest version of a consent with its details.
type ConsentState struct {
	Signed consent.Signed `json:"signed"`
	Time   int64          `json:"time"` // ledger time when it was recorded
}

// ConsentHead lists a consent under its patient.
type ConsentHead struct {
	ID      record.ID `json:"id"`
	Version uint32    `json:"version"`
	Status  string    `json:"status"`
	Time    int64     `json:"time"` // ledger time of this version
}

// CoolingOff is how many seconds after a revocation the same institution may
// be permitted more again, and a denial be lifted.
const CoolingOff = 24 * Hour

// KeysState is the ledger's record of one change of a patient's keys.
type KeysState struct {
	Signed consent.SignedKeys `json:"signed"`
	Time   int64              `json:"time"` // ledger time when it was recorded
}
