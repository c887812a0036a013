package chaincode_test

import (
	"crypto/ecdsa"
	"slices"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const changeKeys = "Registry:ChangeKeys"

func public(key *ecdsa.PrivateKey) []byte { return record.PublicKeyBytes(&key.PublicKey) }

func (w *world) recoveryKey(c record.RecoveryCode) *ecdsa.PrivateKey {
	w.Helper()
	key, err := c.Key(w.genesis.Network)
	if err != nil {
		w.Fatal(err)
	}
	return key
}

func (w *world) recoveryHash(c record.RecoveryCode) record.ID {
	w.Helper()
	return consent.RecoveryHash(public(w.recoveryKey(c)))
}

// state is the ledger's record of the patient.
func (p *person) state() record.Patient {
	p.w.Helper()
	var s record.Patient
	p.w.read(gatewayMSP, "Registry:GetPatient", p.id.String(), &s)
	return s
}

// change is the next change of the patient's keys: the recovery key stays.
func (p *person) change(revokeAll bool, keys ...*ecdsa.PrivateKey) record.PatientKeys {
	p.w.Helper()
	s := p.state()
	c := record.PatientKeys{Patient: p.id, Version: s.KeysVersion() + 1, RecoveryHash: s.RecoveryHash(), RevokeAll: revokeAll}
	if s.Keys != nil {
		c.Previous = s.Keys.Digest(p.w.genesis.Network)
	}
	for _, k := range keys {
		c.ConsentKeys = append(c.ConsentKeys, public(k))
	}
	return c
}

func (w *world) signKeys(c record.PatientKeys, key *ecdsa.PrivateKey) consent.SignedKeys {
	w.Helper()
	return consent.SignedKeys{Change: c, Key: public(key), Signature: sign(w, key, c.Digest(w.genesis.Network))}
}

// recovery is a change that the patient's code signs, and that names the next.
func (p *person) recovery(next record.RecoveryCode, revokeAll bool, keys ...*ecdsa.PrivateKey) consent.SignedKeys {
	p.w.Helper()
	c := p.change(revokeAll, keys...)
	c.RecoveryHash = p.w.recoveryHash(next)
	return p.w.signKeys(c, p.w.recoveryKey(p.code))
}

func TestAPatientAddsAnAuthenticatorAndTakesTheFirstAway(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	old := p.consents(hospitalA)
	second, byFirst := newKey(t), *p
	both := w.signKeys(p.change(false, p.key, second), p.key)
	var first, again record.Patient
	w.must(gatewayMSP, changeKeys, both, &first)
	w.must(gatewayMSP, changeKeys, both, &again) // a repetition is no second change
	if !equalJSON(t, first, again) || first.KeysVersion() != 1 || !equalJSON(t, first.Inception, p.enrol.Inception) {
		t.Errorf("after one change: %+v and %+v", first, again)
	}
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(false, second), second), nil)

	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", byFirst.sign(p.document(hospitalB)))
	w.refuses(fault.BadSignature, "now", gatewayMSP, "Registry:EnrolDevice", byFirst.newDevice(startHour, "spo2").enrol)
	w.refuses(fault.BadSignature, "now", gatewayMSP, changeKeys, w.signKeys(p.change(false, p.key), p.key))
	p.key = second
	p.consents(hospitalB)
	p.addDevice(startHour, "spo2")
	p.revoke(old) // the new key revokes what the old one signed
}

func TestAPasskeyAddsAnother(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = portals() })
	p := w.enrolled()
	second := newKey(t)
	c := p.change(false, p.key, second)
	as := p.assertion(c.Digest(w.genesis.Network), portal)
	w.must(gatewayMSP, changeKeys, consent.SignedKeys{Change: c, Key: as.Key, Signature: as.Signature, Assertion: as.Assertion}, nil)

	moved := consent.SignedKeys{Change: p.change(true, second), Key: as.Key, Signature: as.Signature, Assertion: as.Assertion}
	w.refuses(fault.BadSignature, "another challenge", gatewayMSP, changeKeys, moved)
	p.key = second
	w.must(gatewayMSP, "Consent:Put", p.passkey(p.document(hospitalA), portal), nil)
}

