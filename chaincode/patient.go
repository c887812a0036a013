package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// EnrolPatient records a patient (record.EnrolPatient, record.Patient) for whom
// the registrar vouches or, where there is none, enough members. A person is
// enrolled once.
func (*Registry) EnrolPatient(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, smallArgument, enrolPatient)
}

// GetPatient returns the record.Patient with this identifier.
func (*Registry) GetPatient(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, (*call).patient)
}

func (c *call) patient(id record.ID) (*record.Patient, error) {
	p := new(record.Patient)
	return p, c.need(state.PatientKey(id), p, "patient "+id.Short())
}

func enrolPatient(c *call, e record.EnrolPatient) (*record.Patient, error) {
	id, err := state.CheckEnrolment(c.genesis, c.roster.Epoch(c.roster.Current), e)
	if err != nil {
		return nil, err
	}
	var known record.ID
	taken, err := c.get(state.PersonKey(e.Voucher.Person), &known)
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
	p := &record.Patient{ID: id, Inception: e.Inception, DetailsBlob: e.DetailsBlob, Person: e.Voucher.Person, Enrolled: now}
	exists, err := c.get(state.PatientKey(id), new(record.Patient))
	if err != nil {
		return nil, err
	}
	if exists {
		return nil, fault.New(fault.Conflict, "this patient is enrolled already, for another person")
	}
	if err := c.put(state.PersonKey(p.Person), id); err != nil {
		return nil, err
	}
	return p, c.put(state.PatientKey(id), p)
}
