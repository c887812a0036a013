package institution

import (
	"context"
	"errors"

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
	if err := errors.Join(in.sums.Clear(), in.clearColumns()); err != nil {
		return err
	}
	if deleted > 0 {
		in.log.Warn("the epoch is retired; its seeds, piece keys and details keys are deleted", "epoch", in.context.Epoch, "entries", deleted)
	}
	return nil
}
