package institution

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/backend/witness"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// yesCircuit proves anything, in the form of a predicate circuit: what is tested
// here is how requests are followed, and its keys take no time to make.
type yesCircuit struct {
	Public [verifier.PublicInputs]frontend.Variable `gnark:",public"`
	X      frontend.Variable
}

func (c *yesCircuit) Define(api frontend.API) error {
	x, err := api.(frontend.Committer).Commit(c.X)
	if err != nil {
		return err
	}
	api.AssertIsDifferent(x, 0)
	return nil
}

type yesKeys struct {
	system constraint.ConstraintSystem
	pk     groth16.ProvingKey
	vk     []byte
}

func newYesKeys(t *testing.T) yesKeys {
	t.Helper()
	cs, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, &yesCircuit{}, frontend.IgnoreUnconstrainedInputs())
	if err != nil {
		t.Fatal(err)
	}
	pk, vk, err := groth16.Setup(cs)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := vk.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return yesKeys{cs, pk, b.Bytes()}
}

func (k yesKeys) prove(t *testing.T, p record.PredicateState) []byte {
	t.Helper()
	m, _ := wearable.ByKey(p.Ask.Metric)
	in, err := state.Statement(&p, m).Inputs()
	if err != nil {
		t.Fatal(err)
	}
	full, err := witness.New(ecc.BN254.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	values := make(chan any, len(in)+1)
	for _, v := range in {
		values <- v
	}
	values <- fr.NewElement(7)
	close(values)
	if err := full.Fill(len(in), 1, values); err != nil {
		t.Fatal(err)
	}
	proof, err := groth16.Prove(k.system, k.pk, full)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := proof.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// predicateWorld has one patient who consents to one template, and a day root.
func predicateWorld(t *testing.T) (*world, yesKeys) {
	keys := newYesKeys(t)
	w := newWorld(t, func(g *record.Genesis) {
		g.Circuits = []record.Circuit{{Class: "day", VerifyingKey: keys.vk, Hash: record.SumID(keys.vk), Setup: "development"}}
	})
	w.enrol(1)
	p := w.patients[0]
	d := p.consent
	d.ID, d.Operations, d.Exact, d.BeyondShare = record.RandomID(), []string{consent.OpPredicate}, false, false
	d.Predicates, d.Claims = []consent.Terms{{Metric: metricKey, Days: 1, Limits: consent.Readings(1, 200)}}, 5
	w.putConsent(p, d)
	w.Tick((firstHour + 24) * 3600)
	day := p.device.Pointer(record.Pointer{Device: p.device.ID, Kind: record.KindDay, Index: firstHour / 24, Commitment: record.ID{31: 1}})
	w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: []record.SignedPointer{day}})
	w.everywhere("day root available", func(in *Institution) bool { return in.Index().Counts().Available == 1 })
	return w, keys
}

func claim(w *world) record.AskPredicate {
	m, _ := wearable.ByKey(metricKey)
	top := uint32(m.MaxCode())
	return record.AskPredicate{
		Patient: w.patients[0].ID, Purpose: "HRESCH", Class: "day", Metric: metricKey,
		FirstDay: firstHour / 24, Bounds: record.Bounds{
			HourMask: 1<<24 - 1, Lo: 20, Hi: 120, K: 100, OutMax: 1440, MinCount: 100, DayK: 1,
			MeanLo: 0, MeanHi: top, TrendLo: 0, TrendHi: 1<<18 - 1,
		},
	}
}

func TestPredicateThatIsAttested(t *testing.T) {
	w, keys := predicateWorld(t)
	in := w.members[hospitalA]
	id, err := in.AskPredicate(t.Context(), claim(w))
	if err != nil {
		t.Fatal(err)
	}
	p, err := in.Predicate(t.Context(), id)
	if err != nil || p.Ask.Nonce.IsZero() {
		t.Errorf("the request is %+v (%v)", p, err)
	}
	w.Tick(p.AnswerFrom)
	w.submit(hospitalB, contracts.PredicateClose, record.Attest{Request: id, Proof: keys.prove(t, p)})
	got, err := in.WaitPredicate(t.Context(), id)
	if err != nil || got.Status != record.PredicateAttested {
		t.Errorf("the request is %s (%v)", got.Status, err)
	}
}

func TestPredicateThatNobodyProvesIsClosedWhenItExpires(t *testing.T) {
	w, _ := predicateWorld(t)
	in := w.members[hospitalA]
	id, err := in.AskPredicate(t.Context(), claim(w))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = in.WaitPredicate(ctx, id)
	wantFault(t, fault.Unavailable, err)
	if _, err := w.members[hospitalB].Predicate(t.Context(), id); fault.Of(err) != fault.Forbidden {
		t.Errorf("another member sees the request: %v", err)
	}
	w.Tick((firstHour+24)*3600 + w.Genesis.PredicateLife)
	got, err := in.WaitPredicate(t.Context(), id)
	if err != nil || got.Status != record.PredicateExpired {
		t.Errorf("the request is %s (%v)", got.Status, err)
	}
}

// A member believes no attestation that it has not checked: not that it asked, and no
// proof. One that is wrong does not taint the others of its batch.
func TestAttackALedgerAttestsWhatWasNotProven(t *testing.T) {
	w, keys := predicateWorld(t)
	in := w.members[hospitalA]
	var ids []string
	for range 3 {
		id, err := in.AskPredicate(t.Context(), claim(w))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	var states []record.PredicateState
	for _, id := range ids {
		p, err := in.Predicate(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, p)
	}
	w.Tick(states[2].AnswerFrom)
	for _, p := range states {
		w.submit(hospitalB, contracts.PredicateClose, record.Attest{Request: p.ID, Proof: keys.prove(t, p)})
		if _, err := in.WaitPredicate(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
	}
	honest, err := in.Claimed(t.Context(), 2)
	if err != nil || len(honest) != 2 || honest[0].Wrong+honest[1].Wrong != "" || honest[1].State.ID != ids[2] {
		t.Fatalf("%+v, %v", honest, err)
	}
	for name, change := range map[string]func(p *record.PredicateState){
		"another proof":        func(p *record.PredicateState) { p.Proof = append([]byte{p.Proof[0] ^ 1}, p.Proof[1:]...) },
		"half a proof":         func(p *record.PredicateState) { p.Proof = p.Proof[:90] },
		"another question":     func(p *record.PredicateState) { p.Ask.Bounds.Hi++ },
		"another's question":   func(p *record.PredicateState) { p.Asker = consortium.HospitalB },
		"roots of another day": func(p *record.PredicateState) { p.Roots = []record.ID{{31: 2}} },
		"another consent":      func(p *record.PredicateState) { p.Consent[0] ^= 1 },
	} {
		list := []Claimed{{State: honest[0].State}, {State: honest[1].State}}
		change(&list[1].State)
		if err := in.examine(list); err != nil || list[1].Wrong == "" || list[0].Wrong != "" {
			t.Errorf("%s: %q and %q, %v", name, list[0].Wrong, list[1].Wrong, err)
		}
	}
}
