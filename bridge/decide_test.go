package bridge

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// A gateway shows whatever it likes. What a member did not sign is not answered, and
// what it signed is answered once, as the request that it was first shown as.
func TestAttackAGatewayInventsAltersOrReplaysAQuestion(t *testing.T) {
	a := newAsking(t)
	for name, change := range map[string]func(q *record.PredicateState){
		"invented, without a signature": func(q *record.PredicateState) { q.Ask.Signature = nil },
		"invented, with its own key": func(q *record.PredicateState) {
			q.Ask.Signature = consortium.Sign(newKey(t), q.Ask.Digest(a.genesis.Network, q.Asker))
		},
		"signed by another member": func(q *record.PredicateState) {
			q.Ask.Signature = consortium.Sign(a.members[1].sign, q.Ask.Digest(a.genesis.Network, q.Asker))
		},
		"signed for another network": func(q *record.PredicateState) {
			q.Ask.Signature = consortium.Sign(a.members[0].sign, q.Ask.Digest("elsewhere", q.Asker))
		},
		"asked for somebody else": func(q *record.PredicateState) { q.Asker = a.members[1].MSP },
		"asked by nobody here":    func(q *record.PredicateState) { q.Asker = "HospitalX" },
		"narrower":                func(q *record.PredicateState) { q.Ask.Bounds.Hi-- },
		"more minutes":            func(q *record.PredicateState) { q.Ask.Bounds.K++; q.Ask.Bounds.MinCount++ },
		"another nonce":           func(q *record.PredicateState) { q.Ask.Nonce[0] ^= 1 },
	} {
		q := a.ask
		change(&q)
		q.Binding = verifier.Binding(a.genesis.Network, q.ID, q.Ask.Nonce, q.Consent, q.Expires, a.genesis.Circuits[0].Hash)
		if got := a.answers(t, q); !slices.Equal(got.Ignored, []string{q.ID}) || len(a.prover.asked) != 0 {
			t.Errorf("%s: %+v, %d proofs made", name, got, len(a.prover.asked))
		}
	}
	if got := a.answers(t, a.ask); len(got.Pending) != 1 {
		t.Fatalf("the question itself: %+v", got)
	}
	replay := a.ask
	replay.ID = "request-9"
	replay.Binding = verifier.Binding(a.genesis.Network, replay.ID, replay.Ask.Nonce, replay.Consent, replay.Expires, a.genesis.Circuits[0].Hash)
	if got := a.answers(t, replay); !slices.Equal(got.Ignored, []string{"request-9"}) || len(a.prover.asked) != 1 {
		t.Errorf("the same question as another request: %+v, %d proofs made", got, len(a.prover.asked))
	}
	list, err := a.device.Asked(t.Context())
	if err != nil || len(list) != 1 || list[0].Standing != StandingBeyond {
		t.Errorf("and the patient reads %+v, %v", list, err)
	}
}

func TestAHubThatAsksFirstAnswersOnTheWordOfItsPatient(t *testing.T) {
	a := newAsking(t)
	a.hub.cfg.AskFirst = true
	other := a.request(t, "request-2", heartRateCode(60), heartRateCode(90))
	say := func(q record.PredicateState, yes, want bool) {
		t.Helper()
		if found, err := a.device.Say(t.Context(), a.device.predicates.name(q), yes); err != nil || found != want {
			t.Fatalf("%s: %v, %v", q.ID, found, err)
		}
	}
	if got := a.answers(t, a.ask, other); len(got.Waiting) != 2 || len(a.prover.asked) != 0 {
		t.Fatalf("before a word: %+v", got)
	}
	say(a.request(t, "request-7", heartRateCode(50), heartRateCode(90)), true, false)
	say(a.ask, true, true)
	say(other, false, true)
	a.hub = a.world.hub(crashed(t, a.dir)) // what was said is kept
	a.hub.cfg.AskFirst = true
	a.hub.SetProver(a.prover)
	a.at(a.ask.AnswerFrom)
	if got := a.answers(t, a.ask, other); !slices.Equal(got.Proven, []string{"request-1"}) || !slices.Equal(got.Silent, []string{"request-2"}) {
		t.Errorf("a yes and a no: %+v", got)
	}
	if len(a.prover.asked) != 1 || len(a.proofs) != 1 {
		t.Errorf("%d proofs made, %d handed in", len(a.prover.asked), len(a.proofs))
	}
}

