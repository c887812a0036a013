package index

import (
	"math"
	"slices"
	"sort"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// latest is the newest position, whatever it is.
const latest = uint64(math.MaxUint64)

// documents returns the newest version of each of the patient's consents as
// they stood at the end of block, in order of their identifiers.
func (p *patient) documents(block uint64) []consent.Document {
	out := make([]consent.Document, 0, len(p.consents))
	for _, versions := range p.consents { // sorted below
		i := sort.Search(len(versions), func(i int) bool { return versions[i].at.Block > block })
		if i > 0 {
			out = append(out, p.counts(versions[i-1], block))
		}
	}
	slices.SortFunc(out, func(a, b consent.Document) int { return compareID(a.ID, b.ID) })
	return out
}

// stale finds the first block, from the query's own on, at whose end some
// member's consent did not permit the member's hours, and every such member at
// that block. No devices: there is no such block yet.
func (ix *Index) stale(q *query, members []record.CohortMember) (uint64, []record.ID) {
	first := latest
	var gone []record.ID
	ask := ix.questionOf(q.state)
	for _, m := range members { // in order of devices, so gone is sorted
		p := ix.patients[ix.devices[m.Device].state.Device.Patient]
		block, withdrawn := ix.withdrawn(p, q.at.Block, first, ask, m.Ranges)
		if !withdrawn || block > first {
			continue
		}
		if block < first {
			first, gone = block, nil
		}
		gone = append(gone, m.Device)
	}
	if len(gone) == 0 {
		return 0, nil
	}
	return first, gone
}

// withdrawn looks for the first block in [from, until] at whose end the
// patient's consents do not permit ranges any more.
func (ix *Index) withdrawn(p *patient, from, until uint64, ask question, ranges [][2]int64) (uint64, bool) {
	hull := [2]int64{ranges[0][0], ranges[len(ranges)-1][1]}
	for _, block := range ix.changes(p, from, until, ask.now) {
		if d := decide(p.documents(block), ask, hull, ix.timeAt(block)); d.From > hull[0] || d.Until < hull[1] || !d.Permit {
			return block, true
		}
	}
	return 0, false
}

// changes lists, in order, the blocks in [from, until] at which a decision
// about the patient may have changed: a consent got a version, everything was
// revoked, or ledger time passed the begin or the end of a consent.
func (ix *Index) changes(p *patient, from, until uint64, since int64) []uint64 {
	var out []uint64
	add := func(block uint64) {
		if block >= from && block <= until {
			out = append(out, block)
		}
	}
	for _, c := range p.changes {
		add(c.at.Block)
	}
	for _, versions := range p.consents { // sorted below
		for _, v := range versions {
			add(v.at.Block)
			for _, t := range []int64{v.signed.Document.NotBefore, v.signed.Document.Expires} {
				if t <= since || t > ix.now {
					continue
				}
				if block, ok := ix.reached(from, t); ok {
					add(block)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// reached returns the first block from `from` on at whose end ledger time was at
// least t. Ledger time never goes back, since no member's tick does.
func (ix *Index) reached(from uint64, t int64) (uint64, bool) {
	i := sort.Search(len(ix.times), func(i int) bool { return ix.times[i].block >= from && ix.times[i].now >= t })
	if i == len(ix.times) {
		return 0, false
	}
	return ix.times[i].block, true
}

// timeAt is ledger time at the end of block.
func (ix *Index) timeAt(block uint64) int64 {
	i := sort.Search(len(ix.times), func(i int) bool { return ix.times[i].block > block })
	if i == 0 {
		return 0
	}
	return ix.times[i-1].now
}
