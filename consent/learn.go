package consent

import (
	"math/bits"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Search is what repeated claims within limits can find about the days they are about, by
// asking each time about half of what is left.
type Search struct {
	// About is "range": the value that was kept to for so many minutes; "count": how many
	// minutes were in the range; "outside": how many were not; "measured": how many there
	// were; "days": on how many days it was so; "halves": how many minutes each half of the
	// time has at least; "mean"; or "trend".
	About string
	// Cuts are the claims that tell low from high, in order: their answers leave
	// len(Cuts)+1 values apart.
	Cuts []record.Bounds
}

// Questions is how many claims the search takes at most.
func (s Search) Questions() uint32 { return uint32(bits.Len(uint(len(s.Cuts)))) }

// Left is how many of the values that the search tells apart are left at most after so
// many claims.
func (s Search) Left(claims uint32) uint32 {
	left := uint32(len(s.Cuts) + 1)
	for range claims {
		left = (left + 1) / 2
	}
	return left
}

// Searches lists what can be found under the terms: none where one claim is listed, whose
// answer about a day is the same whenever it is asked. What is possible is what Decide
// permits: each claim was held against the terms.
func (t Terms) Searches() []Search {
	m, ok := wearable.ByKey(t.Metric)
	if !ok || t.Limits == nil {
		return nil
	}
	var found []Search
	for i, p := range partsOf(record.Bounds{}, m) {
		if in := t.Limits.intervals()[i]; in != nil {
			found = append(found, t.search(m, p.name, in.Lo, in.Hi, func(b *record.Bounds, cut uint32) { cutPart(b, i, in, cut) }))
		}
	}
	found = append(found, t.counts(m)...)
	var worth []Search
	for _, s := range found {
		if len(s.Cuts) > 0 {
			worth = append(worth, s)
		}
	}
	return worth
}

// counts are the searches for what a claim counts, about the widest range: minutes within,
// outside and measured, days on which all that holds, and minutes measured in each half.
func (t Terms) counts(m wearable.Metric) []Search {
	l := t.Limits
	var found []Search
	add := func(about string, of Span, set func(b *record.Bounds, cut uint32)) {
		if of.Least < of.Most || about == "count" {
			found = append(found, t.search(m, about, max(1, of.Least)-1, of.Most+1, set))
		}
	}
	if l.Range != nil {
		add("count", l.K, func(b *record.Bounds, cut uint32) { b.K, b.MinCount = cut+1, max(cut+1, b.MinCount) })
		add("outside", l.OutMax, func(b *record.Bounds, cut uint32) { b.OutMax = cut })
	}
	add("measured", l.MinCount, func(b *record.Bounds, cut uint32) { b.MinCount = cut + 1 })
	add("days", l.DayK, func(b *record.Bounds, cut uint32) { b.DayK = cut + 1 })
	add("halves", l.MinHalf, func(b *record.Bounds, cut uint32) { b.MinHalf = cut + 1 })
	return found
}

// search tries every cut between two values: low up to cut, high from the next on.
func (t Terms) search(m wearable.Metric, about string, lo, hi uint32, set func(b *record.Bounds, cut uint32)) Search {
	s := Search{About: about}
	for cut := lo; cut < hi; cut++ {
		b := t.Limits.widest(uint32(m.MaxCode()))
		set(&b, cut)
		if claim.Check(m, int(t.Days), b) == nil && t.objection(m, b) == "" {
			s.Cuts = append(s.Cuts, b)
		}
	}
	return s
}

// cutPart bounds a part of a claim from its lowest value to the cut or, where that is
// too narrow, from beyond the cut to its highest.
func cutPart(b *record.Bounds, part int, in *Interval, cut uint32) {
	lo, hi := in.Lo, cut
	if cut-in.Lo < in.Width {
		lo, hi = cut+1, in.Hi
	}
	*[]*uint32{&b.Lo, &b.MeanLo, &b.TrendLo}[part] = lo
	*[]*uint32{&b.Hi, &b.MeanHi, &b.TrendHi}[part] = hi
}

// widest is the claim that the limits permit with the fewest conditions besides;
// most is the metric's largest code.
func (l Limits) widest(most uint32) record.Bounds {
	b := verifier.Unbounded()
	b.Lo, b.Hi = 1, most
	if l.Range != nil {
		b.Lo, b.Hi = l.Range.Lo, l.Range.Hi
	}
	b.K, b.MinCount, b.OutMax, b.DayK, b.MinHalf = l.K.Least, max(l.K.Least, l.MinCount.Least), l.OutMax.Most, l.DayK.Least, l.MinHalf.Least
	return b
}

// Bits is how much the answers to all claims under a permission can tell at most: each is
// yes or silence, and a listed claim has one answer for each day or days in a row.
func (d Document) Bits() uint32 {
	days := max(0, wearable.FloorDiv(d.DataUntil, hoursPerDay)+wearable.FloorDiv(-d.DataFrom, hoursPerDay))
	distinct := int64(0)
	for _, t := range d.Predicates {
		if t.Claim == nil {
			return d.Claims
		}
		distinct += max(0, days-int64(t.Days)+1)
	}
	return uint32(min(int64(d.Claims), distinct))
}
