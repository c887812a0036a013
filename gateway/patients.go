package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
)

type patientsService struct {
	apiv1.UnimplementedPatientsServer
	g *Gateway
}

// Enrol implements apiv1.PatientsServer. Signatures are checked here only to
// keep what is worthless out of the journal; chaincode checks them again.
func (s patientsService) Enrol(ctx context.Context, r *apiv1.EnrolPatientRequest) (*apiv1.Operation, error) {
	e, err := r.Enrolment.Document.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	network := s.g.genesis.Network
	id := e.Inception.PatientID(network)
	if err := consent.VerifyEnrolment(network, s.g.genesis.RelyingParties, e); err != nil {
		return nil, fault.New(fault.BadSignature, "the patient's signature of the enrolment: %w", err)
	}
	for _, v := range e.Vouchers {
		keys := s.g.memberKeys(v.By)
		if keys == nil {
			return nil, fault.New(fault.Forbidden, "%s is not a member that could vouch", v.By)
		}
		if !signedByAny(keys, record.Digest(record.DomainVoucher, network, e.Voucher), v.Signature) {
			return nil, fault.New(fault.BadSignature, "the signature of %s's voucher: %w", v.By, record.ErrSignature)
		}
	}
	release, err := s.g.ops.hold([]record.ID{e.DetailsBlob})
	if err != nil {
		return nil, err
	}
	defer release()
	if err := s.g.store.putBoxes(ctx, id, e, r.Enrolment.DetailsBoxes); err != nil {
		return nil, err
	}
	return s.g.runner.begin(ctx, kindPatient, id.String(),
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Patient{Patient: r.Enrolment.Document}}, proven(api.PatientParty(id)))
}

// putBoxes stores the blob with the sealed details key of a patient for whom it was
// vouched, unless it is another's.
func (st *store) putBoxes(ctx context.Context, patient record.ID, e record.EnrolPatient, boxes []byte) error {
	if got := record.SumID(boxes); got != e.DetailsBlob {
		return fault.New(fault.Invalid, "details_boxes has SHA-256 %s, the document names %s", got, e.DetailsBlob)
	}
	of, err := details.BoxesOf(boxes)
	if err != nil {
		return fault.New(fault.Invalid, "details_boxes: %w", err)
	}
	if of != patient {
		return fault.New(fault.Invalid, "details_boxes has the key of another patient")
	}
	return st.putFor(ctx, patient, e.DetailsBlob, boxes)
}

// ListConsents implements apiv1.PatientsServer.
func (s patientsService) ListConsents(ctx context.Context, r *apiv1.ListConsentsRequest) (*apiv1.ListConsentsResponse, error) {
	if err := requireParty(callerOf(ctx), api.PartyPatient, r.Patient); err != nil {
		return nil, err
	}
	all, err := s.g.consentsOf(ctx, r.Patient)
	if err != nil {
		return nil, err
	}
	p, err := s.g.patientNamed(ctx, r.Patient)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListConsentsResponse{RevokedAt: p.RevokedAt}
	for _, c := range all {
		out.Consents = append(out.Consents, apiv1.SignedConsentOf(c))
	}
	return out, nil
}

// GetHistory implements apiv1.PatientsServer.
func (s patientsService) GetHistory(ctx context.Context, r *apiv1.GetHistoryRequest) (*apiv1.GetHistoryResponse, error) {
	if err := requireParty(callerOf(ctx), api.PartyPatient, r.Patient); err != nil {
		return nil, err
	}
	id, err := record.ParseID(r.Patient)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	entries, err := s.g.index.History(id)
	if err != nil {
		return nil, err
	}
	asked, err := s.g.askedAbout(ctx, r.Patient)
	if err != nil {
		return nil, err
	}
	out := &apiv1.GetHistoryResponse{}
	for _, e := range entries {
		out.Entries = append(out.Entries, historyEntry(e))
	}
	for _, p := range asked {
		out.Entries = append(out.Entries, predicateEntry(p))
	}
	slices.SortStableFunc(out.Entries, func(a, b *apiv1.HistoryEntry) int { return cmp.Compare(a.Time, b.Time) })
	return out, nil
}

// askedAbout returns the requests about a patient: none of one who is erased.
func (l *ledger) askedAbout(ctx context.Context, patient string) ([]record.PredicateState, error) {
	asked, err := evaluateNamed(ctx, l, contracts.PredicateOfPatient, patient)
	if fault.Of(err) == fault.Purged {
		return nil, nil
	}
	return asked, err
}

// discardBoxes deletes the blob of an enrolment that was refused for good, or whose
// patient was erased long ago.
func (st *store) discardBoxes(ctx context.Context, m *apiv1.EnrolPatient) {
	e, err := m.Record()
	if m == nil || err != nil {
		return
	}
	id := e.Inception.PatientID(st.genesis.Network)
	p, err := st.patient(ctx, id)
	if err == nil && p.DetailsBlob == e.DetailsBlob && !p.Erased || err != nil && fault.Of(err) != fault.NotFound {
		return
	}
	st.discard(ctx, index.Blob{ID: e.DetailsBlob, Patient: id})
}

// erasedBefore reports whether what the ledger answered to an enrolment is the record
// of a patient who has been erased since.
func erasedBefore(payload []byte) bool {
	var p record.Patient
	return json.Unmarshal(payload, &p) == nil && p.Erased
}
