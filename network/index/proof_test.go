package index

import (
	"bytes"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// The histories below are those of an operator who records whatever it likes: blocks
// in order, with the transactions that members and gateways have submitted, and
// writes that nobody's signature stands behind.

// forged is what an index makes of a history that is cut here: it must have refused
// so many writes, the last for a reason with these words.
func (l *ledger) forged(t *testing.T, refused int, words string) *Index {
	t.Helper()
	l.cut()
	ix := apply(t, l.blocks)
	n, list := ix.Refused(0)
	if n != refused || n != len(list) {
		t.Fatalf("%d writes were refused, want %d: %v", n, refused, list)
	}
	if n > 0 && !strings.Contains(list[n-1].Reason, words) {
		t.Fatalf("refused for %q, want %q", list[n-1].Reason, words)
	}
	return ix
}

func (l *ledger) sign(d consent.Document, by string) consent.Signed {
	k := keyOf(by)
	return consent.Signed{Document: d, Key: public(k), Signature: signed(k, d.Digest("test"))}
}

func TestAttackConsentsThatNoPatientSigned(t *testing.T) {
	for name, c := range map[string]struct {
		forge func(*ledger, consent.Document) consent.Signed
		words string
	}{
		"no signature": {func(_ *ledger, d consent.Document) consent.Signed { return consent.Signed{Document: d} }, "the key is not one"},
		"a stranger's": {func(l *ledger, d consent.Document) consent.Signed { return l.sign(d, "a stranger") }, "the key is not one"},
		"a member's":   {func(l *ledger, d consent.Document) consent.Signed { return l.sign(d, members[0]) }, "the key is not one"},
		"the key named, another signs": {func(l *ledger, d consent.Document) consent.Signed {
			s := l.sign(d, "a stranger")
			s.Key = public(l.people[d.Patient].key)
			return s
		}, "signature does not verify"},
		"signed for less": {func(l *ledger, d consent.Document) consent.Signed {
			s := l.honest(d)
			s.Document.CapMicro++
			return s
		}, "signature does not verify"},
		"another patient's": {func(l *ledger, d consent.Document) consent.Signed {
			key := l.people[l.patients[1]].key
			return consent.Signed{Document: d, Key: public(key), Signature: signed(key, d.Digest("test"))}
		}, "the key is not one"},
		"a recovery key's permission": {func(l *ledger, d consent.Document) consent.Signed {
			key := l.people[d.Patient].recovery
			return consent.Signed{Document: d, Key: public(key), Signature: signed(key, d.Digest("test"))}
		}, "the key is not one"},
		"a document that cannot be": {func(l *ledger, d consent.Document) consent.Signed {
			d.Metrics = nil
			return l.honest(d)
		}, "metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.ready(2)
			l.withdraw(0)
			d := l.permit(l.patients[0], members[0], hour0, hour0+100)
			l.record(c.forge(l, d))
			query := l.ask(members[0], hour0, hour0+24, 100)
			ix := l.forged(t, 1, c.words)
			if got := size(t, ix, query); got != 1 {
				t.Errorf("%d patients, want the one who permits it", got)
			}
		})
	}
}

func (l *ledger) honest(d consent.Document) consent.Signed {
	key := l.people[d.Patient].key
	return consent.Signed{Document: d, Key: public(key), Signature: signed(key, d.Digest("test"))}
}

// withdraw revokes a patient's first consent.
func (l *ledger) withdraw(patient int) consent.Document {
	d := l.consents[2*patient]
	d.Version, d.Status = d.Version+1, consent.StatusRevoked
	l.consent(d)
	return l.consents[2*patient]
}

func TestAttackRevocationsUndone(t *testing.T) {
	for name, c := range map[string]struct {
		undo  func(*ledger)
		words string
	}{
		"a version after the last": {func(l *ledger) {
			d := l.consents[0]
			d.Version, d.Previous, d.Status = 3, d.Digest("test"), consent.StatusActive
			l.record(l.honest(d)) // an old signature of the patient's own
		}, "final"},
		"a version left out": {func(l *ledger) {
			d := l.consents[0]
			d.Version, d.Previous, d.Status = 9, d.Digest("test"), consent.StatusActive
			l.record(l.honest(d))
		}, "cannot follow"},
		"the first once more": {func(l *ledger) {
			d := l.consents[0]
			d.Version, d.Previous, d.Status = 1, record.ID{}, consent.StatusActive
			l.record(l.honest(d))
		}, "cannot follow"},
		"another within a day": {func(l *ledger) {
			l.record(l.honest(l.permit(l.patients[0], members[0], hour0, hour0+100)))
		}, "was revoked at"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.ready(2)
			l.withdraw(0)
			c.undo(l)
			query := l.ask(members[0], hour0, hour0+24, 100)
			if got := size(t, l.forged(t, 1, c.words), query); got != 1 {
				t.Errorf("%d patients, want 1", got)
			}
		})
	}
}

