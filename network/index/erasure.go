package index

import (
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
)

// erasure is what became of an erased patient.
type erasure struct {
	at      Position
	tx      string
	state   record.ErasureState
	reports []record.SignedErasureReport // in ledger order
	// left says at the end of which block a device left the cohorts that it was
	// in: the consents from which that follows are gone.
	left map[membership]uint64
	// unsure: that could not be told, since details were missing.
	unsure bool
}

// membership is a device's part in a query.
type membership struct {
	query  string
	device record.ID
}

// putErasure takes an erasure that a key of the patient's has signed, and remembers what
// follows from the consents for cohorts while they can be read.
func (r *reading) putErasure(w write) error {
	p, e, err := r.people.erasure(w)
	if err != nil {
		return err
	}
	r.cohorts.leave(p, e)
	r.people.erase(p, e)
	return nil
}

// erasure checks an erasure at its place. One that nobody has signed is no reason to
// delete anything; it counts as a revocation of everything.
func (pe *people) erasure(w write) (*patient, *erasure, error) {
	s, err := decode[record.ErasureState](w)
	if err != nil {
		return nil, nil, err
	}
	p, err := pe.owner(s.Signed.Erasure.Patient)
	if err != nil {
		return nil, nil, err
	}
	g := pe.policy.genesis
	if err := consent.VerifyErasure(g.Network, g.RelyingParties, s.Signed, p.state); err != nil {
		p.revokeUnproven(w, pe.clock.now)
		return nil, nil, doubt(err)
	}
	s.Time, s.Devices, s.Epochs = pe.clock.now, append([]record.ID{}, p.devices...), []uint32{}
	for _, epoch := range pe.policy.roster.Epochs {
		s.Epochs = append(s.Epochs, epoch.Number)
	}
	return p, &erasure{at: w.at, tx: w.tx.ID, state: s, left: map[membership]uint64{}, unsure: pe.hasGap(p)}, nil
}

// erase forgets what a patient's consents said, and the key.
func (pe *people) erase(p *patient, e *erasure) {
	p.erased, p.state.Erased = e, true
	delete(pe.near, p.state.ID)
	pe.erased = append(pe.erased, p.state.ID)
	p.forget()
	pe.gaps = slices.DeleteFunc(pe.gaps, func(g Gap) bool { return g.Patient == p.state.ID })
}

// leave notes when the patient's devices left the cohorts that they were in, and reaches
// the patient's verdict about queries that wait for others.
func (co *cohorts) leave(p *patient, e *erasure) {
	for _, id := range p.queries {
		co.noteLeaving(p, co.queries[id], co.queries[id].members, e)
	}
	for _, q := range co.waiting {
		co.judgeLast(p, q, e)
	}
}

// revokeUnproven notes a revocation of everything that nobody has signed.
func (p *patient) revokeUnproven(w write, now int64) {
	c := keysChange{at: w.at, tx: w.tx.ID, unproven: true}
	c.state.Time = now
	c.state.Signed.Change = record.PatientKeys{Patient: p.state.ID, RevokeAll: true}
	p.changes = append(p.changes, c)
	p.state.RevokedAt = &now
}

// judgeLast reaches the patient's verdict about a query that waits for others.
func (co *cohorts) judgeLast(p *patient, q *query, e *erasure) {
	for i, c := range q.candidates {
		if c.patient != p {
			continue
		}
		if v := c.judge(q, co.questionOf(q.state)); v != nil && !co.people.hasGap(p) {
			q.candidates[i].verdict = v
			co.noteLeaving(p, q, v.rows, e)
		}
	}
}

// noteLeaving remembers when the patient's devices left a query's cohort: with
// the erasure, or before.
func (co *cohorts) noteLeaving(p *patient, q *query, members []record.CohortMember, e *erasure) {
	for _, m := range members {
		if co.fleet.devices[m.Device].state.Device.Patient != p.state.ID {
			continue
		}
		left := e.at.Block
		if left > 0 {
			if block, withdrawn := co.withdrawn(p, q, left-1, m); withdrawn {
				left = block
			}
		}
		e.left[membership{q.state.ID, m.Device}] = left
	}
}

