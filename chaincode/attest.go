package chaincode

import (
	"bytes"
	"sync"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Attest records that a request's claim is true (record.Attest,
// record.PredicateState), if the proof verifies against the public inputs that
// the request fixed. Who submits it does not matter: a proof answers one request
// only.
func (*Predicate) Attest(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, smallArgument, attest)
}

// Expire closes a request that was not answered in time (record.Expire,
// record.PredicateState).
func (*Predicate) Expire(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, smallArgument, expire)
}

func attest(c *call, a record.Attest) (*record.PredicateState, error) {
	if len(a.Proof) != verifier.ProofBytes {
		return nil, fault.New(fault.Invalid, "a proof has %d bytes, not %d", verifier.ProofBytes, len(a.Proof))
	}
	p, err := c.predicate(a.Request)
	if err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	switch {
	case p.Status == record.PredicateAttested && bytes.Equal(p.Proof, a.Proof):
		return p, nil
	case p.Status != record.PredicateAsked:
		return nil, fault.New(fault.Conflict, "the request is %s", p.Status)
	case now < p.AnswerFrom:
		return nil, fault.New(fault.TooEarly, "answers to this request are taken from %d on, it is %d", p.AnswerFrom, now)
	case now >= p.Expires:
		return nil, fault.New(fault.Expired, "the request expired at %d", p.Expires)
	}
	if err := c.mayAnswer(p.Device); err != nil {
		return nil, err
	}
	if err := c.prove(p, a.Proof, now); err != nil {
		return nil, err
	}
	p.Status, p.Proof, p.AttestTx = record.PredicateAttested, a.Proof, c.stub.GetTxID()
	return p, c.settle(p)
}

// prove verifies a proof of a request's statement. The consent that allowed the
// request must allow it still.
func (c *call) prove(p *record.PredicateState, proof []byte, now int64) error {
	m, ok := wearable.ByKey(p.Ask.Metric)
	if !ok {
		return fault.New(fault.Invalid, "metric %q is unknown", clip(p.Ask.Metric))
	}
	circuit, err := c.circuit(p.Ask.Class)
	if err != nil {
		return err
	}
	v, err := verifierOf(circuit)
	if err != nil {
		return err
	}
	r := consentRequest(p.Ask, v.Class().Days, p.Asker, now, consent.Claim{Bounds: p.Ask.Bounds})
	docs, err := c.documents(p.Ask.Patient, p.Asker)
	if err != nil {
		return err
	}
	if _, err := c.permission(docs, p.Consent, r); err != nil {
		return err
	}
	if err := v.Verify(Statement(p, m), proof); err != nil {
		return fault.New(fault.Invalid, "proof: %w", err)
	}
	return nil
}

func expire(c *call, e record.Expire) (*record.PredicateState, error) {
	p, err := c.predicate(e.Request)
	if err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	switch {
	case p.Status == record.PredicateExpired:
		return p, nil
	case p.Status != record.PredicateAsked:
		return nil, fault.New(fault.Conflict, "the request is %s", p.Status)
	case now < p.Expires:
		return nil, fault.New(fault.TooEarly, "the request expires at %d, it is %d", p.Expires, now)
	}
	p.Status = record.PredicateExpired
	return p, c.settle(p)
}

// settle records a request that is closed.
func (c *call) settle(p *record.PredicateState) error {
	if err := c.stub.DelState(PendingKey(p.Device, p.ID)); err != nil {
		return err
	}
	return c.put(PredicateKey(p.ID), p)
}

// maxVerifiers bounds the parsed keys that are kept; a network has few.
const maxVerifiers = 16

type circuitName struct {
	class string
	hash  record.ID
}

// parsedKeys remembers verifying keys by class and hash, so that one is parsed
// once and not with every proof.
type parsedKeys struct {
	mu   sync.Mutex
	keys map[circuitName]*verifier.Verifier
}

var parsed = parsedKeys{keys: make(map[circuitName]*verifier.Verifier)}

// verifierOf returns the verifier of a circuit; the key's hash is checked.
func verifierOf(k record.Circuit) (*verifier.Verifier, error) {
	name := circuitName{k.Class, k.Hash}
	parsed.mu.Lock()
	v := parsed.keys[name]
	parsed.mu.Unlock()
	if v != nil && record.SumID(k.VerifyingKey) == k.Hash {
		return v, nil
	}
	v, err := verifier.NewVerifier(k.Class, k.VerifyingKey, k.Hash)
	if err != nil {
		return nil, err
	}
	parsed.mu.Lock()
	defer parsed.mu.Unlock()
	if len(parsed.keys) >= maxVerifiers {
		clear(parsed.keys)
	}
	parsed.keys[name] = v
	return v, nil
}
