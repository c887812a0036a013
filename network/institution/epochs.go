package institution

import (
	"context"
	"errors"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// inEpoch puts the epoch's members, threshold and profile in the place of the
// genesis's, which are epoch 0's: all that shares secrets goes by them.
func (c *Config) inEpoch() {
	if len(c.Epoch.Members) == 0 {
		c.Epoch = c.Genesis.FirstEpoch()
	}
	c.Genesis.Members, c.Genesis.Threshold, c.Genesis.Profile = c.Epoch.Members, c.Epoch.Threshold, c.Epoch.Profile
}

// checkEpoch reports whether the ledger has this process's epoch. Where it has
// another one under that number, this member's keys must not be used.
func (in *Institution) checkEpoch() error {
	s, err := in.index.Epoch(in.context.Epoch)
	if err != nil {
		return fault.New(fault.Unavailable, "epoch %d has not begun yet", in.context.Epoch)
	}
	if s.Epoch.Digest(in.genesis.Network) != in.cfg.Epoch.Digest(in.genesis.Network) {
		return fault.New(fault.Conflict, "the ledger's epoch %d is not the one this member was configured with", in.context.Epoch)
	}
	return nil
}

// mine refuses queries that this process does not answer: those about devices of
// another epoch, whose seeds it does not hold, and all once its own is retired.
func (in *Institution) mine(q record.QueryState) error {
	if q.Ask.Epoch != in.context.Epoch {
		return fault.New(fault.Conflict, "query %s is about devices of epoch %d; this process of %s serves epoch %d", q.ID, q.Ask.Epoch, in.self.MSP, in.context.Epoch)
	}
	if err := in.checkEpoch(); err != nil {
		return err
	}
	_, err := in.index.Living(in.context.Epoch)
	return err
}

// serves reports whether a device is of this process's epoch.
func (in *Institution) serves(device record.ID) bool {
	s, _, _, known := in.index.Device(device)
	return known && s.Device.Epoch == in.context.Epoch
}

// ended reports whether this process's epoch is retired.
func (in *Institution) ended() bool {
	_, err := in.index.Living(in.context.Epoch)
	return fault.Of(err) == fault.Expired
}

// keepEpoch deletes what opens the epoch's devices once it is retired. Answers
// stay: they are evidence, and sealed to who asked.
func (in *Institution) keepEpoch(ctx context.Context) error {
	if !in.ended() {
		return nil
	}
	deleted := 0
	for _, prefix := range []string{store.Seeds, store.PieceKeys, store.Details} {
		names, err := in.vault.Names(prefix)
		if err != nil {
			return err
		}
		if err := in.vault.Replace(ctx, names); err != nil {
			return err
		}
		deleted += len(names)
	}
	if err := errors.Join(in.sums.Clear(), in.columns.Clear()); err != nil {
		return err
	}
	if deleted > 0 {
		in.log.Warn("the epoch is retired; its seeds, piece keys and details keys are deleted", "epoch", in.context.Epoch, "entries", deleted)
	}
	return nil
}

// complain puts a device into quarantine on the evidence of its own seed blob.
func (in *Institution) complain(ctx context.Context, d record.DeviceState) error {
	blob, err := in.blob(ctx, d.Device.SeedBlob)
	if err != nil {
		return err
	}
	piece, proof, err := in.params.ComplainSeeds(in.context, d.ID, in.cfg.Member, in.self, in.cfg.Keys.Seed, blob, d.Device.SeedHashes)
	if err != nil {
		return err
	}
	return perform(ctx, in, contracts.RegistryComplain, record.Complain{Device: d.ID, Piece: piece, Blob: blob, Proof: proof})
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

// VoteQuarantine votes that a device be put into quarantine, or come out of it.
func (in *Institution) VoteQuarantine(ctx context.Context, v record.VoteQuarantine) error {
	return perform(ctx, in, contracts.RegistryVoteQuarantine, v)
}
