package chaincode_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// bounds are "heart rate was within 50..90 /min in at least 60 minutes".
func bounds() record.Bounds {
	b := verifier.Unbounded()
	b.Lo, b.Hi, b.K, b.MinCount = 31, 71, 60, 60
	return b
}

func (p *person) question() record.AskPredicate {
	return record.AskPredicate{
		Patient: p.id, Purpose: "HRESCH", Class: "day", Metric: "heart_rate",
		FirstDay: startDay, Bounds: bounds(), Nonce: record.RandomID(),
	}
}

// committed is a patient who consents to hospital A and whose first day is
// anchored; ledger time is an hour after its end.
func (w *world) committed() *person {
	w.Helper()
	p := w.enrolled()
	p.consents(hospitalA)
	w.tick(start + 86400 + 3600)
	w.anchor(p.devices[0].day(w, startDay))
	return p
}

func (w *world) pending(d record.ID) []record.PredicateState {
	w.Helper()
	var open []record.PredicateState
	w.read(gatewayMSP, "Predicate:Pending", d.String(), &open)
	return open
}

func TestAPredicateThatNobodyAnswersExpires(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	d := p.devices[0].id
	q := w.asks(hospitalA, p.question())
	if q.Device != d || q.AnswerFrom%300 != 0 || q.AnswerFrom < q.Asked+300 || q.AnswerFrom >= q.Asked+600 || q.Expires != q.Asked+3600 {
		t.Errorf("asked: %+v", q)
	}
	for _, words := range []string{"50..90 /min", "2025-01-01", "60 minutes"} {
		if !strings.Contains(q.Text, words) {
			t.Errorf("the claim %q does not say %q", q.Text, words)
		}
	}
	if open := w.pending(d); len(open) != 1 || open[0].ID != q.ID {
		t.Fatalf("pending: %+v", open)
	}
	w.refuses(fault.TooEarly, "expires", gatewayMSP, "Predicate:Close", record.NamePredicate{Request: q.ID})
	early := record.Attest{Request: q.ID, Proof: loadFixture(t).Proof}
	w.refuses(fault.TooEarly, "taken from", gatewayMSP, "Predicate:Close", early)
	w.tick(q.AnswerFrom)
	w.refuses(fault.Invalid, "does not prove", gatewayMSP, "Predicate:Close", early)
	w.tick(q.Expires)
	if open := w.pending(d); len(open) != 0 {
		t.Errorf("an expired request is still pending: %+v", open)
	}
	w.refuses(fault.Expired, "expired", gatewayMSP, "Predicate:Close", record.Attest{Request: q.ID, Proof: loadFixture(t).Proof})
	for range 2 {
		w.must(hospitalA, "Predicate:Close", record.NamePredicate{Request: q.ID}, nil)
		if q = w.predicate(hospitalA, q.ID); q.Status != record.PredicateExpired {
			t.Errorf("status is %s", q.Status)
		}
	}
	w.refuses(fault.Conflict, "closed", gatewayMSP, "Predicate:Close", record.Attest{Request: q.ID, Proof: loadFixture(t).Proof})
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
		a := p.question()
		c.change(&a)
		w.refuses(c.code, c.words, hospitalA, "Predicate:Request", a)
	}
	w.refuses(fault.Forbidden, "no consent", hospitalB, "Predicate:Request", p.question())

	partial := p.document(hospitalB)
	partial.DataFrom++
	w.must(gatewayMSP, "Consent:Put", p.sign(partial), nil)
	w.refuses(fault.Forbidden, "part of the data period", hospitalB, "Predicate:Request", p.question())
}

