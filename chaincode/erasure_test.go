package chaincode_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// report is a member's, that it has deleted so many seeds of the patient.
func (w *world) report(msp string, p *person, seeds int) record.SignedErasureReport {
	w.Helper()
	r := record.ErasureReport{
		Patient: p.ID, Erasure: record.Erasure{Patient: p.ID}.Digest(w.Genesis.Network), Member: msp, Seeds: seeds,
	}
	for _, d := range p.Devices {
		r.Devices = append(r.Devices, d.ID)
	}
	return w.SignReport(r)
}

// blocks are all there are, and what of them is on the chain as JSON.
func (w *world) blocks() ([]*network.Block, string) {
	w.Helper()
	var all []*network.Block
	for b, err := range w.Clients[hospitalA].Blocks(context.Background(), 0) {
		if err != nil {
			w.Fatal(err)
		}
		if all = append(all, b); b.Number+1 == w.Ledger.Height() {
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
	signed := p.Sign(d)
	before := w.Ledger.Height()
	res := w.Must(gatewayMSP, contracts.ConsentPut, signed)
	_, public := w.blocks()
	if w.Ledger.Height() == before || !strings.Contains(public, d.ID.String()) {
		t.Fatal("the consent is not in the blocks that are searched")
	}
	for what, words := range map[string]string{
		"purpose": d.Purpose, "cap": "987654", "expiry": argument(d.Expires),
		"digest": d.Digest(w.Genesis.Network).String(), "signature": argument(signed.Signature), "details": "cap_micro\":98",
	} {
		if strings.Contains(public, words) || strings.Contains(string(res.Payload), words) {
			t.Errorf("the chain shows the %s of a consent", what)
		}
	}
	var s state.ConsentState
	w.Read(hospitalB, contracts.ConsentGet, d.ID.String(), &s)
	if !equalJSON(s.Signed, signed) {
		t.Errorf("read back: %+v", s.Signed)
	}
}

func TestAttackDetailsThatDoNotMatchTheHash(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	honest := consent.Details{Signed: p.Sign(p.document(hospitalA)), Salt: record.RandomID()}
	entry := honest.Entry(w.Genesis.Network)
	refuse := func(what string, e record.ConsentEntry, transient map[string][]byte) {
		t.Helper()
		_, err := w.Clients[gatewayMSP].Submit(t.Context(), network.Call{
			Function: contracts.ConsentPut.Name(), Args: []string{argument(e)}, Transient: transient,
		})
		if fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	value := func(d consent.Details) map[string][]byte {
		return map[string][]byte{state.TransientDetails: []byte(argument(d))}
	}
	swapped := consent.Details{Signed: other.Sign(other.document(hospitalA)), Salt: honest.Salt}
	refuse("details of another patient", entry, value(swapped))
	wider := p.document(hospitalA)
	wider.ID, wider.CapMicro = entry.ID, wider.CapMicro+1
	refuse("another document of the patient", entry, value(consent.Details{Signed: p.Sign(wider), Salt: honest.Salt}))
	refuse("another salt", entry, value(consent.Details{Signed: honest.Signed, Salt: record.RandomID()}))
	unsalted := consent.Details{Signed: honest.Signed}
	refuse("no salt", unsalted.Entry(w.Genesis.Network), value(unsalted))
	refuse("no details", entry, nil)
	extra := value(honest)
	extra["more"] = []byte("x")
	refuse("more than details", entry, extra)
	for _, change := range []func(*record.ConsentEntry){
		func(e *record.ConsentEntry) { e.Patient = other.ID },
		func(e *record.ConsentEntry) { e.Version = 2 },
		func(e *record.ConsentEntry) { e.Status = consent.StatusRevoked },
		func(e *record.ConsentEntry) { e.ID = record.RandomID() },
		func(e *record.ConsentEntry) { e.Hash = record.RandomID() },
	} {
		e := entry
		change(&e)
		refuse("another entry", e, value(honest))
	}
	if _, err := w.Clients[gatewayMSP].Submit(t.Context(), w.Call(contracts.ConsentPut, honest)); err != nil {
		t.Fatal(err)
	}
}

func TestAConsentEnteredInErrorIsFinal(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.consents(hospitalA)
	wrong := p.Next(d, func(n *consent.Document) { n.Status = consent.StatusInError })
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(wrong))
	again := p.Next(wrong, func(n *consent.Document) { n.Status = consent.StatusActive })
	w.Refuses(fault.Conflict, "final", gatewayMSP, contracts.ConsentPut, p.Sign(again))
	w.Refuses(fault.TooEarly, "revoked", gatewayMSP, contracts.ConsentPut, p.signs(hospitalA))
}

func TestErasurePurgesEveryVersionAndIsFinal(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	first := p.consents(hospitalA)
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(p.Next(first, func(n *consent.Document) { n.CapMicro-- })))
	p.revoke(p.consents(hospitalB))
	kept := other.consents(hospitalA)

	var erased record.ErasureState
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key), &erased)
	if erased.Consents != 4 || !slices.Equal(erased.Devices, []record.ID{p.Devices[0].ID}) || erased.Time != w.now() {
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
	w.Read(hospitalA, contracts.ConsentGet, kept.ID.String(), &s)
	w.Refuses(fault.NotFound, "erased", hospitalA, contracts.ConsentGet, first.ID.String())

	w.Refuses(fault.Forbidden, "erased", gatewayMSP, contracts.ConsentPut, p.signs(hospitalA))
	w.Refuses(fault.Forbidden, "erased", gatewayMSP, contracts.RegistryEnrolDevice, p.NewDevice(startHour, "spo2").Enrolment)
	w.Tick(start + 7200)
	w.refusesPointer(fault.Forbidden, p.Devices[0].Row(startHour, 0))
	w.Refuses(fault.Forbidden, "no consent", hospitalA, contracts.PredicateRequest, p.Question())
	w.repeats(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))
}

