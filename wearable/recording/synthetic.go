package recording

import (
	"fmt"

	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// Synthetic is how the names of made-up people begin.
const Synthetic = "synthetic-"

// Synthesize makes up n people over some hours from second 0 on. The same
// numbers give the same people.
func Synthesize(n, hours int) *Source {
	src := &Source{Name: fmt.Sprintf("%d synthetic patients over %d hours", n, hours), Ignored: []string{}}
	for i := range n {
		src.People = append(src.People, MakeUp(fmt.Sprintf(Synthetic+"%03d", i+1), uint64(i+1), Epoch, hours))
	}
	return src
}

// MakeUp makes up one person's samples from a time on.
func MakeUp(id string, seed uint64, from int64, hours int) *Person {
	s := &Person{ID: id}
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
