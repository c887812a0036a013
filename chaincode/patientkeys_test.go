package chaincode_test

import (
	"crypto/ecdsa"
	"slices"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

const changeKeys = contracts.RegistryChangeKeys

// recovery is a change that the patient's code signs, and that names the next.
func (p *person) recovery(next record.RecoveryCode, revokeAll bool, keys ...*ecdsa.PrivateKey) consent.SignedKeys {
	p.w.Helper()
	c := p.change(revokeAll, keys...)
	c.RecoveryHash = p.RecoveryHash(next)
	return p.w.SignKeys(c, p.RecoveryKey(p.Code))
}

func TestAPatientAddsAnAuthenticatorAndTakesTheFirstAway(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	old := p.consents(hospitalA)
	second, byFirst := consortium.NewKey(), *p
	both := w.SignKeys(p.change(false, p.Key, second), p.Key)
	var first, again record.Patient
	w.Must(gatewayMSP, changeKeys, both, &first)
	w.Must(gatewayMSP, changeKeys, both, &again) // a repetition is no second change
	if !equalJSON(first, again) || first.KeysVersion() != 1 || !equalJSON(first.Inception, p.Enrolment.Inception) {
		t.Errorf("after one change: %+v and %+v", first, again)
	}
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(false, second), second))

	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, byFirst.Sign(p.document(hospitalB)))
	w.Refuses(fault.BadSignature, "now", gatewayMSP, contracts.RegistryEnrolDevice, byFirst.NewDevice(startHour, "spo2").Enrolment)
	w.Refuses(fault.BadSignature, "now", gatewayMSP, changeKeys, w.SignKeys(p.change(false, p.Key), p.Key))
	p.Key = second
	p.consents(hospitalB)
	p.addDevice(startHour, "spo2")
	p.revoke(old) // the new key revokes what the old one signed
}

func TestAPasskeyAddsAnother(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p := w.enrolled()
	second := consortium.NewKey()
	c := p.change(false, p.Key, second)
	as := p.Assertion(c.Digest(w.Genesis.Network), consortium.Portal)
	w.Must(gatewayMSP, changeKeys, consent.SignedKeys{Change: c, Key: as.Key, Signature: as.Signature, Assertion: as.Assertion})

	moved := consent.SignedKeys{Change: p.change(true, second), Key: as.Key, Signature: as.Signature, Assertion: as.Assertion}
	w.Refuses(fault.BadSignature, "another challenge", gatewayMSP, changeKeys, moved)
	p.Key = second
	w.Must(gatewayMSP, contracts.ConsentPut, p.Passkey(p.document(hospitalA), consortium.Portal))
}

func TestARecoveryCodeCountsOnce(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	first, second := p.Code, record.NewRecoveryCode()
	fresh, other := consortium.NewKey(), consortium.NewKey()
	same := p.recovery(first, false, fresh)
	w.Refuses(fault.Conflict, "counts once", gatewayMSP, changeKeys, same)
	w.Must(gatewayMSP, changeKeys, p.recovery(second, false, fresh))

	w.Refuses(fault.BadSignature, "recovery key", gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, other))
	p.Code = second
	back := p.recovery(first, false, fresh) // would make the used code count again
	w.Refuses(fault.Conflict, "used before", gatewayMSP, changeKeys, back)
	w.Must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, other))
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
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(denial))
	w.Tick(start + 100)
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(true, p.Key), p.Key))
	if s := p.state(); s.RevokedAt == nil || *s.RevokedAt != start+100 {
		t.Fatalf("revoked at %v, want %d", s.RevokedAt, start+100)
	}
	// Nothing brings back what was permitted, not even less of it.
	for _, d := range []consent.Document{a, b} {
		narrower := p.Next(d, func(n *consent.Document) { n.CapMicro-- })
		w.Refuses(fault.Conflict, "revoked everything", gatewayMSP, contracts.ConsentPut, p.Sign(narrower))
	}
	w.Tick(start + 100 + 86400 - 1)
	for _, grantee := range []string{hospitalA, hospitalB} {
		w.Refuses(fault.TooEarly, "everything was revoked", gatewayMSP, contracts.ConsentPut, p.Sign(p.document(grantee)))
	}
	bystander.consents(hospitalA)
	p.revoke(a) // one by one as well
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(denial, func(n *consent.Document) { n.CapMicro++ })))

	w.Tick(start + 100 + 86400)
	p.consents(hospitalB)
	w.Refuses(fault.Conflict, "final", gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(a, func(n *consent.Document) { n.Status = consent.StatusActive })))
}

