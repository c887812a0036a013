package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// dayCircuit is the verifying key that package zk keeps for tests.
func dayCircuit(t testing.TB) record.Circuit {
	t.Helper()
	data, err := os.ReadFile("../zk/verifier/testdata/day.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		VerifyingKey []byte `json:"verifying_key"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return record.Circuit{Class: "day", VerifyingKey: f.VerifyingKey, Hash: record.SumID(f.VerifyingKey), Setup: "development"}
}

// asked is a device that hospital A asked for a proof about its first day.
func (w *world) asked() (*patient, *device, record.PredicateState) {
	w.Helper()
	ctx := context.Background()
	p := w.enrolled()
	d := p.newDevice()
	w.done(w.as("", nil).EnrolDevice(ctx, d.enrol, d.seeds))
	w.done(w.as("", nil).PutConsent(ctx, p.consent(func(c *consent.Document) {
		c.Operations = []string{consent.OpAggregate, consent.OpPredicate}
		c.Predicates, c.Claims = []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(31, 71)}}, 2
	})))
	w.advance(86400 + 3600)
	root := record.RandomID()
	root[0] = 0 // below the order of the field
	op := w.done(d.client().Upload(ctx, d.id, nil, []record.SignedPointer{d.pointer(record.Pointer{
		Device: d.id, Kind: record.KindDay, Index: startDay, Commitment: root,
	})}))
	if op.Items[0].Outcome != record.Anchored {
		w.Fatalf("day: %+v", op.Items[0])
	}
	b := verifier.Unbounded()
	b.Lo, b.Hi, b.K, b.MinCount = 31, 71, 60, 60
	text, transient, err := state.RequestArguments(w.genesis.Network, record.Question{Salt: record.RandomID(), Ask: record.AskPredicate{
		Patient: p.id, Purpose: "HRESCH", Class: "day", Metric: "heart_rate",
		FirstDay: startDay, Bounds: b, Nonce: record.RandomID(),
	}})
	w.ok(err)
	res, err := network.SubmitRetry(ctx, w.members[hospitalA], network.Call{Function: "Predicate:Request", Args: []string{text}, Transient: transient})
	w.ok(err)
	var e record.PredicateEntry
	w.ok(json.Unmarshal(res.Payload, &e))
	raw, err := w.members[hospitalA].Evaluate(ctx, network.Call{Function: "Predicate:Get", Args: []string{e.ID}})
	w.ok(err)
	var q record.PredicateState
	w.ok(json.Unmarshal(raw, &q))
	return p, d, q
}

func TestAPatientSeesWhatWasAskedUntilTheErasure(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	p, _, q := w.asked()
	asked := func() []*apiv1.HistoryEntry {
		entries, err := p.client().History(ctx, p.id)
		w.ok(err)
		return slices.DeleteFunc(entries, func(e *apiv1.HistoryEntry) bool { return e.Kind != "predicate" })
	}
	if got := asked(); len(got) != 1 || got[0].Id != q.ID || got[0].Status != record.PredicateAsked || !strings.Contains(got[0].Text, q.Text) {
		t.Errorf("the history has %v", got)
	}
	w.done(w.as("", nil).Erase(ctx, p.erasure()))
	if got := asked(); len(got) != 0 {
		t.Errorf("after the erasure the history has %v", got)
	}
}

func TestADeviceSeesAndAnswersItsRequests(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	_, d, q := w.asked()
	open, err := d.client().Requests(ctx, d.id)
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
	other.enrol.Device.FirstHour = startHour + 25
	digest := record.Digest(record.DomainDevice, w.genesis.Network, other.enrol.Device)
	other.enrol.DeviceSignature, other.enrol.PatientSignature = sign(w, other.key, digest), sign(w, p.key, digest)
	w.done(w.as("", nil).EnrolDevice(ctx, other.enrol, other.seeds))
	_, err := other.client().Prove(ctx, record.Attest{Request: q.ID, Proof: random(196)})
	wantFault(t, fault.Forbidden, err)
	_, err = d.client().Prove(ctx, record.Attest{Request: record.RandomID().String(), Proof: random(196)})
	wantFault(t, fault.NotFound, err)

	body, err := json.Marshal(record.Attest{Request: q.ID, Proof: random(196)})
	w.ok(err)
	signer := &api.Signer{Party: api.DeviceParty(d.id), Key: d.key}
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
		request: &apiv1.StoredRequest{Party: api.PatientParty(p.id), Document: &apiv1.StoredRequest_Attest{Attest: &apiv1.Attest{Request: q.ID, Proof: late.Proof}}},
	}
	waiting.state.Id = waiting.id.String()
	_, _, err = w.gw.ops.accept(ctx, waiting)
	w.ok(err)
	w.done(w.as("", nil).Erase(ctx, p.erasure()))
	for msp := range w.members {
		w.report(msp, p, d.id)
	}
	w.indexed()
	done := func() bool {
		r, err := p.client().Erasure(ctx, p.id)
		w.ok(err)
		return r.Done
	}
	time.Sleep(2 * lookEvery)
	if !w.inJournal(late.Proof) || done() {
		t.Error("the erasure is done while a proof waits for the ledger")
	}
	w.gw.dispatch(waiting)
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
