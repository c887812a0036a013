package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
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
	if err := record.Verify(e.Inception.ConsentKeys[0], e.Digest(network), e.Signature); err != nil {
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
	if err := s.g.storeBoxes(ctx, id, e, r.Enrolment.DetailsBoxes); err != nil {
		return nil, err
	}
	return s.g.begin(ctx, kindPatient, id.String(),
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Patient{Patient: r.Enrolment.Document}}, proven(api.PatientParty(id)))
}

// storeBoxes stores the blob with the sealed details key of a patient for whom it was
// vouched, unless it is another's.
func (g *Gateway) storeBoxes(ctx context.Context, patient record.ID, e record.EnrolPatient, boxes []byte) error {
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
	return g.storeFor(ctx, patient, e.DetailsBlob, boxes)
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
func (g *Gateway) askedAbout(ctx context.Context, patient string) ([]record.PredicateState, error) {
	asked, err := evaluateNamed(ctx, g, contracts.PredicateOfPatient, patient)
	if fault.Of(err) == fault.Purged {
		return nil, nil
	}
	return asked, err
}

// historyEntry puts an event of the index into the form that patients read.
func historyEntry(e index.Entry) *apiv1.HistoryEntry {
	m := &apiv1.HistoryEntry{Kind: e.Kind, Id: e.Tx, Time: e.Time}
	switch {
	case e.Consent != nil:
		consentEntry(m, e.Consent)
	case e.Keys != nil:
		keysEntry(m, e.Keys)
	case e.Erasure != nil:
		m.Subject, m.Text = e.Erasure.Signed.Erasure.Patient.String(), "You demanded to be erased"
	case e.Query != nil:
		queryEntry(m, e.Query)
	}
	return m
}

func predicateEntry(p record.PredicateState) *apiv1.HistoryEntry {
	m := &apiv1.HistoryEntry{
		Kind: "predicate", Id: p.ID, Time: p.Asked, Institution: p.Asker, Purpose: p.Ask.Purpose, Metrics: []string{p.Ask.Metric},
		Status: p.Status, Included: p.Status == record.PredicateAttested,
		From: p.Ask.FirstDay * 24, Until: (p.Ask.FirstDay + int64(len(p.Roots))) * 24,
		Text: fmt.Sprintf("%s asked for a proof: %s (%s)", p.Asker, p.Text, p.Status),
	}
	for _, s := range p.Shared {
		m.Text += ", passed on to " + s.To
	}
	return m
}

func consentEntry(m *apiv1.HistoryEntry, c *index.ConsentVersion) {
	m.Subject, m.Status = c.Entry.ID.String(), c.State
	if c.Signed == nil {
		m.Text = fmt.Sprintf("You signed version %d of a consent whose details are not here", c.Entry.Version)
		return
	}
	d := c.Signed.Document
	m.Institution, m.Purpose, m.Metrics, m.From, m.Until = d.Grantee, d.Purpose, d.Metrics, d.DataFrom, d.DataUntil
	verb := "You consented"
	switch {
	case d.Status == consent.StatusRevoked:
		verb = "You revoked the consent given"
	case d.Status == consent.StatusInError:
		verb = "You withdrew as entered in error what was consented"
	case d.Effect == consent.EffectDeny:
		verb = "You denied access"
	}
	m.Text = fmt.Sprintf("%s to %s (version %d)", verb, d.Grantee, d.Version)
	if d.Status != consent.StatusActive {
		return
	}
	if d.Exact {
		m.Text += ", statistics without privacy noise too, which protect nothing"
	}
	m.Claims = d.Texts()
}

func queryEntry(m *apiv1.HistoryEntry, q *index.QueryEntry) {
	s := q.State
	m.Institution, m.Purpose, m.Subject, m.Status = s.Asker, s.Purpose, s.Ask.Study, s.Status
	m.Metrics, m.From, m.Until, m.RhoMicro = q.Metrics, s.Ask.From, s.Ask.Until, s.Ask.Rho
	m.Cohort, m.Hours, m.Included, m.Unprotected = uint32(max(s.Size, 0)), q.Hours, q.Included, q.Unprotected
	if !s.Release.IsZero() {
		m.Release = s.Release.String()
	}
	share := "without your data"
	if q.Included {
		share = fmt.Sprintf("with %d hours of your data among %d patients", q.Hours, s.Size)
	}
	status := s.Status
	if s.Standing != "" && s.Standing != record.StandingFinal {
		status += ", " + s.Standing
	}
	m.Text = fmt.Sprintf("%s asked for statistics of %s in study %s, %s (%s)", s.Asker, q.About, s.Ask.Study, share, status)
	if q.Unprotected {
		m.Text += ", unprotected: without privacy noise"
	}
}

// discardBoxes deletes the blob of an enrolment that was refused for good, or whose
// patient was erased long ago.
func (g *Gateway) discardBoxes(ctx context.Context, m *apiv1.EnrolPatient) {
	e, err := m.Record()
	if m == nil || err != nil {
		return
	}
	id := e.Inception.PatientID(g.genesis.Network)
	p, err := g.patient(ctx, id)
	if err == nil && p.DetailsBlob == e.DetailsBlob && !p.Erased || err != nil && fault.Of(err) != fault.NotFound {
		return
	}
	g.discard(ctx, index.Blob{ID: e.DetailsBlob, Patient: id})
}

// erasedBefore reports whether what the ledger answered to an enrolment is the record
// of a patient who has been erased since.
func erasedBefore(payload []byte) bool {
	var p record.Patient
	return json.Unmarshal(payload, &p) == nil && p.Erased
}
