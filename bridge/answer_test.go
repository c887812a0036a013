package bridge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// recorder stands in for the prover, whose keys take half a minute to make: it
// decides as the prover does and remembers what it was asked.
type recorder struct{ asked []verifier.Statement }

func (r *recorder) Prove(_ context.Context, s verifier.Statement, openings []*zk.Opening) ([]byte, error) {
	r.asked = append(r.asked, s)
	holds, err := zk.Holds(s, openings)
	if err != nil {
		return nil, err
	}
	if !holds {
		return nil, zk.ErrFalse
	}
	return []byte("proof"), nil
}

// asking is a device with one committed day, a consent and a request for it.
type asking struct {
	*world
	hub    *Hub
	device *Device
	prover *recorder
	terms  consent.Document
	ask    record.PredicateState
	dir    string
}

func heartRateCode(units int64) uint32 {
	m, _ := wearable.ByKey("heart_rate")
	code, _ := m.Code(units)
	return uint32(code)
}

func newAsking(t *testing.T) *asking {
	w := newWorld(t)
	w.genesis.Circuits = []record.Circuit{{Class: "day", Hash: record.SumID([]byte("key"))}}
	a := &asking{world: w, prover: &recorder{}, dir: filepath.Join(t.TempDir(), "hub")}
	a.hub = w.hub(a.dir)
	a.hub.SetProver(a.prover)
	a.device = w.enrolled(a.hub, "heart_rate")
	for minute := range int64(100) {
		push(t, a.device, reading(t, "heart_rate", epochStart+minute*60, "70"))
	}
	w.at(epochStart + 86400)
	if err := a.device.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	a.terms = consent.Document{
		ID: record.SumID([]byte("consent")), Version: 1, Patient: testPatient, Grantee: "HospitalA", Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpPredicate},
		Metrics: []string{"heart_rate"}, DataFrom: epochStart / 3600, DataUntil: epochStart/3600 + 1000,
		NotBefore: epochStart, Expires: epochStart + 100*86400,
		Predicates: []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(heartRateCode(50), heartRateCode(90))}}, Claims: 2,
	}
	if err := a.device.SetConsent(a.terms); err != nil {
		t.Fatal(err)
	}
	a.ask = a.request(t, "request-1", heartRateCode(50), heartRateCode(90))
	return a
}

// request makes a well-formed request for the committed day, as chaincode would.
func (a *asking) request(t *testing.T, id string, lo, hi uint32) record.PredicateState {
	t.Helper()
	var rec dayRecord
	if _, err := a.device.vault.load(a.device.vault.key(kindOpening, ordered(epochDay)...), &rec); err != nil {
		t.Fatal(err)
	}
	bounds := verifier.Unbounded()
	bounds.Lo, bounds.Hi, bounds.K, bounds.MinCount = lo, hi, 60, 60
	q := record.PredicateState{
		ID: id, Asker: "HospitalA", Device: a.device.ID(), Consent: a.terms.ID, Version: 1, Roots: []record.ID{rec.Root},
		Ask: record.AskPredicate{
			Patient: testPatient, Purpose: "HRESCH", Class: "day", Metric: "heart_rate",
			FirstDay: epochDay, Bounds: bounds, Nonce: record.SumID([]byte(id)),
		},
		Asked: epochStart + 86400, AnswerFrom: epochStart + 86400 + 60, Expires: epochStart + 86400 + 3600, Status: record.PredicateAsked,
	}
	return a.bound(t, q)
}

// bound fills in the public inputs, and the asker's signature.
func (a *asking) bound(t *testing.T, q record.PredicateState) record.PredicateState {
	t.Helper()
	a.sign(&q)
	var err error
	if q.DataDigest, err = verifier.DataDigest(q.Roots); err != nil {
		t.Fatal(err)
	}
	q.Binding = verifier.Binding(a.genesis.Network, q.ID, q.Ask.Nonce, q.Consent, q.Expires, a.genesis.Circuits[0].Hash)
	return q
}

// sign has the member that asks sign the question.
func (a *asking) sign(q *record.PredicateState) {
	for _, m := range a.members {
		if m.MSP == q.Asker {
			q.Ask.Signature = consortium.Sign(m.sign, q.Ask.Digest(a.genesis.Network, q.Asker))
		}
	}
}

