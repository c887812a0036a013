package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// What became of a request that was found to be in order.
const (
	answerFalse   = "false"   // does not hold: silence for ever
	answerRefused = "refused" // the patient said no: the same silence
	answerPending = "pending" // proven, not sent yet
	answerSent    = "sent"
)

// answerRecord remembers a request that was in order. It is as secret as the
// readings: it says whether the claim holds.
type answerRecord struct {
	Request    string // what the question was shown as; shown as another it is a replay
	Outcome    string
	Consent    record.ID
	AnswerFrom int64
	Expires    int64
	Proof      []byte
}

// Answers says what one Answer did. It is for the patient's eyes: which requests
// met silence is itself an answer about the patient.
type Answers struct {
	Proven  []string // requests whose proofs reached the ledger
	Pending []string // proven; their slot has not come, or the gateway is away
	Silent  []string // do not hold, now or when first seen, or the patient said no
	Waiting []string // for the patient's word (Config.AskFirst)
	Ignored []string // not in order: not ours, or beyond the consent left with the device
}

func (a *Answers) add(o Answers) {
	a.Proven = append(a.Proven, o.Proven...)
	a.Pending = append(a.Pending, o.Pending...)
	a.Silent = append(a.Silent, o.Silent...)
	a.Waiting = append(a.Waiting, o.Waiting...)
	a.Ignored = append(a.Ignored, o.Ignored...)
}

// ErrNoProver says that a predicate holds but the hub has no prover: call
// SetProver and Answer again, before the request expires.
var ErrNoProver = errors.New("a predicate holds, but there is no prover")

// Answer looks for predicate requests, proves those that hold and that the
// patient's consent allows, and hands the proofs in once ledger time has reached
// their slot. About all others it stays silent. Call it every now and then; it
// may be interrupted at any point.
func (h *Hub) Answer(ctx context.Context) (Answers, error) {
	now, err := h.clock.askOne(ctx, h.clock.gateways.client())
	if err != nil {
		return Answers{}, fmt.Errorf("ask for ledger time: %w", err)
	}
	var total Answers
	err = forEach(h.Devices(), func(d *Device) (Answers, error) { return d.answer(ctx, now) }, total.add)
	return total, err
}

// predicates is what a device answers requests with: the openings of its committed days,
// the consents that its patient left with it, and what it has answered so far. An
// answer is stored, and counts against its consent, before anybody hears of it.
type predicates struct {
	hub      *Hub
	words    sync.Mutex // held while what the patient says and an answer are recorded
	vault    *deviceVault
	gateways *gateways
	id       record.ID
	patient  record.ID
	metrics  metricList
}

// answer handles the open requests for one device at ledger time now. A retired
// device still answers: what it committed stays true.
func (d *Device) answer(ctx context.Context, now int64) (Answers, error) {
	d.sync.Lock()
	defer d.sync.Unlock()
	defer d.gateways.close()
	var a Answers
	d.mu.Lock()
	enrolled, failed := d.rec.Enrolled, d.failed
	d.mu.Unlock()
	if !enrolled || failed != nil {
		return a, failed
	}
	requests, err := retried(ctx, func() ([]record.PredicateState, error) { return d.gateways.client().Requests(ctx, d.id) })
	if err != nil {
		return a, err
	}
	slices.SortStableFunc(requests, func(x, y record.PredicateState) int { return cmp.Compare(x.Expires, y.Expires) })
	record.InTurns(requests, func(q record.PredicateState) string { return q.Asker })
	var errs []error
	for _, q := range requests {
		if err := d.predicates.request(ctx, q, now, &a); err != nil {
			errs = append(errs, fmt.Errorf("request %s: %w", clip(q.ID), err))
		}
	}
	return a, errors.Join(errs...)
}

// maxRequestID bounds the identifier of a request in bytes.
const maxRequestID = 128

