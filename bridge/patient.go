package bridge

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ErrPatient says that a document is not shown to be of the device's patient: nothing of
// it was taken.
var ErrPatient = errors.New("not shown to be of this device's patient")

// KnowPatient keeps with which keys the patient of an enrolled device signs, once and for
// all: later ones follow by PatientKeysChanged alone. The inception record is the patient's
// identifier, and one of the keys has signed the enrolment that the ledger took.
func (d *Device) KnowPatient(p record.Patient) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	request := record.DeviceRequest{Network: d.hub.network, Enrolment: d.rec.Document}
	switch {
	case d.rec.Signer != nil:
		return nil
	case !d.rec.Enrolled:
		return fmt.Errorf("%w: the device is not enrolled", ErrPatient)
	case p.Inception.PatientID(d.hub.network) != d.predicates.patient:
		return fmt.Errorf("%w: the keys are another patient's", ErrPatient)
	case consent.SignedByOne(p.ConsentKeys(), d.hub.cfg.Genesis.RelyingParties, request.Digest(), request.Enrolment.PatientSignature, request.Enrolment.PatientAssertion) != nil:
		return fmt.Errorf("%w: none of the keys has signed the device's enrolment", ErrPatient)
	}
	rec := d.rec
	rec.Signer = &record.Patient{ID: d.predicates.patient, Inception: p.Inception, Keys: p.Keys}
	return d.keepRecord(rec)
}

// PatientKeysChanged follows the next change of the patient's keys, which one of those
// before it has signed, or the recovery key. One that
// revokes everything ends the consents left with the device. A change that is known
// already is none.
func (d *Device) PatientKeysChanged(s consent.SignedKeys) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.signer()
	if err != nil {
		return err
	}
	g := d.hub.cfg.Genesis
	if p.Keys != nil && p.Keys.Digest(g.Network) == s.Change.Digest(g.Network) {
		return nil
	}
	for _, err := range []error{
		s.Verify(g.Network, g.RelyingParties, p), consent.FollowsKeys(g.Network, p, s),
		consent.ValidateKeys(s.Change.ConsentKeys, s.Change.RecoveryHash),
	} {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrPatient, err)
		}
	}
	if s.Change.RevokeAll { // before the change is known: after a crash it is repeated
		if err := d.predicates.withdraw(); err != nil {
			return err
		}
	}
	p.Keys = &s.Change
	rec := d.rec
	rec.Signer = &p
	return d.keepRecord(rec)
}

// LeaveConsent is SetConsent for a document that anybody may have brought: it counts if a
// key with which the patient signs has signed it.
func (d *Device) LeaveConsent(s consent.Signed) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, err := d.signer()
	if err != nil {
		return err
	}
	g := d.hub.cfg.Genesis
	if err := s.Verify(g.Network, g.RelyingParties, p); err != nil {
		return fmt.Errorf("%w: %w", ErrPatient, err)
	}
	return d.predicates.permit([]consent.Document{s.Document})
}

// signer is the patient as the device knows it; it is called with mu held.
func (d *Device) signer() (record.Patient, error) {
	if err := d.usable(); err != nil {
		return record.Patient{}, err
	}
	if d.rec.Signer == nil {
		return record.Patient{}, fmt.Errorf("%w: this device does not know yet with which keys its patient signs", ErrPatient)
	}
	return *d.rec.Signer, nil
}