func TestErasureByTheRecoveryKey(t *testing.T) {
	w := newWorld(t)
	p := w.recoverable()
	recovery := p.RecoveryKey(p.Code)
	p.consents(hospitalA)
	var erased record.ErasureState
	w.Must(hospitalB, contracts.RegistryErase, p.Erasure(recovery), &erased)
	if erased.Consents != 1 || len(erased.Devices) != 0 {
		t.Errorf("erased: %+v", erased)
	}
}

func TestAttackErasureBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.consents(hospitalA)
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.RegistryErase, victim.Erasure(mallory.Key))
	forged := victim.Erasure(mallory.Key)
	forged.Key = consortium.Public(victim.Key)
	w.Refuses(fault.BadSignature, "signature", gatewayMSP, contracts.RegistryErase, forged)
	for msp, key := range w.Keys { // not the institutions either
		w.Refuses(fault.BadSignature, "key", msp, contracts.RegistryErase, victim.Erasure(key))
	}
	elsewhere := victim.Erasure(victim.Key)
	elsewhere.Signature = consortium.Sign(victim.Key, elsewhere.Erasure.Digest("another-network"))
	w.Refuses(fault.BadSignature, "signature", gatewayMSP, contracts.RegistryErase, elsewhere)
	var s state.ConsentState
	w.Read(hospitalA, contracts.ConsentGet, d.ID.String(), &s)
}

// The contracts purge in Erase alone, for whoever's signature Erase checks: a
// value goes with its patient and in no other way.
func TestAttackPurgeBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.consents(hospitalA)
	stolen := mallory.document(hospitalA)
	stolen.ID = d.ID // to have the victim's details overwritten, or purged with Mallory's
	w.Refuses(fault.Conflict, "", gatewayMSP, contracts.ConsentPut, mallory.Sign(stolen))
	w.Must(gatewayMSP, contracts.RegistryErase, mallory.Erasure(mallory.Key))
	var s state.ConsentState
	w.Read(hospitalA, contracts.ConsentGet, d.ID.String(), &s)
	if s.Signed.Document.Patient != victim.ID {
		t.Errorf("the victim's consent is now %+v", s)
	}
}