func (p *predicates) request(ctx context.Context, q record.PredicateState, now int64, a *Answers) error {
	if q.ID == "" || len(q.ID) > maxRequestID || q.Status != record.PredicateAsked {
		a.Ignored = append(a.Ignored, clip(q.ID))
		return nil
	}
	var rec answerRecord
	known, err := p.vault.load(p.answerKey(q), &rec)
	if err != nil {
		return err
	}
	if !known {
		rec, err = p.decide(ctx, q, now)
		switch {
		case errors.Is(err, errForeign):
			a.Ignored = append(a.Ignored, q.ID)
			return nil
		case errors.Is(err, errWaiting):
			a.Waiting = append(a.Waiting, q.ID)
			return nil
		case err != nil:
			return err
		}
	}
	switch {
	case rec.Request != q.ID:
		a.Ignored = append(a.Ignored, q.ID) // a question is answered once
		return nil
	case rec.Outcome == answerFalse || rec.Outcome == answerRefused:
		a.Silent = append(a.Silent, q.ID)
		return nil
	case rec.Outcome != answerPending:
		return nil
	case now < rec.AnswerFrom:
		a.Pending = append(a.Pending, q.ID)
		return nil
	}
	switch err := p.covers(q, rec.Consent, 0, now); {
	case errors.Is(err, errForeign): // taken back since it was proven
		a.Ignored = append(a.Ignored, q.ID)
		return nil
	case err != nil:
		return err
	}
	return p.handIn(ctx, q, rec, a)
}

// answerKey is where the answer to a question is kept. Its asker signed the question
// with a nonce: one that is shown again, as whatever request, has its answer already.
func (p *predicates) answerKey(q record.PredicateState) []byte {
	return p.vault.key(kindAnswer, p.questionOf(q)...)
}

func (p *predicates) questionOf(q record.PredicateState) []byte {
	id := p.name(q)
	return id[:]
}

// name is what a question is called by: all of it, and who signed it.
func (p *predicates) name(q record.PredicateState) record.ID {
	return q.Ask.Digest(p.hub.network, q.Asker)
}

// errForeign says that a request is not about this device's own commitments as
// the network defines them, or is beyond the consents left with it.
var errForeign = errors.New("request is not in order")

// recognise rebuilds the statement of a request from the device's own openings
// and the pinned genesis, and compares: nothing in it is taken from the gateway
// unchecked.
func (p *predicates) recognise(q record.PredicateState) (verifier.Statement, []*zk.Opening, error) {
	var none verifier.Statement
	class, err := verifier.ClassByName(q.Ask.Class)
	if err != nil {
		return none, nil, errForeign
	}
	m, ok := p.metrics.find(q.Ask.Metric)
	g := &p.hub.cfg.Genesis
	i := slices.IndexFunc(g.Circuits, func(c record.Circuit) bool { return c.Class == class.Name })
	if !ok || i < 0 || q.Device != p.id || q.Ask.Patient != p.patient || len(q.Roots) != class.Days {
		return none, nil, errForeign
	}
	openings, err := p.openings(q.Ask.FirstDay, q.Roots)
	if err != nil {
		return none, nil, err
	}
	asker := slices.IndexFunc(g.Members, func(m record.Member) bool { return m.MSP == q.Asker })
	if asker < 0 || record.Verify(g.Members[asker].SignKey, q.Ask.Digest(g.Network, q.Asker), q.Ask.Signature) != nil {
		return none, nil, errForeign
	}
	digest, err := verifier.DataDigest(q.Roots)
	if err != nil || digest != q.DataDigest {
		return none, nil, errForeign
	}
	// A network has the name of its channel.
	binding := verifier.Binding(g.Network, q.ID, q.Ask.Nonce, q.Consent, q.Expires, g.Circuits[i].Hash)
	if binding != q.Binding || q.AnswerFrom < q.Asked || q.Expires <= q.AnswerFrom {
		return none, nil, errForeign
	}
	s := verifier.Statement{DataDigest: digest, Binding: binding, Slot: m.Slot, FirstDay: q.Ask.FirstDay, Bounds: q.Ask.Bounds}
	if s.Check(class.Days, m) != nil {
		return none, nil, errForeign
	}
	return s, openings, nil
}

// openings returns what opens the days from first on; their roots must be those
// asked about.
func (p *predicates) openings(first int64, roots []record.ID) ([]*zk.Opening, error) {
	if first < verifier.MinDay || first > verifier.MaxDay {
		return nil, errForeign
	}
	list := make([]*zk.Opening, len(roots))
	for i, root := range roots {
		var rec dayRecord
		found, err := p.vault.load(p.vault.key(kindOpening, ordered(first+int64(i))...), &rec)
		if err != nil {
			return nil, err
		}
		if !found || rec.Root != root {
			return nil, errForeign
		}
		list[i] = new(zk.Opening)
		if err := list[i].UnmarshalBinary(rec.Opening); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrDamaged, err)
		}
	}
	return list, nil
}

