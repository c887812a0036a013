package forgery

import (
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

const (
	foreign = "Foreign"
)

// altered are forgeries of an honest consent.
func altered(s consent.Signed, changes map[string]func(*consent.Signed)) []forgery {
	var list []forgery
	for name, change := range changes {
		forged := s
		change(&forged)
		list = append(list, forgery{name, fault.BadSignature, contracts.ConsentPut, forged})
	}
	return list
}

func alteredConsent(w *world) {
	p := w.Patient()
	honest := p.Sign(p.Document(hospitalA))
	own := consortium.NewKey()
	w.refused([]record.ID{p.ID}, altered(honest, map[string]func(*consent.Signed){
		"a larger cap":      func(s *consent.Signed) { s.Document.CapMicro++ },
		"another metric":    func(s *consent.Signed) { s.Document.Metrics = []string{"heart_rate", "spo2"} },
		"a later expiry":    func(s *consent.Signed) { s.Document.Expires++ },
		"an earlier period": func(s *consent.Signed) { s.Document.DataFrom-- },
		"another purpose":   func(s *consent.Signed) { s.Document.Purpose = "TREAT" },
		"no signature":      func(s *consent.Signed) { s.Signature = nil },
		"a key of its own": func(s *consent.Signed) {
			s.Key, s.Signature = consortium.Public(own), consortium.Sign(own, s.Document.Digest(w.Genesis.Network))
		},
		"another network's": func(s *consent.Signed) { s.Signature = consortium.Sign(p.Key, s.Document.Digest("another-network")) },
	})...)
	w.Must(association, contracts.ConsentPut, honest)
}

func changedGrantee(w *world) {
	p := w.Patient()
	honest := p.Sign(p.Document(hospitalA))
	toB := func(s *consent.Signed) { s.Document.Grantee = hospitalB }
	w.refused([]record.ID{p.ID}, altered(honest, map[string]func(*consent.Signed){"before it is recorded": toB})...)
	w.Must(association, contracts.ConsentPut, honest)
	moved := p.Next(honest.Document, func(d *consent.Document) { d.Grantee = hospitalB })
	w.refused([]record.ID{p.ID},
		forgery{"afterwards", fault.BadSignature, contracts.ConsentPut, altered(honest, map[string]func(*consent.Signed){"": toB})[0].document},
		forgery{"in a next version, signed by the patient", fault.Conflict, contracts.ConsentPut, p.Sign(moved)})
}

func replayedVersion(w *world) {
	p := w.Patient()
	first := p.Put(p.Document(hospitalA))
	second := p.Put(p.Next(first.Document, func(d *consent.Document) { d.CapMicro = 1 }))
	skipped := p.Next(second.Document, func(d *consent.Document) { d.Version++ })
	forked := p.Next(first.Document, func(d *consent.Document) { d.Version = 3 })
	w.refused([]record.ID{p.ID},
		forgery{"the first version", fault.Conflict, contracts.ConsentPut, first},
		forgery{"a version skipped", fault.Conflict, contracts.ConsentPut, p.Sign(skipped)},
		forgery{"another past", fault.Conflict, contracts.ConsentPut, p.Sign(forked)})
	p.Put(p.Next(second.Document, func(d *consent.Document) { d.Status = consent.StatusRevoked }))
	w.refused([]record.ID{p.ID},
		forgery{"the first version of a revoked consent", fault.Conflict, contracts.ConsentPut, first},
		forgery{"the second version of a revoked consent", fault.Conflict, contracts.ConsentPut, second})
}

func foreignPatient(w *world) {
	victim, mallory := w.Patient(), w.Patient()
	d := victim.Put(victim.Document(hospitalA)).Document
	revoked := victim.Next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	stolen := mallory.Document(hospitalA)
	stolen.ID, stolen.Version, stolen.Previous = d.ID, 2, d.Digest(w.Genesis.Network)
	bridge := w.device(victim)
	bridge.Enrolment.PatientSignature = consortium.Sign(mallory.Key, record.Digest(record.DomainDevice, w.Genesis.Network, bridge.Enrolment.Device))
	taken := record.PatientKeys{
		Patient: victim.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(mallory.Key)}, RecoveryHash: victim.Enrolment.Inception.RecoveryHash,
	}
	w.refused([]record.ID{victim.ID, mallory.ID},
		forgery{"a revocation", fault.BadSignature, contracts.ConsentPut, mallory.Sign(revoked)},
		forgery{"a permission", fault.BadSignature, contracts.ConsentPut, mallory.Sign(victim.Document(hospitalA))},
		forgery{"the victim's consent as one's own", fault.Conflict, contracts.ConsentPut, mallory.Sign(stolen)},
		forgery{"a device", fault.BadSignature, contracts.RegistryEnrolDevice, bridge.Enrolment},
		forgery{"keys", fault.BadSignature, contracts.RegistryChangeKeys, w.SignKeys(taken, mallory.Key)})
}