func TestAttackReplayedErasure(t *testing.T) {
	w := newWorld(t)
	p := w.recoverable()
	recovery := p.RecoveryKey(p.Code)
	p.consents(hospitalA)
	var first, again record.ErasureState
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key), &first)
	w.Tick(start + 3600)
	height := w.Ledger.Height()
	w.Must(hospitalA, contracts.RegistryErase, p.Erasure(p.Key), &again)
	if !equalJSON(first, again) {
		t.Errorf("the erasure was %+v and is now %+v", first, again)
	}
	w.Must(hospitalA, contracts.RegistryErase, p.Erasure(recovery), &again) // another signature, the same end
	if !equalJSON(first, again) {
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
	w.Refuses(fault.NotFound, "erasure", hospitalA, contracts.RegistryReportErasure, w.report(hospitalA, p, 2))
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))
	w.repeats(association, contracts.RegistryReportErasure, w.report(association, p, 2))
	w.repeats(hospitalA, contracts.RegistryReportErasure, w.report(hospitalA, p, 0))
	var r record.ErasureReceipt
	w.Read(gatewayMSP, contracts.RegistryGetErasure, p.ID.String(), &r)
	if len(r.Reports) != 2 || r.Reports[0].Report.Member != hospitalA || r.Reports[1].Report.Seeds != 2 {
		t.Errorf("the receipt is %+v", r)
	}
}

func TestAttackForgedErasureReport(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))
	w.Must(hospitalA, contracts.RegistryReportErasure, w.report(hospitalA, p, 2))

	w.Refuses(fault.Forbidden, "report for", hospitalB, contracts.RegistryReportErasure, w.report(association, p, 2))
	forged := w.report(hospitalB, p, 2)
	forged.Signature = consortium.Sign(w.Keys[hospitalA], forged.Report.Digest(w.Genesis.Network))
	w.Refuses(fault.BadSignature, "member", hospitalB, contracts.RegistryReportErasure, forged)
	w.Refuses(fault.NotFound, "erasure", hospitalB, contracts.RegistryReportErasure, w.report(hospitalB, other, 2))
	w.Refuses(fault.Conflict, "otherwise", hospitalA, contracts.RegistryReportErasure, w.report(hospitalA, p, 1))
	for _, change := range []func(*record.ErasureReport){
		func(r *record.ErasureReport) { r.Devices = nil },
		func(r *record.ErasureReport) { r.Devices = []record.ID{other.Devices[0].ID} },
		func(r *record.ErasureReport) { r.Erasure = record.RandomID() },
		func(r *record.ErasureReport) { r.Seeds = 4 },
		func(r *record.ErasureReport) { r.Seeds = -1 },
	} {
		r := w.report(hospitalB, p, 2).Report
		change(&r)
		w.Refuses(fault.Invalid, "", hospitalB, contracts.RegistryReportErasure, w.SignReport(r))
	}
}

func TestMembersReportForEachEpochOfTheDevices(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	p := w.enrolled()
	next := w.epoch(first, 2, hospitalA, outsider, association)
	w.begins(first, next, hospitalA, association, outsider)
	fresh, _ := p.sealedDevice(next, honestly)
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))

	of := func(msp string, epoch uint32, devices ...record.ID) record.SignedErasureReport {
		r := w.report(msp, p, 2).Report
		r.Epoch, r.Devices = epoch, devices
		return w.SignReport(r)
	}
	old := p.Devices[0].ID
	w.Refuses(fault.Invalid, "epoch 1", hospitalA, contracts.RegistryReportErasure, of(hospitalA, 1, old, fresh.ID))
	w.Refuses(fault.Invalid, "epoch 0", hospitalA, contracts.RegistryReportErasure, of(hospitalA, 0, fresh.ID))
	w.Refuses(fault.Forbidden, "epoch 0", outsider, contracts.RegistryReportErasure, of(outsider, 0, old))
	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.RegistryReportErasure, of(hospitalB, 1, fresh.ID))
	w.Refuses(fault.NotFound, "epoch 2", hospitalA, contracts.RegistryReportErasure, of(hospitalA, 2, fresh.ID))
	w.Must(hospitalA, contracts.RegistryReportErasure, of(hospitalA, 1, fresh.ID))
	w.Must(hospitalA, contracts.RegistryReportErasure, of(hospitalA, 0, old))
	w.Must(outsider, contracts.RegistryReportErasure, of(outsider, 1, fresh.ID))
	var r record.ErasureReceipt
	w.Read(gatewayMSP, contracts.RegistryGetErasure, p.ID.String(), &r)
	if len(r.Reports) != 3 {
		t.Errorf("the receipt has %d reports, want 3: %+v", len(r.Reports), r.Reports)
	}
	if err := r.Verify(w.Genesis.Network, map[uint32]record.EpochState{0: {Epoch: first}, 1: {Epoch: next}}); err != nil {
		t.Errorf("the receipt does not verify: %v", err)
	}
}

