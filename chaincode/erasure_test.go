package chaincode_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// recoverable is an enrolled patient with the recovery key.
func (w *world) recoverable() (*person, *ecdsa.PrivateKey) {
	w.Helper()
	p := w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	return p, w.recoveryKey(p.code)
}

// erasure is the patient's, signed with the consent key.
func (p *person) erasure() record.SignedErasure { return p.erasureBy(p.key) }

func (p *person) erasureBy(key *ecdsa.PrivateKey) record.SignedErasure {
	p.w.Helper()
	e := record.Erasure{Patient: p.id}
	return record.SignedErasure{
		Erasure: e, Key: record.PublicKeyBytes(&key.PublicKey), Signature: sign(p.w, key, e.Digest(p.w.genesis.Network)),
	}
}

// report is a member's, that it has deleted so many seeds of the patient.
func (w *world) report(msp string, p *person, seeds int) record.SignedErasureReport {
	w.Helper()
	r := record.ErasureReport{
		Patient: p.id, Erasure: record.Erasure{Patient: p.id}.Digest(w.genesis.Network), Member: msp, Seeds: seeds,
	}
	for _, d := range p.devices {
		r.Devices = append(r.Devices, d.id)
	}
	return w.signReport(r)
}

func (w *world) signReport(r record.ErasureReport) record.SignedErasureReport {
	w.Helper()
	return record.SignedErasureReport{Report: r, Signature: sign(w, w.keys[r.Member], r.Digest(w.genesis.Network))}
}

