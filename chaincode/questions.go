package chaincode

import (
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

// checkQuestions checks what a study asks.
func (c *call) checkQuestions(s record.Study) error {
	if len(s.Metrics) > maxQuestions {
		return fmt.Errorf("a study has at most %d questions", maxQuestions)
	}
	schema, err := c.schema()
	if err != nil {
		return err
	}
	return state.CheckStudied(schema, s)
}

// checkNoise refuses a query whose noise would leave no room for its sums.
func (c *call) checkNoise(epoch *record.Epoch, a record.Ask, q state.Asked, cohort int) error {
	plan, err := q.Plan(a)
	if err != nil {
		return err
	}
	// As many rows as the smallest cohort can have.
	rows := q.Rows(a) * int64(cohort)
	return q.Schema.Safe(rows, plan, state.Pieces(len(epoch.Members), epoch.Threshold))
}
