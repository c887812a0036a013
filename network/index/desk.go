package index

import (
	"math"
	"slices"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// What the desk of an institution lists: its own studies, queries and claims, and how many
// people it may expect.

// Study returns a study of an institution.
func (ix *Index) Study(owner, id string) (record.StudyState, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if s, known := ix.cohorts.studies[owner+"/"+id]; known {
		return s, nil
	}
	return record.StudyState{}, fault.New(fault.NotFound, "%s has no study %q", owner, id)
}

// StudiesOf returns at most so many studies of an institution in the order of their
// identifiers: those after one, or the first where that is empty.
func (ix *Index) StudiesOf(owner, after string, most int) []record.StudyState {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []record.StudyState
	for _, s := range ix.cohorts.studies { // sorted below
		if s.Owner == owner && s.Study.ID > after {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b record.StudyState) int {
		if a.Study.ID < b.Study.ID {
			return -1
		}
		return 1
	})
	return out[:min(most, len(out))]
}

// QueriesOf returns at most so many queries of an asker, newest first: those made before
// one of them, or the newest where that is empty.
func (ix *Index) QueriesOf(asker, before string, most int) ([]record.QueryState, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return newest(ix.cohorts.order, before, most, func(id string) (record.QueryState, bool) {
		s := ix.cohorts.queries[id].state
		return s, s.Asker == asker
	})
}

// ClaimsOf returns at most so many requests of an asker, newest first, as QueriesOf does.
func (ix *Index) ClaimsOf(asker, before string, most int) ([]record.PredicateEntry, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return newest(ix.claims.order, before, most, func(id string) (record.PredicateEntry, bool) {
		s := *ix.claims.predicates[id]
		return s, s.Asker == asker
	})
}

// newest goes back through names from before one of them.
func newest[T any](order []string, before string, most int, get func(id string) (T, bool)) ([]T, error) {
	end := len(order)
	if before != "" {
		if end = slices.Index(order, before); end < 0 {
			return nil, fault.New(fault.Invalid, "the list does not go on from %q", fault.Clip(before, 80))
		}
	}
	var out []T
	for i := end - 1; i >= 0 && len(out) < most; i-- {
		if v, ok := get(order[i]); ok {
			out = append(out, v)
		}
	}
	return out, nil
}

// AskedSince returns an asker's queries whose transactions are in a block from number
// since on, in the order of the ledger.
func (ix *Index) AskedSince(asker string, since uint64) []record.QueryState {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []record.QueryState
	for i := len(ix.cohorts.order) - 1; i >= 0; i-- {
		q := ix.cohorts.queries[ix.cohorts.order[i]]
		if q.at.Block < since {
			break
		}
		if q.state.Asker == asker {
			out = append(out, q.state)
		}
	}
	slices.Reverse(out)
	return out
}

// EligibleAtMidnight answers how many people would be in a query by the consents as they
// stood when the present day of ledger time began, and when that was. What patients have
// said since does not show: who asks twice in a day sees nobody stop. An erasure does,
// since nothing of what an erased patient's consents said is left.
func (ix *Index) EligibleAtMidnight(asker, purpose string, exact bool, ask record.Ask) (int, int64, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	const day = 24 * 3600
	if ix.policy.genesis == nil {
		return 0, 0, fault.New(fault.Unavailable, "the ledger has no genesis document yet")
	}
	midnight := ix.clock.now - ix.clock.now%day
	q := record.QueryState{Ask: ask, Asker: asker, Purpose: purpose, Exact: exact, Asked: midnight}
	_, size, ok := ix.cohorts.derive(ix.cohorts.questionOf(q), ix.clock.placeOf(midnight))
	if !ok {
		return 0, 0, fault.New(fault.Unavailable, "the cohort is not known: %s", ix.people.lacking())
	}
	return size, midnight, nil
}

// placeOf is the place after which ledger time was never before t again, as far as it was
// read: the start of the ledger where it always was later.
func (cl *clock) placeOf(t int64) Position {
	for i := len(cl.times) - 1; i >= 0; i-- {
		if cl.times[i].now < t {
			if i+1 < len(cl.times) {
				return Position{Block: cl.times[i+1].block, Index: math.MinInt}
			}
			return Position{Block: cl.times[i].block + 1, Index: math.MinInt}
		}
	}
	return Position{}
}
