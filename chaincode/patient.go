package chaincode

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const maxConsentKeys = 8

// EnrolPatient records a patient (record.EnrolPatient, record.Patient) whom the
// registrar vouches for. A person is enrolled once.
func (*Registry) EnrolPatient(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, smallArgument, enrolPatient)
}

// GetPatient returns the record.Patient with this identifier.
func (*Registry) GetPatient(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, (*call).patient)
}

func (c *call) patient(id record.ID) (*record.Patient, error) {
	p := new(record.Patient)
	return p, c.need(PatientKey(id), p, "patient "+id.Short())
}

func enrolPatient(c *call, e record.EnrolPatient) (*record.Patient, error) {
	id := e.Inception.PatientID(c.genesis.Network)
	if err := checkInception(e.Inception); err != nil {
		return nil, fault.New(fault.Invalid, "inception: %w", err)
	}
	if err := c.checkVoucher(id, e); err != nil {
		return nil, err
	}
	if err := record.Verify(e.Inception.ConsentKeys[0], id, e.Signature); err != nil {
		return nil, fault.New(fault.BadSignature, "the patient's own signature: %w", err)
	}
	var known record.ID
	taken, err := c.get(PersonKey(e.Voucher.Person), &known)
	switch {
	case err != nil:
		return nil, err
	case taken && known == id:
		return c.patient(id)
	case taken:
		return nil, fault.New(fault.Conflict, "this person is enrolled already, as another patient")
	}
	return c.recordPatient(id, e)
}

func (c *call) recordPatient(id record.ID, e record.EnrolPatient) (*record.Patient, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	p := &record.Patient{ID: id, Inception: e.Inception, Person: e.Voucher.Person, Enrolled: now}
	exists, err := c.get(PatientKey(id), new(record.Patient))
	if err != nil {
		return nil, err
	}
	if exists {
		return nil, fault.New(fault.Conflict, "this patient is enrolled already, for another person")
	}
	if err := c.put(PersonKey(p.Person), id); err != nil {
		return nil, err
	}
	return p, c.put(PatientKey(id), p)
}

func checkInception(in record.Inception) error {
	if len(in.ConsentKeys) < 1 || len(in.ConsentKeys) > maxConsentKeys {
		return fmt.Errorf("it has %d consent keys, 1 to %d are possible", len(in.ConsentKeys), maxConsentKeys)
	}
	var keys []string
	for i, k := range in.ConsentKeys {
		if _, err := record.ParsePublicKey(k); err != nil {
			return fmt.Errorf("consent key %d: %w", i, err)
		}
		keys = append(keys, string(k))
	}
	if repeats(keys) {
		return errors.New("a consent key is there twice")
	}
	if in.RecoveryHash.IsZero() || in.Salt.IsZero() {
		return errors.New("recovery hash and salt cannot be zero")
	}
	return nil
}

func (c *call) checkVoucher(id record.ID, e record.EnrolPatient) error {
	if e.VoucherBy != c.genesis.Registrar {
		return fault.New(fault.Forbidden, "only %s vouches for patients here", c.genesis.Registrar)
	}
	if e.Voucher.Patient != id || e.Voucher.Person.IsZero() {
		return fault.New(fault.Invalid, "the voucher is not for this patient and a person")
	}
	digest := record.Digest(record.DomainVoucher, c.genesis.Network, e.Voucher)
	if err := record.Verify(c.member(c.genesis.Registrar).SignKey, digest, e.VoucherSg); err != nil {
		return fault.New(fault.BadSignature, "the registrar's voucher: %w", err)
	}
	return nil
}
