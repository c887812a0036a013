package chaincode

import (
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// maxPending bounds what Pending returns.
const maxPending = 100

// Request records a question about one patient (record.AskPredicate,
// record.PredicateState): the consent allows it, one designated device has
// committed every day asked, and the public inputs are computed here. Every call
// that commits is a request of its own and counts against the consent.
func (*Predicate) Request(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, smallArgument, request)
}

// Get returns the record.PredicateState of a request.
func (*Predicate) Get(tx transaction, arg string) (string, error) {
	return serveText(tx, arg, (*call).predicate)
}

// Pending returns the open requests for a device ([]record.PredicateState), at
// most 100, those that have expired left out.
func (*Predicate) Pending(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, pending)
}

func (c *call) predicate(id string) (*record.PredicateState, error) {
	if !validTxID(id) {
		return nil, fault.New(fault.Invalid, "a request is named by the transaction that asked it, 64 hexadecimal digits")
	}
	p := new(record.PredicateState)
	return p, c.need(PredicateKey(id), p, "request "+id[:8])
}

// question is a request that is being checked.
type question struct {
	ask     record.AskPredicate
	metric  wearable.Metric
	circuit record.Circuit
	class   verifier.Class
}

func request(c *call, a record.AskPredicate) (*record.PredicateState, error) {
	if _, err := c.seatIn(c.roster.Current); err != nil {
		return nil, err
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
	if err := c.put(PendingKey(device, p.ID), a.Patient); err != nil {
		return nil, err
	}
	if err := c.countAsked(p.Consent); err != nil {
		return nil, err
	}
	return p, c.put(PredicateKey(p.ID), p)
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
	if err := consent.CheckClaim(q.metric, q.class.Days, a.Bounds); err != nil {
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
	for _, d := range docs {
		if d.Status != consent.StatusActive {
			continue
		}
		var n uint32
		if _, err := c.get(AskedKey(d.ID), &n); err != nil {
			return consent.Decision{}, err
		}
		claim.Used[d.ID] = n
	}
	return c.permission(docs, record.ID{}, consentRequest(q.ask, q.class.Days, c.msp, now, claim))
}

func consentRequest(a record.AskPredicate, days int, grantee string, now int64, claim consent.Claim) consent.Request {
	return consent.Request{
		Grantee: grantee, Purpose: a.Purpose, Operation: consent.OpPredicate, Metric: a.Metric,
		From: a.FirstDay * 24, Until: (a.FirstDay + int64(days)) * 24, At: now, Claim: &claim,
	}
}

// countAsked counts a claim asked under a consent. Requests under one consent
// conflict, those under others never do.
func (c *call) countAsked(id record.ID) error {
	var n uint32
	if _, err := c.get(AskedKey(id), &n); err != nil {
		return err
	}
	return c.put(AskedKey(id), n+1)
}

// committed finds the one device that was designated on every day asked and the
// day roots that it has on the ledger.
func (c *call) committed(q *question) (record.ID, []record.ID, error) {
	var list []Designation
	var device record.ID
	if _, err := c.get(DesignationKey(q.ask.Patient), &list); err != nil {
		return device, nil, err
	}
	roots := make([]record.ID, 0, q.class.Days)
	for day := q.ask.FirstDay; day < q.ask.FirstDay+int64(q.class.Days); day++ {
		d, ok := Designated(list, q.ask.Metric, day)
		if !ok || len(roots) > 0 && d != device {
			return device, nil, fault.New(fault.NotFound, "the patient has no one device designated for %s on every day asked", q.ask.Metric)
		}
		device = d
		var state record.PointerState
		key := PointerKey(record.Pointer{Device: d, Kind: record.KindDay, Index: day})
		if err := c.need(key, &state, "the root of the day asked"); err != nil {
			return device, nil, err
		}
		roots = append(roots, state.Signed.Pointer.Commitment)
	}
	return device, roots, nil
}

// bind computes the public inputs and the claim in words, and checks them.
func (c *call) bind(q *question, p *record.PredicateState) error {
	digest, err := verifier.DataDigest(p.Roots)
	if err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	p.DataDigest = digest
	p.Binding = verifier.Binding(c.stub.GetChannelID(), p.ID, q.ask.Nonce, p.Consent, p.Expires, q.circuit.Hash)
	s := Statement(p, q.metric)
	if err := s.Check(q.class.Days, q.metric); err != nil {
		return fault.New(fault.Invalid, "%w", err)
	}
	p.Text = s.Text(q.class.Days, q.metric)
	return nil
}

// Statement is what a proof must prove to answer a request about this metric.
func Statement(p *record.PredicateState, m wearable.Metric) verifier.Statement {
	return verifier.Statement{
		DataDigest: p.DataDigest, Binding: p.Binding, Slot: m.Slot, FirstDay: p.Ask.FirstDay, Bounds: p.Ask.Bounds,
	}
}

func pending(c *call, device record.ID) ([]record.PredicateState, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	open := []record.PredicateState{}
	err = c.scan(KindPending, []string{device.String()}, maxPendingScan, func(key string, _ []byte) error {
		_, attrs, err := ParseKey(key)
		if err != nil || len(open) == maxPending {
			return err
		}
		p, err := c.predicate(attrs[1])
		if err == nil && now < p.Expires {
			open = append(open, *p)
		}
		return err
	})
	return open, err
}

// maxPendingScan bounds how many open requests, expired ones among them, are
// looked at.
const maxPendingScan = 1000
