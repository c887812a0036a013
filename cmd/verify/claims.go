package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// request is what the chain shows of a claim that was asked, and its details unless
// they are gone or sealed.
type request struct {
	entry   record.PredicateEntry
	sealed  bool // the details are on the ledger
	details *record.PredicateDetails
}

func (c *checker) takeRequest(w network.Write, private []network.PrivateWrite) error {
	var e record.PredicateEntry
	if err := json.Unmarshal(w.Value, &e); err != nil {
		return err
	}
	r := request{entry: e}
	key := state.QuestionKey(e.Consent, e.Number)
	for _, p := range private {
		if p.Collection != state.Collection || !p.Available || p.Key != key {
			continue
		}
		r.sealed = true
		value, err := c.open(c.patients[c.askedAbout(e.Consent)], p)
		if err != nil {
			return fmt.Errorf("claim %s: %w", e.ID, err)
		}
		if value == nil {
			continue
		}
		r.details = new(record.PredicateDetails)
		if err := json.Unmarshal(value, r.details); err != nil {
			return err
		}
	}
	c.requests[e.ID] = r
	return nil
}

// askedAbout returns whose consent a request was made under.
func (c *checker) askedAbout(consent record.ID) record.ID {
	for _, v := range c.versions {
		if v.entry.ID == consent {
			return v.entry.Patient
		}
	}
	return record.ID{}
}

// claims holds the details of every request against its hash on the chain, and
// verifies the proofs of all attestations, those of a circuit together, against public
// inputs made anew. It counts what it could see.
func (c *checker) claims(context.Context) int {
	n := 0
	attested := map[string][]attestation{}
	for id, r := range c.requests {
		erased := c.patients[c.askedAbout(r.entry.Consent)].Erased
		switch {
		case erased && r.sealed:
			c.wrong("claim %s: its details are left, its patient is erased", id)
		case erased:
		case !r.sealed:
			c.wrong("claim %s: its details are not on the ledger", id)
		case r.details == nil:
			c.unseen++
		default:
			n++
			a, err := c.request(r)
			if err != nil {
				c.wrong("claim %s: %v", id, err)
			}
			if a != nil {
				attested[a.class] = append(attested[a.class], *a)
			}
		}
	}
	for class, list := range attested {
		c.proofs(class, list)
	}
	return n
}

// attestation is a request that was answered with a proof.
type attestation struct {
	id, class string
	verifier.Claim
}

// proofs verifies what was attested under the network's circuit of a class.
func (c *checker) proofs(class string, list []attestation) {
	i := slices.IndexFunc(c.genesis.Circuits, func(k record.Circuit) bool { return k.Class == class })
	v, err := state.VerifierOf(c.genesis.Circuits[i])
	if err != nil {
		c.wrong("circuit %s: %v", class, err)
		return
	}
	claims := make([]verifier.Claim, len(list))
	for i, a := range list {
		claims[i] = a.Claim
	}
	for i, err := range v.VerifyAll(claims) {
		if err != nil {
			c.wrong("claim %s: %v", list[i].id, err)
		}
	}
}

// asked reports whether a member has signed a question, with a key that it has had.
func (c *checker) asked(p record.PredicateState) bool {
	for _, s := range c.epochs {
		if signedBy(s.Epoch, c.genesis.Network, p) {
			return true
		}
	}
	return false
}

// request returns the attestation of a request, nil where there is none.
func (c *checker) request(r request) (*attestation, error) {
	p := r.details.State
	if r.details.Hash(c.genesis.Network) != r.entry.Hash || p.ID != r.entry.ID {
		return nil, errors.New("its details are not those whose hash is on the chain")
	}
	if !c.asked(p) {
		return nil, fmt.Errorf("its question is not signed by %s, who is said to have asked it", p.Asker)
	}
	if closed := p.Status != record.PredicateAsked; closed != (r.entry.Status == record.PredicateClosed) {
		return nil, fmt.Errorf("the chain says that it is %s, its details that it is %s", r.entry.Status, p.Status)
	}
	if p.Status != record.PredicateAttested {
		return nil, nil
	}
	return attestationOf(c.genesis, p, r.entry.Binding)
}

// signedBy reports whether who is said to have asked a question has signed it, as a member
// of an epoch.
func signedBy(e record.Epoch, network string, p record.PredicateState) bool {
	m := e.Member(p.Asker)
	return m != nil && record.Verify(m.SignKey, p.Ask.Digest(network, p.Asker), p.Ask.Signature) == nil
}

// attestationOf makes the statement of an answered request anew, from its roots and the
// network's genesis. bound is the binding that others say it has.
func attestationOf(g record.Genesis, p record.PredicateState, bound record.ID) (*attestation, error) {
	m, ok := wearable.ByKey(p.Ask.Metric)
	if !ok {
		return nil, fmt.Errorf("metric %q is not known", p.Ask.Metric)
	}
	digest, err := verifier.DataDigest(p.Roots)
	if err != nil {
		return nil, err
	}
	for _, k := range g.Circuits {
		if k.Class != p.Ask.Class {
			continue
		}
		binding := verifier.Binding(g.Network, p.ID, p.Ask.Nonce, p.Consent, p.Expires, k.Hash)
		if binding != bound {
			return nil, errors.New("the binding is another request's")
		}
		return &attestation{p.ID, k.Class, verifier.Claim{Proof: p.Proof, Statement: verifier.Statement{
			DataDigest: digest, Slot: m.Slot, FirstDay: p.Ask.FirstDay, Bounds: p.Ask.Bounds, Binding: binding,
		}}}, nil
	}
	return nil, fmt.Errorf("circuit class %q is not the network's", p.Ask.Class)
}