func reusedAssertion(w *world) {
	p, other := w.Patient(), w.Patient()
	signed := p.Passkey(p.Document(hospitalA), consortium.Portal)
	changes := map[string]func(*consent.Signed){
		"another grantee":              func(s *consent.Signed) { s.Document.Grantee = hospitalB },
		"another consent":              func(s *consent.Signed) { s.Document.ID = record.RandomID() },
		"another patient's":            func(s *consent.Signed) { s.Document.Patient = other.ID },
		"its signature as a plain one": func(s *consent.Signed) { s.Assertion = nil },
		"a stranger's authenticator":   func(s *consent.Signed) { *s = other.Passkey(s.Document, consortium.Portal) },
		"the next version": func(s *consent.Signed) {
			s.Document = p.Next(s.Document, func(d *consent.Document) { d.CapMicro++ })
		},
	}
	w.refused([]record.ID{p.ID, other.ID}, altered(signed, changes)...)
	w.Must(association, contracts.ConsentPut, signed)
	// Whose the consent is shows now without looking at a signature.
	taken := signed
	changes["another patient's"](&taken)
	delete(changes, "another patient's")
	w.refused([]record.ID{p.ID, other.ID}, append(altered(signed, changes), forgery{"another patient's", fault.Conflict, contracts.ConsentPut, taken})...)
	keys := consent.SignedKeys{
		Change: record.PatientKeys{
			Patient: p.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(other.Key)}, RecoveryHash: p.Enrolment.Inception.RecoveryHash,
		},
		Key: signed.Key, Signature: signed.Signature, Assertion: signed.Assertion,
	}
	bridge := w.device(p)
	bridge.Enrolment.PatientSignature, bridge.Enrolment.PatientAssertion = signed.Signature, signed.Assertion
	again := w.NewPatient()
	again.Enrolment.Signature, again.Enrolment.Assertion = signed.Signature, signed.Assertion
	known := w.device(p)
	by := p.Assertion(record.Digest(record.DomainDevice, w.Genesis.Network, known.Enrolment.Device), consortium.Portal)
	known.Enrolment.PatientSignature, known.Enrolment.PatientAssertion = by.Signature, by.Assertion
	w.Must(association, contracts.RegistryEnrolDevice, known.Enrolment)
	retire := record.SignedRetirement{Retire: record.RetireDevice{Device: known.ID}, Signature: by.Signature, Assertion: by.Assertion}
	w.refused([]record.ID{p.ID},
		forgery{"for a change of keys", fault.BadSignature, contracts.RegistryChangeKeys, keys},
		forgery{"for a device", fault.BadSignature, contracts.RegistryEnrolDevice, bridge.Enrolment},
		forgery{"for an enrolment", fault.BadSignature, contracts.RegistryEnrolPatient, again.Enrolment},
		forgery{"of an enrolment, to end the device", fault.BadSignature, contracts.RegistryRetireDevice, retire})
}

// unknownDevice cannot show an honest row: the first hour of a device is still to
// come, on a clock that is the wall's.
func unknownDevice(w *world) {
	p := w.Patient()
	known, stranger := w.device(p), w.device(p)
	unsigned := w.device(p)
	unsigned.Enrolment.DeviceSignature = stranger.Enrolment.DeviceSignature
	w.refused([]record.ID{p.ID}, forgery{"whose owner does not hold its key", fault.BadSignature, contracts.RegistryEnrolDevice, unsigned.Enrolment})
	w.Must(association, contracts.RegistryEnrolDevice, known.Enrolment)
	w.noRow("a device that was never enrolled", stranger, fault.NotFound)
	w.noRow("one that is, of an hour that has not ended", known, fault.TooEarly)
	day := known.PersonDay(known.Enrolment.Device.FirstHour / 24).Pointer
	corrected, bare := day, day
	corrected.Correction, bare.Blob = 1, record.ID{}
	w.noPointer("a day row corrected", known.Pointer(corrected), fault.Invalid)
	w.noPointer("a day row in no blob", known.Pointer(bare), fault.Invalid)
}

// noRow shows that neither a row of a device's first hour nor one of its first day is
// anchored.
func (w *world) noRow(name string, d *consortium.Device, code fault.Code) {
	w.Helper()
	hour := d.Enrolment.Device.FirstHour
	w.noPointer("a row of "+name, d.Row(hour, 0), code)
	w.noPointer("a day row of "+name, d.PersonDay(hour/24), code)
}