// blocks are all there are, and what of them is on the chain as JSON.
func (w *world) blocks() ([]*network.Block, string) {
	w.Helper()
	var all []*network.Block
	for b, err := range w.clients[hospitalA].Blocks(context.Background(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		if all = append(all, b); b.Number+1 == w.ledger.Height() {
			break
		}
	}
	var public strings.Builder
	for _, b := range all {
		for _, tx := range b.Txs {
			tx.Private = slices.Clone(tx.Private)
			for i := range tx.Private { // the hashes are on the chain
				tx.Private[i].Key, tx.Private[i].Value = "", nil
			}
			raw, err := json.Marshal(tx)
			if err != nil {
				w.Fatal(err)
			}
			public.Write(raw)
			for _, x := range tx.Writes {
				public.Write(x.Value)
			}
			public.Write(tx.Event.Payload)
		}
	}
	return all, public.String()
}

// What a consent says is nowhere on the chain: not in arguments, not in state,
// not in answers, and not as a hash that a guess could be held against.
func TestTheChainDoesNotSayWhatAConsentSays(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.document(hospitalB)
	d.Purpose, d.CapMicro, d.Expires, d.Metrics = "PUBHLTH", 987_654, start+86400*61+12345, []string{"spo2"}
	d.Predicates, d.Claims = nil, 0
	signed := p.sign(d)
	before := w.ledger.Height()
	res := w.must(gatewayMSP, "Consent:Put", signed, nil)
	_, public := w.blocks()
	if w.ledger.Height() == before || !strings.Contains(public, d.ID.String()) {
		t.Fatal("the consent is not in the blocks that are searched")
	}
	for what, words := range map[string]string{
		"purpose": d.Purpose, "cap": "987654", "expiry": argument(t, d.Expires),
		"digest": d.Digest(w.genesis.Network).String(), "signature": argument(t, signed.Signature), "details": "cap_micro\":98",
	} {
		if strings.Contains(public, words) || strings.Contains(string(res.Payload), words) {
			t.Errorf("the chain shows the %s of a consent", what)
		}
	}
	var s state.ConsentState
	w.read(hospitalB, "Consent:Get", d.ID.String(), &s)
	if !equalJSON(t, s.Signed, signed) {
		t.Errorf("read back: %+v", s.Signed)
	}
}

func TestAttackDetailsThatDoNotMatchTheHash(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	honest := consent.Details{Signed: p.sign(p.document(hospitalA)), Salt: record.RandomID()}
	entry := honest.Entry(w.genesis.Network)
	refuse := func(what string, e record.ConsentEntry, transient map[string][]byte) {
		t.Helper()
		_, err := w.clients[gatewayMSP].Submit(t.Context(), network.Call{
			Function: "Consent:Put", Args: []string{argument(t, e)}, Transient: transient,
		})
		if fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	value := func(d consent.Details) map[string][]byte {
		return map[string][]byte{state.TransientDetails: []byte(argument(t, d))}
	}
	swapped := consent.Details{Signed: other.sign(other.document(hospitalA)), Salt: honest.Salt}
	refuse("details of another patient", entry, value(swapped))
	wider := p.document(hospitalA)
	wider.ID, wider.CapMicro = entry.ID, wider.CapMicro+1
	refuse("another document of the patient", entry, value(consent.Details{Signed: p.sign(wider), Salt: honest.Salt}))
	refuse("another salt", entry, value(consent.Details{Signed: honest.Signed, Salt: record.RandomID()}))
	unsalted := consent.Details{Signed: honest.Signed}
	refuse("no salt", unsalted.Entry(w.genesis.Network), value(unsalted))
	refuse("no details", entry, nil)
	extra := value(honest)
	extra["more"] = []byte("x")
	refuse("more than details", entry, extra)
	for _, change := range []func(*record.ConsentEntry){
		func(e *record.ConsentEntry) { e.Patient = other.id },
		func(e *record.ConsentEntry) { e.Version = 2 },
		func(e *record.ConsentEntry) { e.Status = consent.StatusRevoked },
		func(e *record.ConsentEntry) { e.ID = record.RandomID() },
		func(e *record.ConsentEntry) { e.Hash = record.RandomID() },
	} {
		e := entry
		change(&e)
		refuse("another entry", e, value(honest))
	}
	if _, err := w.clients[gatewayMSP].Submit(t.Context(), w.privately(honest)); err != nil {
		t.Fatal(err)
	}
}

func TestAConsentEnteredInErrorIsFinal(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.consents(hospitalA)
	wrong := p.next(d, func(n *consent.Document) { n.Status = consent.StatusInError })
	w.must(gatewayMSP, "Consent:Put", p.sign(wrong), nil)
	again := p.next(wrong, func(n *consent.Document) { n.Status = consent.StatusActive })
	w.refuses(fault.Conflict, "final", gatewayMSP, "Consent:Put", p.sign(again))
	w.refuses(fault.TooEarly, "revoked", gatewayMSP, "Consent:Put", p.signs(hospitalA))
}

func TestErasurePurgesEveryVersionAndIsFinal(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	first := p.consents(hospitalA)
	w.must(gatewayMSP, "Consent:Put", p.sign(p.next(first, func(n *consent.Document) { n.CapMicro-- })), nil)
	p.revoke(p.consents(hospitalB))
	kept := other.consents(hospitalA)

	var erased record.ErasureState
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), &erased)
	if erased.Consents != 4 || !slices.Equal(erased.Devices, []record.ID{p.devices[0].id}) || erased.Time != w.now() {
		t.Fatalf("erased: %+v", erased)
	}
	all, _ := w.blocks()
	purged, left := 0, 0
	for _, b := range all {
		for _, tx := range b.Txs {
			for _, x := range tx.Private {
				switch {
				case x.Purge:
					purged++
				case x.Available:
					left++
				}
			}
		}
	}
	if purged != 4 || left != 1 {
		t.Errorf("%d values were purged and %d are left, want 4 and the other patient's", purged, left)
	}
	var s state.ConsentState
	w.read(hospitalA, "Consent:Get", kept.ID.String(), &s)
	w.refuses(fault.NotFound, "erased", hospitalA, "Consent:Get", first.ID.String())

	w.refuses(fault.Forbidden, "erased", gatewayMSP, "Consent:Put", p.signs(hospitalA))
	w.refuses(fault.Forbidden, "erased", gatewayMSP, "Registry:EnrolDevice", p.newDevice(startHour, "spo2").enrol)
	w.tick(start + 7200)
	w.refusesPointer(fault.Forbidden, p.devices[0].row(w, startHour))
	w.refuses(fault.Forbidden, "no consent", hospitalA, "Predicate:Request", p.question())
	w.repeats(gatewayMSP, "Registry:Erase", p.erasure())
}

func TestErasureByTheRecoveryKey(t *testing.T) {
	w := newWorld(t)
	p, recovery := w.recoverable()
	p.consents(hospitalA)
	var erased record.ErasureState
	w.must(hospitalB, "Registry:Erase", p.erasureBy(recovery), &erased)
	if erased.Consents != 1 || len(erased.Devices) != 0 {
		t.Errorf("erased: %+v", erased)
	}
}

func TestAttackErasureBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.consents(hospitalA)
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Registry:Erase", victim.erasureBy(mallory.key))
	forged := victim.erasureBy(mallory.key)
	forged.Key = record.PublicKeyBytes(&victim.key.PublicKey)
	w.refuses(fault.BadSignature, "signature", gatewayMSP, "Registry:Erase", forged)
	for msp, key := range w.keys { // not the institutions either
		w.refuses(fault.BadSignature, "key", msp, "Registry:Erase", victim.erasureBy(key))
	}
	elsewhere := victim.erasure()
	elsewhere.Signature = sign(t, victim.key, elsewhere.Erasure.Digest("another-network"))
	w.refuses(fault.BadSignature, "signature", gatewayMSP, "Registry:Erase", elsewhere)
	var s state.ConsentState
	w.read(hospitalA, "Consent:Get", d.ID.String(), &s)
}

