package chaincode

import (
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Erase carries out what the patient signed, whoever submits it
// (record.SignedErasure, record.ErasureState): the details of all the patient's
// consents are purged, they count as revoked, and nothing about the patient is
// recorded any more. It cannot be undone, and not be done twice.
func (*Registry) Erase(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, erase)
}

// ReportErasure records that the calling member has deleted what it held in an epoch
// (record.SignedErasureReport).
func (*Registry) ReportErasure(tx transaction, arg string) (string, error) {
	return serve(tx, member, untimed, arg, smallArgument, reportErasure)
}

// GetErasure returns the record.ErasureReceipt of a patient.
func (*Registry) GetErasure(tx transaction, arg string) (string, error) {
	return serveID(tx, arg, func(c *call, patient record.ID) (*record.ErasureReceipt, error) {
		r := &record.ErasureReceipt{Reports: []record.SignedErasureReport{}}
		if err := c.need(state.ErasureKey(patient), &r.State, "an erasure of patient "+patient.Short()); err != nil {
			return nil, err
		}
		for _, n := range r.State.Epochs {
			if err := c.reports(r, n); err != nil {
				return nil, err
			}
		}
		return r, nil
	})
}

// reports adds those about an epoch's devices to a receipt.
func (c *call) reports(r *record.ErasureReceipt, number uint32) error {
	epoch, err := c.epoch(number)
	if err != nil {
		return err
	}
	for _, m := range epoch.Epoch.Members {
		var s record.SignedErasureReport
		exists, err := c.get(state.ErasedKey(r.State.Signed.Erasure.Patient, number, m.MSP), &s)
		if err != nil {
			return err
		}
		if exists {
			r.Reports = append(r.Reports, s)
		}
	}
	return nil
}

// notErased refuses what would add to an erased patient's record.
func notErased(p *record.Patient) error {
	if p.Erased {
		return fault.New(fault.Forbidden, "patient %s is erased, which is final", p.ID.Short())
	}
	return nil
}

func erase(c *call, s record.SignedErasure) (*record.ErasureState, error) {
	patient, err := c.patient(s.Erasure.Patient)
	if err != nil {
		return nil, err
	}
	if err := consent.VerifyErasure(c.genesis.Network, c.genesis.RelyingParties, s, *patient); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	if patient.Erased {
		erasure := new(record.ErasureState)
		return erasure, c.need(state.ErasureKey(patient.ID), erasure, "the erasure")
	}
	versions, err := c.purgeConsents(patient.ID)
	if err != nil {
		return nil, err
	}
	return c.recordErasure(patient, s, versions)
}

// purgeConsents purges the details of every version that the patient recorded, and
// of every claim that was asked under them. Put and Request bound how many there are.
func (c *call) purgeConsents(patient record.ID) (int, error) {
	heads, err := c.heads(patient)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, h := range heads {
		for v := uint32(1); v <= h.Version; v++ {
			if err := c.purgePrivate(state.ConsentDetailsKey(h.ID, v)); err != nil {
				return 0, err
			}
			n++
		}
		if err := c.purgeQuestions(h.ID); err != nil {
			return 0, err
		}
	}
	return n, nil
}

func (c *call) purgeQuestions(consent record.ID) error {
	asked, err := c.askedUnder(consent)
	if err != nil {
		return err
	}
	for n := uint32(1); n <= asked; n++ {
		if err := c.purgePrivate(state.QuestionKey(consent, n)); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) recordErasure(p *record.Patient, s record.SignedErasure, versions int) (*record.ErasureState, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	var list []state.Designation
	if _, err := c.get(state.DesignationKey(p.ID), &list); err != nil {
		return nil, err
	}
	erasure := &record.ErasureState{Signed: s, Time: now, Devices: []record.ID{}, Epochs: []uint32{}, Consents: versions}
	for _, e := range c.roster.Epochs {
		erasure.Epochs = append(erasure.Epochs, e.Number)
	}
	for _, d := range list {
		erasure.Devices = append(erasure.Devices, d.Device)
	}
	p.Erased = true
	if err := c.put(state.PatientKey(p.ID), p); err != nil {
		return nil, err
	}
	return erasure, c.put(state.ErasureKey(p.ID), erasure)
}

func reportErasure(c *call, s record.SignedErasureReport) (*record.SignedErasureReport, error) {
	r := s.Report
	erasure := new(record.ErasureState)
	if err := c.need(state.ErasureKey(r.Patient), erasure, "an erasure of patient "+r.Patient.Short()); err != nil {
		return nil, err
	}
	if r.Erasure != erasure.Signed.Erasure.Digest(c.genesis.Network) {
		return nil, fault.New(fault.Invalid, "the report is about another erasure")
	}
	if err := c.checkReporter(s); err != nil {
		return nil, err
	}
	if !slices.Contains(erasure.Epochs, r.Epoch) {
		return nil, fault.New(fault.Invalid, "epoch %d did not live when the patient was erased", r.Epoch)
	}
	if err := c.checkReported(r, erasure.Devices); err != nil {
		return nil, err
	}
	key := state.ErasedKey(r.Patient, r.Epoch, c.msp)
	recorded := new(record.SignedErasureReport)
	exists, err := c.get(key, recorded)
	switch {
	case err != nil:
		return nil, err
	case exists && recorded.Report.Digest(c.genesis.Network) == r.Digest(c.genesis.Network):
		return recorded, nil
	case exists:
		return nil, fault.New(fault.Conflict, "%s has reported otherwise before", c.msp)
	}
	return &s, c.put(key, s)
}

// checkReporter checks that the caller was a member of the epoch and signed with its
// key there. The epoch may have ended meanwhile.
func (c *call) checkReporter(s record.SignedErasureReport) error {
	if s.Report.Member != c.msp {
		return fault.New(fault.Forbidden, "%s cannot report for %s", c.msp, clip(s.Report.Member))
	}
	epoch, err := c.epoch(s.Report.Epoch)
	if err != nil {
		return err
	}
	m := epoch.Epoch.Member(c.msp)
	if m == nil {
		return fault.New(fault.Forbidden, "%s is not a member of epoch %d", c.msp, s.Report.Epoch)
	}
	if err := record.Verify(m.SignKey, s.Report.Digest(c.genesis.Network), s.Signature); err != nil {
		return fault.New(fault.BadSignature, "the member's signature of the report: %w", err)
	}
	return nil
}

// checkReported checks that a report is about all the devices of its epoch and no
// others, and counts no more seeds than they have.
func (c *call) checkReported(r record.ErasureReport, all []record.ID) error {
	var devices []record.ID
	most := 0
	for _, id := range all {
		d, err := c.device(id)
		if err != nil {
			return err
		}
		if d.Device.Epoch == r.Epoch {
			devices = append(devices, id)
			most += len(d.Device.SeedHashes)
		}
	}
	switch {
	case !slices.Equal(r.Devices, devices):
		return fault.New(fault.Invalid, "the report has to name the patient's %d devices of epoch %d, in order of enrolment", len(devices), r.Epoch)
	case r.Seeds < 0 || r.Seeds > most:
		return fault.New(fault.Invalid, "the report counts %d seeds, the devices have at most %d", r.Seeds, most)
	}
	return nil
}