func (w *world) noPointer(name string, p record.SignedPointer, code fault.Code) {
	w.Helper()
	result := w.Anchor(p)
	item := result.Items[0]
	if item.Outcome != record.Refused || item.Code != string(code) || !result.Batch.IsZero() {
		w.Errorf("%s: %+v, want refused with %s", name, item, code)
	}
}

// endedDevice is about devices that the ledger knows and that count for nothing.
func endedDevice(w *world) {
	p := w.Patient()
	suspect, lost := w.device(p), w.device(p)
	for _, d := range []*consortium.Device{suspect, lost} {
		w.Must(association, contracts.RegistryEnrolDevice, d.Enrolment)
		w.noRow("a device before it ended", d, fault.TooEarly)
	}
	vote := record.VoteQuarantine{Device: suspect.ID, Reason: "implausible"}
	w.Must(hospitalA, contracts.RegistryVoteQuarantine, vote)
	w.Must(hospitalA, contracts.RegistryVoteQuarantine, vote)
	w.noRow("a device against which one member has voted twice", suspect, fault.TooEarly)
	w.Must(hospitalB, contracts.RegistryVoteQuarantine, vote)
	w.noRow("a device in quarantine", suspect, fault.Forbidden)

	retire := record.RetireDevice{Device: lost.ID, Lost: true}
	digest := record.Digest(record.DomainRetire, w.Genesis.Network, retire)
	honest := record.SignedRetirement{Retire: retire, Signature: consortium.Sign(p.Key, digest)}
	stranger, other := honest, honest
	stranger.Signature = consortium.Sign(suspect.Key, digest)
	other.Retire.Device = suspect.ID
	w.refused([]record.ID{p.ID},
		forgery{"retired by another device", fault.BadSignature, contracts.RegistryRetireDevice, stranger},
		forgery{"the document of another device", fault.BadSignature, contracts.RegistryRetireDevice, other})
	w.Must(association, contracts.RegistryRetireDevice, honest)
	w.noRow("a lost device", lost, fault.Expired)
}

// erasedPatient is about what somebody held back, or still makes with the keys.
func erasedPatient(w *world) {
	p := w.Patient()
	held := p.Sign(p.Next(p.Put(p.Document(hospitalA)).Document, func(d *consent.Document) { d.CapMicro-- }))
	e := record.Erasure{Patient: p.ID}
	erased := record.SignedErasure{Erasure: e, Key: consortium.Public(p.Key), Signature: consortium.Sign(p.Key, e.Digest(w.Genesis.Network))}
	mine := w.Patient()
	forged := erased
	forged.Key, forged.Signature = consortium.Public(mine.Key), consortium.Sign(mine.Key, e.Digest(w.Genesis.Network))
	w.refused([]record.ID{p.ID}, forgery{"erased by somebody else", fault.BadSignature, contracts.RegistryErase, forged})
	w.Must(association, contracts.RegistryErase, erased)
	change := record.PatientKeys{
		Patient: p.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(p.Key), consortium.Public(consortium.NewKey())}, RecoveryHash: p.Enrolment.Inception.RecoveryHash,
	}
	again := p.Enrolment
	again.Inception.Salt = record.RandomID()
	w.refused([]record.ID{p.ID},
		forgery{"with a consent that was held back", fault.Forbidden, contracts.ConsentPut, held},
		forgery{"with a new consent", fault.Forbidden, contracts.ConsentPut, p.Sign(p.Document(hospitalA))},
		forgery{"with a device", fault.Forbidden, contracts.RegistryEnrolDevice, w.device(p).Enrolment},
		forgery{"with keys", fault.Forbidden, contracts.RegistryChangeKeys, w.SignKeys(change, p.Key)},
		forgery{"under another identifier", fault.Invalid, contracts.RegistryEnrolPatient, again})
}

func foreignInstitution(w *world) {
	p := w.Patient()
	honest := p.Sign(p.Document(hospitalA))
	before := w.state(p.ID)
	w.Clients[foreign] = w.ledger.Foreign(w.TB)
	for method, document := range map[contracts.Method]any{
		contracts.ConsentPut: honest, contracts.RegistryEnrolPatient: w.newPatient(association).Enrolment, contracts.ClockTick: record.Tick{Time: 1 << 33},
	} {
		_, err := w.Submit(foreign, method, document)
		w.wants("a stranger calls "+method.Name(), fault.Forbidden, err)
	}
	if after := w.state(p.ID); after != before {
		w.Errorf("the patient is %s, was %s", after, before)
	}
	w.Must(association, contracts.ConsentPut, honest)
}

