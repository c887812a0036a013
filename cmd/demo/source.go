package demo

import (
	"cmp"
	"slices"

	"github.com/vitalveil/vitalveil/wearable"
)

// epoch is 2025-01-01T00:00:00Z: second 0 of every source, in Unix seconds.
const epoch int64 = 1735689600

// Sample is one measurement of one subject.
type Sample struct {
	Unix  int64 // whole second the measurement falls in (floor)
	Slot  int   // of the metric
	Value wearable.Decimal
}

// Subject is one person of a source, with the samples sorted by time.
type Subject struct {
	ID      string
	Samples []Sample
	Stratum string // of the row schema; empty: unstated
	// Extra marks the two people that the demo adds to show refusal and
	// revocation. They are in no number.
	Extra bool
}

// Metrics returns the keys of the metrics that the subject has samples of, in
// slot order.
func (s *Subject) Metrics() []string {
	var has [16]bool
	for _, x := range s.Samples {
		has[x.Slot] = true
	}
	var keys []string
	for _, m := range wearable.Vitals() {
		if has[m.Slot] {
			keys = append(keys, m.Key)
		}
	}
	return keys
}

// Hours returns the first and the last Unix hour of the days (UTC) from that of the
// subject's first sample to that of its last. Whole days are sealed: exact answers
// need these, and ask about them.
func (s *Subject) Hours() (int64, int64) {
	first, last := wearable.DayOf(s.Samples[0].Unix), wearable.DayOf(s.Samples[len(s.Samples)-1].Unix)
	return first * 24, last*24 + 23
}

// Source is what the demo's wearables will measure.
type Source struct {
	Name     string
	Recorded bool // of real people, as opposed to generated
	Subjects []*Subject
	Ignored  []string // metrics in the source that no table entry stands for
}

// Span returns the first and last of these hours over all subjects with samples.
func (s *Source) Span() (int64, int64) {
	first, last, any := int64(0), int64(0), false
	for _, p := range s.Subjects {
		if len(p.Samples) == 0 {
			continue
		}
		a, b := p.Hours()
		if !any || a < first {
			first = a
		}
		if !any || b > last {
			last = b
		}
		any = true
	}
	return first, last
}

// sortSamples orders by time, keeping the source's order within a second.
func sortSamples(s []Sample) {
	slices.SortStableFunc(s, func(a, b Sample) int { return cmp.Compare(a.Unix, b.Unix) })
}