func TestAttackPermissionAfterEverythingWasRevoked(t *testing.T) {
	l := newLedger()
	l.ready(2)
	before := l.consents[0]
	l.changeKeys(l.patients[0], true)
	wider := before
	wider.Version, wider.Previous, wider.CapMicro = 2, before.Digest("test"), 2000
	l.record(l.honest(wider))
	l.record(l.honest(l.permit(l.patients[0], members[0], hour0, hour0+100)))
	query := l.ask(members[0], hour0, hour0+24, 100)
	if got := size(t, l.forged(t, 2, "everything was revoked"), query); got != 1 {
		t.Errorf("%d patients, want 1", got)
	}
}

// Nobody but the patient ends a denial; a denial that nobody has signed is heeded.
func TestAttackDenialsLifted(t *testing.T) {
	l := newLedger()
	l.ready(3)
	denial := l.permit(l.patients[0], members[0], hour0, hour0+100)
	denial.Effect, denial.Exact, denial.BeyondShare = consent.EffectDeny, false, false
	l.consent(denial)
	lifted := denial
	lifted.Version, lifted.Previous, lifted.Status = 2, denial.Digest("test"), consent.StatusRevoked
	l.record(l.sign(lifted, "a stranger"))
	made := l.permit(l.patients[1], members[0], hour0, hour0+100)
	made.Effect, made.Exact, made.BeyondShare = consent.EffectDeny, false, false
	l.record(l.sign(made, "a stranger"))
	query := l.ask(members[0], hour0, hour0+24, 100)
	if got := size(t, l.forged(t, 2, "not one"), query); got != 1 {
		t.Errorf("%d patients, want the third alone", got)
	}
}

// The patient's own signature does not end a denial within a day either: what was denied
// stays denied.
func TestAttackDenialsToggled(t *testing.T) {
	for name, c := range map[string]struct {
		hours int64 // after the denial
		stop  func(*ledger)
		lift  func(*consent.Document)
		words string
	}{
		"lifted":           {23, func(*ledger) {}, func(d *consent.Document) { d.Status = consent.StatusRevoked }, "was denied at"},
		"entered in error": {23, func(*ledger) {}, func(d *consent.Document) { d.Status = consent.StatusInError }, "was denied at"},
		"moved away":       {23, func(*ledger) {}, func(d *consent.Document) { d.DataFrom = d.DataUntil - 1 }, "was denied at"},
		"lifted after a revocation": {24, func(l *ledger) {
			d := l.consents[4]
			d.Version, d.Status = 2, consent.StatusRevoked
			l.consent(d)
		}, func(d *consent.Document) { d.Status = consent.StatusRevoked }, "was revoked at"},
		"lifted after a revoking all": {24, func(l *ledger) { l.changeKeys(l.patients[0], true) }, func(d *consent.Document) { d.Status = consent.StatusRevoked }, "everything was revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.ready(2)
			l.consent(l.permit(l.patients[0], members[0], hour0, hour0+10))
			denial := l.permit(l.patients[0], members[0], hour0, hour0+100)
			denial.Effect, denial.Exact, denial.BeyondShare = consent.EffectDeny, false, false
			l.consent(denial)
			l.tickAll(l.now + c.hours*3600)
			c.stop(l)
			lifted := denial
			lifted.Version, lifted.Previous = 2, denial.Digest("test")
			c.lift(&lifted)
			l.record(l.honest(lifted))
			query := l.ask(members[0], hour0, hour0+24, 100)
			if got := size(t, l.forged(t, 1, c.words), query); got != 1 {
				t.Errorf("%d patients, want the other alone", got)
			}
		})
	}
}

// A revocation that cannot be proven ends the consent for good.
func TestAnUnprovenRevocationCounts(t *testing.T) {
	l := newLedger()
	l.ready(2)
	under := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	d := l.consents[0]
	d.Version, d.Previous, d.Status = 2, d.Digest("test"), consent.StatusRevoked
	l.record(l.sign(d, "a stranger"))
	ix := l.forged(t, 1, "not one")
	if _, gone, err := ix.Stale(under, 0); err != nil || len(gone) != 1 {
		t.Errorf("gone are %v (%v), want one", gone, err)
	}
	history, err := ix.History(l.patients[0])
	if err != nil || history[len(history)-1].Consent.State != StateUnproven {
		t.Errorf("the patient does not see it: %+v, %v", history[len(history)-1], err)
	}
}