// datedTransaction is about dates that the contracts alone refuse: Fabric's peers
// take none that is more than a quarter of an hour off.
func datedTransaction(w *world) {
	p := w.newPatient(association)
	before := w.state(p.ID)
	for name, c := range map[string]struct {
		shift time.Duration
		code  fault.Code
	}{
		"eight minutes back":  {-8 * time.Minute, fault.Expired},
		"eight minutes ahead": {8 * time.Minute, fault.TooEarly},
	} {
		err := w.ledger.SubmitAt(w.TB, association, w.Call(contracts.RegistryEnrolPatient, p.Enrolment), time.Now().Add(c.shift))
		w.wants("dated "+name, c.code, err)
	}
	if after := w.state(p.ID); after != before {
		w.Errorf("the patient is %s, was %s", after, before)
	}
	if err := w.ledger.SubmitAt(w.TB, association, w.Call(contracts.RegistryEnrolPatient, p.Enrolment), time.Now()); err != nil {
		w.Errorf("dated now: %v", err)
	}
}

func unvouchedPatient(w *world) {
	none, asker, other := w.newPatient(), w.newPatient(hospitalA), w.newPatient(association)
	made := w.newPatient(association)
	made.Enrolment.Vouchers[0].Signature = consortium.Sign(consortium.NewKey(), made.VoucherDigest())
	moved := w.newPatient()
	moved.Enrolment.Voucher, moved.Enrolment.Vouchers = other.Enrolment.Voucher, other.Enrolment.Vouchers
	w.refused([]record.ID{none.ID, asker.ID, made.ID, moved.ID},
		forgery{"without a voucher", fault.Forbidden, contracts.RegistryEnrolPatient, none.Enrolment},
		forgery{"with an asking institution's", fault.Forbidden, contracts.RegistryEnrolPatient, asker.Enrolment},
		forgery{"with one that is made up", fault.BadSignature, contracts.RegistryEnrolPatient, made.Enrolment},
		forgery{"with another patient's", fault.Invalid, contracts.RegistryEnrolPatient, moved.Enrolment})
	w.Must(association, contracts.RegistryEnrolPatient, other.Enrolment)
}

func elevenSybils(w *world) {
	var ids []record.ID
	var list []forgery
	for range w.Genesis.MinCohort {
		p := w.newPatient(hospitalA)
		ids = append(ids, p.ID)
		list = append(list, forgery{"a made-up patient", fault.Forbidden, contracts.RegistryEnrolPatient, p.Enrolment})
	}
	w.refused(ids, list...)
}

func stolenPhone(w *world) {
	p := w.Patient()
	c := record.PatientKeys{Patient: p.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(consortium.NewKey())}, RecoveryHash: record.RandomID()}
	w.refused([]record.ID{p.ID}, forgery{"with another recovery hash", fault.Conflict, contracts.RegistryChangeKeys, w.SignKeys(c, p.Key)})
	c.RecoveryHash = p.Enrolment.Inception.RecoveryHash
	w.Must(association, contracts.RegistryChangeKeys, w.SignKeys(c, p.Key))
}

func secondRecovery(w *world) {
	p := w.Patient()
	d := p.Put(p.Document(hospitalA)).Document
	owner, thief := consortium.NewKey(), consortium.NewKey()
	recovery := p.RecoveryKey(p.Code)
	first := record.PatientKeys{
		Patient: p.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(owner)}, RecoveryHash: p.RecoveryHash(record.NewRecoveryCode()), RevokeAll: true,
	}
	held := first // made before, and held back
	held.ConsentKeys, held.RecoveryHash, held.RevokeAll = [][]byte{consortium.Public(thief)}, p.RecoveryHash(record.NewRecoveryCode()), false
	w.Must(association, contracts.RegistryChangeKeys, w.SignKeys(first, recovery))
	after := held
	after.Version, after.Previous = 2, first.Digest(w.Genesis.Network)
	narrower := p.Next(d, func(n *consent.Document) { n.CapMicro-- })
	old := p.Sign(narrower)
	p.Key = owner
	w.refused([]record.ID{p.ID},
		forgery{"with what was held back", fault.BadSignature, contracts.RegistryChangeKeys, w.SignKeys(held, recovery)},
		forgery{"with the same code again", fault.BadSignature, contracts.RegistryChangeKeys, w.SignKeys(after, recovery)},
		forgery{"with a next version by the old key", fault.BadSignature, contracts.ConsentPut, old},
		forgery{"with a next version by the new key", fault.Conflict, contracts.ConsentPut, p.Sign(narrower)},
		forgery{"with a new permission at once", fault.TooEarly, contracts.ConsentPut, p.Sign(p.Document(hospitalA))})
}
