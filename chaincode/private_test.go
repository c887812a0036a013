package chaincode_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// since returns what is public of the blocks from a height on: transactions with
// their arguments and answers, and what they wrote.
func (w *world) since(height uint64) string {
	w.Helper()
	blocks, _ := w.blocks()
	var public strings.Builder
	for _, b := range blocks[height:] {
		for _, tx := range b.Txs {
			raw, err := json.Marshal(tx)
			if err != nil {
				w.Fatal(err)
			}
			public.Write(raw)
			for _, x := range tx.Writes {
				public.Write(x.Value)
			}
		}
	}
	return public.String()
}

// hides checks that no word of a request is on the chain from a height on.
func (w *world) hides(height uint64, p record.PredicateState) {
	w.Helper()
	public := w.since(height)
	for what, words := range map[string]string{
		"request": p.ID, "consent": p.Consent.String(), "binding": p.Binding.String(),
	} {
		if !strings.Contains(public, words) {
			w.Fatalf("the %s is not in the blocks that are searched", what)
		}
	}
	bounds, err := json.Marshal(p.Ask.Bounds)
	if err != nil {
		w.Fatal(err)
	}
	for what, words := range map[string]string{
		"patient": p.Ask.Patient.String(), "nonce": p.Ask.Nonce.String(), "metric": p.Ask.Metric, "purpose": p.Ask.Purpose,
		"bounds": string(bounds), "names of bounds": "min_count", "day": "first_day", "words": "UTC",
		"root": p.Roots[0].String(), "digest of the data": p.DataDigest.String(), "attestation": record.PredicateAttested,
		"expiry": record.PredicateExpired, "question's hash without its salt": record.Question{Ask: p.Ask}.Hash(w.Genesis.Network).String(),
	} {
		if strings.Contains(public, words) {
			w.Errorf("the chain shows the %s of a request", what)
		}
	}
	if p.Proof != nil && strings.Contains(public, base64.StdEncoding.EncodeToString(p.Proof)) {
		w.Error("the chain shows a proof")
	}
}

func TestTheChainDoesNotSayWhatIsAskedAboutAPatient(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	before := w.Ledger.Height()
	q := w.Ask(hospitalA, p.Question())
	w.Tick(q.Expires)
	w.Must(hospitalA, contracts.PredicateClose, record.NamePredicate{Request: q.ID})
	if q = w.Predicate(hospitalA, q.ID); q.Status != record.PredicateExpired {
		t.Fatalf("the request is %s", q.Status)
	}
	w.hides(before, q)
}

func TestTheChainDoesNotSayThatAClaimIsTrue(t *testing.T) {
	w, p, opening := proven(t)
	before := w.Ledger.Height()
	q := w.Ask(hospitalA, p.Question())
	w.Tick(q.AnswerFrom)
	w.Must(gatewayMSP, contracts.PredicateClose, record.Attest{Request: q.ID, Proof: prove(t, q, opening)})
	if q = w.Predicate(hospitalA, q.ID); q.Status != record.PredicateAttested {
		t.Fatalf("the request is %s", q.Status)
	}
	w.hides(before, q)
}

// What one member asked is not another's, and only gateways list requests, for the
// patient and the device that they concern.
func TestAttackAnotherMemberReadsARequest(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	q := w.Ask(hospitalA, p.Question())
	for _, call := range []network.Call{
		{Function: contracts.PredicateGet.Name(), Args: []string{q.ID}},
		{Function: contracts.PredicatePending.Name(), Args: []string{q.Device.String()}},
		{Function: contracts.PredicateOfPatient.Name(), Args: []string{p.ID.String()}},
	} {
		for _, msp := range []string{hospitalB, association} {
			if raw, err := w.Clients[msp].Evaluate(t.Context(), call); fault.Of(err) != fault.Forbidden {
				t.Errorf("%s reads %s: %s (%v)", msp, call.Function, raw, err)
			}
		}
	}
	var all []record.PredicateState
	w.Read(gatewayMSP, contracts.PredicateOfPatient, p.ID.String(), &all)
	if len(all) != 1 || !equalJSON(all[0], q) {
		t.Errorf("the patient's requests are %+v", all)
	}
}

// A member that is not concerned by a request hands in something as its proof, or closes it
// again: what it is told says neither what was asked nor how that ended.
func TestAttackAnotherMemberClosesARequestToLearnOfIt(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	q := w.Ask(hospitalA, p.Question())
	var s state.ConsentState
	w.Read(gatewayMSP, contracts.ConsentGet, q.Consent.String(), &s)
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(s.Signed.Document, func(d *consent.Document) {
		d.Predicates = []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(40, 60)}}
	})), nil)
	w.Tick(q.AnswerFrom)
	guess := record.Attest{Request: q.ID, Proof: consortium.DayFixture("..").Proof}
	w.Refuses(fault.Forbidden, "the bounds of the range are 31 and 71", hospitalA, contracts.PredicateClose, guess)
	_, err := w.Clients[hospitalB].Evaluate(t.Context(), w.Call(contracts.PredicateClose, guess))
	if fault.Of(err) != fault.Forbidden || strings.ContainsAny(strings.ReplaceAll(err.Error(), q.ID[:8], ""), "0123456789") {
		t.Errorf("the words of the refusal say what was asked: %v", err)
	}
}

