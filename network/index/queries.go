package index

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

func (ix *Index) putStudy(w write) error {
	s, err := decode[record.StudyState](w)
	if err != nil {
		return err
	}
	ix.studies[s.Owner+"/"+s.Study.ID] = s
	return nil
}

// putQuery enters a new query, whose cohort is derived in the state that all
// transactions before it have left: a query's own transaction changes nothing
// that a cohort depends on.
func (ix *Index) putQuery(w write) error {
	s, err := decode[record.QueryState](w)
	if err != nil {
		return err
	}
	if q := ix.queries[s.ID]; q != nil {
		q.state = s
		return nil
	}
	if _, ok := ix.epochs[s.Ask.Epoch]; !ok {
		return fmt.Errorf("query in unknown epoch %d", s.Ask.Epoch)
	}
	q := &query{state: s, at: w.at, posts: map[int]map[string]record.PostCohort{}}
	ix.queries[s.ID] = q
	ix.queryOrder = append(ix.queryOrder, s.ID)
	ix.enter(q)
	return nil
}

func (ix *Index) putCohort(w write) error {
	s, err := decode[record.CohortState](w)
	if err != nil {
		return err
	}
	q := ix.queries[s.Post.Query]
	if q == nil {
		return fmt.Errorf("cohort of unknown query %q", s.Post.Query)
	}
	if q.posts[s.Post.Attempt] == nil {
		q.posts[s.Post.Attempt] = map[string]record.PostCohort{}
	}
	q.posts[s.Post.Attempt][s.Member] = s.Post
	return nil
}

func (ix *Index) putPredicate(w write) error {
	s, err := decode[record.PredicateState](w)
	if err != nil {
		return err
	}
	if r := ix.predicates[s.ID]; r != nil {
		r.state = s
		return nil
	}
	p := ix.patients[s.Ask.Patient]
	if p == nil {
		return fmt.Errorf("predicate about unknown patient %s", s.Ask.Patient)
	}
	ix.predicates[s.ID] = &predicate{state: s, at: w.at}
	ix.predOrder = append(ix.predOrder, s.ID)
	p.predicates = append(p.predicates, s.ID)
	return nil
}

// Query returns the ledger's record of a query.
func (ix *Index) Query(id string) (record.QueryState, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q, err := ix.query(id)
	if err != nil {
		return record.QueryState{}, err
	}
	return q.state, nil
}

// Open returns the identifiers of the queries that are neither finished nor
// expired, oldest first.
func (ix *Index) Open() []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []string
	for _, id := range ix.queryOrder {
		s := ix.queries[id].state
		if (s.Status == record.QueryAsked || s.Status == record.QueryAgreed) && ix.now < s.Expires {
			out = append(out, id)
		}
	}
	return out
}

// Posted reports whether a member has posted its cohort for an attempt.
func (ix *Index) Posted(queryID string, attempt int, member string) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q := ix.queries[queryID]
	if q == nil {
		return false
	}
	_, ok := q.posts[attempt][member]
	return ok
}

// Unconfirmed returns the members of the query's epoch, the asker apart, that have not posted the
// agreed cohort for the query's attempt, in the order of members.
func (ix *Index) Unconfirmed(queryID string) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q := ix.queries[queryID]
	if q == nil {
		return nil
	}
	var out []string
	for _, m := range ix.epochs[q.state.Ask.Epoch].Epoch.Members {
		post, ok := q.posts[q.state.Attempt][m.MSP]
		if m.MSP != q.state.Asker && (!ok || post.Root != q.state.Root) {
			out = append(out, m.MSP)
		}
	}
	return out
}

// Predicate returns the ledger's record of a predicate request.
func (ix *Index) Predicate(id string) (record.PredicateState, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.predicates[id]
	if p == nil {
		return record.PredicateState{}, false
	}
	return p.state, true
}

// Lapsed returns the asker's requests that have expired without an attestation
// and are not closed yet.
func (ix *Index) Lapsed(asker string) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []string
	for _, id := range ix.predOrder {
		s := ix.predicates[id].state
		if s.Asker == asker && s.Status == record.PredicateAsked && ix.now >= s.Expires {
			out = append(out, id)
		}
	}
	return out
}

// NotPosted returns the members of the query's epoch, in their order, whose cohort for an attempt is
// not on the ledger.
func (ix *Index) NotPosted(queryID string, attempt int) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q := ix.queries[queryID]
	if q == nil {
		return nil
	}
	var out []string
	for _, m := range ix.epochs[q.state.Ask.Epoch].Epoch.Members {
		if _, ok := q.posts[attempt][m.MSP]; !ok {
			out = append(out, m.MSP)
		}
	}
	return out
}
