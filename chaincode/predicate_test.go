package chaincode_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// bounds are "heart rate was between 50 and 90 /min in at least 60 minutes".
// committed is a patient who consents to hospital A and whose first day is
// anchored; ledger time is an hour after its end.
func (w *world) committed() *person {
	w.Helper()
	p := w.enrolled()
	p.consents(hospitalA)
	w.Tick(start + 86400 + 3600)
	w.anchor(p.Devices[0].Day(startDay))
	return p
}

func (w *world) pending(d record.ID) []record.PredicateState {
	w.Helper()
	var open []record.PredicateState
	w.Read(gatewayMSP, contracts.PredicatePending, d.String(), &open)
	return open
}

func TestAPredicateThatNobodyAnswersExpires(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	d := p.Devices[0].ID
	q := w.Ask(hospitalA, p.Question())
	if q.Device != d || q.AnswerFrom%300 != 0 || q.AnswerFrom < q.Asked+300 || q.AnswerFrom >= q.Asked+600 || q.Expires != q.Asked+3600 {
		t.Errorf("asked: %+v", q)
	}
	if open := w.pending(d); len(open) != 1 || open[0].ID != q.ID {
		t.Fatalf("pending: %+v", open)
	}
	w.Refuses(fault.TooEarly, "expires", gatewayMSP, contracts.PredicateClose, record.NamePredicate{Request: q.ID})
	early := record.Attest{Request: q.ID, Proof: consortium.DayFixture("..").Proof}
	w.Refuses(fault.TooEarly, "taken from", gatewayMSP, contracts.PredicateClose, early)
	w.Tick(q.AnswerFrom)
	w.Refuses(fault.Invalid, "does not prove", gatewayMSP, contracts.PredicateClose, early)
	w.Tick(q.Expires)
	if open := w.pending(d); len(open) != 0 {
		t.Errorf("an expired request is still pending: %+v", open)
	}
	w.Refuses(fault.Expired, "expired", gatewayMSP, contracts.PredicateClose, record.Attest{Request: q.ID, Proof: consortium.DayFixture("..").Proof})
	for range 2 {
		w.Must(hospitalA, contracts.PredicateClose, record.NamePredicate{Request: q.ID})
		if q = w.Predicate(hospitalA, q.ID); q.Status != record.PredicateExpired {
			t.Errorf("status is %s", q.Status)
		}
	}
	w.Refuses(fault.Conflict, "closed", gatewayMSP, contracts.PredicateClose, record.Attest{Request: q.ID, Proof: consortium.DayFixture("..").Proof})
}

func TestAttackAskBeyondTheTerms(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	for _, c := range []struct {
		code   fault.Code
		words  string
		change func(*record.AskPredicate)
	}{
		{fault.Forbidden, "bounds", func(a *record.AskPredicate) { a.Bounds.Lo = 30 }},
		{fault.Forbidden, "bounds", func(a *record.AskPredicate) { a.Bounds.Hi = 72 }},
		{fault.Forbidden, "mean", func(a *record.AskPredicate) { a.Bounds.MeanLo = 50 }},
		{fault.Forbidden, "min_half", func(a *record.AskPredicate) { a.Bounds.TrendLo, a.Bounds.MinHalf = 1<<17, 1 }},
		{fault.Invalid, "says nothing", func(a *record.AskPredicate) { a.Bounds.Lo, a.Bounds.Hi = 1, 201 }},
		{fault.Forbidden, "purpose", func(a *record.AskPredicate) { a.Purpose = "TREAT" }},
		{fault.Invalid, "purpose", func(a *record.AskPredicate) { a.Purpose = "MARKETING" }},
		{fault.Forbidden, "metric", func(a *record.AskPredicate) { a.Metric, a.Bounds.Lo, a.Bounds.Hi = "spo2", 31, 71 }},
		{fault.Invalid, "metric", func(a *record.AskPredicate) { a.Metric = "mood" }},
		{fault.Forbidden, "data period", func(a *record.AskPredicate) { a.FirstDay-- }},
		{fault.NotFound, "root of the day", func(a *record.AskPredicate) { a.FirstDay++ }},
		{fault.NotFound, "patient", func(a *record.AskPredicate) { a.Patient = record.RandomID() }},
		{fault.Invalid, "class", func(a *record.AskPredicate) { a.Class = "week" }},
		{fault.Invalid, "nonce", func(a *record.AskPredicate) { a.Nonce = record.ID{} }},
		{fault.Invalid, "without data", func(a *record.AskPredicate) { a.Bounds.K, a.Bounds.MinCount = 0, 0 }},
		{fault.Invalid, "hour_mask", func(a *record.AskPredicate) { a.Bounds.HourMask = 0 }},
		{fault.Invalid, "out of bounds", func(a *record.AskPredicate) { a.FirstDay = 1 << 40 }},
	} {
		a := p.Question()
		c.change(&a)
		w.Refuses(c.code, c.words, hospitalA, contracts.PredicateRequest, a)
	}
	w.Refuses(fault.Forbidden, "no consent", hospitalB, contracts.PredicateRequest, p.Question())

	partial := p.document(hospitalB)
	partial.DataFrom++
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(partial))
	w.Refuses(fault.Forbidden, "part of the data period", hospitalB, contracts.PredicateRequest, p.Question())
}