func TestAttackForgedDetailsThatComeLate(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.withdraw(0)
	forged := l.permit(l.patients[0], members[0], hour0, hour0+100)
	l.record(l.sign(forged, "a stranger"))
	query := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, withheld(l.blocks, func(d consent.Document) bool { return d.ID == forged.ID }))
	if _, err := ix.Cohort(query, 0); fault.Of(err) != fault.Unavailable {
		t.Fatalf("the cohort is known without the details: %v", err)
	}
	if n, err := ix.Supply(l.blocks[len(l.blocks)-1]); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := size(t, ix, query); got != 1 {
		t.Errorf("%d patients, want 1", got)
	}
	if n, _ := ix.Refused(0); n != 1 {
		t.Errorf("%d writes were refused, want 1", n)
	}
}

func TestAttackForgedKeys(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.withdraw(0)
	thief := keyOf("a thief")
	p := l.people[l.patients[0]].state
	c := record.PatientKeys{Patient: p.ID, Version: 1, ConsentKeys: [][]byte{public(thief)}, RecoveryHash: p.RecoveryHash()}
	l.tx(put(state.KeysKey(p.ID, 1), state.KeysState{Signed: consent.SignedKeys{Change: c, Key: public(thief), Signature: signed(thief, c.Digest("test"))}}),
		put(state.PatientKey(p.ID), record.Patient{ID: p.ID, Inception: p.Inception, Keys: &c}))
	d := l.permit(l.patients[0], members[0], hour0, hour0+100)
	d.Grantee = members[1]
	l.record(l.sign(d, "a thief"))
	query := l.ask(members[1], hour0, hour0+24, 100)
	ix := l.forged(t, 2, "not one")
	if got := size(t, ix, query); got != 2 { // who permitted it before, with their own keys
		t.Errorf("%d patients, want 2", got)
	}
	c.RevokeAll = true
	l.tx(put(state.KeysKey(p.ID, 1), state.KeysState{Signed: consent.SignedKeys{Change: c}}))
	l.cut()
	if err := ix.Apply(l.blocks[len(l.blocks)-1]); err != nil {
		t.Fatal(err)
	}
	if _, gone, err := ix.Stale(query, 0); err != nil || len(gone) != 1 {
		t.Errorf("an unproven revocation of everything was not heeded: %v, %v", gone, err)
	}
}

func TestAttackForgedErasureDeletesNothing(t *testing.T) {
	l := newLedger()
	l.ready(2)
	e := record.Erasure{Patient: l.patients[0]}
	stranger := keyOf("a stranger")
	l.tx(put(state.ErasureKey(e.Patient), record.ErasureState{
		Signed: record.SignedErasure{Erasure: e, Key: public(stranger), Signature: signed(stranger, e.Digest("test"))}, Devices: []record.ID{l.devices[0].ID},
	}), put(state.PatientKey(e.Patient), record.Patient{ID: e.Patient, Erased: true}))
	query := l.ask(members[0], hour0, hour0+24, 100)
	ix := l.forged(t, 1, "neither one that this patient")
	if ix.Erased(e.Patient) || len(ix.Erasures(0)) != 0 {
		t.Error("members would delete what they hold of the patient")
	}
	if got := size(t, ix, query); got != 1 {
		t.Errorf("%d patients, want 1: it counts as a revocation", got)
	}
	// One that the patient has signed names the patient's devices, whatever is recorded.
	p := l.people[l.patients[1]]
	e.Patient = l.patients[1]
	l.tx(put(state.ErasureKey(e.Patient), record.ErasureState{
		Signed: record.SignedErasure{Erasure: e, Key: public(p.key), Signature: signed(p.key, e.Digest("test"))}, Devices: []record.ID{l.devices[0].ID},
	}))
	ix = l.forged(t, 1, "")
	if all := ix.Erasures(0); len(all) != 1 || len(all[0].State.Devices) != 1 || all[0].State.Devices[0] != l.devices[1].ID {
		t.Errorf("the erasure takes another patient's devices: %+v", all)
	}
}

