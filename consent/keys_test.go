package consent

import (
	"crypto/ecdsa"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

// rekeyed is a patient with a first change of keys that a key signed.
func rekeyed(t *testing.T, in record.Inception, by *ecdsa.PrivateKey, change func(*record.PatientKeys)) (record.Patient, SignedKeys) {
	t.Helper()
	p := patient(in)
	c := record.PatientKeys{Patient: p.ID, Version: 1, ConsentKeys: in.ConsentKeys, RecoveryHash: in.RecoveryHash}
	change(&c)
	sig, err := record.Sign(by, c.Digest(network))
	if err != nil {
		t.Fatal(err)
	}
	return p, SignedKeys{Change: c, Key: record.PublicKeyBytes(&by.PublicKey), Signature: sig}
}

func TestWhoMayChangeWhichKeys(t *testing.T) {
	first, firstPub := newKey(t)
	recovery, recoveryPub := newKey(t)
	stranger, strangerPub := newKey(t)
	in := record.Inception{ConsentKeys: [][]byte{firstPub}, RecoveryHash: RecoveryHash(recoveryPub), Salt: record.RandomID()}
	fresh := func(c *record.PatientKeys) { c.RecoveryHash = record.RandomID() }
	for name, c := range map[string]struct {
		by                *ecdsa.PrivateKey
		change            func(*record.PatientKeys)
		signs, follows    bool
		recovers, enlarge bool
	}{
		"a consent key adds one":           {first, func(c *record.PatientKeys) { c.ConsentKeys = append(slices.Clip(c.ConsentKeys), strangerPub) }, true, true, false, true},
		"a consent key revokes everything": {first, func(c *record.PatientKeys) { c.RevokeAll = true }, true, true, false, false},
		"a consent key takes the recovery": {first, fresh, true, false, false, false},
		"the recovery key with a new code": {recovery, fresh, true, true, true, false},
		"the recovery key with the same":   {recovery, func(*record.PatientKeys) {}, true, false, true, false},
		"a stranger":                       {stranger, func(*record.PatientKeys) {}, false, true, false, false},
		"another patient's":                {first, func(c *record.PatientKeys) { c.Patient[0]++ }, false, true, false, false},
		"a skipped version":                {first, func(c *record.PatientKeys) { c.Version = 2 }, true, false, false, false},
		"another past":                     {first, func(c *record.PatientKeys) { c.Previous[0]++ }, true, false, false, false},
	} {
		p, s := rekeyed(t, in, c.by, c.change)
		err := s.Verify(network, nil, p)
		if (err == nil) != c.signs || err != nil && !errors.Is(err, record.ErrSignature) {
			t.Errorf("%s: the signature: %v", name, err)
		}
		if err := FollowsKeys(network, p, s); (err == nil) != c.follows {
			t.Errorf("%s: what follows: %v", name, err)
		}
		if s.ByRecovery(p) != c.recovers || s.Adds(p) != c.enlarge {
			t.Errorf("%s: recovers %t, adds %t", name, s.ByRecovery(p), s.Adds(p))
		}
		s.Change.RevokeAll = !s.Change.RevokeAll
		if err := s.CheckSignature(network, nil); !errors.Is(err, record.ErrSignature) {
			t.Errorf("%s, altered: %v", name, err)
		}
	}
}

func TestOnlyTheKeysOfNowSignConsents(t *testing.T) {
	first, firstPub := newKey(t)
	second, secondPub := newKey(t)
	recovery, recoveryPub := newKey(t)
	in := record.Inception{ConsentKeys: [][]byte{firstPub}, RecoveryHash: record.RandomID(), Salt: record.RandomID()}
	p := patient(in)
	p.Keys = &record.PatientKeys{Patient: p.ID, Version: 1, ConsentKeys: [][]byte{secondPub}, RecoveryHash: RecoveryHash(recoveryPub)}
	grant := changed(permit(), func(d *Document) { d.Patient = p.ID })
	revocation := changed(grant, func(d *Document) { d.Version, d.Previous, d.Status = 2, grant.Digest(network), StatusRevoked })
	for name, c := range map[string]struct {
		s  Signed
		ok bool
	}{
		"the old key":              {signed(t, grant, first), false},
		"the new key":              {signed(t, grant, second), true},
		"the recovery key of now":  {signed(t, revocation, recovery), true},
		"the old key's revocation": {signed(t, revocation, first), false},
	} {
		if err := c.s.Verify(network, nil, p); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttackAssertionForAnotherChangeOfKeys(t *testing.T) {
	a := newAuthenticator(t)
	pub := record.PublicKeyBytes(&a.key.PublicKey)
	in := record.Inception{ConsentKeys: [][]byte{pub}, RecoveryHash: record.RandomID(), Salt: record.RandomID()}
	p, s := rekeyed(t, in, a.key, func(*record.PatientKeys) {})
	a.challenge = func(Document) string { return s.Challenge(network) }
	made := a.sign(permit())
	s.Signature, s.Assertion = made.Signature, made.Assertion
	if err := s.Verify(network, parties(), p); err != nil {
		t.Fatal(err)
	}
	s.Change.RevokeAll = true
	if err := s.Verify(network, parties(), p); err == nil || !strings.Contains(err.Error(), "another challenge") {
		t.Errorf("for another change: %v", err)
	}
}