// forget drops what the patient's consents said.
func (p *patient) forget() {
	p.unjudged = nil
	for _, c := range p.consents {
		for i := range c.versions {
			v := &c.versions[i]
			v.signed, v.known, v.judged = consent.Signed{}, false, false
		}
	}
}

func (pe *people) putErased(w write) error {
	s, err := decode[record.SignedErasureReport](w)
	if err != nil {
		return err
	}
	p := pe.patients[s.Report.Patient]
	if p == nil || p.erased == nil {
		return refuse("it reports an erasure that was not")
	}
	if err := w.by(s.Report.Member); err != nil {
		return err
	}
	receipt := record.ErasureReceipt{State: p.erased.state, Reports: []record.SignedErasureReport{s}}
	if err := receipt.Verify(pe.policy.genesis.Network, pe.policy.epochs); err != nil {
		return doubt(err)
	}
	p.erased.reports = append(p.erased.reports, s)
	return nil
}

// Erased reports whether a patient is erased.
func (ix *Index) Erased(patientID record.ID) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.people.patients[patientID]
	return p != nil && p.erased != nil
}

// ErasedDevice reports whether a device's patient is erased.
func (ix *Index) ErasedDevice(device record.ID) bool {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	d := ix.fleet.devices[device]
	return d != nil && ix.people.patients[d.state.Device.Patient].erased != nil
}

// Erasures returns the erasures from number `from` on, with the reports of members,
// both in ledger order.
func (ix *Index) Erasures(from int) []record.ErasureReceipt {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	if from < 0 || from >= len(ix.people.erased) {
		return nil
	}
	out := make([]record.ErasureReceipt, 0, len(ix.people.erased)-from)
	for _, id := range ix.people.erased[from:] {
		e := ix.people.patients[id].erased
		out = append(out, record.ErasureReceipt{State: e.state, Reports: slices.Clone(e.reports)})
	}
	return out
}

// Blob is a blob that a patient or a patient's device has named on the ledger: the
// boxes with the details key, or the device's sealed seeds or rows.
type Blob struct {
	ID      record.ID
	Device  record.ID // zero: the boxes with the details key
	Patient record.ID
}

// Owned reports whether a stored blob is theirs, who may have named what is another's:
// seeds, rows and boxes say whose they are. What is none of these nobody can
// use, and it goes with whoever named it.
func (b Blob) Owned(data []byte) bool {
	if device, ok := opening.BlobDevice(data); ok {
		return device == b.Device
	}
	if patient, err := details.BoxesOf(data); err == nil {
		return patient == b.Patient
	}
	device, _, err := record.DecodeRows(data)
	return err != nil || device == b.Device
}

// BlobsOf returns the blobs that a patient and the patient's devices have named on the
// ledger. They need not be theirs (Owned).
func (ix *Index) BlobsOf(patientID record.ID) []Blob {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	p := ix.people.patients[patientID]
	if p == nil {
		return nil
	}
	out := []Blob{{ID: p.state.DetailsBlob, Patient: patientID}}
	for _, id := range ix.fleet.order {
		if d := ix.fleet.devices[id]; d.state.Device.Patient == patientID {
			out = append(out, Blob{ID: d.state.Device.SeedBlob, Device: id, Patient: patientID})
			out = append(out, ix.anchors.rowBlobs(d)...)
		}
	}
	return out
}

func (an *anchors) rowBlobs(d *device) []Blob {
	seen := map[record.ID]bool{}
	var out []Blob
	for _, s := range slices.Concat(d.rows, d.persons) { // sorted below
		if blob := an.at(s).blob; !seen[blob] {
			seen[blob] = true
			out = append(out, Blob{ID: blob, Device: d.state.ID, Patient: d.state.Device.Patient})
		}
	}
	slices.SortFunc(out, func(a, b Blob) int { return a.ID.Compare(b.ID) })
	return out
}