func TestAttackPatientsAndDevicesMadeUp(t *testing.T) {
	for name, c := range map[string]struct {
		forge func(*ledger) (contracts.Method, any, network.Write)
		words string
	}{
		"a record without an enrolment": {func(l *ledger) (contracts.Method, any, network.Write) {
			id := l.id()
			return contracts.RegistryEnrolPatient, record.EnrolPatient{}, put(state.PatientKey(id), record.Patient{ID: id})
		}, "salt"},
		"one voucher of two": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, id := l.enrolment(l.id())
			e.Vouchers = e.Vouchers[:1]
			return contracts.RegistryEnrolPatient, e, put(state.PatientKey(id), record.Patient{ID: id})
		}, "1 vouch for this patient"},
		"the same voucher twice": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, id := l.enrolment(l.id())
			e.Vouchers[1] = e.Vouchers[0]
			return contracts.RegistryEnrolPatient, e, put(state.PatientKey(id), record.Patient{ID: id})
		}, "vouches twice"},
		"a person once more": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, id := l.enrolment(l.people[l.patients[0]].state.Person)
			return contracts.RegistryEnrolPatient, e, put(state.PatientKey(id), record.Patient{ID: id})
		}, "enrolled already"},
		"under another name": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, _ := l.enrolment(l.id())
			return contracts.RegistryEnrolPatient, e, put(state.PatientKey(l.id()), record.Patient{})
		}, "another patient"},
		"a device without its patient's signature": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, id := l.deviceOf(l.patients[0], true, nil)
			return contracts.RegistryEnrolDevice, e, put(state.DeviceKey(id), record.DeviceState{ID: id, Device: e.Device})
		}, "not by a key that the patient signs with"},
		"a device with another's seeds": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, id := l.deviceOf(l.patients[0], false, l.devices[1].Device.SeedHashes)
			return contracts.RegistryEnrolDevice, e, put(state.DeviceKey(id), record.DeviceState{ID: id, Device: e.Device})
		}, "used before"},
		"a device of nobody": {func(l *ledger) (contracts.Method, any, network.Write) {
			e, id := l.deviceOf(l.id(), false, nil)
			return contracts.RegistryEnrolDevice, e, put(state.DeviceKey(id), record.DeviceState{ID: id, Device: e.Device})
		}, "not enrolled"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.ready(2)
			m, document, w := c.forge(l)
			l.call("Gateway", m, document, w)
			ix := l.forged(t, 1, c.words)
			if n := ix.Counts(); n.Patients != 2 || n.Devices != 2 {
				t.Errorf("there are %d patients and %d devices", n.Patients, n.Devices)
			}
		})
	}
}

// enrolment is a person's, vouched for as it should be.
func (l *ledger) enrolment(person record.ID) (record.EnrolPatient, record.ID) {
	key := l.key()
	in := record.Inception{ConsentKeys: [][]byte{public(key)}, RecoveryHash: l.id(), Salt: l.id(), DetailsKey: testKey.Digest("test")}
	id := in.PatientID("test")
	e := record.EnrolPatient{Inception: in, DetailsBlob: l.id(), Voucher: record.Voucher{Patient: id, Person: person}}
	for _, m := range members[:2] {
		e.Vouchers = append(e.Vouchers, record.VoucherSignature{By: m, Signature: signed(keyOf(m), record.Digest(record.DomainVoucher, "test", e.Voucher))})
	}
	e.Signature = signed(key, e.Digest("test"))
	return e, id
}

// deviceOf is a patient's new device; stranger signs in the patient's place, unless nil.
func (l *ledger) deviceOf(patient record.ID, stranger bool, seeds []record.ID) (record.EnrolDevice, record.ID) {
	key := l.key()
	if seeds == nil {
		seeds = []record.ID{l.id(), l.id(), l.id()}
	}
	d := record.Device{Key: public(key), Patient: patient, FirstHour: hour0, Metrics: []string{metric}, SeedBlob: l.id(), SeedHashes: seeds}
	digest := record.Digest(record.DomainDevice, "test", d)
	by := keyOf("a stranger")
	if p := l.people[patient]; p != nil && !stranger {
		by = p.key
	}
	return record.EnrolDevice{Device: d, DeviceSignature: signed(key, digest), PatientSignature: signed(by, digest)}, record.DeviceID("test", d.Key)
}

