package forgery

import (
	"encoding/json"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	putConsent   = "Consent:Put"
	enrolPatient = "Registry:EnrolPatient"
	enrolDevice  = "Registry:EnrolDevice"
	changeKeys   = "Registry:ChangeKeys"
	retireDevice = "Registry:RetireDevice"
)

// altered are forgeries of an honest consent.
func altered(s consent.Signed, changes map[string]func(*consent.Signed)) []forgery {
	var list []forgery
	for name, change := range changes {
		forged := s
		change(&forged)
		list = append(list, forgery{name, fault.BadSignature, putConsent, forged})
	}
	return list
}

func alteredConsent(w *world) {
	p := w.enrolled()
	honest := p.sign(p.document())
	own := w.key()
	w.refused([]record.ID{p.id}, altered(honest, map[string]func(*consent.Signed){
		"a larger cap":      func(s *consent.Signed) { s.Document.CapMicro++ },
		"another metric":    func(s *consent.Signed) { s.Document.Metrics = []string{"heart_rate", "spo2"} },
		"a later expiry":    func(s *consent.Signed) { s.Document.Expires++ },
		"an earlier period": func(s *consent.Signed) { s.Document.DataFrom-- },
		"another purpose":   func(s *consent.Signed) { s.Document.Purpose = "TREAT" },
		"no signature":      func(s *consent.Signed) { s.Signature = nil },
		"a key of its own": func(s *consent.Signed) {
			s.Key, s.Signature = public(own), w.sign(own, s.Document.Digest(w.genesis.Network))
		},
		"another network's": func(s *consent.Signed) { s.Signature = w.sign(p.key, s.Document.Digest("another-network")) },
	})...)
	w.must(w.association, putConsent, honest)
}

func changedGrantee(w *world) {
	p := w.enrolled()
	honest := p.sign(p.document())
	toB := func(s *consent.Signed) { s.Document.Grantee = w.hospitalB }
	w.refused([]record.ID{p.id}, altered(honest, map[string]func(*consent.Signed){"before it is recorded": toB})...)
	w.must(w.association, putConsent, honest)
	moved := p.next(honest.Document, func(d *consent.Document) { d.Grantee = w.hospitalB })
	w.refused([]record.ID{p.id},
		forgery{"afterwards", fault.BadSignature, putConsent, altered(honest, map[string]func(*consent.Signed){"": toB})[0].document},
		forgery{"in a next version, signed by the patient", fault.Conflict, putConsent, p.sign(moved)})
}

func replayedVersion(w *world) {
	p := w.enrolled()
	first := p.put(p.document())
	second := p.put(p.next(first.Document, func(d *consent.Document) { d.CapMicro = 1 }))
	skipped := p.next(second.Document, func(d *consent.Document) { d.Version++ })
	forked := p.next(first.Document, func(d *consent.Document) { d.Version = 3 })
	w.refused([]record.ID{p.id},
		forgery{"the first version", fault.Conflict, putConsent, first},
		forgery{"a version skipped", fault.Conflict, putConsent, p.sign(skipped)},
		forgery{"another past", fault.Conflict, putConsent, p.sign(forked)})
	p.put(p.next(second.Document, func(d *consent.Document) { d.Status = consent.StatusRevoked }))
	w.refused([]record.ID{p.id},
		forgery{"the first version of a revoked consent", fault.Conflict, putConsent, first},
		forgery{"the second version of a revoked consent", fault.Conflict, putConsent, second})
}

