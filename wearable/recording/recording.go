// Package recording reads what people's sensors have measured, or makes it up.
//
// Entry points: Load reads CSV files, Synthesize and MakeUp make people up. A Source says
// who measured what and when, for whoever replays it.
//
// Trust: files are external input; limits bound memory before anything is kept.
//
// Promise: the same numbers make up the same people.
package recording

import (
	"cmp"
	"slices"

	"github.com/vitalveil/vitalveil/wearable"
)

// Epoch is 2025-01-01T00:00:00Z: second 0 of every source, in Unix seconds.
const Epoch int64 = 1735689600

// Sample is one measurement of one subject.
type Sample struct {
	Unix  int64 // whole second the measurement falls in (floor)
	Slot  int   // of the metric
	Value wearable.Decimal
}

// Person is one of a source, with the samples sorted by time.
type Person struct {
	ID      string
	Samples []Sample
}

// Metrics returns the keys of the metrics that there are samples of, in
// slot order.
func (s *Person) Metrics() []string {
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
// first sample to that of its last. Whole days are sealed: exact answers
// need these, and ask about them.
func (s *Person) Hours() (int64, int64) {
	first, last := wearable.DayOf(s.Samples[0].Unix), wearable.DayOf(s.Samples[len(s.Samples)-1].Unix)
	return first * 24, last*24 + 23
}

// Source is who measured what.
type Source struct {
	Name     string
	Recorded bool // of real people, as opposed to generated
	People   []*Person
	Ignored  []string // metrics in the source that no table entry stands for
}

// Readings is the number of samples.
func (s *Source) Readings() int {
	n := 0
	for _, p := range s.People {
		n += len(p.Samples)
	}
	return n
}

// Span returns the first and last of these hours over everybody with samples.
func (s *Source) Span() (int64, int64) {
	first, last, any := int64(0), int64(0), false
	for _, p := range s.People {
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