// What members do, they have submitted themselves.
func TestAttackRecordsInTheNamesOfMembers(t *testing.T) {
	someone := members[1]
	for name, forge := range map[string]func(*ledger) network.Write{
		"a tick": func(*ledger) network.Write {
			return put(state.TickKey(members[0]), record.Tick{Time: 1 << 38})
		},
		"an acknowledgement": func(l *ledger) network.Write {
			return put(state.AckKey(l.devices[0].ID, members[0]), state.Acknowledged{})
		},
		"a piece key": func(l *ledger) network.Write { // the second member lacks the second piece
			return put(state.PieceKeyKey(0, 1), keyState(someone, someone, 1))
		},
		"a piece key of another's making": func(*ledger) network.Write {
			return put(state.PieceKeyKey(0, 0), keyState(members[2], someone, 0))
		},
		"a piece key with the maker's name only": func(*ledger) network.Write {
			s := keyState(someone, members[2], 0)
			return put(state.PieceKeyKey(0, 0), s)
		},
		"a piece key of a later round": func(*ledger) network.Write {
			s := keyState(someone, someone, 0)
			s.Posted.Key.Round = 1
			s.Posted.Signature = signed(keyOf(someone), s.Posted.Key.Digest("test"))
			return put(state.PieceKeyKey(0, 0), s)
		},
		"a complaint about no key": func(*ledger) network.Write {
			s := keyState(members[2], members[2], 0)
			return put(state.PieceKeyKey(0, 0), record.PieceKeyState{Faulty: []record.FaultyKey{{Posted: *s.Posted, Holder: someone}}})
		},
		"a post about rows": func(l *ledger) network.Write {
			b := l.batches[0]
			return put(state.AvailableKey(b.id, members[0]), record.SignedAvailable{
				Post: record.AvailablePost{Batch: b.id, Count: len(b.pointers), Bitmap: []byte{255}}, Member: members[0], Signature: make([]byte, 64),
			})
		},
		"a flag": func(l *ledger) network.Write {
			f := record.DeviceFlag{Flag: record.FlagDevice{Device: l.devices[0].ID, Kind: record.FlagOutlier}, Member: members[0]}
			return put(state.DeviceFlagKey(f), f)
		},
		"a vote": func(l *ledger) network.Write {
			return put(state.DeviceVoteKey(l.devices[0].ID, members[0]), record.DeviceVote{})
		},
		"a cohort": func(l *ledger) network.Write {
			return put(state.CohortKey(l.queries[0].ID, 0, members[0]), record.CohortState{Post: record.PostCohort{Query: l.queries[0].ID}, Member: members[0]})
		},
		"a study": func(*ledger) network.Write {
			return put(state.StudyKey(members[0], "mine"), record.StudyState{Owner: members[0]})
		},
		"a query": func(l *ledger) network.Write {
			q := l.queries[0]
			q.ID = l.id().String()
			return put(state.QueryKey(q.ID), q)
		},
		"an end of an epoch": func(*ledger) network.Write {
			return put(state.EpochEndKey(0, members[0]), map[string]any{})
		},
		"an epoch": func(l *ledger) network.Write {
			e := record.Epoch{Number: 1, Threshold: 1, Members: []record.Member{{MSP: someone, SignKey: public(keyOf(someone))}}}
			vote := record.EpochVote{Member: someone, Signature: signed(keyOf(someone), e.Digest("test"))}
			return put(state.EpochKey(1), record.EpochState{Epoch: e, Votes: []record.EpochVote{vote}})
		},
		"an epoch's end": func(l *ledger) network.Write {
			return put(state.EpochKey(0), record.EpochState{Epoch: l.genesis.FirstEpoch(), Retired: 7})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.ready(2)
			l.ask(members[0], hour0, hour0+24, 100)
			l.cut()
			ix := apply(t, l.blocks)
			before := everythingBut(t, ix)
			l.call(someone, contracts.Write[any, any]("something else"), nil, forge(l))
			ix = l.forged(t, 1, "")
			if got := everythingBut(t, ix); got != before {
				t.Errorf("it has changed the index:\n%s\nwas\n%s", got, before)
			}
		})
	}
}

// keyState is the record of a key of piece `piece` by a member, signed with the key of signer.
func keyState(by, signer string, piece int) record.PieceKeyState {
	k := record.PieceKey{Piece: piece, Check: record.SumID([]byte("key"))}
	return record.PieceKeyState{Piece: piece, Posted: &record.PostedKey{By: by, Key: k, Signature: signed(keyOf(signer), k.Digest("test"))}}
}

// A piece's key is taken from its maker, answers what is asked after it took the place
// of a faulty one, and goes on evidence alone.
func TestPieceKeysAreTheirMakersAndGoOnEvidence(t *testing.T) {
	l := newLedger()
	l.ready(1)
	holder, c := l.genesis.Members[2], he.Context{Network: "test"}
	post := func(by string, round int, to []record.Member) record.PostedKey {
		k, err := he.SealPieceKey(c, 0, round, he.NewPieceKey(), by, to)
		if err != nil {
			t.Fatal(err)
		}
		k.Check = record.SumID([]byte("another key"))
		return record.PostedKey{By: by, Key: k, Signature: signed(keyOf(by), k.Digest("test"))}
	}
	write := func(s record.PieceKeyState) network.Write { return put(state.PieceKeyKey(0, 0), s) }
	bad := post(members[1], 0, []record.Member{holder})
	l.call(members[1], contracts.RegistryPostPieceKey, bad, write(record.PieceKeyState{Posted: &bad}))
	early := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, l.blocks)
	if k, _ := ix.PieceKey(0, 0); k.State.Posted == nil || !ix.Serves(k, early) {
		t.Fatalf("%+v", k)
	}

	fault := record.FaultyKey{Posted: bad, Holder: members[2]}
	l.call(members[2], contracts.RegistryComplainPieceKey, record.ComplainKey{}, write(record.PieceKeyState{Faulty: []record.FaultyKey{fault}}))
	ix = l.forged(t, 1, "proof")
	if k, _ := ix.PieceKey(0, 0); k.State.Posted == nil {
		t.Error("a key went without evidence")
	}

	var err error
	if fault.Proof, err = he.ComplainPieceKey(c, bad.Key, members[1], holder, boxOf(members[2])); err != nil {
		t.Fatal(err)
	}
	l.call(members[2], contracts.RegistryComplainPieceKey, record.ComplainKey{Proof: fault.Proof}, write(record.PieceKeyState{Faulty: []record.FaultyKey{fault}}))
	again := post(members[1], 1, []record.Member{holder})
	l.call(members[1], contracts.RegistryPostPieceKey, again, write(record.PieceKeyState{Posted: &again, Faulty: []record.FaultyKey{fault}}))
	ix = l.forged(t, 2, "not the next key")
	if k, _ := ix.PieceKey(0, 0); k.State.Posted != nil || ix.Serves(k, early) {
		t.Errorf("%+v", k)
	}

	next := post(members[2], 1, l.genesis.Members[1:2])
	l.call(members[2], contracts.RegistryPostPieceKey, next, write(record.PieceKeyState{Posted: &next, Faulty: []record.FaultyKey{fault}}))
	late := l.ask(members[0], hour0+24, hour0+48, 100)
	ix = l.forged(t, 2, "not the next key")
	if k, _ := ix.PieceKey(0, 0); k.State.Posted == nil || ix.Serves(k, early) || !ix.Serves(k, late) || ix.Serves(k, "unknown") {
		t.Errorf("%+v", k)
	}
}

