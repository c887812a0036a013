package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/recording"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Privacy loss of the demo's queries, in micro-zCDP: heart rate gets what makes
// its mean useful at 200 patients, the others share the rest of a total of 2.5.
// docs/design/privacy.md has the reasoning.
const (
	rhoHeartRate = 660_000
	rhoOther     = 230_000
	rhoBeside    = 50_000 // pairs and strata, where rows have them
)

const studyID = "vitals-of-the-day"

// answer is what the asking hospital learned about one metric, and the privacy
// loss that it asked for.
type answer struct {
	*institution.Answer
	rho uint64 // micro-zCDP
}

// preliminary reports whether the members have not all said yet that the answer stands.
func (a answer) preliminary() bool { return a.Standing == record.StandingPreliminary }

// answers is what it learned in all, by key of the question.
type answers struct {
	metrics map[string]answer
	persons map[string]answer
	pairs   map[string]answer
	groups  map[string]answer
	refused map[string]Refusal
}

// all is what it learned, by kind.
func (got *answers) all() []map[string]answer {
	return []map[string]answer{got.metrics, got.persons, got.pairs, got.groups}
}

// stand takes from the ledger how the answers stand by now: a member that was slow has
// confirmed them meanwhile.
func (w *world) stand(got *answers) {
	for _, all := range got.all() {
		for _, a := range all {
			if q, err := w.index.Query(a.QueryID); err == nil && q.Standing != "" {
				a.Standing = q.Standing
			}
		}
	}
}

// rhoOf is the privacy loss that a question is asked with.
func rhoOf(q privacy.Question) uint64 {
	switch {
	case q.Key == "heart_rate":
		return rhoHeartRate
	case q.Shape == privacy.ShapeMetric:
		return rhoOther
	}
	return rhoBeside
}

// askStatistics registers the study and asks its questions.
func (w *world) askStatistics(ctx context.Context, questions []spend, exact bool) (*answers, error) {
	study := record.Study{
		ID: studyID, Title: "Vital signs of the day", Purpose: purpose,
		From: w.firstHour, Until: w.untilHour, MinCohort: w.genesis.MinCohort, Exact: exact,
	}
	for _, q := range questions {
		study.Metrics = append(study.Metrics, q.Key)
		study.Budget += q.rho
	}
	if _, _, err := contracts.StudyCreate.Submit(ctx, w.client(w.asker), study); err != nil {
		return nil, fmt.Errorf("registering the study: %w", err)
	}
	got := &answers{metrics: map[string]answer{}, persons: map[string]answer{}, pairs: map[string]answer{}, groups: map[string]answer{}, refused: map[string]Refusal{}}
	for _, q := range questions {
		if err := w.askOne(ctx, q, got); err != nil {
			return nil, err
		}
	}
	return got, nil
}

func (w *world) askOne(ctx context.Context, q spend, got *answers) error {
	ask := w.askFor(q)
	begun := time.Now()
	a, err := w.asker.inst.Ask(ctx, ask)
	var few *institution.Refusal
	switch {
	case errors.As(err, &few):
		got.refused[q.Key] = Refusal{Subjects: few.Size, Minimum: few.Minimum, Readings: few.Readings}
		w.progress.line("%s: refused: %v", q.Key, few)
		return nil
	case err != nil:
		return fmt.Errorf("asking for %s: %w", q.Key, err)
	}
	switch q.Shape {
	case privacy.ShapePerson:
		got.persons[q.Key] = answer{a, ask.Rho}
	case privacy.ShapePair:
		got.pairs[q.Key] = answer{a, ask.Rho}
	case privacy.ShapeStrata:
		got.groups[q.Key] = answer{a, ask.Rho}
	default:
		got.metrics[q.Key] = answer{a, ask.Rho}
	}
	w.progress.line("%s: answered from %d patients in %s", q.Key, a.Cohort, time.Since(begun).Round(time.Millisecond))
	return nil
}

// asked is one claim with the patient it is about.
type asked struct {
	person *person
	metric wearable.Metric
	ask    record.AskPredicate
	id     string // request, once asked
	state  record.PredicateState
}

// text is the claim in words.
func (c *asked) text() string {
	return claim.Sentence(c.ask, claim.English)
}