// What was on the way when its patient was erased is answered as before; nothing is
// added to what is recorded.
func TestAttackKeysAndRetirementAfterTheErasure(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	first := p.changed(nil)
	w.Must(gatewayMSP, contracts.RegistryChangeKeys, first)
	w.Must(gatewayMSP, contracts.RegistryErase, p.Erasure(p.Key))
	w.repeats(gatewayMSP, contracts.RegistryChangeKeys, first)
	w.Refuses(fault.Forbidden, "erased", gatewayMSP, contracts.RegistryChangeKeys, p.changed(&first.Change))
	retire := record.RetireDevice{Device: p.Devices[0].ID}
	w.Refuses(fault.Forbidden, "erased", gatewayMSP, contracts.RegistryRetireDevice, record.SignedRetirement{
		Retire: retire, Signature: consortium.Sign(p.Key, record.Digest(record.DomainRetire, w.Genesis.Network, retire)),
	})
}

// changed is a next change of the patient's keys that keeps them.
func (p *person) changed(last *record.PatientKeys) consent.SignedKeys {
	p.w.Helper()
	c := record.PatientKeys{
		Patient: p.ID, Version: 1, ConsentKeys: [][]byte{consortium.Public(p.Key)}, RecoveryHash: p.Enrolment.Inception.RecoveryHash,
	}
	if last != nil {
		c.Version, c.Previous = last.Version+1, last.Digest(p.w.Genesis.Network)
	}
	return consent.SignedKeys{
		Change: c, Key: consortium.Public(p.Key), Signature: consortium.Sign(p.Key, c.Digest(p.w.Genesis.Network)),
	}
}

// byPasskey is the patient's erasure, signed by an authenticator on the portal.
func (p *person) byPasskey() record.SignedErasure {
	p.w.Helper()
	e := record.Erasure{Patient: p.ID}
	s := p.Assertion(e.Digest(p.w.Genesis.Network), consortium.Portal)
	return record.SignedErasure{Erasure: e, Key: s.Key, Signature: s.Signature, Assertion: s.Assertion}
}

func TestErasureByAPasskey(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p := w.enrolled()
	p.consents(hospitalA)
	w.Must(gatewayMSP, contracts.RegistryErase, p.byPasskey())
	w.repeats(gatewayMSP, contracts.RegistryErase, p.byPasskey())
}

func TestAttackAssertionReusedForAnErasure(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.RelyingParties = consortium.Portals() })
	p, other := w.enrolled(), w.enrolled()
	signed := p.Passkey(p.document(hospitalA), consortium.Portal)
	e := record.Erasure{Patient: p.ID}
	plain := p.byPasskey()
	plain.Assertion = nil
	moved := other.byPasskey()
	moved.Erasure = e
	elsewhere := p.Assertion(e.Digest(w.Genesis.Network), "https://portal.example.org.evil.example")
	for name, forged := range map[string]record.SignedErasure{
		"of a consent":                 {Erasure: e, Key: signed.Key, Signature: signed.Signature, Assertion: signed.Assertion},
		"as a plain signature":         plain,
		"of another patient":           moved,
		"of a page of somebody else's": {Erasure: e, Key: elsewhere.Key, Signature: elsewhere.Signature, Assertion: elsewhere.Assertion},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			w.Refuses(fault.BadSignature, "", gatewayMSP, contracts.RegistryErase, forged)
		})
	}
	w.Must(gatewayMSP, contracts.RegistryErase, p.byPasskey())
}