// everythingBut is a saved index without its height and refusals.
func everythingBut(t *testing.T, ix *Index) string {
	t.Helper()
	c := *New()
	c.reading = ix.reading
	c.height, c.lastHash, c.txs, c.refusals.count, c.refusals.list = 0, record.ID{}, 0, 0, nil
	var b bytes.Buffer
	if err := c.Save(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestAttackQuarantineLiftedByOldVotes(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.quarantine(0, true)
	l.quarantine(0, false)
	l.cut()
	var old []network.Tx // that lifted it
	for _, tx := range l.blocks[len(l.blocks)-1].Txs {
		if tx.Function == contracts.RegistryVoteQuarantine.Name() && strings.Contains(tx.Args[0], "\"lift\":true") {
			old = append(old, tx)
		}
	}
	l.quarantine(0, true)
	if len(old) != 2 {
		t.Fatalf("%d votes lifted it", len(old))
	}
	l.open = append(l.open, old...)
	query := l.ask(members[0], hour0, hour0+24, 100)
	if got := size(t, l.forged(t, 3, "before"), query); got != 1 {
		t.Errorf("%d patients, want 1", got)
	}
}

// A study's budget and its terms hold whatever is recorded of them.
func TestAttackQueriesBeyondTheirStudy(t *testing.T) {
	l := newLedger()
	l.ready(2)
	s := record.Study{ID: "small", Purpose: purpose, Metrics: []string{metric}, From: hour0, Until: hour0 + 48, MinCohort: 2, Budget: 500}
	l.call(members[0], contracts.StudyCreate, s, put(state.StudyKey(members[0], s.ID), record.StudyState{Study: s, Owner: members[0]}))
	wider := s
	wider.Budget = 1 << 20
	l.call(members[0], contracts.StudyCreate, wider, put(state.StudyKey(members[0], s.ID), record.StudyState{Study: wider, Owner: members[0]}))
	for i, c := range []struct {
		ask record.Ask
		ok  bool
	}{
		{record.Ask{Study: "small", Metric: metric, From: hour0, Until: hour0 + 24, Rho: 300}, true},
		{record.Ask{Study: "small", Metric: metric, From: hour0, Until: hour0 + 24, Rho: 300}, false},
		{record.Ask{Study: "small", Metric: metric, From: hour0, Until: hour0 + 24}, false},
		{record.Ask{Study: "small", Metric: other, From: hour0, Until: hour0 + 24, Rho: 1}, false},
		{record.Ask{Study: "small", Metric: metric, From: hour0, Until: hour0 + 49, Rho: 1}, false},
		{record.Ask{Study: "none", Metric: metric, From: hour0, Until: hour0 + 24, Rho: 1}, false},
		{record.Ask{Study: "small", Metric: metric, From: hour0, Until: hour0 + 24, Rho: 200}, true},
	} {
		id := l.id().String()
		l.add(network.Tx{ID: id, Creator: network.Creator{MSP: members[0]}, Function: contracts.QueryAsk.Name(), Writes: []network.Write{
			put(state.QueryKey(id), record.QueryState{ID: id, Ask: c.ask, Asker: members[0], Purpose: "TREAT", Asked: 1, Status: record.QueryAsked}),
			put(state.StudyKey(members[0], s.ID), record.StudyState{Study: s, Owner: members[0]}), // nothing was spent
		}}, c.ask)
		l.cut()
		q, err := apply(t, l.blocks).Query(id)
		if (err == nil) != c.ok {
			t.Errorf("question %d: %v", i, err)
		}
		if err == nil && (q.Purpose != purpose || q.Asked != l.time()) {
			t.Errorf("question %d is for %q at %d", i, q.Purpose, q.Asked)
		}
	}
}

// What members have vouched for is the batch by its root: other pointers under its name
// are not used.
func TestAttackOtherPointersUnderABatchsName(t *testing.T) {
	l := newLedger()
	l.ready(2)
	for bi, b := range l.blocks {
		for ti, tx := range b.Txs {
			for wi, w := range tx.Writes {
				kind, _, _ := state.ParseKey(w.Key)
				if kind != state.KindPointer {
					continue
				}
				s := read[record.PointerState](w.Value)
				if s.Signed.Pointer.Device == l.devices[0].ID && s.Signed.Pointer.Index == hour0+3 {
					s.Signed.Pointer.Commitment[0]++
					l.blocks[bi].Txs[ti].Writes[wi] = put(w.Key, s)
				}
			}
		}
	}
	ix := apply(t, l.blocks)
	for i, ok := range []bool{false, true} {
		_, err := ix.Rows(record.CohortMember{Device: l.devices[i].ID, Ranges: [][2]int64{{hour0, hour0 + 2}}}, false)
		if (err == nil) != ok {
			t.Errorf("device %d: %v", i, err)
		}
	}
}

// What a member's record says is what the member has submitted: with transactions of its
// own about something else a ledger could otherwise say anything in its name, such as the
// word that it has given no share of an earlier cohort.
func TestAttackRecordsOtherThanWhatMembersSubmitted(t *testing.T) {
	one := members[1]
	cohort := func(q record.QueryState, attempt int) (record.PostCohort, network.Write) {
		p := record.PostCohort{Query: q.ID, Attempt: attempt, Root: record.SumID([]byte("root")), Size: 2}
		return p, put(state.CohortKey(q.ID, attempt, one), record.CohortState{Post: p, Member: one})
	}
	agreed := func(q record.QueryState) network.Write {
		q.Status, q.Root, q.Size = record.QueryAgreed, record.SumID([]byte("root")), 2
		return put(state.QueryKey(q.ID), q)
	}
	for name, forge := range map[string]func(l *ledger, q record.QueryState){
		"a tick": func(l *ledger, _ record.QueryState) {
			l.call(one, contracts.ClockTick, record.Tick{Time: l.time()}, put(state.TickKey(one), record.Tick{Time: l.time() + 86400}))
		},
		"a tick by something else": func(l *ledger, _ record.QueryState) {
			l.call(one, contracts.QueryPostCohort, record.PostCohort{}, put(state.TickKey(one), record.Tick{Time: l.time() + 86400}))
		},
		"an acknowledgement": func(l *ledger, _ record.QueryState) {
			d := l.devices[len(l.devices)-1].ID
			l.call(one, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{l.devices[0].ID}}, put(state.AckKey(d, one), state.Acknowledged{Device: d, Member: one}))
		},
		"a flag": func(l *ledger, _ record.QueryState) {
			f := record.DeviceFlag{Flag: record.FlagDevice{Device: l.devices[0].ID, Kind: record.FlagOutlier}, Member: one}
			l.call(one, contracts.RegistryFlagDevice, record.FlagDevice{Device: l.devices[1].ID, Kind: record.FlagOutlier}, put(state.DeviceFlagKey(f), f))
		},
		"a vote to abandon": func(l *ledger, q record.QueryState) {
			l.call(one, contracts.QueryAbandon, record.Abandon{Query: l.queries[0].ID}, put(state.AbandonKey(q.ID, one), record.AbandonVote{Vote: record.Abandon{Query: q.ID}, Member: one}))
		},
		"a cohort by something else": func(l *ledger, q record.QueryState) {
			_, w := cohort(q, 1)
			l.call(one, contracts.ClockTick, record.Tick{Time: l.time()}, w)
		},
		"a cohort of another attempt": func(l *ledger, q record.QueryState) {
			p, _ := cohort(q, 0)
			_, w := cohort(q, 1)
			l.call(one, contracts.QueryPostCohort, p, w)
		},
		"an agreement without posts": func(l *ledger, q record.QueryState) {
			l.call(one, contracts.ClockTick, record.Tick{Time: l.time()}, agreed(q))
		},
		"an agreement on one post": func(l *ledger, q record.QueryState) {
			p, _ := cohort(q, 0)
			l.call(one, contracts.QueryPostCohort, p, agreed(q))
		},
		"a failure before there is a cohort": func(l *ledger, q record.QueryState) {
			q.Status = record.QueryFailed
			l.call(q.Asker, contracts.QueryFail, record.FailQuery{Query: q.ID}, put(state.QueryKey(q.ID), q))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLedger()
			l.ready(2)
			l.ask(members[0], hour0, hour0+24, 100)
			l.patient() // whose device nobody has acknowledged
			l.device(l.patients[len(l.patients)-1], day0, metric)
			l.ask(members[0], hour0, hour0+24, 100)
			l.cut()
			before := everythingBut(t, apply(t, l.blocks))
			forge(l, l.queries[len(l.queries)-1])
			if got := everythingBut(t, l.forged(t, 1, "")); got != before {
				t.Errorf("it has changed the index:\n%s\nwas\n%s", got, before)
			}
		})
	}
}