// claims picks two claims from what the demo's people live through, so that
// both outcomes show: one that holds and one that does not. With one person both
// are about that person.
func (w *world) claims(people []*person) []*asked {
	var fit []*person
	for _, p := range people {
		if p.device != nil && !w.extra(p) {
			fit = append(fit, p)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	a, b := fit[0], fit[min(1, len(fit)-1)]
	return slices.DeleteFunc([]*asked{w.claim(a, true), w.claim(b, false)}, func(c *asked) bool { return c == nil })
}

// claim makes a claim about the person's first metric on the day with the most
// readings. A true one is that all of them were between their own extremes; a
// false one that as many were outside of these.
func (w *world) claim(p *person, holds bool) *asked {
	for _, key := range p.Metrics() {
		m, _ := wearable.ByKey(key)
		day, minutes, lo, hi := p.fullestDay(m)
		if minutes == 0 || lo == 1 && hi == uint32(m.MaxCode()) { // of every value nothing can be claimed
			continue
		}
		b := verifier.Unbounded()
		b.Lo, b.Hi, b.K, b.MinCount = lo, hi, uint32(minutes), uint32(minutes)
		switch top := uint32(m.MaxCode()); {
		case holds:
		case hi < top:
			b.Lo, b.Hi = hi+1, top
		default:
			b.Lo, b.Hi = 1, lo-1
		}
		return &asked{person: p, metric: m, ask: record.AskPredicate{
			Patient: p.id, Purpose: purpose, Class: "day", Metric: key, FirstDay: day, Bounds: b, Nonce: record.RandomID(),
		}}
	}
	return nil
}

// fullestDay returns the day on which most minutes have a value of the metric, their
// number, and the lowest and highest code among them.
func (p *person) fullestDay(m wearable.Metric) (day int64, minutes int, lo, hi uint32) {
	grid := map[int64]*wearable.Accumulator{}
	for _, s := range p.Samples {
		if s.Slot != m.Slot {
			continue
		}
		at := wearable.MinuteOf(s.Unix)
		if grid[at] == nil {
			grid[at], _ = wearable.NewAccumulator(m.Key)
		}
		grid[at].Add(s.Value)
	}
	days := map[int64][]uint32{}
	for at, a := range grid {
		if code, _ := a.Code(); code != 0 {
			d, _ := wearable.SplitMinute(at)
			days[d] = append(days[d], uint32(code))
		}
	}
	for d, codes := range days {
		if n := len(codes); n > minutes || n == minutes && d < day {
			day, minutes, lo, hi = d, n, slices.Min(codes), slices.Max(codes)
		}
	}
	return day, minutes, lo, hi
}

// askPredicates asks the claims, lets the answer slot and the lifetime pass, and
// reads what the ledger says in the end.
func (w *world) askPredicates(ctx context.Context, claims []*asked) error {
	var answer, expiry int64
	for _, c := range claims {
		id, err := w.asker.inst.AskPredicate(ctx, c.ask)
		if err != nil {
			return fmt.Errorf("asking %q: %w", c.text(), err)
		}
		c.id = id
		if c.state, err = w.asker.inst.Predicate(ctx, id); err != nil {
			return err
		}
		answer, expiry = max(answer, c.state.AnswerFrom), max(expiry, c.state.Expires)
	}
	if err := w.tick(ctx, answer); err != nil {
		return err
	}
	if _, err := w.hub.Answer(ctx); err != nil {
		return fmt.Errorf("answering predicates: %w", err)
	}
	if err := w.tick(ctx, expiry+1); err != nil {
		return err
	}
	for _, c := range claims {
		if err := w.settle(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// settle records the expiry of a claim that nobody proved.
func (w *world) settle(ctx context.Context, c *asked) error {
	var err error
	if c.state, err = w.asker.inst.Predicate(ctx, c.id); err != nil {
		return err
	}
	if c.state.Status == record.PredicateAttested {
		w.progress.line("attested: %s", c.text())
		return nil
	}
	if _, _, err := contracts.PredicateClose.Submit(ctx, w.client(w.asker), contracts.Outcome{Request: c.id}); err != nil {
		return err
	}
	if c.state, err = w.asker.inst.Predicate(ctx, c.id); err != nil {
		return err
	}
	w.progress.line("expired without an attestation: %s", c.text())
	return nil
}

// report turns what was learned into the report.
func (w *world) report(src *recording.Source, exact bool, got *answers, claims []*asked) *Report {
	r := &Report{
		Subjects: len(src.People), Source: src.Name, Ignored: src.Ignored, Noise: "on",
		Refused: got.refused, Metrics: map[string]MetricReport{}, Persons: map[string]privacy.PersonSummary{}, Predicates: []PredicateReport{},
	}
	if exact {
		r.Noise = "off"
	}
	for key, a := range got.metrics {
		r.Metrics[key] = MetricReport{a.Release.Summary(), askedFor(a)}
	}
	for key, a := range got.persons {
		r.Persons[key] = a.Persons.Summary(a.rho)
	}
	r.addPairs(got)
	r.addPrivacy(got)
	for _, c := range claims {
		p := PredicateReport{Text: c.text(), Patient: c.person.ID, Outcome: "declined", Tx: c.state.ClosedTx}
		if c.state.Status == record.PredicateAttested {
			p.Outcome = "attested"
		}
		r.Predicates = append(r.Predicates, p)
	}
	r.Cost.RowBytes = w.params.RowBytes()
	r.Cost.EnrolmentBytes = w.enrolment
	r.Cost.ProofBytes = verifier.ProofBytes
	return r
}