func TestARecoveryCodeCountsOnce(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	first, second := p.code, record.NewRecoveryCode()
	fresh, other := newKey(t), newKey(t)
	same := p.recovery(first, false, fresh)
	w.refuses(fault.Conflict, "counts once", gatewayMSP, changeKeys, same)
	w.must(gatewayMSP, changeKeys, p.recovery(second, false, fresh), nil)

	w.refuses(fault.BadSignature, "recovery key", gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, other))
	p.code = second
	back := p.recovery(first, false, fresh) // would make the used code count again
	w.refuses(fault.Conflict, "used before", gatewayMSP, changeKeys, back)
	w.must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, other), nil)
	if got := p.state(); got.KeysVersion() != 2 || got.RevokedAt != nil {
		t.Errorf("after two recoveries: %+v", got)
	}
}

func TestRevokingEverything(t *testing.T) {
	w := newWorld(t)
	p, bystander := w.enrolled(), w.enrolled()
	a, b := p.consents(hospitalA), p.consents(hospitalB)
	denial := p.document(hospitalA)
	denial.Effect, denial.Predicates, denial.Claims, denial.Purpose = consent.EffectDeny, nil, 0, "TREAT"
	w.must(gatewayMSP, "Consent:Put", p.sign(denial), nil)
	w.tick(start + 100)
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(true, p.key), p.key), nil)
	if s := p.state(); s.RevokedAt == nil || *s.RevokedAt != start+100 {
		t.Fatalf("revoked at %v, want %d", s.RevokedAt, start+100)
	}
	// Nothing brings back what was permitted, not even less of it.
	for _, d := range []consent.Document{a, b} {
		narrower := p.next(d, func(n *consent.Document) { n.CapMicro-- })
		w.refuses(fault.Conflict, "revoked everything", gatewayMSP, "Consent:Put", p.sign(narrower))
	}
	w.tick(start + 100 + 86400 - 1)
	for _, grantee := range []string{hospitalA, hospitalB} {
		w.refuses(fault.TooEarly, "everything was revoked", gatewayMSP, "Consent:Put", p.sign(p.document(grantee)))
	}
	bystander.consents(hospitalA)
	p.revoke(a) // one by one as well
	w.must(gatewayMSP, "Consent:Put", p.sign(p.next(denial, func(n *consent.Document) { n.CapMicro++ })), nil)

	w.tick(start + 100 + 86400)
	p.consents(hospitalB)
	w.refuses(fault.Conflict, "final", gatewayMSP, "Consent:Put", p.sign(p.next(a, func(n *consent.Document) { n.Status = consent.StatusActive })))
}

func TestNothingKeepsAPatientFromStopping(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	now := time.Now().Unix()
	w.tick(now)
	p := w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	second, third := newKey(t), newKey(t)
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(false, p.key, second), p.key), nil)
	w.tick(now + 400) // to the ledger, our transactions now come from the past

	w.refuses(fault.Expired, "dated", gatewayMSP, changeKeys, w.signKeys(p.change(false, p.key, second, third), p.key))
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(false, p.key), p.key), nil)
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(true, second), p.key), nil)
	w.must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, third), nil)
}

// TestAttackKeyChangesWithoutEnd: who has a consent key changes keys until the
// ledger is full, or until the owner cannot recover any more.
func TestAttackKeyChangesWithoutEnd(t *testing.T) {
	w := newWorld(t)
	p, _ := w.recoverable()
	key, previous := p.key, record.ID{}
	change := func(version uint32) record.PatientKeys {
		return record.PatientKeys{
			Patient: p.id, Version: version, Previous: previous, RecoveryHash: w.recoveryHash(p.code), ConsentKeys: [][]byte{public(key)}, RevokeAll: true,
		}
	}
	const most = 1000
	for v := range uint32(most) {
		c := change(v + 1)
		w.must(gatewayMSP, "Registry:ChangeKeys", w.signKeys(c, key), nil)
		previous = c.Digest(w.genesis.Network)
	}
	w.refuses(fault.Exhausted, "1000 times", gatewayMSP, "Registry:ChangeKeys", w.signKeys(change(most+1), key))
	w.must(gatewayMSP, "Registry:ChangeKeys", p.recovery(record.NewRecoveryCode(), true, newKey(t)), nil)
}