func TestAttackAskMoreOftenThanAllowed(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	var group sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for range 5 {
		question := p.Question()
		group.Go(func() {
			_, err := w.Submit(hospitalA, contracts.PredicateRequest, question, nil)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				asked++
			} else if fault.Of(err) != fault.Forbidden {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked != 2 {
		t.Errorf("asked %d times at once under a consent for 2", asked)
	}
	// A new version of the consent does not count from zero.
	var states []state.ConsentState
	w.Read(hospitalA, contracts.ConsentOfPatient, p.ID.String(), &states)
	renewed := p.Next(states[0].Signed.Document, func(d *consent.Document) { d.CapMicro++ })
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(renewed))
	w.Refuses(fault.Forbidden, "2 claims in all", hospitalA, contracts.PredicateRequest, p.Question())
}

func TestAttackPredicateOverDaysOfAnotherDevice(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	p.consents(hospitalA)
	second := p.addDevice(startHour, "heart_rate") // designated from tomorrow
	w.Tick(start + 86400 + 3600)
	w.anchor(second.Day(startDay))
	w.Refuses(fault.NotFound, "root of the day", hospitalA, contracts.PredicateRequest, p.Question())
	w.anchor(p.Devices[0].Day(startDay))
	q := w.Ask(hospitalA, p.Question())
	if q.Device != p.Devices[0].ID {
		t.Error("the device that was not designated answers")
	}
}

func TestAttackPredicateAfterDenial(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	deny := p.document(hospitalA)
	deny.Effect, deny.Predicates, deny.Claims, deny.Operations = consent.EffectDeny, nil, 0, []string{consent.OpPredicate}
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(deny))
	w.Refuses(fault.Forbidden, "denies", hospitalA, contracts.PredicateRequest, p.Question())
}

// keys are a real setup of the circuit, which takes seconds.
var keys = sync.OnceValues(func() (*zk.Keys, error) { return zk.LoadKeys("", "day", nil) })

func realKeys(t testing.TB) *zk.Keys {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real setup")
	}
	k, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// proven is a network with a real circuit and a patient whose heart rate was 60
// /min in all minutes of the first day.
func proven(t *testing.T) (*world, *person, *zk.Opening) {
	k := realKeys(t)
	w := newWorld(t, func(g *record.Genesis) { g.Circuits = []record.Circuit{k.Circuit()} })
	p := w.enrolled()
	p.consents(hospitalA)
	codes := make([]uint16, wearable.MinutesPerDay)
	for i := range codes {
		codes[i] = 41
	}
	root, opening, err := zk.Commit(startDay, map[int][]uint16{0: codes})
	if err != nil {
		t.Fatal(err)
	}
	w.Tick(start + 86400 + 3600)
	d := p.Devices[0]
	w.anchor(d.Pointer(record.Pointer{Device: d.ID, Kind: record.KindDay, Index: startDay, Commitment: root}))
	return w, p, opening
}

func prove(t *testing.T, q record.PredicateState, o *zk.Opening) []byte {
	t.Helper()
	m, _ := wearable.ByKey(q.Ask.Metric)
	proof, err := realKeys(t).Prove(context.Background(), state.Statement(&q, m), []*zk.Opening{o})
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

func TestATrueClaimIsAttested(t *testing.T) {
	w, p, opening := proven(t)
	q := w.Ask(hospitalA, p.Question())
	attest := record.Attest{Request: q.ID, Proof: prove(t, q, opening)}
	w.Refuses(fault.TooEarly, "taken from", gatewayMSP, contracts.PredicateClose, attest)
	w.Tick(q.AnswerFrom)
	res := w.Must(gatewayMSP, contracts.PredicateClose, attest)
	done := w.Predicate(hospitalA, q.ID)
	if done.Status != record.PredicateAttested || done.ClosedTx != res.TxID {
		t.Errorf("attested: %+v", done)
	}
	w.Must(gatewayMSP, contracts.PredicateClose, attest)
	if !equalJSON(done, w.Predicate(gatewayMSP, q.ID)) {
		t.Error("a repeated answer changed the attestation")
	}
	w.Tick(q.Expires)
	w.Must(hospitalA, contracts.PredicateClose, record.NamePredicate{Request: q.ID})
	if !equalJSON(done, w.Predicate(hospitalA, q.ID)) {
		t.Error("closing it without a proof changed the attestation")
	}
	if open := w.pending(q.Device); len(open) != 0 {
		t.Errorf("still pending: %+v", open)
	}
}

func TestAttackProofReplay(t *testing.T) {
	w, p, opening := proven(t)
	first := w.Ask(hospitalA, p.Question())
	same := first.Ask // even with the same nonce
	second := w.Ask(hospitalA, same)
	proof := prove(t, first, opening)
	w.Tick(second.AnswerFrom)
	w.Refuses(fault.Invalid, "proof", gatewayMSP, contracts.PredicateClose, record.Attest{Request: second.ID, Proof: proof})

	bent := append([]byte(nil), proof...)
	bent[40] ^= 1
	for _, bad := range [][]byte{bent, proof[:len(proof)-1], append(proof[:len(proof):len(proof)], 0), nil} {
		w.Refuses(fault.Invalid, "proof", gatewayMSP, contracts.PredicateClose, record.Attest{Request: first.ID, Proof: bad})
	}
	w.Must(gatewayMSP, contracts.PredicateClose, record.Attest{Request: first.ID, Proof: proof})
}

func TestAttackAttestAfterRevocation(t *testing.T) {
	w, p, opening := proven(t)
	q := w.Ask(hospitalA, p.Question())
	proof := prove(t, q, opening)
	p.consents(hospitalA) // another consent does not stand in for the one that was asked under
	var s state.ConsentState
	w.Read(gatewayMSP, contracts.ConsentGet, q.Consent.String(), &s)
	p.revoke(s.Signed.Document)
	w.Tick(q.AnswerFrom)
	w.Refuses(fault.Forbidden, "revoked", gatewayMSP, contracts.PredicateClose, record.Attest{Request: q.ID, Proof: proof})
}

// A consent for claims about whole days is not one for claims about an hour, a
// minute or whether a sensor was worn.
func TestAttackClaimsBesideWhatWasAllowed(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	for name, c := range map[string]struct {
		code   fault.Code
		words  string
		change func(*record.Bounds)
	}{
		"one hour of the night":     {fault.Forbidden, "1 hours of the day", func(b *record.Bounds) { b.HourMask, b.K, b.MinCount = 1<<3, 1, 1 }},
		"that hour's highest value": {fault.Forbidden, "1 hours of the day", func(b *record.Bounds) { b.HourMask, b.Hi, b.K, b.OutMax, b.MinCount = 1<<3, 50, 0, 0, 1 }},
		"the day's highest value":   {fault.Forbidden, "k is 0", func(b *record.Bounds) { b.Hi, b.K, b.OutMax, b.MinCount = 50, 0, 0, 1 }},
		"whether it was worn":       {fault.Invalid, "says nothing", func(b *record.Bounds) { b.HourMask, b.K, b.MinCount = 1<<4, 0, 60 }},
	} {
		a := p.Question()
		c.change(&a.Bounds)
		if _, err := w.Submit(hospitalA, contracts.PredicateRequest, a); fault.Of(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.code, c.words)
		}
	}
}

func TestAConsentCanListItsClaims(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	d := p.document(hospitalB)
	listed := p.Question().Bounds
	d.Predicates = []consent.Terms{{Metric: "heart_rate", Days: 1, Claim: &listed}}
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(d))
	other := p.Question()
	other.Bounds.K++
	w.Refuses(fault.Forbidden, "not the claim listed", hospitalB, contracts.PredicateRequest, other)
	w.Must(hospitalB, contracts.PredicateRequest, p.Question())
}

