package index

import (
	"errors"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// putStudy registers a study of the institution that has submitted it. What it has
// spent is counted from its queries.
func (co *cohorts) putStudy(w write) error {
	owner, id := w.parts[0], w.parts[1]
	if _, known := co.studies[owner+"/"+id]; known {
		return nil
	}
	if err := w.by(owner); err != nil {
		return err
	}
	s, err := argument(w, contracts.StudyCreate)
	switch {
	case err != nil:
		return err
	case s.ID != id:
		return refuse("it is the record of another study than the one that was registered")
	case s.Exact && !co.policy.genesis.Exact:
		return refuse("this network does not allow studies without privacy noise")
	}
	co.studies[owner+"/"+id] = record.StudyState{Study: s, Owner: owner}
	return nil
}

// putQuery enters a new query, whose cohort is derived in the state that all
// transactions before it have left: a query's own transaction changes nothing
// that a cohort depends on.
func (co *cohorts) putQuery(w write) error {
	id := w.parts[0]
	if q := co.queries[id]; q != nil {
		return co.update(q, w)
	}
	s, err := co.askedBy(w, id)
	if err != nil {
		return err
	}
	q := &query{state: s, at: w.at, posts: map[int]map[string]record.PostCohort{}}
	co.queries[s.ID] = q
	co.order = append(co.order, s.ID)
	co.enter(q)
	return nil
}

// askedBy makes a query's record of what its asker has submitted, within the study
// that it names and its budget, at ledger time.
func (co *cohorts) askedBy(w write, id string) (record.QueryState, error) {
	var s record.QueryState
	asker := w.tx.Creator.MSP
	ask, err := argument(w, contracts.QueryAsk)
	if err != nil {
		return s, err
	}
	if err := co.policy.seat(w, ask.Epoch, asker); err != nil {
		return s, err
	}
	study, known := co.studies[asker+"/"+ask.Study]
	switch {
	case id != w.tx.ID:
		return s, refuse("a query is named by its transaction")
	case asker == co.policy.genesis.Registrar:
		return s, refuse("the registrar never asks")
	case co.policy.epochs[ask.Epoch].Retired != 0:
		return s, refuse("epoch %d is retired", ask.Epoch)
	case !known:
		return s, refuse("%s has no study %q", asker, ask.Study)
	}
	if err := inStudy(ask, study); err != nil {
		return s, err
	}

	study.Spent += ask.Rho
	co.studies[asker+"/"+ask.Study] = study
	return record.QueryState{
		ID: id, Ask: ask, Asker: asker, Purpose: study.Study.Purpose, Exact: study.Study.Exact, MinCohort: study.Study.MinCohort,
		Asked: co.clock.now, Expires: co.clock.now + state.QueryLife, Status: record.QueryAsked,
	}, nil
}

// inStudy checks a question against its study.
func inStudy(a record.Ask, s record.StudyState) error {
	switch {
	case !slices.Contains(s.Study.Metrics, a.Metric) || a.From < s.Study.From || a.Until > s.Study.Until || a.From >= a.Until:
		return refuse("the question is not one of study %q", s.Study.ID)
	case s.Study.Exact && (a.From%privacy.ExactUnit != 0 || a.Until%privacy.ExactUnit != 0):
		return refuse("an exact query covers whole days")
	case s.Study.Exact && a.Rho != 0 || !s.Study.Exact && a.Rho == 0:
		return refuse("noise goes with studies that are not exact")
	case !s.Study.Exact && !within(s.Spent, a.Rho, s.Study.Budget):
		return refuse("the query costs %d, and study %q has spent %d of %d", a.Rho, s.Study.ID, s.Spent, s.Study.Budget)
	}
	return nil
}

// update takes what has become of a query. What has ended stays so, and attempts
// count up. That it was released or failed is its asker's to say, and how a release
// stands its members', with their signatures.
func (co *cohorts) update(q *query, w write) error {
	s, err := decode[record.QueryState](w)
	if err != nil {
		return err
	}
	ended := q.state.Status != record.QueryAsked && q.state.Status != record.QueryAgreed
	if ended && s.Status != q.state.Status {
		return refuse("a query that is %s cannot be %s", q.state.Status, s.Status)
	}
	first := q.state
	s.Attempt, s.Root, s.Size = first.Attempt, first.Root, first.Size
	s.ID, s.Ask, s.Asker, s.Purpose = first.ID, first.Ask, first.Asker, first.Purpose
	s.Exact, s.MinCohort, s.Asked, s.Expires = first.Exact, first.MinCohort, first.Asked, first.Expires
	if err := co.checkAgreed(q, &s, w); err != nil {
		return err
	}
	if err := co.checkEnd(first, &s, w); err != nil {
		return err
	}
	q.state = s
	return nil
}

// checkAgreed checks that the threshold of members has posted the cohort on which a query
// is agreed, or for whose size it is refused, and takes it from the post of the caller.
func (co *cohorts) checkAgreed(q *query, s *record.QueryState, w write) error {
	before := q.state
	switch {
	case s.Status == record.QueryAsked && before.Status != record.QueryAsked:
		return refuse("a query that is %s is not open any more", before.Status)
	case s.Status != record.QueryAgreed && (s.Status != record.QueryRefused || before.Status == record.QueryRefused):
		return nil
	}
	p, err := argument(w, contracts.QueryPostCohort)
	if err != nil {
		return err
	}
	epoch := co.policy.epochs[before.Ask.Epoch].Epoch
	equal := 0
	for _, m := range epoch.Members {
		post, ok := q.posts[p.Attempt][m.MSP]
		if m.MSP == w.tx.Creator.MSP || ok && post.Root == p.Root && post.Size == p.Size {
			equal++ // the caller's own may come next in the same transaction
		}
	}
	newer := p.Attempt > before.Attempt || p.Attempt == before.Attempt && before.Status == record.QueryAsked
	small := p.Size < before.MinCohort
	if p.Query != before.ID || !newer || epoch.Place(w.tx.Creator.MSP) < 0 || equal < epoch.Threshold || small != (s.Status == record.QueryRefused) {
		return refuse("%d members have posted the cohort by which it would be %s at attempt %d, %d must", equal, s.Status, p.Attempt, epoch.Threshold)
	}
	s.Attempt, s.Root, s.Size = p.Attempt, p.Root, p.Size
	return nil
}

// checkEnd checks what a transaction says of the end of a query, and what a release
// rests on.
func (co *cohorts) checkEnd(before record.QueryState, s *record.QueryState, w write) error {
	s.Release, s.Shares, s.Standing = before.Release, before.Copy().Shares, before.Standing
	epoch := co.policy.epochs[before.Ask.Epoch].Epoch
	switch {
	case s.Status == record.QueryFailed && before.Status != record.QueryFailed:
		f, err := argument(w, contracts.QueryFail)
		if err != nil || f.Query != before.ID || before.Status != record.QueryAgreed {
			return errors.Join(err, refuse("nobody has called this query, which is %s, a failure", before.Status))
		}
		return w.by(before.Asker)
	case s.Status != record.QueryReleased:
		return nil
	case before.Status != record.QueryAgreed && before.Status != record.QueryReleased:
		return refuse("a query that is %s opens nothing", before.Status)
	case before.Status != record.QueryReleased:
		p, err := argument(w, contracts.QueryPostRelease)
		if err != nil {
			return err
		}
		s.Release = p.Hash
		return errors.Join(w.by(before.Asker), doubt(state.OpenRelease(co.policy.genesis.Network, &epoch, s, p.Shares)))
	}
	c, err := argument(w, contracts.QueryConfirmShares)
	if err != nil {
		return err
	}
	_, err = state.ConfirmRelease(co.policy.genesis.Network, &epoch, s, c)
	return doubt(err)
}

// putCohort takes a member's post about a cohort.
func (co *cohorts) putCohort(w write) error {
	s, err := decode[record.CohortState](w)
	if err != nil {
		return err
	}
	q := co.queries[s.Post.Query]
	if q == nil {
		return refuse("there is no query %q", s.Post.Query)
	}
	if err := co.policy.seat(w, q.state.Ask.Epoch, s.Member); err != nil {
		return err
	}
	if said, err := argument(w, contracts.QueryPostCohort); err != nil || said != s.Post {
		return errors.Join(err, refuse("it is another cohort than the one that %s has posted", s.Member))
	}
	if first, ok := q.posts[s.Post.Attempt][s.Member]; ok && first != s.Post {
		return refuse("%s has posted another cohort before", s.Member)
	}
	if q.posts[s.Post.Attempt] == nil {
		q.posts[s.Post.Attempt] = map[string]record.PostCohort{}
	}
	q.posts[s.Post.Attempt][s.Member] = s.Post
	return nil
}

func (co *cohorts) putAbandonVote(w write) error {
	v, err := decode[record.AbandonVote](w)
	if err != nil {
		return err
	}
	q := co.queries[v.Vote.Query]
	if q == nil {
		return refuse("there is no query %q", v.Vote.Query)
	}
	if err := co.policy.seat(w, q.state.Ask.Epoch, v.Member); err != nil {
		return err
	}
	if said, err := argument(w, contracts.QueryAbandon); err != nil || said != v.Vote {
		return errors.Join(err, refuse("it is another vote than the one that %s has cast", v.Member))
	}
	if !slices.Contains(q.stops, v.Member) {
		q.stops = append(q.stops, co.names.one(v.Member))
	}
	return nil
}

func (cm *claims) putPredicate(w write) error {
	s, err := decode[record.PredicateEntry](w)
	if err != nil {
		return err
	}
	if cm.predicates[s.ID] == nil {
		cm.order = append(cm.order, s.ID)
	}
	cm.predicates[s.ID] = &s
	return nil
}

// Query returns the ledger's record of a query.
func (ix *Index) Query(id string) (record.QueryState, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q, err := ix.cohorts.query(id)
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
	for _, id := range ix.cohorts.order {
		s := ix.cohorts.queries[id].state
		if (s.Status == record.QueryAsked || s.Status == record.QueryAgreed) && ix.clock.now < s.Expires {
			out = append(out, id)
		}
	}
	return out
}

// Stops returns the members, beside its asker, that want an open query abandoned: they
// give no share of it.
func (ix *Index) Stops(queryID string) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if q := ix.cohorts.queries[queryID]; q != nil {
		return slices.Clone(q.stops)
	}
	return nil
}

