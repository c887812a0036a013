package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	language "github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// asked is a device that hospital A asked for a proof about its first day.
func (w *world) asked() (*patient, *device, record.PredicateState) {
	w.Helper()
	ctx := context.Background()
	p := w.enrolled()
	d := p.bridge()
	w.done(w.as("", nil).PutConsent(ctx, p.consent(consortium.Claims)))
	w.advance(86400 + 3600)
	op := w.done(d.client().Upload(ctx, d.ID, nil, []record.SignedPointer{d.Day(startDay)}))
	if op.Items[0].Outcome != record.Anchored {
		w.Fatalf("day: %+v", op.Items[0])
	}
	return p, d, w.Ask(hospitalA, p.Question())
}

func TestAPatientSeesWhatWasAskedUntilTheErasure(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, _, q := w.asked()
	asked := func() []*apiv1.HistoryEntry {
		entries, err := p.client().History(ctx, p.ID)
		w.ok(err)
		return slices.DeleteFunc(entries, func(e *apiv1.HistoryEntry) bool { return e.Kind != "predicate" })
	}
	if got := asked(); len(got) != 1 || got[0].Id != q.ID || got[0].Status != record.PredicateAsked || !strings.Contains(got[0].Text, language.Sentence(q.Ask, language.English)) {
		t.Errorf("the history has %v", got)
	}
	w.done(w.as("", nil).Erase(ctx, p.Erasure(p.Key)))
	if got := asked(); len(got) != 0 {
		t.Errorf("after the erasure the history has %v", got)
	}
}

func TestADeviceSeesAndAnswersItsRequests(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	_, d, q := w.asked()
	open, err := d.client().Requests(ctx, d.ID)
	w.ok(err)
	if len(open) != 1 || record.Digest("test", "", open[0]) != record.Digest("test", "", q) {
		t.Fatalf("requests %+v, want %+v", open, q)
	}
	// Not proven: what reaches the ledger is refused there, not here.
	answer := record.Attest{Request: q.ID, Proof: random(196)}
	op, err := d.client().Prove(ctx, answer)
	w.ok(err)
	_, err = d.client().Wait(ctx, op)
	wantFault(t, fault.TooEarly, err)
	w.advance(86400 + 3600 + 900)
	op, err = d.client().Prove(ctx, answer)
	w.ok(err)
	_, err = d.client().Wait(ctx, op)
	wantFault(t, fault.Invalid, err)
}

func TestAttackAnswersToSomebodyElsesRequest(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	_, d, q := w.asked()
	p := w.enrolled()
	other := p.newDevice()
	other.Enrolment.Device.FirstHour = startHour + 25
	digest := record.Digest(record.DomainDevice, w.Genesis.Network, other.Enrolment.Device)
	other.Enrolment.DeviceSignature, other.Enrolment.PatientSignature = consortium.Sign(other.Key, digest), consortium.Sign(p.Key, digest)
	w.done(w.as("", nil).EnrolDevice(ctx, other.Enrolment, other.Seeds))
	_, err := other.client().Prove(ctx, record.Attest{Request: q.ID, Proof: random(196)})
	wantFault(t, fault.Forbidden, err)
	_, err = d.client().Prove(ctx, record.Attest{Request: record.RandomID().String(), Proof: random(196)})
	wantFault(t, fault.NotFound, err)

	body, err := json.Marshal(record.Attest{Request: q.ID, Proof: random(196)})
	w.ok(err)
	signer := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
	resp, answer := w.raw(w.signed(signer, "POST", "/v1/requests/another/proof", body, time.Now()))
	problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)
}

// A proof shows which claim it proves to whoever tries the few that there are. So no file
// of the gateway has it once its patient's erasure is done, whenever it came in, nor why
// it was refused.
func TestAttackAProofIsFoundInTheJournalAfterTheErasure(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, d, q := w.asked()
	refused := record.Attest{Request: q.ID, Proof: random(verifier.ProofBytes)}
	op, err := d.client().Prove(ctx, refused)
	w.ok(err)
	_, err = d.client().Wait(ctx, op)
	wantFault(t, fault.TooEarly, err)

	late := record.Attest{Request: q.ID, Proof: random(verifier.ProofBytes)} // it is taken, and then the erasure comes first
	waiting := entry{
		id: record.RandomID(), state: &apiv1.Operation{Kind: kindProve, Subject: q.ID},
		request: &apiv1.StoredRequest{Party: api.PatientParty(p.ID), Document: &apiv1.StoredRequest_Attest{Attest: &apiv1.Attest{Request: q.ID, Proof: late.Proof}}},
	}
	waiting.state.Id = waiting.id.String()
	_, _, err = w.gw.ops.accept(ctx, waiting)
	w.ok(err)
	w.done(w.as("", nil).Erase(ctx, p.Erasure(p.Key)))
	for msp := range w.Clients {
		w.report(msp, p, d.ID)
	}
	w.indexed()
	done := func() bool {
		r, err := p.client().Erasure(ctx, p.ID)
		w.ok(err)
		return r.Done
	}
	time.Sleep(2 * lookEvery)
	if !w.inJournal(late.Proof) || done() {
		t.Error("the erasure is done while a proof waits for the ledger")
	}
	w.gw.runner.dispatch(waiting)
	w.eventually("the receipt says that everything is done", done)
	for _, a := range []record.Attest{refused, late} {
		if w.inJournal(a.Proof) {
			t.Error("a proof is still in a file")
		}
	}
	if _, err := d.client().Operation(ctx, op.ID); fault.Of(err) != fault.NotFound {
		t.Errorf("why a proof was refused is still told: %v", err)
	}
}
