package bridge

import (
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// followEpochs goes from the genesis to the last epoch and puts its members,
// threshold and profile in the place of the genesis's. A gateway that delivers the
// epochs cannot make up members: the threshold of those before have signed.
func (c *Config) followEpochs() error {
	at := c.Genesis.FirstEpoch()
	for _, next := range c.Epochs {
		if err := record.CheckSuccession(c.Genesis.Network, at, next); err != nil {
			return fmt.Errorf("bridge: epochs: %w", err)
		}
		at = next.Epoch
	}
	c.Genesis.Members, c.Genesis.Threshold, c.Genesis.Profile = at.Members, at.Threshold, at.Profile
	return nil
}

// checkEpoch refuses a store with devices of another epoch: their seeds are with
// other members, and what they seal opens with those only.
func (h *Hub) checkEpoch(id record.ID, d record.Device) error {
	if d.Epoch != h.epoch {
		return fmt.Errorf("bridge: device %s is of epoch %d of members, this hub of epoch %d; give each epoch a directory", id.Short(), d.Epoch, h.epoch)
	}
	return nil
}
