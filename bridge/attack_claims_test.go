package bridge

import (
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// A proof waits for its time, and meanwhile the patient takes back what it was made under.
// The ledger would refuse it, but whoever carries it there could read from it that the
// claim holds: it does not leave the hub.
func TestAttackAProofMadeBeforeItsConsentWasTakenBack(t *testing.T) {
	for name, stop := range map[string]func(a *asking) error{
		"revoked": func(a *asking) error {
			d := a.terms
			d.Version, d.Previous, d.Status = 2, a.terms.Digest(a.genesis.Network), consent.StatusRevoked
			return a.device.SetConsent(d)
		},
		"narrowed": func(a *asking) error {
			d := a.terms
			d.Version, d.Previous = 2, a.terms.Digest(a.genesis.Network)
			d.Predicates = []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(heartRateCode(60), heartRateCode(80))}}
			return a.device.SetConsent(d)
		},
		"denied": func(a *asking) error {
			d := a.terms
			d.ID, d.Effect, d.Predicates, d.Claims = record.SumID([]byte("deny")), consent.EffectDeny, nil, 0
			return a.device.SetConsent(d)
		},
		"everything": func(a *asking) error { return a.device.predicates.withdraw() },
	} {
		a := newAsking(t)
		if got := a.answers(t, a.ask); len(got.Pending) != 1 {
			t.Fatalf("%s: before: %+v", name, got)
		}
		if err := stop(a); err != nil {
			t.Fatal(err)
		}
		a.at(a.ask.AnswerFrom)
		if got := a.answers(t, a.ask); len(a.proofs) != 0 || !slices.Equal(got.Ignored, []string{"request-1"}) {
			t.Errorf("%s: %+v, %d proofs handed in", name, got, len(a.proofs))
		}
		if list, err := a.device.Asked(t.Context()); err != nil || len(list) != 1 || list[0].Standing != StandingBeyond {
			t.Errorf("%s: the patient reads %+v, %v", name, list, err)
		}
	}
}

// A later version that permits the claim still lets a proof go out that was made under an
// earlier one, as the ledger does; that all claims were asked by now does not hold it back.
func TestAProofGoesOutUnderALaterVersionThatPermitsIt(t *testing.T) {
	a := newAsking(t)
	other := a.request(t, "request-2", heartRateCode(60), heartRateCode(90))
	if got := a.answers(t, a.ask, other); len(got.Pending) != 2 {
		t.Fatalf("before: %+v", got)
	}
	d := a.terms
	d.Version, d.Previous, d.Expires = 2, a.terms.Digest(a.genesis.Network), a.terms.Expires+86400
	if err := a.device.SetConsent(d); err != nil {
		t.Fatal(err)
	}
	a.at(a.ask.AnswerFrom)
	if got := a.answers(t, a.ask, other); len(got.Proven) != 2 {
		t.Errorf("afterwards: %+v", got)
	}
}

// A gateway shows one question, and when its patient says yes to it, another under the same
// request: a word is about the question that was read.
func TestAttackAnotherQuestionUnderTheRequestThatWasRead(t *testing.T) {
	a := newAsking(t)
	a.hub.cfg.AskFirst = true
	a.answers(t, a.ask)
	list, err := a.device.Asked(t.Context())
	if err != nil || len(list) != 1 || list[0].Standing != StandingWaiting {
		t.Fatalf("%+v, %v", list, err)
	}
	other := a.request(t, "request-2", heartRateCode(60), heartRateCode(80))
	other.ID = a.ask.ID
	other.Binding = verifier.Binding(a.genesis.Network, other.ID, other.Ask.Nonce, other.Consent, other.Expires, a.genesis.Circuits[0].Hash)
	a.requests = []record.PredicateState{other}
	if found, err := a.device.Say(t.Context(), list[0].Question, true); err != nil || found {
		t.Errorf("the word was taken for another question: %v, %v", found, err)
	}
	if got := a.answers(t, other); len(got.Waiting) != 1 || len(a.prover.asked) != 0 {
		t.Errorf("the other question: %+v, %d proofs made", got, len(a.prover.asked))
	}
	a.requests = []record.PredicateState{a.ask}
	if found, err := a.device.Say(t.Context(), list[0].Question, true); err != nil || !found {
		t.Errorf("the question itself: %v, %v", found, err)
	}
}

// One asker's questions, each of which takes a proof, do not come before all of another's.
func TestAttackOneAskerKeepsTheProver(t *testing.T) {
	a := newAsking(t)
	d := a.terms
	d.ID, d.Grantee = record.SumID([]byte("another")), "HospitalB"
	if err := a.device.SetConsent(d); err != nil {
		t.Fatal(err)
	}
	second := a.request(t, "request-2", heartRateCode(60), heartRateCode(90))
	other := a.request(t, "request-3", heartRateCode(50), heartRateCode(90))
	other.Asker, other.Consent, other.Expires = "HospitalB", d.ID, other.Expires+60
	other = a.bound(t, other)
	if got := a.answers(t, a.ask, second, other); !slices.Equal(got.Pending, []string{"request-1", "request-3", "request-2"}) {
		t.Errorf("%+v", got)
	}
}