func TestAttackForgedKeyChange(t *testing.T) {
	w := newWorld(t)
	p, mallory := w.enrolled(), w.enrolled()
	thief := newKey(t)
	honest := p.change(false, p.key, thief)
	for name, c := range map[string]struct {
		code  fault.Code
		words string
		s     consent.SignedKeys
	}{
		"by a stranger":             {fault.BadSignature, "now", w.signKeys(honest, thief)},
		"by another patient":        {fault.BadSignature, "now", w.signKeys(honest, mallory.key)},
		"for another network":       {fault.BadSignature, "not", consent.SignedKeys{Change: honest, Key: public(p.key), Signature: sign(t, p.key, honest.Digest("another"))}},
		"without keys":              {fault.Invalid, "0 consent keys", w.signKeys(p.change(false), p.key)},
		"with nine keys":            {fault.Invalid, "9 consent keys", w.signKeys(p.change(false, slices.Repeat([]*ecdsa.PrivateKey{p.key}, 9)...), p.key)},
		"with a key twice":          {fault.Invalid, "twice", w.signKeys(p.change(false, thief, thief), p.key)},
		"the recovery key consents": {fault.Invalid, "recovery", w.signKeys(p.change(false, w.recoveryKey(p.code)), p.key)},
		"a thief of the phone takes the recovery": {fault.Conflict, "only the recovery key", func() consent.SignedKeys {
			c := honest
			c.RecoveryHash = record.RandomID()
			return w.signKeys(c, p.key)
		}()},
		"a version skipped": {fault.Conflict, "next is 1", func() consent.SignedKeys {
			c := honest
			c.Version = 2
			return w.signKeys(c, p.key)
		}()},
		"another past": {fault.Conflict, "previous", func() consent.SignedKeys {
			c := honest
			c.Previous = record.RandomID()
			return w.signKeys(c, p.key)
		}()},
		"of nobody": {fault.NotFound, "patient", func() consent.SignedKeys {
			c := honest
			c.Patient = record.RandomID()
			return w.signKeys(c, p.key)
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.refuses(c.code, c.words, gatewayMSP, changeKeys, c.s)
		})
	}
	if s := p.state(); s.Keys != nil {
		t.Errorf("after what was refused: %+v", s)
	}
}

// An answer that was lost is asked for again, perhaps after the keys that signed
// have gone; the very same document finds what is recorded, and changes nothing.
func TestRepetitionsAfterAChangeOfKeysFindWhatIsRecorded(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	c, d := p.sign(p.document(hospitalA)), p.newDevice(startHour, "spo2")
	w.must(gatewayMSP, "Consent:Put", c, nil)
	w.must(gatewayMSP, "Registry:EnrolDevice", d.enrol, nil)
	second, third := newKey(t), newKey(t)
	first := w.signKeys(p.change(true, second), p.key)
	w.must(gatewayMSP, changeKeys, first, nil)
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(false, third), second), nil)
	before := p.state()
	w.must(gatewayMSP, "Consent:Put", c, nil)
	w.must(gatewayMSP, "Registry:EnrolDevice", d.enrol, nil)
	w.must(gatewayMSP, changeKeys, first, nil)
	if !equalJSON(t, before, p.state()) {
		t.Errorf("the patient is %+v, was %+v", p.state(), before)
	}
	other := c
	other.Signature = sign(t, p.key, c.Document.Digest(w.genesis.Network)) // signed anew, by a key that has gone
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", other)
}

// Whoever has the code second cannot undo what whoever had it first did: what was
// revoked stays revoked, whatever happens to the keys.
func TestAttackSecondRecoveryUndoesRevocation(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.consents(hospitalA)
	owner, thief := newKey(t), newKey(t)
	late := p.recovery(record.NewRecoveryCode(), false, thief) // made before, held back
	w.must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), true, owner), nil)
	before := p.state()

	w.refuses(fault.BadSignature, "recovery key", gatewayMSP, changeKeys, late)
	w.refuses(fault.BadSignature, "recovery key", gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, thief))
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", p.sign(p.next(d, func(n *consent.Document) { n.CapMicro-- })))
	p.key = owner
	w.refuses(fault.Conflict, "revoked everything", gatewayMSP, "Consent:Put", p.sign(p.next(d, func(n *consent.Document) { n.CapMicro-- })))
	if !equalJSON(t, before, p.state()) {
		t.Errorf("the patient is %+v, was %+v", p.state(), before)
	}
}

