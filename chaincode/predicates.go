package chaincode

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

const (
	// maxPending bounds what Pending returns.
	maxPending = 100
	// maxAsked bounds the claims asked about one patient under all consents together,
	// so that one transaction can purge them.
	maxAsked = 1024
)

// Request records a question about one patient (record.RequestPredicate,
// record.PredicateEntry): the consent allows it, one designated device has committed
// every day asked, and the public inputs are computed here. The question comes as
// the transient value TransientQuestion. Every call that commits is a request of its
// own and counts against the consent.
func (*Predicate) Request(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, smallArgument, request)
}

// Get returns the record.PredicateState of a request to who asked, to whom that has
// passed it on, and to gateways, which show it to the patient and the device asked.
// To be evaluated, never submitted: a transaction's answer is on the chain.
func (*Predicate) Get(tx transaction, arg string) (string, error) {
	return serveText(tx, arg, func(c *call, id string) (*record.PredicateState, error) {
		e, err := c.predicate(id)
		if err != nil {
			return nil, err
		}
		d, err := c.predicateDetails(e)
		if err != nil {
			return nil, err
		}
		if !c.isGateway() && !sees(c.msp, d.State) {
			return nil, fault.New(fault.Forbidden, "request %s is %s's, who has not passed it on to you", id[:8], e.Asker)
		}
		return &d.State, nil
	})
}

// Pending returns the open requests for a device ([]record.PredicateState), at
// most 100, those that have expired left out, in turns of their askers and the oldest
// first: one who asks much hides nobody. It is for gateways and to be evaluated
// only, as OfPatient.
func (*Predicate) Pending(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, pending)
}

// OfPatient returns every request about a patient ([]record.PredicateState), by
// consent and number.
func (*Predicate) OfPatient(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, predicatesOf)
}

// sees reports whether a request is of an institution or was passed on to it.
func sees(msp string, p record.PredicateState) bool {
	return p.Asker == msp || slices.ContainsFunc(p.Shared, func(s record.Sharing) bool { return s.To == msp })
}

func (c *call) isGateway() bool { return slices.Contains(c.genesis.Gateways, c.msp) }

func (c *call) needGateway() error {
	if !c.isGateway() {
		return fault.New(fault.Forbidden, "%s is not a gateway, which shows requests to those whom they concern", clip(c.msp))
	}
	return nil
}

// predicate returns what is public of a request.
func (c *call) predicate(id string) (*record.PredicateEntry, error) {
	if !validTxID(id) {
		return nil, fault.New(fault.Invalid, "a request is named by the transaction that asked it, 64 hexadecimal digits")
	}
	e := new(record.PredicateEntry)
	return e, c.need(state.PredicateKey(id), e, "request "+id[:8])
}

// predicateDetails returns what is private of a request: fault.Purged once its
// patient is erased.
func (c *call) predicateDetails(e *record.PredicateEntry) (*record.PredicateDetails, error) {
	var of state.ConsentPublic
	if err := c.need(state.ConsentKey(e.Consent), &of, "the consent of request "+e.ID[:8]); err != nil {
		return nil, err
	}
	raw, err := c.readPrivate(of.Entry.Patient, state.QuestionKey(e.Consent, e.Number))
	if err != nil {
		return nil, err
	}
	d := new(record.PredicateDetails)
	return d, json.Unmarshal(raw, d)
}

// putPredicate records a request: what is private off-chain, the hash of that
// on it.
func (c *call) putPredicate(e *record.PredicateEntry, d *record.PredicateDetails) error {
	e.Hash = d.Hash(c.genesis.Network)
	raw, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := c.writePrivate(d.State.Ask.Patient, state.QuestionKey(e.Consent, e.Number), raw); err != nil {
		return err
	}
	return c.put(state.PredicateKey(e.ID), e)
}

// transientValue returns a transient value of these bytes at most; nil where no
// transient data came, and an error where others did.
func (c *call) transientValue(name string, most int) ([]byte, error) {
	all, err := c.stub.GetTransient()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	raw, ok := all[name]
	if !ok || len(all) != 1 || len(raw) > most {
		return nil, fault.New(fault.Invalid, "transient data is the one value %q of at most %d bytes", name, most)
	}
	return raw, nil
}

