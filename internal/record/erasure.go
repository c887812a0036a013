package record

import (
	"errors"
	"fmt"
	"slices"
)

// Domains of the documents below.
const (
	DomainConsentDetails = "consent-details/v1"
	DomainErasure        = "patient-erasure/v1"
	DomainErasureReport  = "erasure-report/v2"
)

// ConsentEntry is what everybody sees of one version of a consent, and the
// argument of Consent:Put. Hash binds the details, which are private: it is
// ConsentHash over a salt that is as private as they are.
type ConsentEntry struct {
	ID      ID     `json:"id"`
	Patient ID     `json:"patient"`
	Version uint32 `json:"version"`
	Status  string `json:"status"`
	Hash    ID     `json:"hash"`
}

// ConsentHash is the salted hash of a consent document with this digest. The
// salt is 32 random bytes: without it, whoever guesses a document can not tell
// whether the guess is right.
func ConsentHash(network string, salt, document ID) ID {
	return Digest(DomainConsentDetails, network, []ID{salt, document})
}

// Erasure is the patient's demand that everything that can be deleted is. It is
// final, so it needs neither a number nor a date.
type Erasure struct {
	Patient ID `json:"patient"`
}

// Digest is what the patient signs.
func (e Erasure) Digest(network string) ID { return Digest(DomainErasure, network, e) }

// SignedErasure is the argument of Registry:Erase: signed by a consent key of the
// patient, plain or of an authenticator, or by the recovery key. The forms are those
// of a signed consent.
type SignedErasure struct {
	Erasure   Erasure    `json:"erasure"`
	Key       []byte     `json:"key"` // compressed P-256
	Signature []byte     `json:"signature"`
	Assertion *Assertion `json:"assertion,omitempty"`
}

// ErasureState is the ledger's record of an erasure.
type ErasureState struct {
	Signed  SignedErasure `json:"signed"`
	Time    int64         `json:"time"`    // ledger time
	Devices []ID          `json:"devices"` // all that the patient had, in order of enrolment
	// Epochs are those that lived: each of their members has the details key, and has to
	// report.
	Epochs   []uint32 `json:"epochs"`
	Consents int      `json:"consents"` // versions whose details were purged
}

// ErasureReport says that a member has deleted what it held of an erased patient in
// its process of one epoch: the details key, the seeds of the devices of that epoch,
// what was expanded from them and sums over them. A member has a process for each
// epoch it is in, and none of them can speak for what another holds.
type ErasureReport struct {
	Patient ID     `json:"patient"`
	Erasure ID     `json:"erasure"`         // digest of the Erasure
	Member  string `json:"member"`          // MSP
	Epoch   uint32 `json:"epoch,omitempty"` // one of ErasureState.Epochs
	Devices []ID   `json:"devices"`         // those of ErasureState that are of the epoch, in its order
	Seeds   int    `json:"seeds"`           // that were stored here, and are deleted
}

// Digest is what the member signs.
func (r ErasureReport) Digest(network string) ID { return Digest(DomainErasureReport, network, r) }

// SignedErasureReport is the argument and the state of Registry:ReportErasure.
type SignedErasureReport struct {
	Report    ErasureReport `json:"report"`
	Signature []byte        `json:"signature"` // by the SignKey that the member has in the epoch
}

// ErasureReceipt is what the ledger says about an erasure: the patient's demand
// and the reports so far, by epoch.
type ErasureReceipt struct {
	State   ErasureState          `json:"state"`
	Reports []SignedErasureReport `json:"reports"`
}

// Verify checks the members' signatures of a receipt against the network's epochs,
// by number, and that each report is about devices of this erasure. The patient's own
// signature is for package consent. The error names the report.
func (r ErasureReceipt) Verify(network string, epochs map[uint32]EpochState) error {
	for _, s := range r.Reports {
		if err := s.verify(network, epochs, r.State); err != nil {
			return fmt.Errorf("the report of %s: %w", s.Report.Member, err)
		}
	}
	return nil
}

func (s SignedErasureReport) verify(network string, epochs map[uint32]EpochState, state ErasureState) error {
	e := state.Signed.Erasure
	if s.Report.Patient != e.Patient || s.Report.Erasure != e.Digest(network) || !inOrder(s.Report.Devices, state.Devices) {
		return errors.New("it is about another erasure, or about devices that are not the patient's")
	}
	m := epochs[s.Report.Epoch].Epoch.Member(s.Report.Member)
	if m == nil {
		return fmt.Errorf("that is not a member of epoch %d", s.Report.Epoch)
	}
	return Verify(m.SignKey, s.Report.Digest(network), s.Signature)
}

// inOrder reports whether some are among all, each once and in the same order.
func inOrder(some, all []ID) bool {
	for _, id := range some {
		i := slices.Index(all, id)
		if i < 0 {
			return false
		}
		all = all[i+1:]
	}
	return true
}