// Unsettled returns the released queries of an epoch that a member can confirm or
// dispute and has said nothing of, oldest first: it holds a share that is not final.
func (ix *Index) Unsettled(epoch uint32, member string) []string {
	return ix.ended(epoch, func(s record.QueryState) bool {
		return s.Status == record.QueryReleased && s.Standing == record.StandingPreliminary && !s.Stated(member)
	})
}

// Failed returns the queries of an epoch that failed, oldest first.
func (ix *Index) Failed(epoch uint32) []string {
	return ix.ended(epoch, func(s record.QueryState) bool { return s.Status == record.QueryFailed })
}

func (ix *Index) ended(epoch uint32, which func(record.QueryState) bool) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []string
	for _, id := range ix.cohorts.order {
		if s := ix.cohorts.queries[id].state; s.Ask.Epoch == epoch && which(s) {
			out = append(out, id)
		}
	}
	return out
}

// Posted reports whether a member has posted its cohort for an attempt.
func (ix *Index) Posted(queryID string, attempt int, member string) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q := ix.cohorts.queries[queryID]
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
	if q := ix.cohorts.queries[queryID]; q != nil {
		return ix.cohorts.unconfirmed(q)
	}
	return nil
}

func (co *cohorts) unconfirmed(q *query) []string {
	var out []string
	for _, m := range co.policy.epochs[q.state.Ask.Epoch].Epoch.Members {
		post, ok := q.posts[q.state.Attempt][m.MSP]
		if m.MSP != q.state.Asker && (!ok || post.Root != q.state.Root) {
			out = append(out, m.MSP)
		}
	}
	return out
}

// Predicate returns what the ledger shows of a predicate request.
func (ix *Index) Predicate(id string) (record.PredicateEntry, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.claims.predicates[id]
	if p == nil {
		return record.PredicateEntry{}, false
	}
	return *p, true
}

// AskedBy returns an institution's requests, in the ledger's order.
func (ix *Index) AskedBy(asker string) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []string
	for _, id := range ix.claims.order {
		if ix.claims.predicates[id].Asker == asker {
			out = append(out, id)
		}
	}
	return out
}

// Lapsed returns the asker's requests that have expired and are not closed yet.
func (ix *Index) Lapsed(asker string) []string {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []string
	for _, id := range ix.claims.order {
		s := ix.claims.predicates[id]
		if s.Asker == asker && s.Status == record.PredicateAsked && ix.clock.now >= s.Expires {
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
	q := ix.cohorts.queries[queryID]
	if q == nil {
		return nil
	}
	var out []string
	for _, m := range ix.policy.epochs[q.state.Ask.Epoch].Epoch.Members {
		if _, ok := q.posts[attempt][m.MSP]; !ok {
			out = append(out, m.MSP)
		}
	}
	return out
}
