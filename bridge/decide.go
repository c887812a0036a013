package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// wordRecord is what the patient said about a question.
type wordRecord struct{ Yes bool }

var (
	// errWaiting says that the patient has not been heard about a question.
	errWaiting = errors.New("the patient has not said yes")
	// ErrNoMemory says that a predicate holds and that there is too little memory to
	// prove it. The request stays open: Answer again.
	ErrNoMemory = errors.New("too little memory is available for a proof")
)

// decide checks a new question, and proves it if it holds and the patient does not
// object. The outcome is durable on return, and counts against the consent; a question
// that is not in order (errForeign), or has to wait (errWaiting), is not recorded. Open
// requests on the ledger are the queue: what a crash interrupts is begun again.
func (p *predicates) decide(ctx context.Context, q record.PredicateState, now int64) (answerRecord, error) {
	rec := answerRecord{Request: q.ID, Outcome: answerFalse, Consent: q.Consent, AnswerFrom: q.AnswerFrom, Expires: q.Expires}
	statement, openings, err := p.recognise(q)
	if err == nil {
		err = p.forbids(q, now)
	}
	switch {
	case err != nil:
		return rec, err
	case now >= q.Expires:
		return rec, errForeign
	}
	yes, said, err := p.word(q)
	switch {
	case err != nil:
		return rec, err
	case said && !yes:
		rec.Outcome = answerRefused
		return rec, p.keepAnswer(q, rec)
	case p.hub.cfg.AskFirst && !said:
		return rec, errWaiting
	}
	holds, err := zk.Holds(statement, openings)
	switch {
	case err != nil:
		return rec, err
	case !holds:
		return rec, p.keepAnswer(q, rec)
	}
	if rec.Proof, err = p.hub.prove(ctx, p.questionOf(q), statement, openings); err != nil && !errors.Is(err, errRefused) {
		return rec, err
	}
	return p.settle(q, rec)
}

// settle records an answer that holds, unless the patient has said no while it was made.
func (p *predicates) settle(q record.PredicateState, rec answerRecord) (answerRecord, error) {
	p.words.Lock()
	defer p.words.Unlock()
	rec.Outcome = answerPending
	if yes, said, err := p.word(q); err != nil {
		return rec, err
	} else if said && !yes {
		rec.Outcome, rec.Proof = answerRefused, nil
	}
	return rec, p.keepAnswer(q, rec)
}

func (p *predicates) keepAnswer(q record.PredicateState, rec answerRecord) error {
	return p.vault.Update(true, func(b *pebble.Batch) error { return p.vault.store(b, p.answerKey(q), rec) })
}

// word is what the patient said about a question, if anything.
func (p *predicates) word(q record.PredicateState) (yes, said bool, err error) {
	var w wordRecord
	said, err = p.vault.load(p.vault.key(kindWord, p.questionOf(q)...), &w)
	return w.Yes, said, err
}

// Say is the patient's word about a question that Asked has shown: without a yes it is not
// answered where the hub asks first (Config.AskFirst), and with a no nowhere, as long as
// the proof has not been handed in. A proof that is being made is given up. It is durable
// on return; found is false for one that the gateway does not show as open, that is
// beyond the consents here, or that was answered.
func (d *Device) Say(ctx context.Context, question record.ID, yes bool) (found bool, err error) {
	list, err := d.Asked(ctx)
	if err != nil {
		return false, err
	}
	for _, a := range list {
		if a.Question == question && a.Standing != StandingBeyond && a.Standing != StandingSent {
			return true, d.predicates.say(a.Request, yes)
		}
	}
	return false, nil
}

func (p *predicates) say(q record.PredicateState, yes bool) error {
	p.words.Lock()
	defer p.words.Unlock()
	var rec answerRecord
	known, err := p.vault.load(p.answerKey(q), &rec)
	if err != nil {
		return err
	}
	err = p.vault.Update(true, func(b *pebble.Batch) error {
		if known && !yes && rec.Outcome == answerPending {
			rec.Outcome, rec.Proof = answerRefused, nil
			if err := p.vault.store(b, p.answerKey(q), rec); err != nil {
				return err
			}
		}
		return p.vault.store(b, p.vault.key(kindWord, p.questionOf(q)...), wordRecord{Yes: yes})
	})
	if err == nil && !yes {
		p.hub.proving.giveUp(p.questionOf(q))
	}
	return err
}

// proving is the one proof that a hub makes at a time: it takes every processor already,
// and memory by the hundred megabytes.
type proving struct {
	turn sync.Mutex // held while a proof is made

	mu       sync.Mutex
	question []byte
	cancel   context.CancelCauseFunc
}

// errRefused ends a proof that the patient does not want any more.
var errRefused = errors.New("the patient said no")

func (p *proving) set(question []byte, cancel context.CancelCauseFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.question, p.cancel = question, cancel
}

func (p *proving) giveUp(question []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil && bytes.Equal(p.question, question) {
		p.cancel(errRefused)
	}
}

// proves tells whether the question's proof is being made.
func (h *Hub) proves(question []byte) bool {
	h.proving.mu.Lock()
	defer h.proving.mu.Unlock()
	return h.proving.cancel != nil && bytes.Equal(h.proving.question, question)
}

func (h *Hub) prove(ctx context.Context, question []byte, s verifier.Statement, openings []*zk.Opening) ([]byte, error) {
	h.mu.Lock()
	p := h.prover
	h.mu.Unlock()
	if p == nil {
		return nil, ErrNoProver
	}
	h.proving.turn.Lock()
	defer h.proving.turn.Unlock()
	if need, there := proofMemory(len(openings)), h.memory(); there < need {
		return nil, fmt.Errorf("%w: %d MB are there, a claim about %d days takes %d", ErrNoMemory, there>>20, len(openings), need>>20)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h.proving.set(question, cancel)
	defer h.proving.set(nil, nil)
	proof, err := p.Prove(ctx, s, openings)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errRefused) {
		return nil, cause
	}
	return proof, err
}

// proofMemory is what a proof about so many days may take beside what the hub has, in
// bytes: twice the 47 MB of a day, and the 187 MB of a week, that a program took which made
// the keys as well.
func proofMemory(days int) uint64 { return uint64(64+48*days) << 20 }

// availableMemory is what the system says that programs can still have, in bytes; all
// where it does not say.
func availableMemory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 1 << 62
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			if kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 50); err == nil {
				return kb << 10
			}
		}
	}
	return 1 << 62
}