// What leaves a hub that waits for its patient is what leaves one whose patient said no,
// and one for whose patient the claim does not hold: nothing.
func TestSilenceAndANoLookAlike(t *testing.T) {
	for name, prepare := range map[string]func(a *asking){
		"no word": func(a *asking) { a.hub.cfg.AskFirst = true },
		"a no": func(a *asking) {
			if found, err := a.device.Say(t.Context(), a.device.predicates.name(a.ask), false); err != nil || !found {
				t.Fatal(found, err)
			}
		},
		"does not hold": func(a *asking) { a.ask = a.request(t, "request-1", heartRateCode(80), heartRateCode(90)) },
	} {
		a := newAsking(t)
		a.requests = []record.PredicateState{a.ask}
		prepare(a)
		a.answers(t, a.ask)
		a.at(a.ask.AnswerFrom)
		a.answers(t, a.ask)
		if len(a.proofs) != 0 || len(a.prover.asked) != 0 {
			t.Errorf("%s: something was said", name)
		}
	}
}

// blocked is a prover that is at it until its context ends.
type blocked struct{ begun chan struct{} }

func (b *blocked) Prove(ctx context.Context, _ verifier.Statement, _ []*zk.Opening) ([]byte, error) {
	close(b.begun)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAProofThatIsBeingMadeIsShownAndGivenUp(t *testing.T) {
	a := newAsking(t)
	b := &blocked{make(chan struct{})}
	a.hub.SetProver(b)
	a.requests = []record.PredicateState{a.ask}
	answered := make(chan Answers)
	go func() {
		got, err := a.hub.Answer(t.Context())
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	<-b.begun
	if list, err := a.device.Asked(t.Context()); err != nil || len(list) != 1 || list[0].Standing != StandingProving {
		t.Errorf("meanwhile: %+v, %v", list, err)
	}
	if found, err := a.device.Say(t.Context(), a.device.predicates.name(a.ask), false); err != nil || !found {
		t.Errorf("no: %v, %v", found, err)
	}
	if got := <-answered; !slices.Equal(got.Silent, []string{"request-1"}) {
		t.Errorf("given up: %+v", got)
	}
	if list, err := a.device.Asked(t.Context()); err != nil || len(list) != 1 || list[0].Standing != StandingRefused {
		t.Errorf("afterwards: %+v, %v", list, err)
	}
}

func TestAProofThatWaitsForItsTimeCanBeTakenBack(t *testing.T) {
	a := newAsking(t)
	a.answers(t, a.ask)
	if found, err := a.device.Say(t.Context(), a.device.predicates.name(a.ask), false); err != nil || !found {
		t.Fatal(found, err)
	}
	a.at(a.ask.AnswerFrom)
	if got := a.answers(t, a.ask); !slices.Equal(got.Silent, []string{"request-1"}) || len(a.proofs) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWithTooLittleMemoryARequestStaysOpen(t *testing.T) {
	a := newAsking(t)
	a.hub.memory = func() uint64 { return 10 << 20 }
	a.requests = []record.PredicateState{a.ask}
	if _, err := a.hub.Answer(t.Context()); !errors.Is(err, ErrNoMemory) || len(a.prover.asked) != 0 {
		t.Errorf("error %v", err)
	}
	a.hub.memory = availableMemory
	if got := a.answers(t, a.ask); len(got.Pending) != 1 {
		t.Errorf("with enough: %+v", got)
	}
}

// A crash while a proof is made loses nothing: the request is open on the ledger, and
// counts once.
func TestACrashWhileAProofIsMadeLosesNothing(t *testing.T) {
	a := newAsking(t)
	b := &blocked{make(chan struct{})}
	a.hub.SetProver(b)
	a.requests = []record.PredicateState{a.ask}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := a.hub.Answer(ctx)
		ended <- err
	}()
	<-b.begun
	image := crashed(t, a.dir)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	a.hub = a.world.hub(image)
	a.hub.SetProver(a.prover)
	a.at(a.ask.AnswerFrom)
	second := a.request(t, "request-2", heartRateCode(60), heartRateCode(90))
	if got := a.answers(t, a.ask, second); len(got.Proven) != 2 {
		t.Errorf("after the crash: %+v", got)
	}
}
