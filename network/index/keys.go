package index

import (
	"fmt"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/consent"
)

// putKeys notes a change of a patient's keys; the patient's record follows in the
// same transaction.
func (ix *Index) putKeys(w write) error {
	s, err := decode[chaincode.KeysState](w)
	if err != nil {
		return err
	}
	p := ix.patients[s.Signed.Change.Patient]
	if p == nil {
		return fmt.Errorf("keys of unknown patient %s", s.Signed.Change.Patient)
	}
	p.changes = append(p.changes, keysChange{at: w.at, tx: w.tx, state: s})
	return nil
}

// revokedAt returns the ledger time of the latest revocation of everything before
// a position, and whether there is one.
func (p *patient) revokedAt(until Position) (int64, bool) {
	for i := len(p.changes) - 1; i >= 0; i-- {
		if c := p.changes[i]; before(c.at, until) && c.state.Signed.Change.RevokeAll {
			return c.state.Time, true
		}
	}
	return 0, false
}

// counts is a version of a consent as it counted before a position: what was
// permitted at or before the latest revocation of everything is revoked. It is the
// contracts' rule.
func (p *patient) counts(v version, until Position) consent.Document {
	if at, ok := p.revokedAt(until); ok && v.time <= at {
		return consent.Withdrawn(v.signed.Document)
	}
	return v.signed.Document
}

// keysEntries is the history of the patient's keys.
func (p *patient) keysEntries() []Entry {
	var out []Entry
	recovery := p.state.Inception.RecoveryHash
	for _, c := range p.changes {
		next := c.state.Signed.Change.RecoveryHash
		e := &KeysEntry{Signed: c.state.Signed, Recovered: next != recovery}
		recovery = next
		out = append(out, Entry{Kind: EntryKeys, Time: c.state.Time, At: c.at, Tx: c.tx, Keys: e})
	}
	return out
}
