package gateway

import (
	"context"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Get implements apiv1.PatientsServer.
func (s patientsService) Get(ctx context.Context, r *apiv1.GetPatientRequest) (*apiv1.Patient, error) {
	who := callerOf(ctx)
	if who.party.Kind != api.PartyMember {
		if err := requireParty(who, api.PartyPatient, r.Patient); err != nil {
			return nil, err
		}
	}
	p, err := s.g.patientNamed(ctx, r.Patient)
	if err != nil {
		return nil, err
	}
	return apiv1.PatientOf(p), nil
}

// ChangeKeys implements apiv1.PatientsServer. The request needs no signature of its
// own: whoever has nothing left but the recovery code signs the change with it.
func (s patientsService) ChangeKeys(ctx context.Context, r *apiv1.ChangeKeysRequest) (*apiv1.Operation, error) {
	k, err := r.Keys.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if k.Change.Patient.String() != r.Patient {
		return nil, fault.New(fault.Invalid, "the change is not for the patient of the path")
	}
	if err := consent.ValidateKeys(k.Change.ConsentKeys, k.Change.RecoveryHash); err != nil {
		return nil, fault.New(fault.Invalid, "keys: %w", err)
	}
	network, parties := s.g.genesis.Network, s.g.genesis.RelyingParties
	if err := k.CheckSignature(network, parties); err != nil {
		return nil, fault.New(fault.BadSignature, "the patient's signature of the keys: %w", err)
	}
	return s.g.runner.begin(ctx, kindKeys, r.Patient,
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Keys{Keys: r.Keys}},
		s.g.signedBy(k.Change.Patient, func(p record.Patient) error { return k.Verify(network, parties, p) }))
}
