package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Bounds of how often a patient's keys ever change. Recoveries have room of their
// own, so that a thief of a consent key cannot use all of it up. Who has reached
// both can still revoke each consent, and be erased.
const (
	maxKeyChanges = 1000
	maxRecovered  = 1024
)

// ChangeKeys records a change of a patient's keys (consent.SignedKeys,
// record.Patient) that a consent key or the recovery key signed. Nothing keeps a
// patient from stopping: whatever revokes, takes keys away or recovers is taken
// whatever the transaction's timestamp; a consent key that only adds keys is not.
func (*Registry) ChangeKeys(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, changeKeys)
}

func changeKeys(c *call, s consent.SignedKeys) (*record.Patient, error) {
	if err := consent.ValidateKeys(s.Change.ConsentKeys, s.Change.RecoveryHash); err != nil {
		return nil, fault.New(fault.Invalid, "keys: %w", err)
	}
	p, err := c.patient(s.Change.Patient)
	if err != nil {
		return nil, err
	}
	network := c.genesis.Network
	recorded := new(state.KeysState)
	exists, err := c.get(state.KeysKey(p.ID, s.Change.Version), recorded)
	if err != nil {
		return nil, err
	}
	if exists && recorded.Signed.Change.Digest(network) == s.Change.Digest(network) {
		return p, nil // whichever keys count by now
	}
	if err := notErased(p); err != nil {
		return nil, err
	}
	if err := s.Verify(network, c.genesis.RelyingParties, *p); err != nil {
		return nil, fault.New(fault.BadSignature, "%w", err)
	}
	if err := consent.FollowsKeys(network, *p, s); err != nil {
		return nil, fault.New(fault.Conflict, "keys of patient %s: %w", p.ID.Short(), err)
	}
	if err := checkKeyChanges(p, s); err != nil {
		return nil, err
	}
	if !s.Change.RevokeAll && !s.ByRecovery(*p) && s.Adds(*p) {
		if err := c.checkTimestamp(); err != nil {
			return nil, err
		}
	}
	if err := c.useRecovery(p, s); err != nil {
		return nil, err
	}
	return c.recordKeys(p, s)
}

func checkKeyChanges(p *record.Patient, s consent.SignedKeys) error {
	most := uint32(maxKeyChanges)
	if s.ByRecovery(*p) {
		most = maxRecovered
	}
	if s.Change.Version <= most {
		return nil
	}
	return fault.New(fault.Exhausted, "the keys of patient %s have changed %d times, which is the limit; consents can still be revoked, and the patient erased", p.ID.Short(), s.Change.Version-1)
}

// useRecovery notes the recovery hash that a recovery replaces: a code that was
// written down and used counts never again.
func (c *call) useRecovery(p *record.Patient, s consent.SignedKeys) error {
	if !s.ByRecovery(*p) {
		return nil
	}
	used, err := c.get(state.RecoveryKey(p.ID, s.Change.RecoveryHash), new(uint32))
	if err != nil {
		return err
	}
	if used {
		return fault.New(fault.Conflict, "this recovery code was used before; name the hash of a new one")
	}
	return c.put(state.RecoveryKey(p.ID, p.RecoveryHash()), s.Change.Version)
}

func (c *call) recordKeys(p *record.Patient, s consent.SignedKeys) (*record.Patient, error) {
	now, err := c.now()
	if err != nil {
		return nil, err
	}
	p.Keys = &s.Change
	if s.Change.RevokeAll {
		at, err := c.latestConsent(p.ID, now)
		if err != nil {
			return nil, err
		}
		p.RevokedAt = &at
	}
	if err := c.put(state.KeysKey(p.ID, s.Change.Version), state.KeysState{Signed: s, Time: now}); err != nil {
		return nil, err
	}
	return p, c.put(state.PatientKey(p.ID), p)
}

// latestConsent returns now or, where ledger time was ever set back, the time of a
// patient's latest consent if that is later: what was permitted before is revoked.
func (c *call) latestConsent(patient record.ID, now int64) (int64, error) {
	back, err := c.get(state.ClockKey(), new(record.ClockState))
	if err != nil || !back {
		return now, err
	}
	heads, err := c.heads(patient)
	for _, h := range heads {
		now = max(now, h.Time)
	}
	return now, err
}

// counts is a recorded consent as it counts now: what its patient permitted at or
// before the latest revocation of everything is revoked.
func counts(p *record.Patient, s state.ConsentState) consent.Document {
	if p.RevokedSince(s.Time) {
		return consent.Withdrawn(s.Signed.Document)
	}
	return s.Signed.Document
}
