package verify

import (
	"reflect"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// placed is a version of a consent with its patient as the ledger had it at that
// place: keys change, and what the old ones signed stays signed.
type placed struct {
	signed  consent.Signed
	patient record.Patient
}

// takeKeys checks a change of keys against those before it, and what it makes of
// the patient's record, which comes next in the same transaction.
func (c *checker) takeKeys(s chaincode.KeysState) {
	change := s.Signed.Change
	p, known := c.patients[change.Patient]
	if !known {
		c.wrong("keys of patient %s, who is not enrolled", change.Patient)
		return
	}
	c.changes++
	if err := s.Signed.Verify(c.genesis.Network, c.genesis.RelyingParties, p); err != nil {
		c.wrong("patient %s, change %d of keys: %v", p.ID, change.Version, err)
	}
	if err := consent.FollowsKeys(c.genesis.Network, p, s.Signed); err != nil {
		c.wrong("patient %s, change %d of keys: %v", p.ID, change.Version, err)
	}
	if err := consent.ValidateKeys(change.ConsentKeys, change.RecoveryHash); err != nil {
		c.wrong("patient %s, change %d of keys: %v", p.ID, change.Version, err)
	}
	p.Keys = &change
	if change.RevokeAll {
		p.RevokedAt = &s.Time
	}
	c.patients[p.ID] = p
}

// takePatient notes a patient's record; one that was there changes by changes of
// its keys only.
func (c *checker) takePatient(p record.Patient) {
	if before, known := c.patients[p.ID]; known && !reflect.DeepEqual(before, p) {
		c.wrong("patient %s: the record is not what the changes of its keys make of it", p.ID)
	}
	c.patients[p.ID] = p
}