func TestNothingKeepsAPatientFromStopping(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	now := time.Now().Unix()
	w.Tick(now)
	p := w.newPerson()
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	second, third := consortium.NewKey(), consortium.NewKey()
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(false, p.Key, second), p.Key))
	w.Tick(now + 400) // to the ledger, our transactions now come from the past

	w.Refuses(fault.Expired, "dated", gatewayMSP, changeKeys, w.SignKeys(p.change(false, p.Key, second, third), p.Key))
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(false, p.Key), p.Key))
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(true, second), p.Key))
	w.Must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, third))
}

// TestAttackKeyChangesWithoutEnd: who has a consent key changes keys until the
// ledger is full, or until the owner cannot recover any more.
func TestAttackKeyChangesWithoutEnd(t *testing.T) {
	w := newWorld(t)
	p := w.recoverable()
	key, previous := p.Key, record.ID{}
	change := func(version uint32) record.PatientKeys {
		return record.PatientKeys{
			Patient: p.ID, Version: version, Previous: previous, RecoveryHash: p.RecoveryHash(p.Code), ConsentKeys: [][]byte{consortium.Public(key)}, RevokeAll: true,
		}
	}
	const most = 1000
	for v := range uint32(most) {
		c := change(v + 1)
		w.Must(gatewayMSP, contracts.RegistryChangeKeys, w.SignKeys(c, key))
		previous = c.Digest(w.Genesis.Network)
	}
	w.Refuses(fault.Exhausted, "1000 times", gatewayMSP, contracts.RegistryChangeKeys, w.SignKeys(change(most+1), key))
	w.Must(gatewayMSP, contracts.RegistryChangeKeys, p.recovery(record.NewRecoveryCode(), true, consortium.NewKey()))
}

func TestAttackForgedKeyChange(t *testing.T) {
	w := newWorld(t)
	p, mallory := w.enrolled(), w.enrolled()
	thief := consortium.NewKey()
	honest := p.change(false, p.Key, thief)
	for name, c := range map[string]struct {
		code  fault.Code
		words string
		s     consent.SignedKeys
	}{
		"by a stranger":             {fault.BadSignature, "now", w.SignKeys(honest, thief)},
		"by another patient":        {fault.BadSignature, "now", w.SignKeys(honest, mallory.Key)},
		"for another network":       {fault.BadSignature, "not", consent.SignedKeys{Change: honest, Key: consortium.Public(p.Key), Signature: consortium.Sign(p.Key, honest.Digest("another"))}},
		"without keys":              {fault.Invalid, "0 consent keys", w.SignKeys(p.change(false), p.Key)},
		"with nine keys":            {fault.Invalid, "9 consent keys", w.SignKeys(p.change(false, slices.Repeat([]*ecdsa.PrivateKey{p.Key}, 9)...), p.Key)},
		"with a key twice":          {fault.Invalid, "twice", w.SignKeys(p.change(false, thief, thief), p.Key)},
		"the recovery key consents": {fault.Invalid, "recovery", w.SignKeys(p.change(false, p.RecoveryKey(p.Code)), p.Key)},
		"a thief of the phone takes the recovery": {fault.Conflict, "only the recovery key", func() consent.SignedKeys {
			c := honest
			c.RecoveryHash = record.RandomID()
			return w.SignKeys(c, p.Key)
		}()},
		"a version skipped": {fault.Conflict, "next is 1", func() consent.SignedKeys {
			c := honest
			c.Version = 2
			return w.SignKeys(c, p.Key)
		}()},
		"another past": {fault.Conflict, "previous", func() consent.SignedKeys {
			c := honest
			c.Previous = record.RandomID()
			return w.SignKeys(c, p.Key)
		}()},
		"of nobody": {fault.NotFound, "patient", func() consent.SignedKeys {
			c := honest
			c.Patient = record.RandomID()
			return w.SignKeys(c, p.Key)
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.Refuses(c.code, c.words, gatewayMSP, changeKeys, c.s)
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
	c, d := p.Sign(p.document(hospitalA)), p.NewDevice(startHour, "spo2")
	w.Must(gatewayMSP, contracts.ConsentPut, c)
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment)
	second, third := consortium.NewKey(), consortium.NewKey()
	first := w.SignKeys(p.change(true, second), p.Key)
	w.Must(gatewayMSP, changeKeys, first)
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(false, third), second))
	before := p.state()
	w.Must(gatewayMSP, contracts.ConsentPut, c)
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment)
	w.Must(gatewayMSP, changeKeys, first)
	if !equalJSON(before, p.state()) {
		t.Errorf("the patient is %+v, was %+v", p.state(), before)
	}
	other := c
	other.Signature = consortium.Sign(p.Key, c.Document.Digest(w.Genesis.Network)) // signed anew, by a key that has gone
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, other)
}