// A claim about a week is bound to the seven roots of its days, as the ledger has them,
// in their order; a week of which a day is missing cannot be asked about.
func TestAWeeksClaimIsBoundToItsSevenRoots(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) {
		g.Circuits = []record.Circuit{consortium.DayFixture("..").Circuit(), consortium.WeekFixture("..").Circuit()}
	})
	p := w.enrolled()
	d := p.document(hospitalA)
	d.Predicates[0].Days = 7
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(d))
	w.Tick(start + 7*86400 + 3600)
	ask := p.Question()
	ask.Class = "week"
	var roots []record.ID
	for day := range int64(7) {
		w.Refuses(fault.NotFound, "root of the day", hospitalA, contracts.PredicateRequest, ask)
		s := p.Devices[0].Day(startDay + day)
		w.anchor(s)
		roots = append(roots, s.Pointer.Commitment)
	}
	q := w.Ask(hospitalA, ask)
	digest, err := verifier.DataDigest(roots)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(q.Roots, roots) || q.DataDigest != digest {
		t.Errorf("bound to %v, digest %s", q.Roots, q.DataDigest)
	}
	if want := verifier.Binding(w.Genesis.Network, q.ID, ask.Nonce, q.Consent, q.Expires, consortium.WeekFixture("..").Circuit().Hash); q.Binding != want {
		t.Error("not bound to the key of the week's circuit")
	}
	if !strings.Contains(claim.Sentence(q.Ask, claim.English), "of the 7 days from 2025-01-01, ") {
		t.Errorf("the claim is %q", claim.Sentence(q.Ask, claim.English))
	}
	ask.Class = "day"
	w.Refuses(fault.Forbidden, "day", hospitalA, contracts.PredicateRequest, ask)
}

