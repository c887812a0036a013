package gateway

import (
	"context"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

type consentsService struct {
	apiv1.UnimplementedConsentsServer
	g *Gateway
}

// Put implements apiv1.ConsentsServer. Anyone may bring a document; what counts
// is that one of the patient's keys signed it.
func (s consentsService) Put(ctx context.Context, r *apiv1.PutConsentRequest) (*apiv1.Operation, error) {
	c, err := r.Consent.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if err := consent.Validate(c.Document); err != nil {
		return nil, fault.New(fault.Invalid, "consent: %w", err)
	}
	if s.g.index.Erased(c.Document.Patient) { // nothing of what it says is written down here
		return nil, details.Purged(c.Document.Patient)
	}
	network, parties := s.g.genesis.Network, s.g.genesis.RelyingParties
	if err := c.CheckSignature(network, parties); err != nil {
		return nil, fault.New(fault.BadSignature, "the patient's signature of the consent: %w", err)
	}
	return s.g.runner.begin(ctx, kindConsent, c.Document.ID.String(),
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Consent{Consent: r.Consent}},
		s.g.signedBy(c.Document.Patient, func(p record.Patient) error { return c.Verify(network, parties, p) }))
}

// Get implements apiv1.ConsentsServer.
func (s consentsService) Get(ctx context.Context, r *apiv1.GetConsentRequest) (*apiv1.SignedConsent, error) {
	state, err := s.g.consentFor(ctx, callerOf(ctx), r.Consent)
	if err != nil {
		return nil, err
	}
	return apiv1.SignedConsentOf(state.Signed), nil
}

// consentFor returns the newest version of a consent to those who may see it.
func (l *ledger) consentFor(ctx context.Context, who caller, id string) (state.ConsentState, error) {
	latest, err := evaluateNamed(ctx, l, contracts.ConsentGet, id)
	if who.party.Kind != api.PartyMember {
		// A stranger does not learn whether the consent exists.
		if err != nil && fault.Of(err) == fault.NotFound {
			return latest, fault.New(fault.Forbidden, "only its patient and members may see a consent")
		}
		if err == nil && requireParty(who, api.PartyPatient, latest.Signed.Document.Patient.String()) != nil {
			return latest, fault.New(fault.Forbidden, "only its patient and members may see a consent")
		}
	}
	return latest, err
}

// consentsOf returns the newest version of each of a patient's consents.
func (l *ledger) consentsOf(ctx context.Context, patient string) ([]consent.Signed, error) {
	states, err := evaluateNamed(ctx, l, contracts.ConsentOfPatient, patient)
	if err != nil {
		return nil, err
	}
	out := make([]consent.Signed, len(states))
	for i, s := range states {
		out[i] = s.Signed
	}
	return out, nil
}
