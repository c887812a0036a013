package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// MaxAttempt is the last number of a cohort derivation; the first is 0.
const MaxAttempt = 2

// PostCohort records what cohort the calling member derived for a query
// (record.PostCohort, record.QueryState), once per attempt. When as many members
// as the threshold derived the same, the query is agreed, or refused if that
// cohort is below the study's minimum.
func (*Query) PostCohort(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, postCohort)
}

func postCohort(c *call, p record.PostCohort) (*record.QueryState, error) {
	if p.Attempt < 0 || p.Attempt > MaxAttempt || p.Size < 0 || p.Size > state.MaxCohort || p.Root.IsZero() {
		return nil, fault.New(fault.Invalid, "attempt is 0 to %d, size is not negative, root is not zero", MaxAttempt)
	}
	q, err := c.query(p.Query)
	if err != nil {
		return nil, err
	}
	epoch, err := c.seatIn(q.Ask.Epoch)
	if err != nil {
		return nil, err
	}
	var mine record.CohortState
	exists, err := c.get(state.CohortKey(p.Query, p.Attempt, c.msp), &mine)
	switch {
	case err != nil:
		return nil, err
	case exists && mine.Post == p:
		return q, nil
	case exists:
		return nil, fault.New(fault.Conflict, "you posted another cohort for attempt %d", p.Attempt)
	}
	if err := c.checkAttempt(q, p); err != nil {
		return nil, err
	}
	if err := c.put(state.CohortKey(p.Query, p.Attempt, c.msp), record.CohortState{Post: p, Member: c.msp}); err != nil {
		return nil, err
	}
	return c.tally(epoch, q, p)
}

func (c *call) checkAttempt(q *record.QueryState, p record.PostCohort) error {
	if q.Status != record.QueryAsked && q.Status != record.QueryAgreed {
		return fault.New(fault.Conflict, "the query is %s", q.Status)
	}
	if p.Attempt < q.Attempt {
		return fault.New(fault.Conflict, "the query is at attempt %d", q.Attempt)
	}
	return c.checkLife(q)
}

// tally counts the members that derived the same cohort as p. A post for an attempt that
// is agreed already changes nothing.
func (c *call) tally(epoch *record.Epoch, q *record.QueryState, p record.PostCohort) (*record.QueryState, error) {
	if q.Status == record.QueryAgreed && q.Attempt == p.Attempt {
		return q, nil
	}
	key := func(msp string) string { return state.CohortKey(p.Query, p.Attempt, msp) }
	equal, err := votes(c, epoch.Members, key, record.CohortState{Post: p}, func(o record.CohortState) bool {
		return o.Post.Root == p.Root && o.Post.Size == p.Size
	})
	if err != nil {
		return nil, err
	}
	if len(equal) < epoch.Threshold {
		return q, nil
	}
	q.Status, q.Attempt, q.Root, q.Size = record.QueryAgreed, p.Attempt, p.Root, p.Size
	if p.Size < q.MinCohort {
		q.Status = record.QueryRefused
		q.Reason = "fewer patients than the minimum cohort"
	}
	return q, c.put(state.QueryKey(q.ID), q)
}
