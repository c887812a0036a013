package institution

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// erasedName is the vault's note that a device is erased: the number of its seeds
// that were stored here and are deleted. It is written together with the
// deletion, so that a crash after it does not change what is reported.
func erasedName(device record.ID) string { return "erased/" + device.String() }

// detailDuty supplies the index with details of consents that came late, with
// waits that double. While some are missing, this member derives no cohort that
// they could change, and gives no share of one.
type detailDuty struct {
	pause time.Duration
	next  time.Time
}

func (d *detailDuty) bind(in *Institution) func(context.Context) error {
	return func(ctx context.Context) error { return d.work(ctx, in) }
}

func (d *detailDuty) work(ctx context.Context, in *Institution) error {
	before := len(in.index.Missing())
	if before == 0 {
		d.pause = firstPause
		return nil
	}
	if time.Now().Before(d.next) {
		return fault.New(fault.Unavailable, "the details of %d versions of consents have not arrived", before)
	}
	d.next = time.Now().Add(d.pause)
	d.pause = min(2*d.pause, mostPause)
	err := in.index.Reconcile(ctx, in.cfg.Client)
	if len(in.index.Missing()) < before {
		d.pause = firstPause
		in.blocks.fire() // cohorts may be known now
	}
	return err
}

// keepErasures deletes what this process holds of erased patients, first of all in
// its checkpoint, and then reports it. What is left to do is read off the ledger and
// this process's own notes, so it is done after a crash, and again after the state was
// restored from a copy that still has the seeds.
func (in *Institution) keepErasures(ctx context.Context) error {
	erasures := in.index.Erasures(0)
	if err := in.forgetInCheckpoint(len(erasures)); err != nil {
		return err
	}
	if in.ended() {
		return nil // all seeds go with the epoch
	}
	var all error
	for _, e := range erasures {
		mine := in.served(e.State.Devices)
		if len(mine) == 0 && len(e.State.Devices) > 0 {
			continue // another process of this member's holds their seeds, if any does
		}
		gone, err := in.noted(mine)
		if err == nil && !(gone && in.reported(e)) {
			err = in.eraseAndReport(ctx, e.State, mine)
		}
		all = errors.Join(all, err)
	}
	return all
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

// noted reports whether the vault says of all devices that they are erased.
func (in *Institution) noted(devices []record.ID) (bool, error) {
	for _, id := range devices {
		if _, found, err := in.vault.get(erasedName(id)); err != nil || !found {
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

func (in *Institution) eraseAndReport(ctx context.Context, state record.ErasureState, mine []record.ID) error {
	erasure := state.Signed.Erasure
	report := record.ErasureReport{
		Patient: erasure.Patient, Erasure: erasure.Digest(in.cfg.Genesis.Network), Member: in.self.MSP,
		Epoch: in.context.Epoch, Devices: mine,
	}
	for _, device := range mine {
		n, err := in.forgetDevice(device)
		if err != nil {
			return err
		}
		report.Seeds += n
	}
	sig, err := record.Sign(in.cfg.SignKey, report.Digest(in.cfg.Genesis.Network))
	if err != nil {
		return err
	}
	return settled(in.perform(ctx, "Registry:ReportErasure", record.SignedErasureReport{Report: report, Signature: sig}))
}

// forgetDevice deletes everything secret that this member has of a device, and
// returns how many seeds that were: first on disk, then in memory. From then on
// neither seeds nor anything made from them is stored or kept again.
func (in *Institution) forgetDevice(device record.ID) (int, error) {
	in.seeding.Lock()
	defer in.seeding.Unlock()
	n, err := in.deleteSeeds(device)
	if err != nil {
		return 0, err
	}
	return n, in.dropDevice(device)
}

func (in *Institution) deleteSeeds(device record.ID) (int, error) {
	raw, done, err := in.vault.get(erasedName(device))
	if err != nil {
		return 0, err
	}
	n := 0
	if done {
		return n, json.Unmarshal(raw, &n)
	}
	var names []string
	for _, piece := range in.params.Sharing().Held(in.cfg.Member) {
		name := seedName(device, piece)
		_, found, err := in.vault.get(name)
		if err != nil {
			return 0, err
		}
		if found {
			n++
		}
		names = append(names, name)
	}
	note, err := json.Marshal(n)
	if err != nil {
		return 0, err
	}
	return n, in.vault.replace(names, entry{erasedName(device), note})
}

// mayStore reports whether seeds of a device may be stored. The caller holds
// seeding.
func (in *Institution) mayStore(d record.DeviceState) (bool, error) {
	if in.index.Erased(d.Device.Patient) {
		return false, nil
	}
	_, erased, err := in.vault.get(erasedName(d.ID))
	return !erased, err
}

// erasedDevice says why nothing secret of a device is here.
func erasedDevice(device record.ID) error {
	return fault.New(fault.Conflict, "device %s is erased", device.Short())
}
