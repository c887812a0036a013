package index

import (
	"math"
	"slices"
	"sort"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// latest is a position after everything.
var latest = Position{Block: math.MaxUint64, Index: math.MaxInt}

// closing is the position at the end of a block.
func closing(block uint64) Position { return Position{Block: block, Index: math.MaxInt} }

// documents returns what each of the patient's consents says before a position, of
// those that are not over, in order of their identifiers, and whether all of it is
// known.
func (p *patient) documents(until Position) ([]consent.Document, bool) {
	if p.erased != nil && before(p.erased.at, until) {
		return []consent.Document{}, true
	}
	out := make([]consent.Document, 0, len(p.consents))
	known := true
	for _, c := range p.consents { // sorted below
		n := c.before(until)
		if n == 0 {
			continue
		}
		if !c.versions[n-1].judged {
			known = false
			continue
		}
		if d, ok := p.says(c, n, until); ok {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b consent.Document) int { return a.ID.Compare(b.ID) })
	return out, known
}

// says is what the first n versions of a consent come to before a position; false
// where it neither permits nor denies. From an unproven version on nothing is
// permitted by it; a denial that was proven goes on, and one that was not is heeded.
func (p *patient) says(c *agreement, n int, until Position) (consent.Document, bool) {
	first := slices.IndexFunc(c.versions[:n], func(v version) bool { return v.unproven })
	if first >= 0 {
		n = first + 1
		if first > 0 && c.versions[first-1].denies() {
			n = first
		}
	}
	v := c.versions[n-1]
	if first >= 0 && !v.denies() || v.entry.Status != consent.StatusActive {
		return consent.Document{}, false
	}
	return p.counts(v, until), true
}

func (v version) denies() bool {
	return v.entry.Status == consent.StatusActive && v.signed.Document.Effect == consent.EffectDeny
}

// stale finds the first block, from the query's own on, at whose end some
// member's consent did not permit the member's hours, or its device was in
// quarantine, and every such member at that block. No devices: there is no such block yet. Where details of a
// member's consent are missing that is not to be known.
func (co *cohorts) stale(q *query, members []record.CohortMember) (uint64, []record.ID, error) {
	first := latest.Block
	var gone []record.ID
	for _, m := range members { // in order of devices, so gone is sorted
		d := co.fleet.devices[m.Device]
		p := co.people.patients[d.state.Device.Patient]
		if co.people.hasGap(p) || p.erased != nil && p.erased.unsure {
			return 0, nil, fault.New(fault.Unavailable, "whether patients have withdrawn from query %s is not known: %s", q.state.ID, co.people.lacking())
		}
		block, withdrawn := co.withdrawn(p, q, first, m)
		if out, ok := d.quarantinedFrom(q.at.Block); ok && (!withdrawn || out < block) {
			block, withdrawn = out, true
		}
		if !withdrawn || block > first {
			continue
		}
		if block < first {
			first, gone = block, nil
		}
		gone = append(gone, m.Device)
	}
	if len(gone) == 0 {
		return 0, nil, nil
	}
	return first, gone, nil
}

// Left returns those of an attempt's members from one place in the cohort to before
// another who have not withdrawn by now, as Stale counts it.
func (ix *Index) Left(queryID string, attempt, from, until int) ([]record.CohortMember, error) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	q, err := ix.cohorts.query(queryID)
	if err != nil {
		return nil, err
	}
	members, _, err := ix.cohorts.members(q, attempt)
	if err == nil && (from < 0 || from > until || until > len(members)) {
		err = fault.New(fault.Invalid, "the cohort of query %s has %d members, not places %d to %d", queryID, len(members), from, until)
	}
	if err == nil {
		members = members[from:until]
	}
	for err == nil {
		var gone []record.ID
		if _, gone, err = ix.cohorts.stale(q, members); len(gone) == 0 {
			break
		}
		members = without(members, gone)
	}
	return members, err
}

// withdrawn looks for the first block from the query's own to until at whose end
// the patient's consents do not permit a member's hours any more.
func (co *cohorts) withdrawn(p *patient, q *query, until uint64, m record.CohortMember) (uint64, bool) {
	if p.erased != nil {
		block, noted := p.erased.left[membership{q.state.ID, m.Device}]
		if !noted {
			block = p.erased.at.Block
		}
		return block, block <= until
	}
	ask := co.questionOf(q.state)
	hull := [2]int64{m.Ranges[0][0], m.Ranges[len(m.Ranges)-1][1]}
	for _, block := range co.changes(p, q.at.Block, until, ask.now) {
		docs, _ := p.documents(closing(block))
		if d := decide(docs, ask, hull, co.clock.at(block)); d.From > hull[0] || d.Until < hull[1] || !d.Permit {
			return block, true
		}
	}
	return 0, false
}

// changes lists, in order, the blocks in [from, until] at which a decision
// about the patient may have changed: a consent got a version, everything was
// revoked, or ledger time passed the begin or the end of a consent.
func (co *cohorts) changes(p *patient, from, until uint64, since int64) []uint64 {
	var out []uint64
	add := func(block uint64) {
		if block >= from && block <= until {
			out = append(out, block)
		}
	}
	for _, c := range p.changes {
		add(c.at.Block)
	}
	for _, c := range p.consents { // sorted below
		for _, v := range c.versions {
			add(v.at.Block)
			for _, t := range []int64{v.signed.Document.NotBefore, v.signed.Document.Expires} {
				if t <= since || t > co.clock.furthest() {
					continue
				}
				if block, ok := co.clock.reached(from, t); ok {
					add(block)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reached returns the first block from `from` on at whose end ledger time was at
// least t. Ledger time goes back by votes only.
func (cl *clock) reached(from uint64, t int64) (uint64, bool) {
	if cl.round > 0 {
		i := sort.Search(len(cl.times), func(i int) bool { return cl.times[i].block >= from })
		for ; i < len(cl.times); i++ {
			if cl.times[i].now >= t {
				return cl.times[i].block, true
			}
		}
		return 0, false
	}
	i := sort.Search(len(cl.times), func(i int) bool { return cl.times[i].block >= from && cl.times[i].now >= t })
	if i == len(cl.times) {
		return 0, false
	}
	return cl.times[i].block, true
}

// at is ledger time at the end of block.
func (cl *clock) at(block uint64) int64 {
	i := sort.Search(len(cl.times), func(i int) bool { return cl.times[i].block > block })
	if i == 0 {
		return 0
	}
	return cl.times[i-1].now
}