func foreignPatient(w *world) {
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.put(victim.document()).Document
	revoked := victim.next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	stolen := mallory.document()
	stolen.ID, stolen.Version, stolen.Previous = d.ID, 2, d.Digest(w.genesis.Network)
	bridge := victim.device()
	bridge.enrol.PatientSignature = w.sign(mallory.key, record.Digest(record.DomainDevice, w.genesis.Network, bridge.enrol.Device))
	taken := record.PatientKeys{
		Patient: victim.id, Version: 1, ConsentKeys: [][]byte{public(mallory.key)}, RecoveryHash: victim.enrol.Inception.RecoveryHash,
	}
	w.refused([]record.ID{victim.id, mallory.id},
		forgery{"a revocation", fault.BadSignature, putConsent, mallory.sign(revoked)},
		forgery{"a permission", fault.BadSignature, putConsent, mallory.sign(victim.document())},
		forgery{"the victim's consent as one's own", fault.Conflict, putConsent, mallory.sign(stolen)},
		forgery{"a device", fault.BadSignature, enrolDevice, bridge.enrol},
		forgery{"keys", fault.BadSignature, changeKeys, victim.keys(taken, mallory.key)})
}

func reusedAssertion(w *world) {
	p, other := w.enrolled(), w.enrolled()
	signed := p.passkey(p.document())
	changes := map[string]func(*consent.Signed){
		"another grantee":              func(s *consent.Signed) { s.Document.Grantee = w.hospitalB },
		"another consent":              func(s *consent.Signed) { s.Document.ID = record.RandomID() },
		"another patient's":            func(s *consent.Signed) { s.Document.Patient = other.id },
		"its signature as a plain one": func(s *consent.Signed) { s.Assertion = nil },
		"a stranger's authenticator":   func(s *consent.Signed) { *s = other.passkey(s.Document) },
		"the next version": func(s *consent.Signed) {
			s.Document = p.next(s.Document, func(d *consent.Document) { d.CapMicro++ })
		},
	}
	w.refused([]record.ID{p.id, other.id}, altered(signed, changes)...)
	w.must(w.association, putConsent, signed)
	// Whose the consent is shows now without looking at a signature.
	taken := signed
	changes["another patient's"](&taken)
	delete(changes, "another patient's")
	w.refused([]record.ID{p.id, other.id}, append(altered(signed, changes), forgery{"another patient's", fault.Conflict, putConsent, taken})...)
	keys := consent.SignedKeys{
		Change: record.PatientKeys{
			Patient: p.id, Version: 1, ConsentKeys: [][]byte{public(other.key)}, RecoveryHash: p.enrol.Inception.RecoveryHash,
		},
		Key: signed.Key, Signature: signed.Signature, Assertion: signed.Assertion,
	}
	w.refused([]record.ID{p.id}, forgery{"for a change of keys", fault.BadSignature, changeKeys, keys})
}

// unknownDevice cannot show an honest row: the first hour of a device is still to
// come, on a clock that is the wall's.
func unknownDevice(w *world) {
	p := w.enrolled()
	known, stranger := p.device(), p.device()
	unsigned := p.device()
	unsigned.enrol.DeviceSignature = stranger.enrol.DeviceSignature
	w.refused([]record.ID{p.id}, forgery{"whose owner does not hold its key", fault.BadSignature, enrolDevice, unsigned.enrol})
	w.must(w.association, enrolDevice, known.enrol)
	w.noRow("a device that was never enrolled", stranger, fault.NotFound)
	w.noRow("one that is, of an hour that has not ended", known, fault.TooEarly)
}

// noRow shows that a row of a device's first hour is not anchored.
func (w *world) noRow(name string, d *device, code fault.Code) {
	w.Helper()
	pointer := record.Pointer{
		Device: d.id, Kind: record.KindRow, Index: d.enrol.Device.FirstHour, Blob: record.RandomID(), Commitment: record.RandomID(),
	}
	signed := record.SignedPointer{Pointer: pointer, Signature: w.sign(d.key, pointer.Digest(w.genesis.Network))}
	var result record.AnchorResult
	res := w.must(w.association, "Pointer:Anchor", record.Anchor{Pointers: []record.SignedPointer{signed}})
	if err := json.Unmarshal(res.Payload, &result); err != nil {
		w.Fatal(err)
	}
	item := result.Items[0]
	if item.Outcome != record.Refused || item.Code != string(code) || !result.Batch.IsZero() {
		w.Errorf("a row of %s: %+v, want refused with %s", name, item, code)
	}
}

