package institution

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// seedDuty opens the seeds of new devices, stores them and acknowledges them.
// What is acknowledged is on disk.
type seedDuty struct {
	next    int // devices before this one were looked at
	waiting backlog[record.DeviceState]
}

func (d *seedDuty) bind(in *Institution) func(context.Context) error {
	return func(ctx context.Context) error { return d.work(ctx, in) }
}

func (d *seedDuty) work(ctx context.Context, in *Institution) error {
	if in.ended() {
		return nil
	}
	fresh := in.index.Devices(d.next)
	d.next += len(fresh)
	for part := range slices.Chunk(d.waiting.take(fresh), record.MaxBatch) {
		held, later := in.openSeeds(ctx, part)
		if len(held) > 0 {
			if err := perform(ctx, in, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: held}); err != nil {
				in.log.Warn("seeds could not be acknowledged; trying again", "err", err)
				later = part
			}
		}
		d.waiting.keep(later)
	}
	return d.waiting.err("seeds")
}

// openSeeds returns the devices whose seeds are on disk now and those to try
// again. A device whose seeds do not open is complained about, and then in
// neither: it never counts, and nothing that it could do later changes that.
func (in *Institution) openSeeds(ctx context.Context, devices []record.DeviceState) ([]record.ID, []record.DeviceState) {
	var held []record.ID
	var opened, later []record.DeviceState
	var entries []store.Entry
	for _, d := range devices {
		if d.Device.Epoch != in.context.Epoch || in.index.Acknowledged(d.ID, in.self.MSP) || in.index.Erased(d.Device.Patient) {
			continue
		}
		got, err := in.openDevice(ctx, d)
		switch {
		case errors.Is(err, he.ErrBox):
			in.log.Warn("the seeds of a device do not open; it is not acknowledged", "device", d.ID.Short(), "err", err)
			if err := in.complain(ctx, d); err != nil {
				in.log.Warn("the complaint could not be made", "device", d.ID.Short(), "err", err)
				if worthRetry(err) {
					later = append(later, d)
				}
			}
		case err != nil:
			in.log.Debug("seeds are not there yet", "device", d.ID.Short(), "err", err)
			later = append(later, d)
		default:
			opened, entries = append(opened, d), append(entries, got...)
			held = append(held, d.ID)
		}
	}
	if err := in.storeSeeds(opened, entries); err != nil {
		in.log.Error("seeds could not be stored", "err", err)
		return nil, append(later, opened...)
	}
	return held, later
}

// storeSeeds stores seeds, unless one of the devices has been erased meanwhile.
func (in *Institution) storeSeeds(devices []record.DeviceState, entries []store.Entry) error {
	in.seeding.Lock()
	defer in.seeding.Unlock()
	for _, d := range devices {
		if ok, err := in.mayStore(d); !ok || err != nil {
			return errors.Join(err, erasedDevice(d.ID))
		}
	}
	return in.vault.PutAll(entries...)
}

func (in *Institution) openDevice(ctx context.Context, d record.DeviceState) ([]store.Entry, error) {
	blob, err := in.blob(ctx, d.Device.SeedBlob)
	if err != nil {
		return nil, err
	}
	seeds, err := in.params.OpenSeeds(in.context, d.ID, in.cfg.Member, in.self, in.cfg.Keys.Seed, blob, d.Device.SeedHashes)
	if err != nil {
		return nil, err
	}
	var out []store.Entry
	for _, piece := range in.params.Sharing().Held(in.cfg.Member) {
		seed := seeds[piece]
		out = append(out, store.Entry{Name: store.Seed(d.ID, piece), Value: seed[:]})
	}
	return out, nil
}

// blob fetches a blob and checks that it is the one with this hash.
func (in *Institution) blob(ctx context.Context, id record.ID) ([]byte, error) {
	b, err := in.cfg.Blobs.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", id.Short(), err)
	}
	if record.SumID(b) != id {
		return nil, fault.New(fault.Invalid, "blob %s has other contents than its name says", id.Short())
	}
	return b, nil
}
