package institution

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// keepErasures deletes what this process holds of erased patients, first of all in
// its checkpoint, and then reports it. What is left to do is read off the ledger and
// this process's own notes, so it is done after a crash, and again after the state was
// restored from a copy that still has the secrets.
func (in *Institution) keepErasures(ctx context.Context) error {
	erasures := in.index.Erasures(0)
	if err := in.Forget(ctx, len(erasures)); err != nil {
		return err
	}
	var all error
	for _, e := range erasures {
		if patient := e.State.Signed.Erasure.Patient; !in.settled[patient] {
			all = errors.Join(all, in.settleErasure(ctx, e))
		}
	}
	return all
}

// settleErasure deletes and reports what has not been.
func (in *Institution) settleErasure(ctx context.Context, e record.ErasureReceipt) error {
	patient := e.State.Signed.Erasure.Patient
	mine := in.served(e.State.Devices)
	gone, err := in.noted(patient, mine)
	if err != nil {
		return err
	}
	// All seeds and keys go with the epoch, so a retired one owes no report.
	owes := slices.Contains(e.State.Epochs, in.context.Epoch) && !in.ended()
	if gone && (!owes || in.reported(e)) {
		in.settled[patient] = true
		return nil
	}
	report, err := in.erasePatient(ctx, e.State, mine)
	if err != nil || !owes || in.reported(e) {
		return err
	}
	return in.reportErasure(ctx, report)
}

// served returns the devices of this process's epoch.
func (in *Institution) served(devices []record.ID) []record.ID {
	mine := []record.ID{}
	for _, id := range devices {
		if in.serves(id) {
			mine = append(mine, id)
		}
	}
	return mine
}

// noted reports whether the vault says of the patient and all devices that they are
// erased.
func (in *Institution) noted(patient record.ID, devices []record.ID) (bool, error) {
	names := []string{store.Gone(patient)}
	for _, id := range devices {
		names = append(names, store.Erased(id))
	}
	for _, name := range names {
		if _, found, err := in.vault.Get(name); err != nil || !found {
			return false, err
		}
	}
	return true, nil
}

func (in *Institution) reported(e record.ErasureReceipt) bool {
	return slices.ContainsFunc(e.Reports, func(s record.SignedErasureReport) bool {
		return s.Report.Member == in.self.MSP && s.Report.Epoch == in.context.Epoch
	})
}

// erasePatient deletes the seeds of a patient's devices and what was made of them, and
// then the details key, and returns the report of it.
func (in *Institution) erasePatient(ctx context.Context, state record.ErasureState, mine []record.ID) (record.ErasureReport, error) {
	erasure := state.Signed.Erasure
	report := record.ErasureReport{
		Patient: erasure.Patient, Erasure: erasure.Digest(in.cfg.Genesis.Network), Member: in.self.MSP,
		Epoch: in.context.Epoch, Devices: mine,
	}
	for _, device := range mine {
		n, err := in.forgetDevice(ctx, device)
		if err != nil {
			return report, err
		}
		report.Seeds += n
	}
	return report, in.destroyKey(ctx, erasure.Patient)
}

// destroyKey deletes a patient's details key and, when it is in no file any more,
// writes the note that it is gone. The index has read of the erasure, so it is not
// stored again.
func (in *Institution) destroyKey(ctx context.Context, patient record.ID) error {
	in.seeding.Lock()
	defer in.seeding.Unlock()
	if err := in.vault.Replace(ctx, []string{store.DetailsKey(patient)}); err != nil {
		return err
	}
	return in.vault.Put(store.Gone(patient), []byte{})
}

func (in *Institution) reportErasure(ctx context.Context, report record.ErasureReport) error {
	sig, err := record.Sign(in.cfg.SignKey, report.Digest(in.cfg.Genesis.Network))
	if err != nil {
		return err
	}
	return settled(perform(ctx, in, contracts.RegistryReportErasure, record.SignedErasureReport{Report: report, Signature: sig}))
}

// forgetDevice deletes everything secret that this member has of a device, and
// returns how many seeds that were: first on disk, then in memory. From then on
// neither seeds nor anything made from them is stored or kept again.
func (in *Institution) forgetDevice(ctx context.Context, device record.ID) (int, error) {
	in.seeding.Lock()
	defer in.seeding.Unlock()
	n, err := in.deleteSeeds(ctx, device)
	if err != nil {
		return 0, err
	}
	return n, in.dropDevice(device)
}

// deleteSeeds deletes a device's seeds, and writes how many there were before it makes
// sure that they are in no file: a crash in between does not change the number.
func (in *Institution) deleteSeeds(ctx context.Context, device record.ID) (int, error) {
	var names []string
	n := 0
	for _, piece := range in.params.Sharing().Held(in.cfg.Member) {
		name := store.Seed(device, piece)
		_, found, err := in.vault.Get(name)
		if err != nil {
			return 0, err
		}
		if found {
			n++
		}
		names = append(names, name)
	}
	raw, done, err := in.vault.Get(store.Erased(device))
	if err != nil {
		return 0, err
	}
	if done {
		if err := json.Unmarshal(raw, &n); err != nil {
			return 0, err
		}
	}
	note, err := json.Marshal(n)
	if err != nil {
		return 0, err
	}
	return n, in.vault.Replace(ctx, names, store.Entry{Name: store.Erased(device), Value: note})
}

// mayStore reports whether seeds of a device may be stored. The caller holds
// seeding.
func (in *Institution) mayStore(d record.DeviceState) (bool, error) {
	if in.index.Erased(d.Device.Patient) {
		return false, nil
	}
	_, erased, err := in.vault.Get(store.Erased(d.ID))
	return !erased, err
}

// erasedDevice says why nothing secret of a device is here.
func erasedDevice(device record.ID) error {
	return fault.New(fault.Conflict, "device %s is erased", device.Short())
}