// endedDevice is about devices that the ledger knows and that count for nothing.
func endedDevice(w *world) {
	p := w.enrolled()
	suspect, lost := p.device(), p.device()
	for _, d := range []*device{suspect, lost} {
		w.must(w.association, enrolDevice, d.enrol)
		w.noRow("a device before it ended", d, fault.TooEarly)
	}
	vote := record.VoteQuarantine{Device: suspect.id, Reason: "implausible"}
	w.must(w.hospitalA, "Registry:VoteQuarantine", vote)
	w.must(w.hospitalA, "Registry:VoteQuarantine", vote)
	w.noRow("a device against which one member has voted twice", suspect, fault.TooEarly)
	w.must(w.hospitalB, "Registry:VoteQuarantine", vote)
	w.noRow("a device in quarantine", suspect, fault.Forbidden)

	retire := record.RetireDevice{Device: lost.id, Lost: true}
	digest := record.Digest(record.DomainRetire, w.genesis.Network, retire)
	honest := record.SignedRetirement{Retire: retire, Signature: w.sign(p.key, digest)}
	stranger, other := honest, honest
	stranger.Signature = w.sign(suspect.key, digest)
	other.Retire.Device = suspect.id
	w.refused([]record.ID{p.id},
		forgery{"retired by another device", fault.BadSignature, retireDevice, stranger},
		forgery{"the document of another device", fault.BadSignature, retireDevice, other})
	w.must(w.association, retireDevice, honest)
	w.noRow("a lost device", lost, fault.Expired)
}

// erasedPatient is about what somebody held back, or still makes with the keys.
func erasedPatient(w *world) {
	p := w.enrolled()
	held := p.sign(p.next(p.put(p.document()).Document, func(d *consent.Document) { d.CapMicro-- }))
	e := record.Erasure{Patient: p.id}
	erased := record.SignedErasure{Erasure: e, Key: public(p.key), Signature: w.sign(p.key, e.Digest(w.genesis.Network))}
	mine := w.enrolled()
	forged := erased
	forged.Key, forged.Signature = public(mine.key), w.sign(mine.key, e.Digest(w.genesis.Network))
	w.refused([]record.ID{p.id}, forgery{"erased by somebody else", fault.BadSignature, "Registry:Erase", forged})
	w.must(w.association, "Registry:Erase", erased)
	change := record.PatientKeys{
		Patient: p.id, Version: 1, ConsentKeys: [][]byte{public(p.key), public(w.key())}, RecoveryHash: p.enrol.Inception.RecoveryHash,
	}
	again := p.enrol
	again.Inception.Salt = record.RandomID()
	w.refused([]record.ID{p.id},
		forgery{"with a consent that was held back", fault.Forbidden, putConsent, held},
		forgery{"with a new consent", fault.Forbidden, putConsent, p.sign(p.document())},
		forgery{"with a device", fault.Forbidden, enrolDevice, p.device().enrol},
		forgery{"with keys", fault.Forbidden, changeKeys, p.keys(change, p.key)},
		forgery{"under another identifier", fault.Invalid, enrolPatient, again})
}

func foreignInstitution(w *world) {
	p := w.enrolled()
	honest := p.sign(p.document())
	before := w.state(p.id)
	foreign := w.ledger.Foreign(w.T)
	for function, document := range map[string]any{
		putConsent: honest, enrolPatient: w.newPatient(w.association).enrol, "Clock:Tick": record.Tick{Time: 1 << 33},
	} {
		_, err := w.submit(foreign, function, document)
		w.wants("a stranger calls "+function, fault.Forbidden, err)
	}
	if after := w.state(p.id); after != before {
		w.Errorf("the patient is %s, was %s", after, before)
	}
	w.must(w.association, putConsent, honest)
}