func TestAttackPredicateAfterRevokingEverything(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	q := w.asks(hospitalA, p.question())
	w.must(gatewayMSP, changeKeys, w.signKeys(p.change(true, p.key), p.key), nil)
	w.refuses(fault.Forbidden, "is revoked", hospitalA, "Predicate:Request", p.question())
	w.tick(q.AnswerFrom)
	w.refuses(fault.Forbidden, "is revoked", gatewayMSP, "Predicate:Close", record.Attest{Request: q.ID, Proof: loadFixture(t).Proof})
}

// eleven are made-up patients, each with a consent that nobody gave.
func (w *world) eleven(vouch func(*person)) []*person {
	w.Helper()
	var people []*person
	for range state.MinCohort {
		p := w.newPerson()
		vouch(p)
		people = append(people, p)
	}
	return people
}

func TestAttackElevenSybils(t *testing.T) {
	byVouchers := func(g *record.Genesis) { g.Registrar, g.Vouchers = "", 2 }
	made := func(p *person) { // signed by nobody who may
		p.vouch(record.RandomID(), hospitalA, hospitalB)
		p.enrol.Vouchers[1].Signature = sign(t, newKey(t), record.RandomID())
	}
	for name, c := range map[string]struct {
		policy func(*record.Genesis)
		code   fault.Code
		words  string
		vouch  func(*person)
	}{
		"with made-up vouchers": {byVouchers, fault.BadSignature, "voucher of " + hospitalB, made},
		"through one colluding institution": {byVouchers, fault.Forbidden, "1 vouch for this patient, here 2 must", func(p *person) {
			p.vouch(record.RandomID(), hospitalA)
		}},
		"through one institution that vouches twice": {byVouchers, fault.Invalid, "twice", func(p *person) {
			p.vouch(record.RandomID(), hospitalA, hospitalA)
		}},
		"with an outsider's help": {byVouchers, fault.Forbidden, "not a member", func(p *person) {
			p.vouch(record.RandomID(), hospitalA)
			p.enrol.Vouchers = append(p.enrol.Vouchers, record.VoucherSignature{By: outsider, Signature: p.enrol.Vouchers[0].Signature})
		}},
		"with the other's voucher for a real patient": {byVouchers, fault.BadSignature, "voucher of " + hospitalB, func(p *person) {
			q := p.w.newPerson()
			q.vouch(record.RandomID(), hospitalA, hospitalB)
			p.vouch(q.enrol.Voucher.Person, hospitalA)
			p.enrol.Vouchers = append(p.enrol.Vouchers, q.enrol.Vouchers[1])
		}},
		"with vouchers for another patient": {byVouchers, fault.Invalid, "not for this patient", func(p *person) {
			q := p.w.newPerson()
			q.vouch(record.RandomID(), hospitalA, hospitalB)
			p.enrol.Voucher, p.enrol.Vouchers = q.enrol.Voucher, q.enrol.Vouchers
		}},
		"through an institution that asks, under a registrar": {func(*record.Genesis) {}, fault.Forbidden, "only " + association, func(p *person) {
			p.vouch(record.RandomID(), hospitalA)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.policy)
			for _, p := range w.eleven(c.vouch) {
				w.refuses(c.code, c.words, hospitalA, "Registry:EnrolPatient", p.enrol)
			}
		})
	}
}

func TestTwoInstitutionsVouch(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Registrar, g.Vouchers = "", 2 })
	who := record.RandomID()
	p, twin := w.newPerson(), w.newPerson()
	p.vouch(who, hospitalA, association)
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	twin.vouch(who, hospitalB, hospitalA) // agreed by all: the same person again
	w.refuses(fault.Conflict, "person", gatewayMSP, "Registry:EnrolPatient", twin.enrol)
	twin.vouch(record.RandomID(), hospitalB, hospitalA, association)
	w.must(gatewayMSP, "Registry:EnrolPatient", twin.enrol, nil)
	p.consents(association) // without a registrar every member may ask
}
