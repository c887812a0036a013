package index

import (
	"cmp"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// DeviceIDs returns the devices from number `from` on in the order of their
// enrolment. A device's number never changes.
func (ix *Index) DeviceIDs(from int) []record.ID {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if from < 0 || from >= len(ix.fleet.order) {
		return nil
	}
	return slices.Clone(ix.fleet.order[from:])
}

// Ready returns the devices of an epoch whose seeds every member holds, those in
// quarantine left out, in the order of their enrolment.
func (ix *Index) Ready(epoch uint32) []record.ID {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	var out []record.ID
	for _, id := range ix.fleet.order {
		d := ix.fleet.devices[id]
		if d.state.Device.Epoch == epoch && d.state.Quarantined == nil && ix.fleet.ready(d) {
			out = append(out, id)
		}
	}
	return out
}

// Studies returns at most so many studies, those that reach furthest first.
func (ix *Index) Studies(most int) []record.StudyState {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	out := make([]record.StudyState, 0, len(ix.cohorts.studies))
	for _, s := range ix.cohorts.studies { // sorted below
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b record.StudyState) int {
		return cmp.Or(cmp.Compare(b.Study.Until, a.Study.Until), cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Study.ID, b.Study.ID))
	})
	return out[:min(most, len(out))]
}