// datedTransaction is about dates that the contracts alone refuse: Fabric's peers
// take none that is more than a quarter of an hour off.
func datedTransaction(w *world) {
	p := w.newPatient(w.association)
	before := w.state(p.id)
	for name, c := range map[string]struct {
		shift time.Duration
		code  fault.Code
	}{
		"eight minutes back":  {-8 * time.Minute, fault.Expired},
		"eight minutes ahead": {8 * time.Minute, fault.TooEarly},
	} {
		err := w.ledger.SubmitAt(w.T, w.association, w.call(enrolPatient, p.enrol), time.Now().Add(c.shift))
		w.wants("dated "+name, c.code, err)
	}
	if after := w.state(p.id); after != before {
		w.Errorf("the patient is %s, was %s", after, before)
	}
	if err := w.ledger.SubmitAt(w.T, w.association, w.call(enrolPatient, p.enrol), time.Now()); err != nil {
		w.Errorf("dated now: %v", err)
	}
}

func unvouchedPatient(w *world) {
	none, asker, other := w.newPatient(), w.newPatient(w.hospitalA), w.newPatient(w.association)
	made := w.newPatient(w.association)
	made.enrol.Vouchers[0].Signature = w.sign(w.key(), made.voucher())
	moved := w.newPatient()
	moved.enrol.Voucher, moved.enrol.Vouchers = other.enrol.Voucher, other.enrol.Vouchers
	w.refused([]record.ID{none.id, asker.id, made.id, moved.id},
		forgery{"without a voucher", fault.Forbidden, enrolPatient, none.enrol},
		forgery{"with an asking institution's", fault.Forbidden, enrolPatient, asker.enrol},
		forgery{"with one that is made up", fault.BadSignature, enrolPatient, made.enrol},
		forgery{"with another patient's", fault.Invalid, enrolPatient, moved.enrol})
	w.must(w.association, enrolPatient, other.enrol)
}

func elevenSybils(w *world) {
	var ids []record.ID
	var list []forgery
	for range w.genesis.MinCohort {
		p := w.newPatient(w.hospitalA)
		ids = append(ids, p.id)
		list = append(list, forgery{"a made-up patient", fault.Forbidden, enrolPatient, p.enrol})
	}
	w.refused(ids, list...)
}

func stolenPhone(w *world) {
	p := w.enrolled()
	c := record.PatientKeys{Patient: p.id, Version: 1, ConsentKeys: [][]byte{public(w.key())}, RecoveryHash: record.RandomID()}
	w.refused([]record.ID{p.id}, forgery{"with another recovery hash", fault.Conflict, changeKeys, p.keys(c, p.key)})
	c.RecoveryHash = p.enrol.Inception.RecoveryHash
	w.must(w.association, changeKeys, p.keys(c, p.key))
}

func secondRecovery(w *world) {
	p := w.enrolled()
	d := p.put(p.document()).Document
	owner, thief := w.key(), w.key()
	recovery := w.recoveryKey(p.code)
	first := record.PatientKeys{
		Patient: p.id, Version: 1, ConsentKeys: [][]byte{public(owner)}, RecoveryHash: w.recoveryHash(record.NewRecoveryCode()), RevokeAll: true,
	}
	held := first // made before, and held back
	held.ConsentKeys, held.RecoveryHash, held.RevokeAll = [][]byte{public(thief)}, w.recoveryHash(record.NewRecoveryCode()), false
	w.must(w.association, changeKeys, p.keys(first, recovery))
	after := held
	after.Version, after.Previous = 2, first.Digest(w.genesis.Network)
	narrower := p.next(d, func(n *consent.Document) { n.CapMicro-- })
	old := p.sign(narrower)
	p.key = owner
	w.refused([]record.ID{p.id},
		forgery{"with what was held back", fault.BadSignature, changeKeys, p.keys(held, recovery)},
		forgery{"with the same code again", fault.BadSignature, changeKeys, p.keys(after, recovery)},
		forgery{"with a next version by the old key", fault.BadSignature, putConsent, old},
		forgery{"with a next version by the new key", fault.Conflict, putConsent, p.sign(narrower)},
		forgery{"with a new permission at once", fault.TooEarly, putConsent, p.sign(p.document())})
}