// transientQuestion reads the question that the argument is the hash of.
func (c *call) transientQuestion(r record.RequestPredicate) (record.Question, error) {
	var q record.Question
	raw, err := c.transientValue(state.TransientQuestion, smallArgument)
	if err != nil {
		return q, err
	}
	if err := record.DecodeJSON(raw, smallArgument, &q); err != nil {
		return q, fault.New(fault.Invalid, "the transient value %q is not the question expected: %w", state.TransientQuestion, err)
	}
	if q.Salt.IsZero() || q.Hash(c.genesis.Network) != r.Hash {
		return q, fault.New(fault.Invalid, "the question has no salt or is not the one whose hash is the argument")
	}
	return q, nil
}

// question is a request that is being checked.
type question struct {
	ask     record.AskPredicate
	metric  wearable.Metric
	circuit record.Circuit
	class   verifier.Class
}

func request(c *call, r record.RequestPredicate) (*record.PredicateEntry, error) {
	if _, err := c.seatIn(c.roster.Current); err != nil {
		return nil, err
	}
	asked, err := c.transientQuestion(r)
	if err != nil {
		return nil, err
	}
	a := asked.Ask
	if err := c.signedByMember(a.Digest(c.genesis.Network, c.msp), a.Signature); err != nil {
		return nil, fault.New(fault.BadSignature, "the question is not signed by %s: %w", c.msp, err)
	}
	q, err := c.question(a)
	if err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	decision, err := c.allow(q, now)
	if err != nil {
		return nil, err
	}
	device, roots, err := c.committed(q)
	if err != nil {
		return nil, err
	}
	if err := c.mayAnswer(device); err != nil {
		return nil, err
	}
	slot := c.genesis.PredicateSlot
	p := &record.PredicateState{
		ID: c.stub.GetTxID(), Ask: a, Asker: c.msp, Device: device,
		Consent: decision.Document, Version: decision.Version, Roots: roots, Asked: now,
		AnswerFrom: ceilTo(now+slot, slot), Expires: now + c.genesis.PredicateLife, Status: record.PredicateAsked,
	}
	if err := c.bind(q, p); err != nil {
		return nil, err
	}
	if err := c.put(state.PendingKey(device, p.ID), p.Consent); err != nil {
		return nil, err
	}
	if p.Number, err = c.countAsked(p.Consent); err != nil {
		return nil, err
	}
	e := &record.PredicateEntry{
		ID: p.ID, Asker: p.Asker, Consent: p.Consent, Number: p.Number, Asked: p.Asked, Expires: p.Expires,
		Binding: p.Binding, Status: record.PredicateAsked,
	}
	return e, c.putPredicate(e, &record.PredicateDetails{State: *p, Salt: asked.Salt})
}

// ceilTo rounds up to a multiple of step.
func ceilTo(t, step int64) int64 { return -wearable.FloorDiv(-t, step) * step }

func (c *call) question(a record.AskPredicate) (*question, error) {
	q := &question{ask: a}
	var ok bool
	if q.metric, ok = wearable.ByKey(a.Metric); !ok {
		return nil, fault.New(fault.Invalid, "metric %q is unknown", clip(a.Metric))
	}
	if err := checkPurpose(a.Purpose); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if a.Nonce.IsZero() {
		return nil, fault.New(fault.Invalid, "nonce is missing")
	}
	if a.FirstDay < verifier.MinDay || a.FirstDay > verifier.MaxDay {
		return nil, fault.New(fault.Invalid, "first_day %d is out of bounds", a.FirstDay)
	}
	var err error
	if q.circuit, err = c.circuit(a.Class); err != nil {
		return nil, err
	}
	if q.class, err = verifier.ClassByName(a.Class); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	if err := claim.Check(q.metric, q.class.Days, a.Bounds); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return q, nil
}

// circuit finds the network's circuit of a class.
func (c *call) circuit(class string) (record.Circuit, error) {
	for _, k := range c.genesis.Circuits {
		if k.Class == class {
			return k, nil
		}
	}
	return record.Circuit{}, fault.New(fault.Invalid, "this network has no circuit of class %q", clip(class))
}

// allow asks the patient's consent: the purpose, the claim, and that not too many
// were asked under that consent.
func (c *call) allow(q *question, now int64) (consent.Decision, error) {
	docs, err := c.documents(q.ask.Patient, c.msp)
	if err != nil {
		return consent.Decision{}, err
	}
	claim := consent.Claim{Bounds: q.ask.Bounds, Used: make(map[record.ID]uint32)}
	heads, err := c.heads(q.ask.Patient)
	if err != nil {
		return consent.Decision{}, err
	}
	all := uint32(0)
	for _, h := range heads {
		if claim.Used[h.ID], err = c.askedUnder(h.ID); err != nil {
			return consent.Decision{}, err
		}
		all += claim.Used[h.ID]
	}
	if all >= maxAsked {
		return consent.Decision{}, fault.New(fault.Exhausted, "%d claims were asked about the patient, which is the limit", all)
	}
	return c.permission(docs, record.ID{}, consentRequest(q.ask, q.class.Days, c.msp, now, claim))
}

