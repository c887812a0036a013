package institution

import (
	"context"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Claimed is a request of this member's with its outcome.
type Claimed struct {
	State record.PredicateState `json:"state"`
	// Wrong is why an attestation is none, whatever the ledger's contracts wrote.
	Wrong string `json:"wrong,omitempty"`
}

// Claimed returns the newest requests of this member's, most of them at most, and checks
// their attestations itself: that this member asked the question, and all proofs together,
// which costs a tenth of one by one. Requests about patients who are erased are left out.
// That the day roots are the device's is the contracts' word.
func (cm *claims) Claimed(ctx context.Context, most int) ([]Claimed, error) {
	ids := cm.index.AskedBy(cm.self.MSP)
	var list []Claimed
	for _, id := range ids[max(0, len(ids)-most):] {
		p, err := contracts.PredicateGet.Evaluate(ctx, cm.cfg.Client, id)
		if fault.Of(err) == fault.Purged {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("request %s: %w", id, err)
		}
		c := Claimed{State: p}
		if e, found := cm.index.Predicate(id); !found || e.Binding != p.Binding {
			c.Wrong = "the chain has another binding for it"
		}
		list = append(list, c)
	}
	return list, cm.examine(list)
}

// examine checks attestations: each question by its signature and all proofs of a circuit
// in one batch, against public inputs made anew.
func (cm *claims) examine(list []Claimed) error {
	g := cm.cfg.Genesis
	for _, circuit := range g.Circuits {
		v, err := state.VerifierOf(circuit)
		if err != nil {
			return err
		}
		var proofs []verifier.Claim
		var of []*Claimed
		for i := range list {
			c := &list[i]
			if c.State.Status != record.PredicateAttested || c.State.Ask.Class != circuit.Class || c.Wrong != "" {
				continue
			}
			s, err := cm.statement(&c.State, circuit)
			if err != nil {
				c.Wrong = err.Error()
				continue
			}
			proofs, of = append(proofs, verifier.Claim{Statement: s, Proof: c.State.Proof}), append(of, c)
		}
		for i, err := range v.VerifyAll(proofs) {
			if err != nil {
				of[i].Wrong = err.Error()
			}
		}
	}
	return nil
}

// statement makes the public inputs of a request anew.
func (cm *claims) statement(p *record.PredicateState, circuit record.Circuit) (verifier.Statement, error) {
	network := cm.cfg.Genesis.Network
	m, ok := wearable.ByKey(p.Ask.Metric)
	if !ok {
		return verifier.Statement{}, fmt.Errorf("metric %q is not known", p.Ask.Metric)
	}
	if p.Asker != cm.self.MSP || record.Verify(cm.self.SignKey, p.Ask.Digest(network, p.Asker), p.Ask.Signature) != nil {
		return verifier.Statement{}, errors.New("this member did not ask it so")
	}
	digest, err := verifier.DataDigest(p.Roots)
	if err != nil {
		return verifier.Statement{}, err
	}
	if digest != p.DataDigest || p.Binding != verifier.Binding(network, p.ID, p.Ask.Nonce, p.Consent, p.Expires, circuit.Hash) {
		return verifier.Statement{}, errors.New("its public inputs are not those of the question and its days")
	}
	return state.Statement(p, m), nil
}
