package institution

import (
	"context"
	"errors"
	"slices"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// keepCohorts posts this member's cohort for every open query, derives it again
// where a patient has withdrawn, and abandons queries for which that is too
// late.
func (an *answerer) keepCohorts(ctx context.Context) error {
	var all error
	for _, id := range an.index.Open() {
		if err := an.keepCohort(ctx, id); err != nil {
			all = errors.Join(all, err)
		}
	}
	return all
}

func (an *answerer) keepCohort(ctx context.Context, id string) error {
	defer an.locks.lock(id)()
	q, err := an.index.Query(id)
	if err != nil {
		return err
	}
	if an.mine(q) != nil {
		return nil // another epoch's members answer it, or nobody any more
	}
	for attempt := q.Attempt; ; attempt++ {
		gone, err := an.gone(id, attempt)
		if err != nil && fault.Of(err) == fault.TooEarly {
			an.log.Warn("other members derived a cohort that nothing has called for; no share for it", "query", id, "attempt", attempt)
			return nil
		}
		if err != nil {
			return err
		}
		next := attempt
		if len(gone) > 0 {
			next++
		}
		reason, err := an.tooLate(q, next)
		if err != nil {
			return err
		}
		if reason != "" {
			return settled(an.stop(ctx, q, reason))
		}
		if len(gone) == 0 {
			return an.postCohort(ctx, id, attempt)
		}
	}
}

// stop abandons this member's own query, or votes that another's be abandoned.
func (an *answerer) stop(ctx context.Context, q record.QueryState, reason string) error {
	if q.Asker != an.self.MSP && slices.Contains(an.index.Stops(q.ID), an.self.MSP) {
		return nil
	}
	return perform(ctx, an.member, contracts.QueryAbandon, record.Abandon{Query: q.ID, Reason: reason})
}

// Abandon ends a query of this member's, or votes that another member's be ended; this
// member then gives no more shares of it.
func (an *answerer) Abandon(ctx context.Context, id, reason string) error {
	defer an.locks.lock(id)()
	q, err := an.index.Query(id)
	if err != nil {
		return err
	}
	return an.stop(ctx, q, reason)
}

// tooLate says why this member will not take part in an attempt: it has given a
// share of the query, and a share of another cohort would open the difference.
// To post a cohort for a later attempt is to promise that this is not so.
//
// A member cannot promise so for a query that is older than its process: its state may
// have been restored from a copy made before a share left. Restoring implies a
// restart, and nothing that is in the state could tell the two apart. What is lost
// is a query in which a patient withdraws and a member restarts.
func (an *answerer) tooLate(q record.QueryState, attempt int) (string, error) {
	id := q.ID
	switch {
	case attempt == 0:
		return "", nil
	case attempt >= index.MaxAttempts:
		return "patients withdrew again and again while the query was open", nil
	case q.Asker == an.self.MSP && len(an.index.Stops(id)) > 0: // all others are needed
		return "a patient withdrew and a member can take no part in another attempt", nil
	}
	an.mu.Lock()
	inherited := an.inherited[id]
	an.mu.Unlock()
	if inherited && !an.index.Posted(id, attempt, an.self.MSP) {
		return "a patient withdrew and a member restarted while the query was open", nil
	}
	for earlier := range attempt {
		_, found, err := an.vault.Get(store.Answer(id, earlier))
		if err != nil {
			return "", err
		}
		if found {
			return "a patient withdrew after a share had been given", nil
		}
	}
	return "", nil
}

func (an *answerer) postCohort(ctx context.Context, id string, attempt int) error {
	if an.index.Posted(id, attempt, an.self.MSP) {
		return nil
	}
	c, err := an.index.Cohort(id, attempt)
	if err != nil {
		return err
	}
	post := record.PostCohort{Query: id, Attempt: attempt, Root: c.Root, Size: c.Size, Position: c.Position}
	return settled(perform(ctx, an.member, contracts.QueryPostCohort, post))
}

// settled drops the errors that say that a query is over.
func settled(err error) error {
	if err == nil {
		return nil
	}
	switch fault.Of(err) {
	case fault.Conflict, fault.Expired:
		return nil
	}
	return err
}

// inherit notes, once, the queries that are older than this process. Whether a
// share of one of them has left is in the state; but the state may be a copy that
// was restored, and then it does not know (tooLate).
func (an *answerer) inherit() {
	an.mu.Lock()
	defer an.mu.Unlock()
	if an.inherited != nil {
		return
	}
	an.inherited = map[string]bool{}
	for _, id := range an.index.Open() {
		an.inherited[id] = true
	}
}
