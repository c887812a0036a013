package index

import "github.com/vitalveil/vitalveil/internal/record"

// Patients returns the patients from number `from` on, in order of enrolment.
func (ix *Index) Patients(from int) []record.Patient {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if from < 0 || from >= len(ix.people.order) {
		return nil
	}
	out := make([]record.Patient, 0, len(ix.people.order)-from)
	for _, id := range ix.people.order[from:] {
		out = append(out, ix.people.patients[id].state)
	}
	return out
}

// Patient returns a patient and whether there is one.
func (ix *Index) Patient(id record.ID) (record.Patient, bool) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.people.patients[id]
	if p == nil {
		return record.Patient{}, false
	}
	return p.state, true
}

// Seated reports whether an organisation is a member of an epoch that lives.
func (ix *Index) Seated(msp string) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	for _, e := range ix.policy.roster.Epochs {
		if e.Member(msp) != nil {
			return true
		}
	}
	return false
}