// The contracts purge in Erase alone, for whoever's signature Erase checks: a
// value goes with its patient and in no other way.
func TestAttackPurgeBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.consents(hospitalA)
	stolen := mallory.document(hospitalA)
	stolen.ID = d.ID // to have the victim's details overwritten, or purged with Mallory's
	w.refuses(fault.Conflict, "", gatewayMSP, "Consent:Put", mallory.sign(stolen))
	w.must(gatewayMSP, "Registry:Erase", mallory.erasure(), nil)
	var s state.ConsentState
	w.read(hospitalA, "Consent:Get", d.ID.String(), &s)
	if s.Signed.Document.Patient != victim.id {
		t.Errorf("the victim's consent is now %+v", s)
	}
}

func TestAttackReplayedErasure(t *testing.T) {
	w := newWorld(t)
	p, recovery := w.recoverable()
	p.consents(hospitalA)
	var first, again record.ErasureState
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), &first)
	w.tick(start + 3600)
	height := w.ledger.Height()
	w.must(hospitalA, "Registry:Erase", p.erasure(), &again)
	if !equalJSON(t, first, again) {
		t.Errorf("the erasure was %+v and is now %+v", first, again)
	}
	w.must(hospitalA, "Registry:Erase", p.erasureBy(recovery), &again) // another signature, the same end
	if !equalJSON(t, first, again) {
		t.Errorf("the erasure was %+v and is now %+v", first, again)
	}
	all, _ := w.blocks()
	for _, b := range all[height:] {
		for _, tx := range b.Txs {
			if len(tx.Writes)+len(tx.Private) > 0 {
				t.Errorf("the replay wrote %+v %+v", tx.Writes, tx.Private)
			}
		}
	}
}

func TestMembersReportWhatTheyDeleted(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	w.refuses(fault.NotFound, "erasure", hospitalA, "Registry:ReportErasure", w.report(hospitalA, p, 2))
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), nil)
	w.repeats(association, "Registry:ReportErasure", w.report(association, p, 2))
	w.repeats(hospitalA, "Registry:ReportErasure", w.report(hospitalA, p, 0))
	var r record.ErasureReceipt
	w.read(gatewayMSP, "Registry:GetErasure", p.id.String(), &r)
	if len(r.Reports) != 2 || r.Reports[0].Report.Member != hospitalA || r.Reports[1].Report.Seeds != 2 {
		t.Errorf("the receipt is %+v", r)
	}
}

func TestAttackForgedErasureReport(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), nil)
	w.must(hospitalA, "Registry:ReportErasure", w.report(hospitalA, p, 2), nil)

	w.refuses(fault.Forbidden, "report for", hospitalB, "Registry:ReportErasure", w.report(association, p, 2))
	forged := w.report(hospitalB, p, 2)
	forged.Signature = sign(t, w.keys[hospitalA], forged.Report.Digest(w.genesis.Network))
	w.refuses(fault.BadSignature, "member", hospitalB, "Registry:ReportErasure", forged)
	w.refuses(fault.NotFound, "erasure", hospitalB, "Registry:ReportErasure", w.report(hospitalB, other, 2))
	w.refuses(fault.Conflict, "otherwise", hospitalA, "Registry:ReportErasure", w.report(hospitalA, p, 1))
	for _, change := range []func(*record.ErasureReport){
		func(r *record.ErasureReport) { r.Devices = nil },
		func(r *record.ErasureReport) { r.Devices = []record.ID{other.devices[0].id} },
		func(r *record.ErasureReport) { r.Erasure = record.RandomID() },
		func(r *record.ErasureReport) { r.Seeds = 4 },
		func(r *record.ErasureReport) { r.Seeds = -1 },
	} {
		r := w.report(hospitalB, p, 2).Report
		change(&r)
		w.refuses(fault.Invalid, "", hospitalB, "Registry:ReportErasure", w.signReport(r))
	}
}

