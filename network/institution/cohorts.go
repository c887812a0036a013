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
func (in *Institution) keepCohorts(ctx context.Context) error {
	var all error
	for _, id := range in.index.Open() {
		if err := in.keepCohort(ctx, id); err != nil {
			all = errors.Join(all, err)
		}
	}
	return all
}

func (in *Institution) keepCohort(ctx context.Context, id string) error {
	defer in.queries.lock(id)()
	q, err := in.index.Query(id)
	if err != nil {
		return err
	}
	if in.mine(q) != nil {
		return nil // another epoch's members answer it, or nobody any more
	}
	for attempt := q.Attempt; ; attempt++ {
		gone, err := in.gone(id, attempt)
		if err != nil && fault.Of(err) == fault.TooEarly {
			in.log.Warn("other members derived a cohort that nothing has called for; no share for it", "query", id, "attempt", attempt)
			return nil
		}
		if err != nil {
			return err
		}
		next := attempt
		if len(gone) > 0 {
			next++
		}
		reason, err := in.tooLate(q, next)
		if err != nil {
			return err
		}
		if reason != "" {
			return settled(in.stop(ctx, q, reason))
		}
		if len(gone) == 0 {
			return in.postCohort(ctx, id, attempt)
		}
	}
}

// stop abandons this member's own query, or votes that another's be abandoned.
func (in *Institution) stop(ctx context.Context, q record.QueryState, reason string) error {
	if q.Asker != in.self.MSP && slices.Contains(in.index.Stops(q.ID), in.self.MSP) {
		return nil
	}
	return perform(ctx, in, contracts.QueryAbandon, record.Abandon{Query: q.ID, Reason: reason})
}

// Abandon ends a query of this member's, or votes that another member's be ended; this
// member then gives no more shares of it.
func (in *Institution) Abandon(ctx context.Context, id, reason string) error {
	defer in.queries.lock(id)()
	q, err := in.index.Query(id)
	if err != nil {
		return err
	}
	return in.stop(ctx, q, reason)
}

// tooLate says why this member will not take part in an attempt: it has given a
// share of the query, and a share of another cohort would open the difference.
// To post a cohort for a later attempt is to vow that this is not so.
//
// A member cannot vow so for a query that is older than its process: its state may
// have been restored from a copy made before a share left. Restoring implies a
// restart, and nothing that is in the state could tell the two apart. What is lost
// is a query in which a patient withdraws and a member restarts.
func (in *Institution) tooLate(q record.QueryState, attempt int) (string, error) {
	id := q.ID
	switch {
	case attempt == 0:
		return "", nil
	case attempt >= index.MaxAttempts:
		return "patients withdrew again and again while the query was open", nil
	case q.Asker == in.self.MSP && len(in.index.Stops(id)) > 0: // all others are needed
		return "a patient withdrew and a member can take no part in another attempt", nil
	}
	in.mu.Lock()
	inherited := in.inherited[id]
	in.mu.Unlock()
	if inherited && !in.index.Posted(id, attempt, in.self.MSP) {
		return "a patient withdrew and a member restarted while the query was open", nil
	}
	for earlier := range attempt {
		_, found, err := in.vault.Get(store.Answer(id, earlier))
		if err != nil {
			return "", err
		}
		if found {
			return "a patient withdrew after a share had been given", nil
		}
	}
	return "", nil
}

func (in *Institution) postCohort(ctx context.Context, id string, attempt int) error {
	if in.index.Posted(id, attempt, in.self.MSP) {
		return nil
	}
	c, err := in.index.Cohort(id, attempt)
	if err != nil {
		return err
	}
	post := record.PostCohort{Query: id, Attempt: attempt, Root: c.Root, Size: c.Size, Position: c.Position}
	return settled(perform(ctx, in, contracts.QueryPostCohort, post))
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
