package bridge

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// SetStratum says which of the strata of the network's rows, of hours or of days
// (privacy.Schema.Strata), the patient is in, for what is not yet sealed; an empty name
// takes that back. It is
// durable on return. Only the device knows: it is stored encrypted, and a sealed
// row does not show which stratum it counts for.
func (d *Device) SetStratum(name string) error {
	_, err := d.hub.schema.Stratum(name)
	if day := d.hub.schema.Day(); err != nil && day != nil {
		_, err = day.Stratum(name)
	}
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	next := d.state
	next.Stratum = name
	err = d.vault.Update(true, func(b *pebble.Batch) error {
		return d.vault.store(b, d.vault.key(kindState), next)
	})
	if err != nil {
		return d.fail(err)
	}
	d.state = next
	return nil
}

// Stratum returns the stratum that rows are sealed for.
func (d *Device) Stratum() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Stratum == "" {
		return privacy.Unstated
	}
	return d.state.Stratum
}

// stratumIn is the place of a stratum in the rows of a schema; without strata all are one.
func stratumIn(s *privacy.Schema, name string) (int, error) {
	if len(s.Strata()) == 0 {
		return 0, nil
	}
	return s.Stratum(name)
}