// A question that another than its asker signed, or nobody, is none.
func TestAttackAQuestionThatItsAskerDidNotSign(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	a := p.Question()
	for name, signature := range map[string][]byte{
		"nobody's":       {},
		"another's":      w.SignAsk(hospitalB, a).Signature,
		"another's name": consortium.Sign(w.Keys[hospitalA], a.Digest(w.Genesis.Network, hospitalB)),
	} {
		a.Signature = signature
		w.Refuses(fault.BadSignature, "not signed by", hospitalA, contracts.PredicateRequest, a)
		t.Log(name)
	}
	a = w.SignAsk(hospitalA, a)
	a.Bounds.K++
	w.Refuses(fault.BadSignature, "not signed by", hospitalA, contracts.PredicateRequest, a)
}

// One institution has asked more than a device is shown at once, and lets all of it lie:
// what another asks is shown all the same.
func TestAttackOneAskerHidesWhatAnotherAsks(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	p.consents(hospitalB)
	many := p.document(hospitalA)
	many.ID, many.Claims = record.RandomID(), consent.MaxClaims
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(many))
	for range 110 {
		w.Must(hospitalA, contracts.PredicateRequest, p.Question())
	}
	other := w.Ask(hospitalB, p.Question())
	open := w.pending(other.Device)
	if len(open) != 100 || !slices.ContainsFunc(open[:2], func(q record.PredicateState) bool { return q.ID == other.ID }) {
		t.Errorf("%d requests are shown, and the other's is not among the first two", len(open))
	}
}