func TestAttackAnotherMemberClosesARequestToLearnItsOutcome(t *testing.T) {
	w, p, opening := proven(t)
	attested, lapsed := w.Ask(hospitalA, p.Question()), w.Ask(hospitalA, p.Question())
	w.Tick(attested.AnswerFrom)
	w.Must(gatewayMSP, contracts.PredicateClose, record.Attest{Request: attested.ID, Proof: prove(t, attested, opening)})
	w.Tick(lapsed.Expires)
	w.Must(hospitalA, contracts.PredicateClose, record.NamePredicate{Request: lapsed.ID})
	for _, proof := range [][]byte{nil, consortium.DayFixture("..").Proof} {
		var told [2]fault.Code
		for i, id := range []string{attested.ID, lapsed.ID} {
			call := w.Call(contracts.PredicateClose, record.NamePredicate{Request: id})
			if proof != nil {
				call = w.Call(contracts.PredicateClose, record.Attest{Request: id, Proof: proof})
			}
			_, err := w.Clients[hospitalB].Evaluate(t.Context(), call)
			told[i] = fault.Of(err)
		}
		if told[0] != told[1] {
			t.Errorf("with a proof of %d bytes another member is told %q where the claim is true and %q where nobody answered", len(proof), told[0], told[1])
		}
	}
}

func TestAttackAQuestionThatIsNotTheOneHashed(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	honest := record.Question{Ask: p.Question(), Salt: record.RandomID()}
	arg := argument(record.RequestPredicate{Hash: honest.Hash(w.Genesis.Network)})
	other, saltless := honest, honest
	other.Ask.Bounds.Lo++
	saltless.Salt = record.ID{}
	for name, c := range map[string]struct {
		arg       string
		transient map[string][]byte
	}{
		"none":            {arg, nil},
		"another":         {arg, map[string][]byte{state.TransientQuestion: []byte(argument(other))}},
		"under a name":    {arg, map[string][]byte{"other": []byte(argument(honest))}},
		"one beside":      {arg, map[string][]byte{state.TransientQuestion: []byte(argument(honest)), "more": {1}}},
		"without a salt":  {argument(record.RequestPredicate{Hash: saltless.Hash(w.Genesis.Network)}), map[string][]byte{state.TransientQuestion: []byte(argument(saltless))}},
		"in the argument": {argument(honest.Ask), nil},
		"too long":        {arg, map[string][]byte{state.TransientQuestion: []byte(strings.Repeat(" ", 20_000) + argument(honest))}},
	} {
		_, err := w.Clients[hospitalA].Submit(t.Context(), network.Call{Function: contracts.PredicateRequest.Name(), Args: []string{c.arg}, Transient: c.transient})
		if fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Questions and outcomes go with the patient.
func TestAttackRequestsOutliveTheErasure(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	q := w.Ask(hospitalA, p.Question())
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))
	for _, msp := range []string{hospitalA, hospitalB, gatewayMSP} {
		if raw, err := w.Clients[msp].Evaluate(t.Context(), network.Call{Function: contracts.PredicateGet.Name(), Args: []string{q.ID}}); fault.Of(err) != fault.Purged {
			t.Errorf("after the erasure %s reads %s (%v)", msp, raw, err)
		}
	}
	if open := w.pending(q.Device); len(open) != 0 {
		t.Errorf("a device is asked about an erased patient: %+v", open)
	}
	for b, err := range w.Clients[hospitalA].Blocks(context.Background(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, private := range tx.Private {
				if private.Available {
					t.Errorf("block %d has %q still", b.Number, private.Key)
				}
			}
		}
		if b.Number+1 == w.Ledger.Height() {
			break
		}
	}
	var e record.PredicateEntry
	w.Must(hospitalA, contracts.PredicateClose, record.NamePredicate{Request: q.ID}, &e)
	if e.Status != record.PredicateClosed {
		t.Errorf("the request is %s", e.Status)
	}
}

func TestARequestIsPassedOnIfThePatientConsents(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	q := w.Ask(hospitalA, p.Question())
	pass := func(msp, to string) error {
		_, err := w.Clients[msp].Submit(t.Context(), network.Call{
			Function: contracts.PredicateShare.Name(), Args: []string{argument(record.NamePredicate{Request: q.ID})},
			Transient: map[string][]byte{state.TransientTo: []byte(to)},
		})
		return err
	}
	if err := pass(hospitalA, hospitalB); fault.Of(err) != fault.Forbidden || !strings.Contains(err.Error(), "operation share") {
		t.Errorf("without a consent to it: %v", err)
	}
	d := p.document(hospitalA)
	d.Operations, d.Predicates, d.Claims = []string{consent.OpShare}, nil, 0
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(d))
	for to, want := range map[string]fault.Code{"": fault.Invalid, association: fault.Invalid, "Nobody": fault.Invalid} {
		if err := pass(hospitalA, to); fault.Of(err) != want {
			t.Errorf("to %q: %v", to, err)
		}
	}
	if err := pass(hospitalB, hospitalB); fault.Of(err) != fault.Forbidden {
		t.Errorf("another institution passes it on: %v", err)
	}
	before := w.Ledger.Height()
	for range 2 {
		if err := pass(hospitalA, hospitalB); err != nil {
			t.Fatal(err)
		}
	}
	got := w.Predicate(hospitalB, q.ID)
	if len(got.Shared) != 1 || got.Shared[0].To != hospitalB {
		t.Errorf("passed on to %+v", got.Shared)
	}
	if strings.Contains(w.since(before), `"`+hospitalB+`"`) {
		t.Error("the chain says to whom it was passed on")
	}
}