func consentRequest(a record.AskPredicate, days int, grantee string, now int64, claim consent.Claim) consent.Request {
	return consent.Request{
		Grantee: grantee, Purpose: a.Purpose, Operation: consent.OpPredicate, Metric: a.Metric,
		From: a.FirstDay * 24, Until: (a.FirstDay + int64(days)) * 24, At: now, Claim: &claim,
	}
}

// askedUnder returns how many claims were asked under a consent.
func (c *call) askedUnder(id record.ID) (uint32, error) {
	var n uint32
	_, err := c.get(state.AskedKey(id), &n)
	return n, err
}

// countAsked counts a claim asked under a consent and returns its number.
func (c *call) countAsked(id record.ID) (uint32, error) {
	n, err := c.askedUnder(id)
	if err != nil {
		return 0, err
	}
	return n + 1, c.put(state.AskedKey(id), n+1)
}

// committed finds the one device that was designated on every day asked and the
// day roots that it has on the ledger.
func (c *call) committed(q *question) (record.ID, []record.ID, error) {
	var list []state.Designation
	var device record.ID
	if _, err := c.get(state.DesignationKey(q.ask.Patient), &list); err != nil {
		return device, nil, err
	}
	roots := make([]record.ID, 0, q.class.Days)
	for day := q.ask.FirstDay; day < q.ask.FirstDay+int64(q.class.Days); day++ {
		d, ok := state.Designated(list, q.ask.Metric, day)
		if !ok || len(roots) > 0 && d != device {
			return device, nil, fault.New(fault.NotFound, "the patient has no one device designated for %s on every day asked", q.ask.Metric)
		}
		device = d
		var entry record.PointerState
		key := state.PointerKey(record.Pointer{Device: d, Kind: record.KindDay, Index: day})
		if err := c.need(key, &entry, "the root of the day asked"); err != nil {
			return device, nil, err
		}
		roots = append(roots, entry.Signed.Pointer.Commitment)
	}
	return device, roots, nil
}

// bind computes the public inputs and checks them.
func (c *call) bind(q *question, p *record.PredicateState) error {
	digest, err := verifier.DataDigest(p.Roots)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	p.DataDigest = digest
	p.Binding = verifier.Binding(c.stub.GetChannelID(), p.ID, q.ask.Nonce, p.Consent, p.Expires, q.circuit.Hash)
	s := state.Statement(p, q.metric)
	if err := s.Check(q.class.Days, q.metric); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	return nil
}

// predicatesOf returns the requests about a patient; there are at most maxAsked.
func predicatesOf(c *call, patient record.ID) ([]record.PredicateState, error) {
	if err := c.needGateway(); err != nil {
		return nil, err
	}
	heads, err := c.heads(patient)
	if err != nil {
		return nil, err
	}
	all := []record.PredicateState{}
	for _, h := range heads {
		asked, err := c.askedUnder(h.ID)
		if err != nil {
			return nil, err
		}
		for n := uint32(1); n <= asked; n++ {
			d, err := c.predicateDetails(&record.PredicateEntry{ID: h.ID.String(), Consent: h.ID, Number: n})
			if err != nil {
				return nil, err
			}
			all = append(all, d.State)
		}
	}
	return all, nil
}

func pending(c *call, device record.ID) ([]record.PredicateState, error) {
	if err := c.needGateway(); err != nil {
		return nil, err
	}
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	var asked []*record.PredicateEntry
	err = c.scan(state.KindPending, []string{device.String()}, maxAsked, func(key string, _ []byte) error {
		_, attrs, err := state.ParseKey(key)
		if err != nil {
			return err
		}
		e, err := c.predicate(attrs[1])
		if err == nil && now < e.Expires {
			asked = append(asked, e)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(asked, func(a, b *record.PredicateEntry) int {
		return cmp.Or(cmp.Compare(a.Asked, b.Asked), cmp.Compare(a.ID, b.ID))
	})
	record.InTurns(asked, func(e *record.PredicateEntry) string { return e.Asker })
	open := []record.PredicateState{}
	for _, e := range asked[:min(len(asked), maxPending)] {
		d, err := c.predicateDetails(e)
		switch {
		case fault.Of(err) == fault.Purged:
		case err != nil:
			return nil, err
		default:
			open = append(open, d.State)
		}
	}
	return open, nil
}
