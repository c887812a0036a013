package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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
// verifies the proof of every attestation against public inputs made anew. It counts
// what it could see.
func (c *checker) claims(context.Context) int {
	n := 0
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
			if err := c.request(r); err != nil {
				c.wrong("claim %s: %v", id, err)
			}
		}
	}
	return n
}

func (c *checker) request(r request) error {
	p := r.details.State
	if r.details.Hash(c.genesis.Network) != r.entry.Hash || p.ID != r.entry.ID {
		return errors.New("its details are not those whose hash is on the chain")
	}
	if closed := p.Status != record.PredicateAsked; closed != (r.entry.Status == record.PredicateClosed) {
		return fmt.Errorf("the chain says that it is %s, its details that it is %s", r.entry.Status, p.Status)
	}
	if p.Status != record.PredicateAttested {
		return nil
	}
	return c.claim(p, r.entry.Binding)
}

func (c *checker) claim(p record.PredicateState, bound record.ID) error {
	m, ok := wearable.ByKey(p.Ask.Metric)
	if !ok {
		return fmt.Errorf("metric %q is not known", p.Ask.Metric)
	}
	digest, err := verifier.DataDigest(p.Roots)
	if err != nil {
		return err
	}
	for _, k := range c.genesis.Circuits {
		if k.Class != p.Ask.Class {
			continue
		}
		v, err := verifier.NewVerifier(k.Class, k.VerifyingKey, k.Hash)
		if err != nil {
			return err
		}
		binding := verifier.Binding(c.genesis.Network, p.ID, p.Ask.Nonce, p.Consent, p.Expires, k.Hash)
		if binding != bound {
			return errors.New("the binding on the chain is another request's")
		}
		return v.Verify(verifier.Statement{
			DataDigest: digest, Slot: m.Slot, FirstDay: p.Ask.FirstDay, Bounds: p.Ask.Bounds, Binding: binding,
		}, p.Proof)
	}
	return fmt.Errorf("circuit class %q is not the network's", p.Ask.Class)
}
