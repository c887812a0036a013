package gateway

import (
	"context"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
)

type devicesService struct {
	apiv1.UnimplementedDevicesServer
	g *Gateway
}

// Enrol implements apiv1.DevicesServer. Both signatures are checked before
// anything is stored: only who was enrolled may leave a blob here.
func (s devicesService) Enrol(ctx context.Context, r *apiv1.EnrolDeviceRequest) (*apiv1.Operation, error) {
	e, err := r.Enrolment.Document.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if got := record.SumID(r.Enrolment.SeedBlob); got != e.Device.SeedBlob {
		return nil, fault.New(fault.Invalid, "seed_blob has SHA-256 %s, the document names %s", got, e.Device.SeedBlob)
	}
	if err := s.g.verifyEnrolment(ctx, e); err != nil {
		return nil, err
	}
	if err := s.g.checkSeedBlob(e.Device, r.Enrolment.SeedBlob); err != nil {
		return nil, err
	}
	release, err := s.g.ops.hold([]record.ID{e.Device.SeedBlob})
	if err != nil {
		return nil, err
	}
	defer release()
	if err := s.g.store.putFor(ctx, e.Device.Patient, e.Device.SeedBlob, r.Enrolment.SeedBlob); err != nil {
		return nil, err
	}
	id := record.DeviceID(s.g.genesis.Network, e.Device.Key)
	return s.g.runner.begin(ctx, kindDevice, id.String(),
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Device{Device: r.Enrolment.Document}},
		proven(api.PatientParty(e.Device.Patient)))
}

func (l *ledger) verifyEnrolment(ctx context.Context, e record.EnrolDevice) error {
	digest := record.Digest(record.DomainDevice, l.genesis.Network, e.Device)
	if err := record.Verify(e.Device.Key, digest, e.DeviceSignature); err != nil {
		return fault.New(fault.BadSignature, "the device's signature of the enrolment: %w", err)
	}
	p, err := l.patient(ctx, e.Device.Patient)
	if err != nil {
		return err
	}
	if p.Erased {
		return fault.New(fault.Forbidden, "the patient is erased, which is final")
	}
	if err := consent.SignedByOne(p.ConsentKeys(), l.genesis.RelyingParties, digest, e.PatientSignature, e.PatientAssertion); err != nil {
		return fault.New(fault.BadSignature, "the patient's signature of the enrolment: %w", err)
	}
	return nil
}

// checkSeedBlob refuses seeds whose fault everybody sees. Their holders would put the
// device out.
func (l *ledger) checkSeedBlob(d record.Device, blob []byte) error {
	roster := l.roster()
	epoch := roster.Epoch(d.Epoch)
	if epoch == nil {
		return fault.New(fault.Invalid, "epoch %d is none that devices enrol in", d.Epoch)
	}
	if err := state.CheckSeedBlob(l.genesis.Network, epoch, d, blob); err != nil {
		return fault.New(fault.Invalid, "seed_blob: %w", err)
	}
	return nil
}

// fault is what a device hears when the blob store fails.
func (st *store) fault(err error) error {
	st.log.Error("the blob store failed", "error", err)
	return fault.New(fault.Unavailable, "the blob could not be stored; try again")
}

// Get implements apiv1.DevicesServer. Whoever is neither the device nor its patient nor
// a member learns whether it counts, and nothing about whom it measures.
func (s devicesService) Get(ctx context.Context, r *apiv1.GetDeviceRequest) (*apiv1.GetDeviceResponse, error) {
	id, err := record.ParseID(r.Device)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	d, err := s.g.device(ctx, id)
	if err != nil {
		return nil, err
	}
	out := &apiv1.GetDeviceResponse{}
	_, acknowledged, ready, _ := s.g.index.Device(id)
	out.Ready = ready
	if !mayKnow(callerOf(ctx).party, d) {
		return out, nil
	}
	out.AcknowledgedBy = acknowledged
	if r, err := s.g.index.Reputation(id); err == nil { // the index may be a block behind
		out.Reputation = reputation(r)
	}
	out.State, err = apiv1.DeviceStateOf(d)
	return out, err
}

// mayKnow says who learns all about a device.
func mayKnow(p api.Party, d record.DeviceState) bool {
	switch p.Kind {
	case api.PartyMember:
		return true
	case api.PartyPatient:
		return p.Name == d.Device.Patient.String()
	case api.PartyDevice:
		return p.Name == d.ID.String()
	}
	return false
}

