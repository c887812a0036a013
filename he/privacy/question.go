package privacy

import "slices"

// Shape says what a question is about.
type Shape int

// The shapes of questions.
const (
	ShapeMetric Shape = iota // count, sums and histogram of one metric
	ShapePair                // sums and cross products of two metrics
	ShapeStrata              // count and sum of one metric, for each stratum
	ShapePerson              // a metric's person-days
)

// String names the shape for messages.
func (s Shape) String() string {
	return [...]string{"a metric", "a pair of metrics", "a metric by stratum", "a metric's person-days"}[s]
}

// Slots: wearable fixes 0 to 15 for metrics.
const (
	pairSlot   = 16
	strataSlot = 32
)

// Question is what one query can ask: a block of coefficients that are opened
// together, and the metrics whose readings are in them. Consent must cover every
// one of these, and an exact answer uses up their hours.
type Question struct {
	Key     string // of a metric, PairKey or StrataKey
	Slot    int
	Shape   Shape
	Metrics []string // keys: one, or the two of a pair
}

// Text says what the question is about, in words for patients.
func (q Question) Text() string {
	switch {
	case q.Shape == ShapePair:
		return q.Metrics[0] + " together with " + q.Metrics[1]
	case q.Shape == ShapeStrata:
		return q.Metrics[0] + " by age and sex"
	}
	return q.Key
}

// NeedsNoise reports whether the question is never answered exactly. The count of
// a small stratum would show the few people in it.
func (q Question) NeedsNoise() bool { return q.Shape == ShapeStrata }

// Whole returns the figures about person-days that the question has an answer to; an
// exact answer has all of them.
func (q Question) Whole() Want {
	if q.Shape == ShapePerson {
		return WantAll
	}
	return WantMean
}

// PairKey names the question about two metrics.
func PairKey(x, y string) string { return x + "*" + y }

// StrataKey names the question about a metric by stratum.
func StrataKey(metric string) string { return metric + "@stratum" }

// Question finds a question by its key.
func (s *Schema) Question(key string) (Question, bool) {
	b := s.byKey[key]
	if b == nil {
		return Question{}, false
	}
	return b.question(), true
}

// NeedsNoise is Question.NeedsNoise for the question in slot.
func (s *Schema) NeedsNoise(slot int) bool {
	b := s.bySlot[slot]
	return b != nil && b.NeedsNoise()
}

// Questions returns all questions, by coefficient: metrics, pairs, strata.
func (s *Schema) Questions() []Question {
	out := make([]Question, len(s.blocks))
	for i := range s.blocks {
		out[i] = s.blocks[i].question()
	}
	return out
}

func (b *block) question() Question {
	q := b.Question
	q.Metrics = slices.Clone(q.Metrics)
	return q
}
