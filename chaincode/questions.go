package chaincode

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// maxQuestions bounds the questions of a study.
const maxQuestions = 64

// schema is the network's row schema.
func (c *call) schema() (*privacy.Schema, error) {
	s, ok := privacy.SchemaByDigest(c.genesis.Schema)
	if !ok {
		return nil, fault.New(fault.Internal, "the network's row schema %s is not known to this version", c.genesis.Schema.Short())
	}
	return s, nil
}

// statistic finds what a query may ask: a metric, a pair or a metric by stratum of
// the network's row schema. An exact study has no questions by stratum: the count
// of a small one would show who is in it.
func (c *call) statistic(key string, exact bool) (privacy.Question, error) {
	s, err := c.schema()
	if err != nil {
		return privacy.Question{}, err
	}
	q, ok := s.Question(key)
	switch {
	case !ok:
		return q, fmt.Errorf("metric %q is unknown to row schema %s", clip(key), s.Name)
	case exact && q.NeedsNoise():
		return q, fmt.Errorf("%s is never answered exactly: ask in a study with privacy noise", q.Key)
	}
	return q, nil
}

// checkQuestions checks what a study asks.
func (c *call) checkQuestions(s record.Study) error {
	if len(s.Metrics) == 0 || len(s.Metrics) > maxQuestions || record.Repeats(s.Metrics) {
		return errors.New("metrics names each question once and at least one")
	}
	for _, key := range s.Metrics {
		if _, err := c.statistic(key, s.Exact); err != nil {
			return err
		}
	}
	return nil
}

// checkNoise refuses a query whose noise would leave no room for its sums.
func (c *call) checkNoise(epoch *record.Epoch, a record.Ask, cohort int) error {
	q, err := c.statistic(a.Metric, false)
	if err != nil {
		return err
	}
	s, err := c.schema()
	if err != nil {
		return err
	}
	plan, err := s.Plan(q.Slot, a.Until-a.From, a.Rho)
	if err != nil {
		return err
	}
	// As many rows as the smallest cohort can have, corrections counted.
	rows := (a.Until - a.From) * int64(cohort) * (1 + record.MaxCorrection)
	return s.Safe(rows, plan, state.Pieces(len(epoch.Members), epoch.Threshold))
}