func TestMembersReportForEachEpochOfTheDevices(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	p := w.enrolled()
	next := w.epoch(first, 2, hospitalA, outsider, association)
	w.begins(first, next, hospitalA, association, outsider)
	fresh, _ := p.sealedDevice(next, honestly)
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), nil)

	of := func(msp string, epoch uint32, devices ...record.ID) record.SignedErasureReport {
		r := w.report(msp, p, 2).Report
		r.Epoch, r.Devices = epoch, devices
		return w.signReport(r)
	}
	old := p.devices[0].id
	w.refuses(fault.Invalid, "epoch 1", hospitalA, "Registry:ReportErasure", of(hospitalA, 1, old, fresh.id))
	w.refuses(fault.Invalid, "epoch 0", hospitalA, "Registry:ReportErasure", of(hospitalA, 0, fresh.id))
	w.refuses(fault.Forbidden, "epoch 0", outsider, "Registry:ReportErasure", of(outsider, 0, old))
	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Registry:ReportErasure", of(hospitalB, 1, fresh.id))
	w.refuses(fault.NotFound, "epoch 2", hospitalA, "Registry:ReportErasure", of(hospitalA, 2, fresh.id))
	w.must(hospitalA, "Registry:ReportErasure", of(hospitalA, 1, fresh.id), nil)
	w.must(hospitalA, "Registry:ReportErasure", of(hospitalA, 0, old), nil)
	w.must(outsider, "Registry:ReportErasure", of(outsider, 1, fresh.id), nil)
	var r record.ErasureReceipt
	w.read(gatewayMSP, "Registry:GetErasure", p.id.String(), &r)
	if len(r.Reports) != 3 {
		t.Errorf("the receipt has %d reports, want 3: %+v", len(r.Reports), r.Reports)
	}
	if err := r.Verify(w.genesis.Network, map[uint32]record.EpochState{0: {Epoch: first}, 1: {Epoch: next}}); err != nil {
		t.Errorf("the receipt does not verify: %v", err)
	}
}

// What was on the way when its patient was erased is answered as before; nothing is
// added to what is recorded.
func TestAttackKeysAndRetirementAfterTheErasure(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	first := p.changed(nil)
	w.must(gatewayMSP, "Registry:ChangeKeys", first, nil)
	w.must(gatewayMSP, "Registry:Erase", p.erasure(), nil)
	w.repeats(gatewayMSP, "Registry:ChangeKeys", first)
	w.refuses(fault.Forbidden, "erased", gatewayMSP, "Registry:ChangeKeys", p.changed(&first.Change))
	retire := record.RetireDevice{Device: p.devices[0].id}
	w.refuses(fault.Forbidden, "erased", gatewayMSP, "Registry:RetireDevice", record.SignedRetirement{
		Retire: retire, Signature: sign(t, p.key, record.Digest(record.DomainRetire, w.genesis.Network, retire)),
	})
}

// changed is a next change of the patient's keys that keeps them.
func (p *person) changed(last *record.PatientKeys) consent.SignedKeys {
	p.w.Helper()
	c := record.PatientKeys{
		Patient: p.id, Version: 1, ConsentKeys: [][]byte{record.PublicKeyBytes(&p.key.PublicKey)}, RecoveryHash: p.enrol.Inception.RecoveryHash,
	}
	if last != nil {
		c.Version, c.Previous = last.Version+1, last.Digest(p.w.genesis.Network)
	}
	return consent.SignedKeys{
		Change: c, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: sign(p.w, p.key, c.Digest(p.w.genesis.Network)),
	}
}

// byPasskey is the patient's erasure, signed by an authenticator on the portal.
func (p *person) byPasskey() record.SignedErasure {
	p.w.Helper()
	e := record.Erasure{Patient: p.id}
	s := p.assertion(e.Digest(p.w.genesis.Network), portal)
	return record.SignedErasure{Erasure: e, Key: s.Key, Signature: s.Signature, Assertion: s.Assertion}
}

func TestErasureByAPasskey(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = portals() })
	p := w.enrolled()
	p.consents(hospitalA)
	w.must(gatewayMSP, "Registry:Erase", p.byPasskey(), nil)
	w.repeats(gatewayMSP, "Registry:Erase", p.byPasskey())
}

func TestAttackAssertionReusedForAnErasure(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = portals() })
	p, other := w.enrolled(), w.enrolled()
	signed := p.passkey(p.document(hospitalA), portal)
	e := record.Erasure{Patient: p.id}
	plain := p.byPasskey()
	plain.Assertion = nil
	moved := other.byPasskey()
	moved.Erasure = e
	elsewhere := p.assertion(e.Digest(w.genesis.Network), "https://portal.example.org.evil.example")
	for name, forged := range map[string]record.SignedErasure{
		"of a consent":                 {Erasure: e, Key: signed.Key, Signature: signed.Signature, Assertion: signed.Assertion},
		"as a plain signature":         plain,
		"of another patient":           moved,
		"of a page of somebody else's": {Erasure: e, Key: elsewhere.Key, Signature: elsewhere.Signature, Assertion: elsewhere.Assertion},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.refuses(fault.BadSignature, "", gatewayMSP, "Registry:Erase", forged)
		})
	}
	w.must(gatewayMSP, "Registry:Erase", p.byPasskey(), nil)
}