// A failure is what its asker has called one: with any other transaction of the asker's a
// ledger would have the devices of its query probed at its cost. What was agreed then
// stays.
func TestAttackAFailureThatItsAskerDidNotCall(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.ask(members[0], hour0, hour0+24, 100)
	q := l.agree(members[1], members[2])
	l.cut()
	q.Status = record.QueryFailed
	l.call(q.Asker, contracts.ClockTick, record.Tick{Time: l.time()}, put(state.QueryKey(q.ID), q))
	ix := l.forged(t, 1, contracts.QueryFail.Name())
	if got, _ := ix.Query(q.ID); got.Status != record.QueryAgreed {
		t.Fatalf("it is %s", got.Status)
	}
	q.Attempt, q.Root = 1, record.SumID([]byte("another"))
	l.call(q.Asker, contracts.QueryFail, record.FailQuery{Query: q.ID}, put(state.QueryKey(q.ID), q))
	l.cut()
	if got, _ := apply(t, l.blocks).Query(q.ID); got.Status != record.QueryFailed || got.Attempt != 0 || got.Root == q.Root {
		t.Errorf("it is %+v", got)
	}
}

// A member's posts about a batch can be recorded again in any order; one member's word
// about a row still counts once.
func TestAttackAMembersPostsRepeatedCountAsTwoMembers(t *testing.T) {
	l := newLedger()
	l.ready(2)
	l.patient()
	p := l.patients[len(l.patients)-1]
	d := l.device(p, day0, metric)
	for _, m := range members {
		l.ack(d.ID, m)
	}
	l.consent(l.permit(p, members[0], hour0, hour0+24))
	l.anchor(d.ID, hour0, hour0+1)
	b := len(l.batches) - 1
	l.available(b, members[1], 0b01)
	part := l.open[len(l.open)-1]
	l.available(b, members[1], 0b11)
	whole := l.open[len(l.open)-1]
	for _, again := range []network.Tx{part, whole} {
		again.Index = len(l.open)
		l.open = append(l.open, again)
	}
	id := l.ask(members[0], hour0, hour0+24, 100)
	if got := size(t, l.forged(t, 1, "earlier"), id); got != 2 {
		t.Errorf("%d patients: a row counts by one member's word", got)
	}
}

