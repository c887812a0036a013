package demo

import (
	"fmt"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// Size of the source that is used without --replay.
const (
	syntheticPeople = 200
	syntheticHours  = 24
)

// Synthesize makes up n people over some hours from second 0 on. The same
// numbers give the same people.
func Synthesize(n, hours int) *Source {
	src := &Source{Name: fmt.Sprintf("%d synthetic patients over %d hours", n, hours), Ignored: []string{}}
	strata := privacy.V2().Strata()
	for i := range n {
		s := synthesize(fmt.Sprintf("synthetic-%03d", i+1), uint64(i+1), epoch, hours)
		s.Stratum = strata[i%len(strata)]
		src.Subjects = append(src.Subjects, s)
	}
	return src
}

// synthesize makes up one person's samples from a time on.
func synthesize(id string, seed uint64, from int64, hours int) *Subject {
	s := &Subject{ID: id}
	for x := range virtual.NewPerson(seed).Samples(from, hours) {
		m, ok := wearable.ByKey(x.Metric)
		if !ok {
			continue
		}
		s.Samples = append(s.Samples, Sample{Unix: x.Time, Slot: m.Slot, Value: x.Value})
	}
	sortSamples(s.Samples)
	return s
}

// extras makes up the two people whom the demo adds to every source: one who
// refuses and one who revokes. They wear sensors for the source's first day.
func extras(src *Source) (*Subject, *Subject) {
	first, last := src.Span()
	hours := int(min(last+1-first, 24))
	refuser := synthesize("added-refuses", 9001, first*3600, hours)
	revoker := synthesize("added-revokes", 9002, first*3600, hours)
	refuser.Extra, revoker.Extra = true, true
	return refuser, revoker
}
