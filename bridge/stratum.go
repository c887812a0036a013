package bridge

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// SetStratum says which of the row schema's strata (privacy.Schema.Strata) the
// patient is in, for hours not yet sealed; an empty name takes that back. It is
// durable on return. Only the device knows: it is stored encrypted, and a sealed
// row does not show which stratum it counts for.
func (d *Device) SetStratum(name string) error {
	if _, err := d.hub.schema.Stratum(name); err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	next := d.state
	next.Stratum = name
	err := d.vault.Update(true, func(b *pebble.Batch) error {
		return d.vault.store(b, d.vault.key(kindState), next)
	})
	if err != nil {
		return d.fail(err)
	}
	d.state = next
	return nil
}

// Stratum returns the stratum that hours are sealed for.
func (d *Device) Stratum() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Stratum == "" {
		return privacy.Unstated
	}
	return d.state.Stratum
}