func reputation(r index.Reputation) *apiv1.Reputation {
	m := &apiv1.Reputation{
		Hours: r.Hours, Anchored: r.Anchored, Gaps: r.Gaps, Refused: int32(r.Refused), Votes: int32(r.Votes),
		Flags: make(map[string]int32, len(r.Flags)),
	}
	for kind, n := range r.Flags {
		m.Flags[kind] = int32(n)
	}
	return m
}

// Retire implements apiv1.DevicesServer. The signature is checked before anything
// is journaled.
func (s devicesService) Retire(ctx context.Context, r *apiv1.RetireRequest) (*apiv1.Operation, error) {
	e, err := r.Retirement.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if r.Device != r.Retirement.Retire.Device {
		return nil, fault.New(fault.Invalid, "the document is about device %s, the path names %s", r.Retirement.Retire.Device, r.Device)
	}
	d, err := s.g.device(ctx, e.Retire.Device)
	if err != nil {
		return nil, err
	}
	p, err := s.g.patient(ctx, d.Device.Patient)
	if err != nil {
		return nil, err
	}
	digest := record.Digest(record.DomainRetire, s.g.genesis.Network, e.Retire)
	by := api.PatientParty(p.ID)
	if err := consent.SignedByOne(p.ConsentKeys(), s.g.genesis.RelyingParties, digest, e.Signature, e.Assertion); err != nil {
		by = api.DeviceParty(d.ID) // in no way of the patient's own
		if e.Assertion != nil || record.Verify(d.Device.Key, digest, e.Signature) != nil {
			return nil, fault.New(fault.BadSignature, "the signature of the retirement: %w", err)
		}
	}
	return s.g.runner.begin(ctx, kindRetire, r.Device,
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Retirement{Retirement: r.Retirement}},
		proven(by))
}

func signedByAny(keys [][]byte, digest record.ID, sig []byte) bool {
	return slices.ContainsFunc(keys, func(key []byte) bool { return record.Verify(key, digest, sig) == nil })
}

// ListReceipts implements apiv1.DevicesServer.
func (s devicesService) ListReceipts(ctx context.Context, r *apiv1.ListReceiptsRequest) (*apiv1.ListReceiptsResponse, error) {
	c := callerOf(ctx)
	if c.party.Kind != api.PartyMember {
		if err := requireParty(c, api.PartyDevice, r.Device); err != nil {
			return nil, err
		}
	}
	id, err := record.ParseID(r.Device)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	receipts, err := s.g.index.Receipts(id, r.Kind, r.From, r.Until)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListReceiptsResponse{}
	for _, receipt := range receipts[:min(len(receipts), api.MaxReceipts)] {
		m, err := apiv1.ReceiptOf(receipt)
		if err != nil {
			return nil, err
		}
		out.Receipts = append(out.Receipts, m)
	}
	return out, nil
}

// ListRequests implements apiv1.DevicesServer.
func (s devicesService) ListRequests(ctx context.Context, r *apiv1.ListRequestsRequest) (*apiv1.ListRequestsResponse, error) {
	if err := requireParty(callerOf(ctx), api.PartyDevice, r.Device); err != nil {
		return nil, err
	}
	open, err := evaluateNamed(ctx, s.g.ledger, contracts.PredicatePending, r.Device)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListRequestsResponse{}
	for _, p := range open {
		out.Requests = append(out.Requests, apiv1.PredicateStateOf(p))
	}
	return out, nil
}

// Prove implements apiv1.DevicesServer.
func (s devicesService) Prove(ctx context.Context, r *apiv1.ProveRequest) (*apiv1.Operation, error) {
	if r.Attest.Request != r.Request {
		return nil, fault.New(fault.Invalid, "the document answers request %s, the path names %s", r.Attest.Request, r.Request)
	}
	asked, err := evaluate(ctx, s.g.ledger, contracts.PredicateGet, r.Request)
	if err != nil {
		return nil, err
	}
	if err := requireParty(callerOf(ctx), api.PartyDevice, asked.Device.String()); err != nil {
		return nil, err
	}
	return s.g.runner.begin(ctx, kindProve, r.Request,
		&apiv1.StoredRequest{Document: &apiv1.StoredRequest_Attest{Attest: r.Attest}}, proven(api.PatientParty(asked.Ask.Patient)))
}