func (a *asking) answers(t *testing.T, requests ...record.PredicateState) Answers {
	t.Helper()
	a.mu.Lock()
	a.requests = requests
	a.mu.Unlock()
	got, err := a.hub.Answer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTruePredicateIsProvenInItsSlot(t *testing.T) {
	a := newAsking(t)
	if got := a.answers(t, a.ask); !slices.Equal(got.Pending, []string{"request-1"}) || len(a.proofs) != 0 {
		t.Errorf("before its slot: %+v", got)
	}
	a.at(a.ask.AnswerFrom)
	if got := a.answers(t, a.ask); !slices.Equal(got.Proven, []string{"request-1"}) || string(a.proofs["request-1"]) != "proof" {
		t.Errorf("in its slot: %+v", got)
	}
	if got := a.answers(t, a.ask); len(got.Proven)+len(got.Pending)+len(got.Silent)+len(got.Ignored) != 0 || len(a.prover.asked) != 1 {
		t.Errorf("afterwards: %+v, %d proofs made", got, len(a.prover.asked))
	}
}

func TestFalsePredicateMeetsSilence(t *testing.T) {
	a := newAsking(t)
	q := a.request(t, "request-2", heartRateCode(80), heartRateCode(90))
	for range 2 {
		if got := a.answers(t, q); !slices.Equal(got.Silent, []string{"request-2"}) {
			t.Errorf("%+v", got)
		}
	}
	if len(a.proofs) != 0 || len(a.prover.asked) != 0 {
		t.Error("the prover was asked")
	}
}

func TestAnswerSurvivesACrash(t *testing.T) {
	a := newAsking(t)
	a.answers(t, a.ask) // proven, pending
	image := crashed(t, a.dir)
	a.at(a.ask.AnswerFrom)
	a.hub = a.world.hub(image)
	if got := a.answers(t, a.ask); !slices.Equal(got.Proven, []string{"request-1"}) {
		t.Errorf("without a prover, from the stored proof: %+v", got)
	}
	// The answer to the submission was lost: a gateway says conflict, all is well. As
	// long as another shows the request as open, it may not be true.
	a.hub = a.world.hub(crashed(t, a.dir))
	if got := a.answers(t, a.ask); len(got.Ignored)+len(got.Silent) != 0 || !slices.Equal(got.Pending, []string{"request-1"}) {
		t.Errorf("again: %+v", got)
	}
	a.requests = nil
	if got, err := a.hub.Answer(t.Context()); err != nil || len(got.Pending) != 0 {
		t.Errorf("when it is not open any more: %+v, %v", got, err)
	}
}

func TestWithoutProverATruePredicateIsAnError(t *testing.T) {
	a := newAsking(t)
	a.hub.SetProver(nil)
	a.requests = []record.PredicateState{a.ask}
	if _, err := a.hub.Answer(t.Context()); !errors.Is(err, ErrNoProver) {
		t.Errorf("error %v", err)
	}
	a.hub.SetProver(a.prover)
	if got := a.answers(t, a.ask); len(got.Pending) != 1 {
		t.Errorf("with a prover: %+v", got)
	}
}

func TestConsentIsAskedAsOftenAsItSays(t *testing.T) {
	a := newAsking(t)
	silent := a.request(t, "r2", heartRateCode(80), heartRateCode(90)) // counts too
	third := a.request(t, "r3", heartRateCode(50), heartRateCode(90))
	got := a.answers(t, a.ask, silent, third)
	if len(got.Pending) != 1 || len(got.Silent) != 1 || !slices.Equal(got.Ignored, []string{"r3"}) {
		t.Errorf("%+v", got)
	}
}

func TestConsentVersionsOnlyGoForward(t *testing.T) {
	a := newAsking(t)
	revoked := a.terms
	revoked.Version, revoked.Previous, revoked.Status = 2, a.terms.Digest(a.genesis.Network), consent.StatusRevoked
	if err := a.device.SetConsent(revoked); err != nil {
		t.Fatal(err)
	}
	if err := a.device.SetConsent(a.terms); err != nil { // the old one again
		t.Fatal(err)
	}
	if got := a.answers(t, a.ask); len(got.Ignored) != 1 {
		t.Errorf("a revoked consent still answers: %+v", got)
	}
	foreign := a.terms
	foreign.Patient = record.SumID([]byte("somebody else"))
	if err := a.device.SetConsent(foreign); err == nil {
		t.Error("took another patient's consent")
	}
}

// foreignRequests spoil a request that is in order; each says whether the public
// inputs are to be computed anew for it.
func foreignRequests() map[string]func(*record.PredicateState) bool {
	trivial := verifier.Unbounded()
	return map[string]func(q *record.PredicateState) bool{
		"another device":      func(q *record.PredicateState) bool { q.Device = record.SumID([]byte("x")); return true },
		"another patient":     func(q *record.PredicateState) bool { q.Ask.Patient = record.SumID([]byte("x")); return true },
		"another root":        func(q *record.PredicateState) bool { q.Roots[0][31] ^= 1; return true },
		"a day not committed": func(q *record.PredicateState) bool { q.Ask.FirstDay++; return true },
		"no roots":            func(q *record.PredicateState) bool { q.Roots = nil; return false },
		"two roots":           func(q *record.PredicateState) bool { q.Roots = append(q.Roots, q.Roots[0]); return true },
		"another digest":      func(q *record.PredicateState) bool { q.DataDigest[31] ^= 1; return false },
		"another binding":     func(q *record.PredicateState) bool { q.Binding[31] ^= 1; return false },
		"another nonce":       func(q *record.PredicateState) bool { q.Ask.Nonce[0] ^= 1; return false },
		"later expiry":        func(q *record.PredicateState) bool { q.Expires += 3600; return false },
		"another circuit":     func(q *record.PredicateState) bool { q.Ask.Class = "week"; return true },
		"another metric":      func(q *record.PredicateState) bool { q.Ask.Metric = "glucose"; return true },
		"attested already":    func(q *record.PredicateState) bool { q.Status = record.PredicateAttested; return true },
		"an endless name":     func(q *record.PredicateState) bool { q.ID = string(make([]byte, 4096)); return true },
		"expired": func(q *record.PredicateState) bool {
			q.Expires = q.AnswerFrom + 1
			q.AnswerFrom, q.Expires = epochStart, epochStart+1
			q.Asked = epochStart - 1
			return true
		},
		"vacuous":       func(q *record.PredicateState) bool { q.Ask.Bounds.K, q.Ask.Bounds.MinCount = 0, 0; return true },
		"wider bounds":  func(q *record.PredicateState) bool { q.Ask.Bounds.Hi++; return true },
		"lower bounds":  func(q *record.PredicateState) bool { q.Ask.Bounds.Lo--; return true },
		"a mean beside": func(q *record.PredicateState) bool { q.Ask.Bounds.MeanLo = heartRateCode(65); return true },
		"a trend beside": func(q *record.PredicateState) bool {
			q.Ask.Bounds.TrendLo, q.Ask.Bounds.MinHalf = verifier.TrendBias, 1
			return true
		},
		"another purpose":      func(q *record.PredicateState) bool { q.Ask.Purpose = "TREAT"; return true },
		"another institution":  func(q *record.PredicateState) bool { q.Asker = "HospitalB"; return true },
		"a consent not left":   func(q *record.PredicateState) bool { q.Consent[0] ^= 1; return true },
		"another version":      func(q *record.PredicateState) bool { q.Version = 2; return true },
		"nothing but switches": func(q *record.PredicateState) bool { q.Ask.Bounds = trivial; return true },
	}
}

// A gateway, or whoever bends the ledger's answer, tries to get more out of a
// bridge than the patient agreed to, or about other data than was committed.
func TestAttackForeignRequest(t *testing.T) {
	a := newAsking(t)
	for name, f := range foreignRequests() {
		q := a.ask
		q.Roots = slices.Clone(q.Roots)
		if f(&q) {
			a.sign(&q)
			var err error
			if q.DataDigest, err = verifier.DataDigest(q.Roots); err != nil {
				t.Fatal(err)
			}
			q.Binding = verifier.Binding(a.genesis.Network, q.ID, q.Ask.Nonce, q.Consent, q.Expires, a.genesis.Circuits[0].Hash)
		}
		if got := a.answers(t, q); len(got.Ignored) != 1 || len(a.prover.asked) != 0 {
			t.Errorf("%s: %+v", name, got)
			a.prover.asked = nil
		}
	}
	deny := a.terms
	deny.ID, deny.Effect, deny.Predicates, deny.Claims = record.SumID([]byte("deny")), consent.EffectDeny, nil, 0
	if err := a.device.SetConsent(deny); err != nil {
		t.Fatal(err)
	}
	if got := a.answers(t, a.ask); len(got.Ignored) != 1 {
		t.Errorf("against a denial: %+v", got)
	}
}

func TestGatewayOfAnotherNetworkIsRefused(t *testing.T) {
	a := newAsking(t)
	a.genesis.Network = "elsewhere"
	if _, err := a.hub.Answer(t.Context()); err == nil {
		t.Error("answered to another network")
	}
}

var dayKeys = sync.OnceValues(func() (*zk.Keys, error) {
	dir, err := os.MkdirTemp("", "bridge-keys-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return zk.LoadKeys(dir, "day", func(string) {})
})

// DayKeys returns the prover's keys, made once for all tests.
func DayKeys(t *testing.T) *zk.Keys {
	t.Helper()
	if testing.Short() {
		t.Skip("making the keys takes half a minute")
	}
	keys, err := dayKeys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// The same with the real prover and verifier.
func TestPredicateIsProvenInZeroKnowledge(t *testing.T) {
	keys := DayKeys(t)
	a := newAsking(t)
	circuit := keys.Circuit()
	a.genesis.Circuits = []record.Circuit{circuit}
	a.hub.cfg.Genesis.Circuits = a.genesis.Circuits
	a.hub.SetProver(keys)
	q := a.bound(t, a.ask)
	a.at(q.AnswerFrom)
	if got := a.answers(t, q); len(got.Proven) != 1 {
		t.Fatalf("%+v", got)
	}
	v, err := verifier.NewVerifier("day", circuit.VerifyingKey, circuit.Hash)
	if err != nil {
		t.Fatal(err)
	}
	s := verifier.Statement{DataDigest: q.DataDigest, Binding: q.Binding, Slot: 0, FirstDay: q.Ask.FirstDay, Bounds: q.Ask.Bounds}
	if err := v.Verify(s, a.proofs[q.ID]); err != nil {
		t.Error(err)
	}
	s.Lo++
	if err := v.Verify(s, a.proofs[q.ID]); err == nil {
		t.Error("the proof is of anything")
	}
}