// Whoever has the code second cannot undo what whoever had it first did: what was
// revoked stays revoked, whatever happens to the keys.
func TestAttackSecondRecoveryUndoesRevocation(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.consents(hospitalA)
	owner, thief := consortium.NewKey(), consortium.NewKey()
	late := p.recovery(record.NewRecoveryCode(), false, thief) // made before, held back
	w.Must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), true, owner))
	before := p.state()

	w.Refuses(fault.BadSignature, "recovery key", gatewayMSP, changeKeys, late)
	w.Refuses(fault.BadSignature, "recovery key", gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), false, thief))
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(d, func(n *consent.Document) { n.CapMicro-- })))
	p.Key = owner
	w.Refuses(fault.Conflict, "revoked everything", gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(d, func(n *consent.Document) { n.CapMicro-- })))
	if !equalJSON(before, p.state()) {
		t.Errorf("the patient is %+v, was %+v", p.state(), before)
	}
}

func TestAttackPredicateAfterRevokingEverything(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	q := w.Ask(hospitalA, p.Question())
	w.Must(gatewayMSP, changeKeys, w.SignKeys(p.change(true, p.Key), p.Key))
	w.Refuses(fault.Forbidden, "is revoked", hospitalA, contracts.PredicateRequest, p.Question())
	w.Tick(q.AnswerFrom)
	w.Refuses(fault.Forbidden, "is revoked", gatewayMSP, contracts.PredicateClose, record.Attest{Request: q.ID, Proof: consortium.DayFixture("..").Proof})
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
		p.Vouch(record.RandomID(), hospitalA, hospitalB)
		p.Enrolment.Vouchers[1].Signature = consortium.Sign(consortium.NewKey(), record.RandomID())
	}
	for name, c := range map[string]struct {
		policy func(*record.Genesis)
		code   fault.Code
		words  string
		vouch  func(*person)
	}{
		"with made-up vouchers": {byVouchers, fault.BadSignature, "voucher of " + hospitalB, made},
		"through one colluding institution": {byVouchers, fault.Forbidden, "1 vouch for this patient, here 2 must", func(p *person) {
			p.Vouch(record.RandomID(), hospitalA)
		}},
		"through one institution that vouches twice": {byVouchers, fault.Invalid, "twice", func(p *person) {
			p.Vouch(record.RandomID(), hospitalA, hospitalA)
		}},
		"with an outsider's help": {byVouchers, fault.Forbidden, "not a member", func(p *person) {
			p.Vouch(record.RandomID(), hospitalA)
			p.Enrolment.Vouchers = append(p.Enrolment.Vouchers, record.VoucherSignature{By: outsider, Signature: p.Enrolment.Vouchers[0].Signature})
		}},
		"with the other's voucher for a real patient": {byVouchers, fault.BadSignature, "voucher of " + hospitalB, func(p *person) {
			q := p.w.newPerson()
			q.Vouch(record.RandomID(), hospitalA, hospitalB)
			p.Vouch(q.Enrolment.Voucher.Person, hospitalA)
			p.Enrolment.Vouchers = append(p.Enrolment.Vouchers, q.Enrolment.Vouchers[1])
		}},
		"with vouchers for another patient": {byVouchers, fault.Invalid, "not for this patient", func(p *person) {
			q := p.w.newPerson()
			q.Vouch(record.RandomID(), hospitalA, hospitalB)
			p.Enrolment.Voucher, p.Enrolment.Vouchers = q.Enrolment.Voucher, q.Enrolment.Vouchers
		}},
		"through an institution that asks, under a registrar": {func(*record.Genesis) {}, fault.Forbidden, "only " + association, func(p *person) {
			p.Vouch(record.RandomID(), hospitalA)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.policy)
			for _, p := range w.eleven(c.vouch) {
				w.Refuses(c.code, c.words, hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)
			}
		})
	}
}

func TestTwoInstitutionsVouch(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Registrar, g.Vouchers = "", 2 })
	who := record.RandomID()
	p, twin := w.newPerson(), w.newPerson()
	p.Vouch(who, hospitalA, association)
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	twin.Vouch(who, hospitalB, hospitalA) // agreed by all: the same person again
	w.Refuses(fault.Conflict, "person", gatewayMSP, contracts.RegistryEnrolPatient, twin.Enrolment)
	twin.Vouch(record.RandomID(), hospitalB, hospitalA, association)
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, twin.Enrolment)
	p.consents(association) // without a registrar every member may ask
}