// Batches take memory for the pointers that came, not for the leaf that one of them says
// it is.
func TestAttackPointersFarOutInTheirBatches(t *testing.T) {
	l := newLedger()
	d := l.ready(1)[0]
	l.cut()
	for i := range 10 {
		s := record.SignedPointer{Pointer: l.row(d.ID, 0, hour0+1000+int64(i)), Signature: make([]byte, 64)}
		l.tx(put(state.PointerKey(s.Pointer), record.PointerState{Signed: s, Batch: l.id(), Leaf: record.MaxBatch - 1}))
	}
	ix := l.forged(t, 10, "leaf")
	if got := len(ix.Batches(0)); got != len(l.batches) {
		t.Errorf("%d batches, want %d", got, len(l.batches))
	}
}

// An asker that has a share of a query's first cohort cannot keep a patient from seeing it
// who has withdrawn since, by having others agree on the next cohort.
func TestAttackAnAnswerKeptFromTheHistoryByTheNextCohort(t *testing.T) {
	l := newLedger()
	l.ready(3)
	id := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	revoked := l.withdraw(0)
	l.cut()
	c, err := apply(t, l.blocks).Cohort(id, 1)
	if err != nil || c.Size != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	q := l.queries[len(l.queries)-1]
	q.Status, q.Attempt, q.Root, q.Size = record.QueryAgreed, 1, c.Root, c.Size
	post := record.PostCohort{Query: id, Attempt: 1, Root: c.Root, Size: c.Size}
	promise := func(m string) network.Write {
		return put(state.CohortKey(id, 1, m), record.CohortState{Post: post, Member: m})
	}
	included := func() bool {
		l.cut()
		entries, err := apply(t, l.blocks).History(revoked.Patient)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Kind == EntryQuery && e.Tx == id {
				return e.Query.Included
			}
		}
		t.Fatal("the query is not in the history")
		return false
	}
	l.call(members[0], contracts.QueryPostCohort, post, promise(members[0]))
	l.call(members[1], contracts.QueryPostCohort, post, promise(members[1]), put(state.QueryKey(id), q))
	if !included() {
		t.Error("the third member may have given a share with the patient in it, and the history says that none was")
	}
	l.call(members[2], contracts.QueryPostCohort, post, promise(members[2]))
	if included() {
		t.Error("all others promise that no share has left, and the history says that the patient was included")
	}
}
