package index

import (
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// A cohort is derived at the query's own place. Where the details of a consent
// are missing that could matter, that has to wait, and every later query waits
// with it, since what a query costs decides about the ones after it. Until then
// the candidates are kept: the rows that would count if their patients allow it,
// as they stood at the query's place.

// candidate is a patient with rows for a query.
type candidate struct {
	patient *patient
	rows    []record.CohortMember
	verdict *verdict // where it was reached while the consents could be read
}

// verdict is what a patient's documents allow of a query.
type verdict struct {
	rows    []record.CohortMember
	allowed consent.Decision
}

func (co *cohorts) candidates(q question) []candidate {
	var out []candidate
	for _, id := range co.people.order {
		p := co.people.patients[id]
		if rows := co.candidateRows(p, q, [2]int64{q.from, q.until}); len(rows) > 0 {
			out = append(out, candidate{patient: p, rows: rows})
		}
	}
	return out
}

// enter takes a new query: its cohort is derived now, or by settle.
func (co *cohorts) enter(q *query) {
	if len(co.waiting) == 0 && !co.guessed {
		if members, size, ok := co.derive(co.questionOf(q.state), q.at); ok {
			q.members, q.size = members, size
			co.debit(q, q.size >= co.policy.minimum(q.state))
			return
		}
	}
	q.waits, q.candidates = true, co.candidates(co.questionOf(q.state))
	co.waiting = append(co.waiting, q)
}

// settle derives, in their order, the cohorts that have waited and can be known.
func (co *cohorts) settle() {
	for len(co.waiting) > 0 && co.resolve(co.waiting[0]) {
		q := co.waiting[0]
		q.waits, q.candidates = false, nil
		co.waiting = co.waiting[1:]
	}
}

// resolve derives a cohort from its candidates, which are in the order of
// patients, and reports whether that is possible yet. Candidates who were erased
// before their consents were read are lost: whether they were in it is not to be
// known any more. What such a query cost is read off the ledger, once there is
// nothing more to come.
func (co *cohorts) resolve(q *query) bool {
	var members, permitted []record.CohortMember
	size, lost := 0, 0
	ask := co.questionOf(q.state)
	for _, c := range q.candidates {
		v := c.judge(q, co.questionOf(q.state))
		switch {
		case v == nil && c.patient.erased == nil:
			return false
		case v == nil:
			lost++
			continue
		}
		permitted = append(permitted, v.rows...)
		if ask.enough(v.rows) && !co.spent(c.patient, ask, v.allowed) && !c.patient.openedBefore(ask, v.rows) {
			members = append(members, v.rows...)
			size++
		}
	}
	if lost > 0 && !co.over(q) {
		return false
	}
	sortMembers(members)
	q.members, q.size, q.lost = members, size, lost
	opens, known := co.opens(q)
	if co.guessed = co.guessed || !known; co.guessed {
		co.debit(q, false)
		co.charge(q, permitted)
		return true
	}
	co.debit(q, opens)
	return true
}

// judge asks the documents that the patient had at the query's place; nil where
// some are not known.
func (c candidate) judge(q *query, ask question) *verdict {
	if c.verdict != nil {
		return c.verdict
	}
	docs, known := c.patient.documents(q.at)
	if !known {
		return nil
	}
	v := &verdict{allowed: decide(docs, ask, [2]int64{ask.from, ask.until}, ask.now)}
	if v.allowed.From >= v.allowed.Until { // of a pair, each may be permitted for other hours
		return v
	}
	for _, m := range c.rows {
		if ranges := ask.within(&Hours{m.Ranges}, v.allowed.From, v.allowed.Until); v.allowed.Permit && len(ranges) > 0 {
			var late [][2]int64
			for _, c := range m.Corrections {
				if c[0] >= v.allowed.From && c[0] < v.allowed.Until {
					late = append(late, c)
				}
			}
			v.rows = append(v.rows, record.CohortMember{Device: m.Device, Ranges: ranges, Corrections: late})
		}
	}
	return v
}

// over reports whether nothing more can come of a query.
func (co *cohorts) over(q *query) bool {
	open := q.state.Status == record.QueryAsked || q.state.Status == record.QueryAgreed
	return !open || co.clock.now >= q.state.Expires
}

// opens reports whether a query opens its first cohort, and whether that is
// known. Without lost patients it follows from the cohort's size; with them, for
// a query that is over, from the size on which a threshold of members agreed.
//
// Where too few did, nobody can say any more what the query cost. From then on
// every query counts as one that opened the rows of everybody who allowed it:
// an upper bound, so that what may have been opened is not opened again. Cohorts
// derived here may then lack members that others have; the roots differ, and
// this member has no part in the answer.
func (co *cohorts) opens(q *query) (bool, bool) {
	least := co.policy.minimum(q.state)
	if q.lost == 0 {
		return q.size >= least, true
	}
	votes := map[record.PostCohort]int{}
	epoch := co.policy.epochs[q.state.Ask.Epoch].Epoch
	for attempt := range MaxAttempts {
		for _, m := range epoch.Members {
			post, ok := q.posts[attempt][m.MSP]
			if post.Position = 0; !ok {
				continue
			}
			votes[post]++
			agreed := votes[post] >= epoch.Threshold
			if agreed && (attempt == 0 || post.Size >= least) { // earlier cohorts are larger
				return post.Size >= least, true
			}
		}
	}
	return false, false
}

// knowable refuses to speak of a cohort that is not known, or never will be.
func (co *cohorts) knowable(q *query) error {
	switch {
	case q.waits:
		return fault.New(fault.Unavailable, "the cohort of query %s is not known: %s", q.state.ID, co.people.lacking())
	case q.lost > 0:
		return fault.New(fault.Unavailable, "the cohort of query %s cannot be derived any more: %d patients who may have been in it are erased", q.state.ID, q.lost)
	}
	return nil
}
