package chaincode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Create registers a study of the calling institution (record.Study,
// record.StudyState).
func (*Study) Create(tx transaction, arg string) (string, error) {
	return serve(tx, asker, timed, arg, smallArgument, createStudy)
}

// Get returns the record.StudyState that a StudyRef names.
func (*Study) Get(tx transaction, arg string) (string, error) {
	if strings.HasPrefix(arg, "{") {
		return serve(tx, submitter, untimed, arg, smallArgument, func(c *call, r state.StudyRef) (*record.StudyState, error) {
			if r.Owner == "" {
				r.Owner = c.msp
			}
			return c.study(r.Owner, r.ID)
		})
	}
	return serveText(tx, arg, func(c *call, id string) (*record.StudyState, error) { return c.study(c.msp, id) })
}

func (c *call) study(owner, id string) (*record.StudyState, error) {
	if !consent.ValidMSP(owner) || !validSlug(id) {
		return nil, fault.New(fault.Invalid, "a study is named by its owner's MSP ID and 1 to 64 of a-z, 0-9 and hyphens")
	}
	s := new(record.StudyState)
	return s, c.need(state.StudyKey(owner, id), s, "study "+id+" of "+owner)
}

func createStudy(c *call, s record.Study) (*record.StudyState, error) {
	if err := c.checkStudy(s); err != nil {
		return nil, fault.New(fault.Invalid, "study: %w", err)
	}
	if s.Exact && !c.genesis.Exact {
		return nil, fault.New(fault.Forbidden, "this network does not allow studies without privacy noise")
	}
	recorded := new(record.StudyState)
	exists, err := c.get(state.StudyKey(c.msp, s.ID), recorded)
	switch {
	case err != nil:
		return nil, err
	case exists && sameStudy(recorded.Study, s):
		return recorded, nil
	case exists:
		return nil, fault.New(fault.Conflict, "you have another study with the id %s", s.ID)
	}
	study := &record.StudyState{Study: s, Owner: c.msp}
	return study, c.put(state.StudyKey(c.msp, s.ID), study)
}

func sameStudy(a, b record.Study) bool {
	return a.ID == b.ID && a.Title == b.Title && a.Purpose == b.Purpose && slices.Equal(a.Metrics, b.Metrics) &&
		a.From == b.From && a.Until == b.Until && a.MinCohort == b.MinCohort && a.Budget == b.Budget && a.Exact == b.Exact
}

func (c *call) checkStudy(s record.Study) error {
	switch {
	case !validSlug(s.ID):
		return errors.New("id is 1 to 64 of a-z, 0-9 and hyphens")
	case !state.ValidName(s.Title):
		return fmt.Errorf("title is 1 to %d bytes of printable text", state.MaxName)
	case s.MinCohort < c.genesis.MinCohort || s.MinCohort > state.MaxCohort:
		return fmt.Errorf("min_cohort is %d, this network asks for at least %d", s.MinCohort, c.genesis.MinCohort)
	case s.Budget > consent.MaxCapMicro:
		return fmt.Errorf("budget_micro is at most %d", uint64(consent.MaxCapMicro))
	case s.Budget == 0 && !s.Exact:
		return errors.New("budget_micro is missing")
	}
	if err := checkPurpose(s.Purpose); err != nil {
		return err
	}
	if err := c.checkQuestions(s); err != nil {
		return err
	}
	return checkHours(s.From, s.Until)
}