// forbids is errForeign where the consent left with the device does not allow a new
// question, and nil where it does. It is asked under the version that the device has.
func (p *predicates) forbids(q record.PredicateState, now int64) error {
	switch _, named, err := p.consents(q.Consent); {
	case err != nil:
		return err
	case named == nil || named.Version != q.Version:
		return errForeign // not the consent left with this device
	}
	used, err := p.used(q.Consent)
	if err != nil {
		return err
	}
	return p.covers(q, q.Consent, used, now)
}

// covers is errForeign unless the consent named allows a question by itself, after so many
// others, and no denial touches it. It is asked again when a proof is about to leave: what
// a patient took back meanwhile is not for the gateway to learn either.
func (p *predicates) covers(q record.PredicateState, name record.ID, used uint32, now int64) error {
	docs, _, err := p.consents(name)
	if err != nil {
		return err
	}
	class, err := verifier.ClassByName(q.Ask.Class)
	if err != nil {
		return errForeign
	}
	if p.hub.clock.wall {
		now = max(now, p.hub.clock.now()) // ledger time is the gateway's word
	}
	decision := consent.Decide(docs, consent.Request{
		Grantee: q.Asker, Purpose: q.Ask.Purpose, Operation: consent.OpPredicate, Metric: q.Ask.Metric,
		From: q.Ask.FirstDay * 24, Until: (q.Ask.FirstDay + int64(class.Days)) * 24, At: now,
		Claim: &consent.Claim{Bounds: q.Ask.Bounds, Used: map[record.ID]uint32{name: used}},
	})
	if !decision.Permit || decision.Document != name {
		return errForeign
	}
	return nil
}

// consents returns the denials on record and the consent named, if there.
func (p *predicates) consents(name record.ID) ([]consent.Document, *consent.Document, error) {
	var docs []consent.Document
	var named *consent.Document
	for e, err := range p.vault.each(kindConsent, nil) {
		if err != nil {
			return nil, nil, err
		}
		var doc consent.Document
		if err := decode(e.Value, &doc); err != nil {
			return nil, nil, err
		}
		if doc.ID == name {
			named = &doc
		}
		if doc.ID == name || doc.Effect == consent.EffectDeny {
			docs = append(docs, doc)
		}
	}
	return docs, named, nil
}

// used counts the requests answered, with a proof or with silence, under a consent.
func (p *predicates) used(name record.ID) (uint32, error) {
	var n uint32
	for e, err := range p.vault.each(kindAnswer, nil) {
		if err != nil {
			return 0, err
		}
		var rec answerRecord
		if err := decode(e.Value, &rec); err != nil {
			return 0, err
		}
		if rec.Consent == name {
			n++
		}
	}
	return n, nil
}

// handIn submits a proof. A retry sends the same bytes.
func (p *predicates) handIn(ctx context.Context, q record.PredicateState, rec answerRecord, a *Answers) error {
	request := q.ID
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	op, err := retried(ctx, func() (*api.Operation, error) {
		return p.gateways.client().Prove(ctx, record.Attest{Request: request, Proof: rec.Proof})
	})
	if err == nil {
		_, err = p.gateways.client().Wait(ctx, op)
	}
	switch {
	case err == nil:
		rec.Outcome = answerSent
		a.Proven = append(a.Proven, request)
	case fault.Of(err) == fault.Expired || fault.Of(err) == fault.Conflict, ctx.Err() == nil && fault.Codes[fault.Of(err)].Retry:
		// Attested already, by this proof before a crash, or too late: then the request
		// is not open any more. But that is a gateway's word, so the proof stays.
		a.Pending = append(a.Pending, request)
		p.gateways.elsewhere()
		return nil
	default:
		a.Pending = append(a.Pending, request)
		p.gateways.elsewhere()
		return fmt.Errorf("hand in the proof: %w", err)
	}
	rec.Proof = nil
	return p.keepAnswer(q, rec)
}

