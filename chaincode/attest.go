package chaincode

import (
	"bytes"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Close records what became of a request (record.NamePredicate,
// record.PredicateEntry). With a proof as the transient value TransientProof its claim
// is attested, if the proof verifies against the public inputs that the request
// fixed; without one it is closed as unanswered once it has expired. Which of the two
// the chain does not say. Who submits it does not matter: a proof answers one request
// only.
func (*Predicate) Close(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, timed, arg, smallArgument, closeRequest)
}

// Share passes a request and its outcome on to another institution, if the patient's
// consent for the one that asked permits it (record.NamePredicate,
// record.PredicateEntry). To whom comes as the transient value TransientTo.
func (*Predicate) Share(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, smallArgument, share)
}

func closeRequest(c *call, a record.NamePredicate) (*record.PredicateEntry, error) {
	proof, err := c.transientValue(state.TransientProof, smallArgument)
	if err != nil {
		return nil, err
	}
	if proof != nil && len(proof) != verifier.ProofBytes {
		return nil, fault.New(fault.Invalid, "a proof has %d bytes, not %d", verifier.ProofBytes, len(proof))
	}
	e, err := c.predicate(a.Request)
	if err != nil || proof == nil && e.Status == record.PredicateClosed {
		return e, err // however it was closed: that is for those whom it concerns
	}
	d, err := c.predicateDetails(e)
	switch {
	case fault.Of(err) == fault.Purged && proof == nil:
		return c.closeErased(e)
	case err != nil:
		return nil, err
	case e.Status == record.PredicateClosed && bytes.Equal(d.State.Proof, proof):
		return e, nil
	case e.Status != record.PredicateAsked:
		return nil, fault.New(fault.Conflict, "the request is closed")
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	if proof == nil {
		err = lapse(&d.State, now)
	} else {
		err = c.reason(&d.State, c.attest(&d.State, proof, now))
	}
	if err != nil {
		return nil, err
	}
	return c.settle(e, d)
}

// closeErased closes the request about a patient who has been erased meanwhile.
func (c *call) closeErased(e *record.PredicateEntry) (*record.PredicateEntry, error) {
	e.Status = record.PredicateClosed
	return e, c.put(state.PredicateKey(e.ID), e)
}

// lapse closes a request that nobody answered in time.
func lapse(p *record.PredicateState, now int64) error {
	if now < p.Expires {
		return fault.New(fault.TooEarly, "the request expires at %d, it is %d", p.Expires, now)
	}
	p.Status = record.PredicateExpired
	return nil
}

// attest closes a request with a proof of its claim.
func (c *call) attest(p *record.PredicateState, proof []byte, now int64) error {
	switch {
	case now < p.AnswerFrom:
		return fault.New(fault.TooEarly, "answers to this request are taken from %d on, it is %d", p.AnswerFrom, now)
	case now >= p.Expires:
		return fault.New(fault.Expired, "the request expired at %d", p.Expires)
	}
	if err := c.mayAnswer(p.Device); err != nil {
		return err
	}
	if err := c.prove(p, proof, now); err != nil {
		return err
	}
	p.Status, p.Proof = record.PredicateAttested, proof
	return nil
}

// reason is why a proof is not taken. Who is not concerned by the request learns the code
// alone: the words say what was asked.
func (c *call) reason(p *record.PredicateState, err error) error {
	if err == nil || c.isGateway() || sees(c.msp, *p) {
		return err
	}
	return fault.New(fault.Of(err), "the proof is not taken; why is for those whom request %s concerns", p.ID[:8])
}

// maxShared bounds to how many institutions a request is passed on.
const maxShared = 32

func share(c *call, a record.NamePredicate) (*record.PredicateEntry, error) {
	raw, err := c.transientValue(state.TransientTo, state.MaxName)
	if err != nil {
		return nil, err
	}
	to := string(raw)
	e, err := c.predicate(a.Request)
	if err != nil {
		return nil, err
	}
	d, err := c.predicateDetails(e)
	switch {
	case err != nil:
		return nil, err
	case e.Asker != c.msp:
		return nil, fault.New(fault.Forbidden, "the request is %s's", e.Asker)
	case !slices.Contains(c.institutions(), to):
		return nil, fault.New(fault.Invalid, "%q is not an institution of this network; name one as the transient value %q", clip(to), state.TransientTo)
	case sees(to, d.State):
		return e, nil
	case len(d.State.Shared) >= maxShared:
		return nil, fault.New(fault.Exhausted, "a request is passed on to %d institutions at most", maxShared)
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	if err := c.mayShare(d.State.Ask, len(d.State.Roots), now); err != nil {
		return nil, err
	}
	d.State.Shared = append(d.State.Shared, record.Sharing{To: to, Time: now})
	return e, c.putPredicate(e, d)
}

// mayShare asks the patient's consents for the institution that asked.
func (c *call) mayShare(a record.AskPredicate, days int, now int64) error {
	docs, err := c.documents(a.Patient, c.msp)
	if err != nil {
		return err
	}
	_, err = c.permission(docs, record.ID{}, consent.Request{
		Grantee: c.msp, Purpose: a.Purpose, Operation: consent.OpShare, Metric: a.Metric,
		From: a.FirstDay * 24, Until: (a.FirstDay + int64(days)) * 24, At: now,
	})
	return err
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
	v, err := state.VerifierOf(circuit)
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
	if err := v.Verify(state.Statement(p, m), proof); err != nil {
		return fault.New(fault.Invalid, "proof: %w", err)
	}
	return nil
}

// settle records a request that is closed.
func (c *call) settle(e *record.PredicateEntry, d *record.PredicateDetails) (*record.PredicateEntry, error) {
	e.Status, d.State.ClosedTx = record.PredicateClosed, c.stub.GetTxID()
	if err := c.stub.DelState(state.PendingKey(d.State.Device, e.ID)); err != nil {
		return nil, err
	}
	return e, c.putPredicate(e, d)
}
