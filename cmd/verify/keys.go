package verify

import (
	"context"
	"reflect"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// rekeyed is a change of a patient's keys with the patient before it.
type rekeyed struct {
	signed consent.SignedKeys
	before record.Patient
}

// takeKeys notes a change of keys and what it makes of the patient's record, which
// comes next in the same transaction.
func (c *checker) takeKeys(s state.KeysState) {
	p := c.patients[s.Signed.Change.Patient]
	c.changes = append(c.changes, rekeyed{s.Signed, p})
	p.Keys = &s.Signed.Change
	if s.Signed.Change.RevokeAll {
		p.RevokedAt = &s.Time
	}
	c.patients[p.ID] = p
}

// takeErasure notes an erasure with the patient whose keys count for it.
func (c *checker) takeErasure(s record.ErasureState) {
	p := c.patients[s.Signed.Erasure.Patient]
	c.erased[p.ID] = p
	p.Erased = true
	c.patients[p.ID] = p
}

// takePatient notes a patient's record; one that was there changes by changes of
// its keys and by its erasure only.
func (c *checker) takePatient(p record.Patient) {
	if before, known := c.patients[p.ID]; known && !reflect.DeepEqual(before, p) {
		c.wrong("patient %s: the record is not what the changes of its keys make of it", p.ID)
	}
	c.patients[p.ID] = p
}

// keys checks every change of keys against the keys before it, and that no recovery
// code counted twice.
func (c *checker) keys(context.Context) int {
	used := map[[2]record.ID]bool{}
	for _, k := range c.changes {
		p, change := k.before, k.signed.Change
		if err := k.signed.Verify(c.genesis.Network, c.genesis.RelyingParties, p); err != nil {
			c.wrong("patient %s, change %d of keys: %v", change.Patient, change.Version, err)
		}
		if err := consent.FollowsKeys(c.genesis.Network, p, k.signed); err != nil {
			c.wrong("patient %s, change %d of keys: %v", change.Patient, change.Version, err)
		}
		if err := consent.ValidateKeys(change.ConsentKeys, change.RecoveryHash); err != nil {
			c.wrong("patient %s, change %d of keys: %v", change.Patient, change.Version, err)
		}
		if change.RecoveryHash == p.RecoveryHash() {
			continue
		}
		used[[2]record.ID{p.ID, p.RecoveryHash()}] = true
		if used[[2]record.ID{p.ID, change.RecoveryHash}] {
			c.wrong("patient %s, change %d of keys: its recovery code was used before", change.Patient, change.Version)
		}
	}
	return len(c.changes)
}