// permit keeps the highest version of each consent.
func (p *predicates) permit(docs []consent.Document) error {
	newest := map[record.ID]consent.Document{}
	for _, doc := range docs {
		if doc.Patient != p.patient {
			return fmt.Errorf("consent %s is of another patient", doc.ID.Short())
		}
		if err := consent.Validate(doc); err != nil {
			return fmt.Errorf("consent %s: %w", doc.ID.Short(), err)
		}
		if doc.Version > newest[doc.ID].Version {
			newest[doc.ID] = doc
		}
	}
	return p.vault.Update(true, func(b *pebble.Batch) error {
		for id, doc := range newest {
			var old consent.Document
			key := p.vault.key(kindConsent, id[:]...)
			if _, err := p.vault.load(key, &old); err != nil {
				return err
			}
			if doc.Version <= old.Version {
				continue
			}
			if err := p.vault.store(b, key, doc); err != nil {
				return err
			}
		}
		return nil
	})
}

// withdraw ends all permissions left so far; denials stay.
func (p *predicates) withdraw() error {
	return p.vault.Update(true, func(b *pebble.Batch) error {
		for e, err := range p.vault.each(kindConsent, nil) {
			if err != nil {
				return err
			}
			var doc consent.Document
			if err := decode(e.Value, &doc); err != nil {
				return err
			}
			if err := p.vault.store(b, p.vault.key(kindConsent, doc.ID[:]...), consent.Withdrawn(doc)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Asked is a request for a claim as its patient sees it.
type Asked struct {
	Question record.ID // by which the patient speaks of it: a gateway can give a request another
	Request  record.PredicateState
	// Standing says what the device does about it.
	Standing string
}

// What a device does about a request. Silence and what leads to it are told to the
// patient alone.
const (
	StandingAllowed = "the consent left with this device allows it; it is answered if the claim holds"
	StandingBeyond  = "beyond the consents left with this device, or not about it; it is not answered"
	StandingSilent  = "the claim does not hold; it is not answered"
	StandingRefused = "you said no; it is not answered"
	StandingWaiting = "waits for your word; without it, it is not answered"
	StandingProving = "being proven"
	StandingPending = "proven; the proof is handed in when its time has come"
	StandingSent    = "proven; the proof was handed in"
)

// Asked asks the gateway for the open requests to the device, and says what the device
// does about each. It answers none.
func (d *Device) Asked(ctx context.Context) ([]Asked, error) {
	d.mu.Lock()
	enrolled, failed := d.rec.Enrolled, d.failed
	d.mu.Unlock()
	if !enrolled || failed != nil {
		return nil, failed
	}
	now, err := d.hub.clock.askOne(ctx, d.hub.clock.gateways.client())
	if err != nil {
		return nil, err
	}
	requests, err := retried(ctx, func() ([]record.PredicateState, error) { return d.gateways.client().Requests(ctx, d.id) })
	if err != nil {
		return nil, err
	}
	var list []Asked
	for _, q := range requests {
		standing, err := d.predicates.standing(q, now)
		if err != nil {
			return nil, err
		}
		list = append(list, Asked{Question: d.predicates.name(q), Request: q, Standing: standing})
	}
	return list, nil
}

func (p *predicates) standing(q record.PredicateState, now int64) (string, error) {
	if q.ID == "" || len(q.ID) > maxRequestID {
		return StandingBeyond, nil
	}
	var rec answerRecord
	known, err := p.vault.load(p.answerKey(q), &rec)
	switch {
	case err != nil:
		return "", err
	case known && rec.Request != q.ID:
		return StandingBeyond, nil
	case known && rec.Outcome == answerPending:
		if err := p.covers(q, rec.Consent, 0, now); errors.Is(err, errForeign) {
			return StandingBeyond, nil
		} else if err != nil {
			return "", err
		}
		return StandingPending, nil
	case known:
		return map[string]string{answerFalse: StandingSilent, answerRefused: StandingRefused, answerSent: StandingSent}[rec.Outcome], nil
	}
	_, _, err = p.recognise(q)
	if err == nil {
		err = p.forbids(q, now)
	}
	if errors.Is(err, errForeign) || err == nil && now >= q.Expires {
		return StandingBeyond, nil
	}
	word, said, wordErr := p.word(q)
	switch {
	case err != nil || wordErr != nil:
		return "", errors.Join(err, wordErr)
	case said && !word:
		return StandingRefused, nil
	case p.hub.proves(p.questionOf(q)):
		return StandingProving, nil
	case p.hub.cfg.AskFirst && !said:
		return StandingWaiting, nil
	}
	return StandingAllowed, nil
}
