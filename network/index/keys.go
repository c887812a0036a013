package index

import (
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
)

// putKeys takes a change of a patient's keys that a key of before has signed. One that
// is not proven changes no keys; what it says to revoke is revoked all the same.
func (pe *people) putKeys(w write) error {
	s, err := decode[state.KeysState](w)
	if err != nil {
		return err
	}
	p, err := pe.owner(s.Signed.Change.Patient)
	if err != nil {
		return err
	}
	s.Time = pe.clock.now
	c := keysChange{at: w.at, tx: w.tx.ID, state: s}
	err = doubt(pe.checkKeys(p, s.Signed))
	if c.unproven = err != nil; c.unproven && !s.Signed.Change.RevokeAll {
		return err
	}
	p.changes = append(p.changes, c)
	if !c.unproven {
		p.state.Keys = &s.Signed.Change
	}
	if s.Signed.Change.RevokeAll {
		p.state.RevokedAt = &s.Time
	}
	return err
}

// checkKeys applies the contracts' rules to a change at its place.
func (pe *people) checkKeys(p *patient, s consent.SignedKeys) error {
	if err := consent.ValidateKeys(s.Change.ConsentKeys, s.Change.RecoveryHash); err != nil {
		return err
	}
	if err := s.Verify(pe.policy.genesis.Network, pe.policy.genesis.RelyingParties, p.state); err != nil {
		return err
	}
	if err := consent.FollowsKeys(pe.policy.genesis.Network, p.state, s); err != nil {
		return err
	}
	if s.ByRecovery(p.state) && p.hadCode(s.Change.RecoveryHash) {
		return refuse("this recovery code was used before")
	}
	return nil
}

// hadCode reports whether a recovery code was the patient's before the one that
// counts now.
func (p *patient) hadCode(hash record.ID) bool {
	return hash == p.state.Inception.RecoveryHash || slices.ContainsFunc(p.changes, func(c keysChange) bool {
		return !c.unproven && c.state.Signed.Change.RecoveryHash == hash
	})
}

// asOf is the patient with the keys that counted before a position.
func (p *patient) asOf(until Position) record.Patient {
	out := p.state
	out.Keys = nil
	for i := range p.changes {
		if c := &p.changes[i]; !c.unproven && before(c.at, until) {
			out.Keys = &c.state.Signed.Change
		}
	}
	return out
}

// revocation returns the latest revocation of everything before a position, nil if
// there is none.
func (p *patient) revocation(until Position) *keysChange {
	for i := len(p.changes) - 1; i >= 0; i-- {
		if c := &p.changes[i]; before(c.at, until) && c.state.Signed.Change.RevokeAll {
			return c
		}
	}
	return nil
}

// counts is a version of a consent as it counted before a position: what was
// permitted before the latest revocation of everything is revoked. It is the
// contracts' rule, by place instead of time: nothing is permitted at the time of a
// revocation after it.
func (p *patient) counts(v version, until Position) consent.Document {
	if r := p.revocation(until); r != nil && before(v.at, r.at) {
		return consent.Withdrawn(v.signed.Document)
	}
	return v.signed.Document
}

// keysEntries is the history of the patient's keys.
func (p *patient) keysEntries() []Entry {
	var out []Entry
	recovery := p.state.Inception.RecoveryHash
	for _, c := range p.changes {
		if c.unproven {
			continue
		}
		next := c.state.Signed.Change.RecoveryHash
		e := &KeysEntry{Signed: c.state.Signed, Recovered: next != recovery}
		recovery = next
		out = append(out, Entry{Kind: EntryKeys, Time: c.state.Time, At: c.at, Tx: c.tx, Keys: e})
	}
	return out
}
