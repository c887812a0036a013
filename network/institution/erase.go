package institution

import (
	"context"
	"errors"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// eraser deletes what this process holds of erased patients, and reports only what is
// deleted.
type eraser struct {
	*member
	seeds   *seedKeeper
	keyring *keyring
	settled map[record.ID]bool // patients of whom nothing is left to do
}

// work deletes what this process holds of erased patients, first of all in
// its checkpoint, and then reports it. What is left to do is read off the ledger and
// this process's own notes, so it is done after a crash, and again after the state was
// restored from a copy that still has the secrets.
func (er *eraser) work(ctx context.Context) error {
	erasures := er.index.Erasures(0)
	if err := er.Forget(ctx, len(erasures)); err != nil {
		return err
	}
	var all error
	for _, e := range erasures {
		if patient := e.State.Signed.Erasure.Patient; !er.settled[patient] {
			all = errors.Join(all, er.settle(ctx, e))
		}
	}
	return all
}

// settle deletes and reports what has not been.
func (er *eraser) settle(ctx context.Context, e record.ErasureReceipt) error {
	patient := e.State.Signed.Erasure.Patient
	mine := er.served(e.State.Devices)
	gone, err := er.noted(patient, mine)
	if err != nil {
		return err
	}
	// All seeds and keys go with the epoch, so a retired one owes no report.
	owes := slices.Contains(e.State.Epochs, er.context.Epoch) && !er.ended()
	if gone && (!owes || er.reported(e)) {
		er.settled[patient] = true
		return nil
	}
	report, err := er.erase(ctx, e.State, mine)
	if err != nil || !owes || er.reported(e) {
		return err
	}
	return er.report(ctx, report)
}

// served returns the devices of this process's epoch.
func (er *eraser) served(devices []record.ID) []record.ID {
	mine := []record.ID{}
	for _, id := range devices {
		if er.serves(id) {
			mine = append(mine, id)
		}
	}
	return mine
}

// noted reports whether the vault says of the patient and all devices that they are
// erased.
func (er *eraser) noted(patient record.ID, devices []record.ID) (bool, error) {
	names := []string{store.Gone(patient)}
	for _, id := range devices {
		names = append(names, store.Erased(id))
	}
	for _, name := range names {
		if _, found, err := er.vault.Get(name); err != nil || !found {
			return false, err
		}
	}
	return true, nil
}

func (er *eraser) reported(e record.ErasureReceipt) bool {
	return slices.ContainsFunc(e.Reports, func(s record.SignedErasureReport) bool {
		return s.Report.Member == er.self.MSP && s.Report.Epoch == er.context.Epoch
	})
}

// erase deletes the seeds of a patient's devices and what was made of them, and
// then the details key, and returns the report of it.
func (er *eraser) erase(ctx context.Context, state record.ErasureState, mine []record.ID) (record.ErasureReport, error) {
	erasure := state.Signed.Erasure
	report := record.ErasureReport{
		Patient: erasure.Patient, Erasure: erasure.Digest(er.cfg.Genesis.Network), Member: er.self.MSP,
		Epoch: er.context.Epoch, Devices: mine,
	}
	for _, device := range mine {
		n, err := er.seeds.forget(ctx, device)
		if err != nil {
			return report, err
		}
		report.Seeds += n
	}
	return report, er.keyring.destroy(ctx, erasure.Patient)
}

func (er *eraser) report(ctx context.Context, report record.ErasureReport) error {
	sig, err := record.Sign(er.cfg.SignKey, report.Digest(er.cfg.Genesis.Network))
	if err != nil {
		return err
	}
	return settled(perform(ctx, er.member, contracts.RegistryReportErasure, record.SignedErasureReport{Report: report, Signature: sig}))
}