func TestAttackAskMoreOftenThanAllowed(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	var group sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for range 5 {
		question := p.question()
		group.Go(func() {
			_, err := w.submit(hospitalA, "Predicate:Request", question, nil)
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
	w.read(hospitalA, "Consent:OfPatient", p.id.String(), &states)
	renewed := p.next(states[0].Signed.Document, func(d *consent.Document) { d.CapMicro++ })
	w.must(gatewayMSP, "Consent:Put", p.sign(renewed), nil)
	w.refuses(fault.Forbidden, "2 claims in all", hospitalA, "Predicate:Request", p.question())
}

func TestAttackPredicateOverDaysOfAnotherDevice(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	p.consents(hospitalA)
	second := p.addDevice(startHour, "heart_rate") // designated from tomorrow
	w.tick(start + 86400 + 3600)
	w.anchor(second.day(w, startDay))
	w.refuses(fault.NotFound, "root of the day", hospitalA, "Predicate:Request", p.question())
	w.anchor(p.devices[0].day(w, startDay))
	q := w.asks(hospitalA, p.question())
	if q.Device != p.devices[0].id {
		t.Error("the device that was not designated answers")
	}
}

func TestAttackPredicateAfterDenial(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	deny := p.document(hospitalA)
	deny.Effect, deny.Predicates, deny.Claims, deny.Operations = consent.EffectDeny, nil, 0, []string{consent.OpPredicate}
	w.must(gatewayMSP, "Consent:Put", p.sign(deny), nil)
	w.refuses(fault.Forbidden, "denies", hospitalA, "Predicate:Request", p.question())
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
	w.tick(start + 86400 + 3600)
	d := p.devices[0]
	w.anchor(d.pointer(w, record.Pointer{Device: d.id, Kind: record.KindDay, Index: startDay, Commitment: root}))
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
	q := w.asks(hospitalA, p.question())
	attest := record.Attest{Request: q.ID, Proof: prove(t, q, opening)}
	w.refuses(fault.TooEarly, "taken from", gatewayMSP, "Predicate:Close", attest)
	w.tick(q.AnswerFrom)
	res := w.must(gatewayMSP, "Predicate:Close", attest, nil)
	done := w.predicate(hospitalA, q.ID)
	if done.Status != record.PredicateAttested || done.ClosedTx != res.TxID {
		t.Errorf("attested: %+v", done)
	}
	w.must(gatewayMSP, "Predicate:Close", attest, nil)
	if !equalJSON(t, done, w.predicate(gatewayMSP, q.ID)) {
		t.Error("a repeated answer changed the attestation")
	}
	w.tick(q.Expires)
	w.must(hospitalA, "Predicate:Close", record.NamePredicate{Request: q.ID}, nil)
	if !equalJSON(t, done, w.predicate(hospitalA, q.ID)) {
		t.Error("closing it without a proof changed the attestation")
	}
	if open := w.pending(q.Device); len(open) != 0 {
		t.Errorf("still pending: %+v", open)
	}
}

func TestAttackProofReplay(t *testing.T) {
	w, p, opening := proven(t)
	first := w.asks(hospitalA, p.question())
	same := first.Ask // even with the same nonce
	second := w.asks(hospitalA, same)
	proof := prove(t, first, opening)
	w.tick(second.AnswerFrom)
	w.refuses(fault.Invalid, "proof", gatewayMSP, "Predicate:Close", record.Attest{Request: second.ID, Proof: proof})

	bent := append([]byte(nil), proof...)
	bent[40] ^= 1
	for _, bad := range [][]byte{bent, proof[:len(proof)-1], append(proof[:len(proof):len(proof)], 0), nil} {
		w.refuses(fault.Invalid, "proof", gatewayMSP, "Predicate:Close", record.Attest{Request: first.ID, Proof: bad})
	}
	w.must(gatewayMSP, "Predicate:Close", record.Attest{Request: first.ID, Proof: proof}, nil)
}

func TestAttackAttestAfterRevocation(t *testing.T) {
	w, p, opening := proven(t)
	q := w.asks(hospitalA, p.question())
	proof := prove(t, q, opening)
	p.consents(hospitalA) // another consent does not stand in for the one that was asked under
	var s state.ConsentState
	w.read(gatewayMSP, "Consent:Get", q.Consent.String(), &s)
	p.revoke(s.Signed.Document)
	w.tick(q.AnswerFrom)
	w.refuses(fault.Forbidden, "revoked", gatewayMSP, "Predicate:Close", record.Attest{Request: q.ID, Proof: proof})
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
		a := p.question()
		c.change(&a.Bounds)
		if _, err := w.submit(hospitalA, "Predicate:Request", a, nil); fault.Of(err) != c.code || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.code, c.words)
		}
	}
}

func TestAConsentCanListItsClaims(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	d := p.document(hospitalB)
	listed := bounds()
	d.Predicates = []consent.Terms{{Metric: "heart_rate", Days: 1, Claim: &listed}}
	w.must(gatewayMSP, "Consent:Put", p.sign(d), nil)
	other := p.question()
	other.Bounds.K++
	w.refuses(fault.Forbidden, "not the claim listed", hospitalB, "Predicate:Request", other)
	w.must(hospitalB, "Predicate:Request", p.question(), nil)
}
