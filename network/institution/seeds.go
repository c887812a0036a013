package institution

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// seedKeeper has the seeds of devices. What is acknowledged is on disk; once a device is
// forgotten, neither its seeds nor anything made from them is stored again.
type seedKeeper struct {
	*member
	next    int // devices before this one were looked at
	waiting backlog[record.DeviceState]

	mu sync.Mutex // while seeds are stored, or deleted for good
}

// work opens the seeds of new devices, stores them and acknowledges them.
// What is acknowledged is on disk.
func (se *seedKeeper) work(ctx context.Context) error {
	if se.ended() {
		return nil
	}
	fresh := se.index.Devices(se.next)
	se.next += len(fresh)
	for part := range slices.Chunk(se.waiting.take(fresh), record.MaxBatch) {
		held, later := se.openSeeds(ctx, part)
		if len(held) > 0 {
			if err := perform(ctx, se.member, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: held}); err != nil {
				se.log.Warn("seeds could not be acknowledged; trying again", "err", err)
				later = part
			}
		}
		se.waiting.keep(later)
	}
	return se.waiting.err("seeds")
}

// openSeeds returns the devices whose seeds are on disk now and those to try
// again. A device whose seeds do not open is complained about, and then in
// neither: it never counts, and nothing that it could do later changes that.
func (se *seedKeeper) openSeeds(ctx context.Context, devices []record.DeviceState) ([]record.ID, []record.DeviceState) {
	var held []record.ID
	var opened, later []record.DeviceState
	var entries []store.Entry
	for _, d := range devices {
		if d.Device.Epoch != se.context.Epoch || se.index.Acknowledged(d.ID, se.self.MSP) || se.index.Erased(d.Device.Patient) {
			continue
		}
		got, err := se.openDevice(ctx, d)
		switch {
		case errors.Is(err, he.ErrBox):
			se.log.Warn("the seeds of a device do not open; it is not acknowledged", "device", d.ID.Short(), "err", err)
			if err := se.complain(ctx, d); err != nil {
				se.log.Warn("the complaint could not be made", "device", d.ID.Short(), "err", err)
				if worthRetry(err) {
					later = append(later, d)
				}
			}
		case err != nil:
			se.log.Debug("seeds are not there yet", "device", d.ID.Short(), "err", err)
			later = append(later, d)
		default:
			opened, entries = append(opened, d), append(entries, got...)
			held = append(held, d.ID)
		}
	}
	if err := se.store(opened, entries); err != nil {
		se.log.Error("seeds could not be stored", "err", err)
		return nil, append(later, opened...)
	}
	return held, later
}

// store stores seeds, unless one of the devices has been erased meanwhile.
func (se *seedKeeper) store(devices []record.DeviceState, entries []store.Entry) error {
	se.mu.Lock()
	defer se.mu.Unlock()
	for _, d := range devices {
		if ok, err := se.mayStore(d); !ok || err != nil {
			return errors.Join(err, erasedDevice(d.ID))
		}
	}
	return se.vault.PutAll(entries...)
}

func (se *seedKeeper) openDevice(ctx context.Context, d record.DeviceState) ([]store.Entry, error) {
	blob, err := se.blob(ctx, d.Device.SeedBlob)
	if err != nil {
		return nil, err
	}
	seeds, err := se.params.OpenSeeds(se.context, d.ID, se.cfg.Member, se.self, se.cfg.Keys.Seed, blob, d.Device.SeedHashes)
	if err != nil {
		return nil, err
	}
	var out []store.Entry
	for _, piece := range se.params.Sharing().Held(se.cfg.Member) {
		seed := seeds[piece]
		out = append(out, store.Entry{Name: store.Seed(d.ID, piece), Value: seed[:]})
	}
	return out, nil
}

// complain puts a device into quarantine on the evidence of its own seed blob.
func (se *seedKeeper) complain(ctx context.Context, d record.DeviceState) error {
	blob, err := se.blob(ctx, d.Device.SeedBlob)
	if err != nil {
		return err
	}
	piece, proof, err := se.params.ComplainSeeds(se.context, d.ID, se.cfg.Member, se.self, se.cfg.Keys.Seed, blob, d.Device.SeedHashes)
	if err != nil {
		return err
	}
	return perform(ctx, se.member, contracts.RegistryComplain, record.Complain{Device: d.ID, Piece: piece, Blob: blob, Proof: proof})
}

// worthRetry reports whether a complaint that failed may succeed later. One that
// the ledger refuses, for a blob over its limit for example, is left to a vote.
func worthRetry(err error) bool {
	if errors.Is(err, opening.ErrSound) {
		return false
	}
	switch fault.Of(err) {
	case fault.Invalid, fault.Forbidden, fault.NotFound, fault.Conflict, fault.BadSignature, fault.TooLarge:
		return false
	}
	return true
}

// forget deletes everything secret that this member has of a device, and
// returns how many seeds that were: first on disk, then in memory. From then on
// neither seeds nor anything made from them is stored or kept again.
func (se *seedKeeper) forget(ctx context.Context, device record.ID) (int, error) {
	se.mu.Lock()
	defer se.mu.Unlock()
	n, err := se.deleteSeeds(ctx, device)
	if err != nil {
		return 0, err
	}
	return n, se.drop(device)
}

// deleteSeeds deletes a device's seeds, and writes how many there were before it makes
// sure that they are in no file: a crash in between does not change the number.
func (se *seedKeeper) deleteSeeds(ctx context.Context, device record.ID) (int, error) {
	var names []string
	n := 0
	for _, piece := range se.params.Sharing().Held(se.cfg.Member) {
		name := store.Seed(device, piece)
		_, found, err := se.vault.Get(name)
		if err != nil {
			return 0, err
		}
		if found {
			n++
		}
		names = append(names, name)
	}
	raw, done, err := se.vault.Get(store.Erased(device))
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
	return n, se.vault.Replace(ctx, names, store.Entry{Name: store.Erased(device), Value: note})
}

// mayStore reports whether seeds of a device may be stored. The caller holds
// mu.
func (se *seedKeeper) mayStore(d record.DeviceState) (bool, error) {
	if se.index.Erased(d.Device.Patient) {
		return false, nil
	}
	_, erased, err := se.vault.Get(store.Erased(d.ID))
	return !erased, err
}

// erasedDevice says why nothing secret of a device is here.
func erasedDevice(device record.ID) error {
	return fault.New(fault.Conflict, "device %s is erased", device.Short())
}

// drop forgets what is computed from a device's seeds and what is kept of
// its rows. Erasure calls it once the seeds themselves are gone.
func (se *seedKeeper) drop(device record.ID) error {
	return errors.Join(se.sums.Drop(device), se.dropColumns(device))
}
