package chaincode_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestAttackGatewayAltersConsent(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	honest := p.sign(p.document(hospitalA))
	for name, alter := range map[string]func(*consent.Signed){
		"another grantee":   func(s *consent.Signed) { s.Document.Grantee = hospitalB },
		"a larger cap":      func(s *consent.Signed) { s.Document.CapMicro++ },
		"another metric":    func(s *consent.Signed) { s.Document.Metrics = []string{"heart_rate", "spo2"} },
		"a later expiry":    func(s *consent.Signed) { s.Document.Expires++ },
		"an earlier period": func(s *consent.Signed) { s.Document.DataFrom-- },
		"wider terms": func(s *consent.Signed) {
			s.Document.Predicates = []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(1, 201)}}
		},
		"another purpose": func(s *consent.Signed) { s.Document.Purpose = "TREAT" },
		"a key of its own": func(s *consent.Signed) {
			key := newKey(t)
			s.Key, s.Signature = record.PublicKeyBytes(&key.PublicKey), sign(t, key, s.Document.Digest(w.genesis.Network))
		},
		"another network's signature": func(s *consent.Signed) {
			s.Signature = sign(t, p.key, s.Document.Digest("another-network"))
		},
		"no signature": func(s *consent.Signed) { s.Signature = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			forged := honest
			alter(&forged)
			w.refuses(fault.BadSignature, "", gatewayMSP, "Consent:Put", forged)
		})
	}
	w.must(gatewayMSP, "Consent:Put", honest, nil)
}

func TestAttackReplayOldConsentVersion(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	first := p.consents(hospitalA)
	second := p.next(first, func(d *consent.Document) { d.CapMicro = 1 })
	w.must(gatewayMSP, "Consent:Put", p.sign(second), nil)
	w.refuses(fault.Conflict, "version", gatewayMSP, "Consent:Put", p.sign(first))

	skipped := p.next(second, func(d *consent.Document) { d.Version++ })
	w.refuses(fault.Conflict, "version", gatewayMSP, "Consent:Put", p.sign(skipped))
	forked := p.next(first, func(d *consent.Document) { d.Version = 3 })
	w.refuses(fault.Conflict, "digest", gatewayMSP, "Consent:Put", p.sign(forked))
	sibling := p.next(first, func(d *consent.Document) { d.CapMicro = 2 })
	w.refuses(fault.Conflict, "version", gatewayMSP, "Consent:Put", p.sign(sibling))

	revoked := p.revoke(second)
	for _, old := range []consent.Document{first, second} {
		w.refuses(fault.Conflict, "final", gatewayMSP, "Consent:Put", p.sign(old))
	}
	revived := p.next(revoked, func(d *consent.Document) { d.Status = consent.StatusActive })
	w.refuses(fault.Conflict, "final", gatewayMSP, "Consent:Put", p.sign(revived))
}

func TestAttackRegrantRightAfterRevocation(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	other := p.consents(hospitalA)
	p.revoke(p.consents(hospitalA))
	again := p.sign(p.document(hospitalA))
	w.refuses(fault.TooEarly, "revoked", gatewayMSP, "Consent:Put", again)
	wider := p.next(other, func(d *consent.Document) { d.CapMicro++ })
	w.refuses(fault.TooEarly, "revoked", gatewayMSP, "Consent:Put", p.sign(wider))
	w.tick(start + 86400 - 1)
	w.refuses(fault.TooEarly, "revoked", gatewayMSP, "Consent:Put", again)

	narrower := p.next(other, func(d *consent.Document) { d.CapMicro-- })
	w.must(gatewayMSP, "Consent:Put", p.sign(narrower), nil)
	p.consents(hospitalB)
	deny := p.document(hospitalA)
	deny.Effect, deny.Predicates, deny.Claims = consent.EffectDeny, nil, 0
	w.must(gatewayMSP, "Consent:Put", p.sign(deny), nil)

	w.tick(start + 86400)
	w.must(gatewayMSP, "Consent:Put", again, nil)
}

func TestAttackForeignPatientSubmits(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.consents(hospitalA)
	revoked := victim.next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", mallory.sign(revoked))

	granted := victim.document(hospitalB)
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", mallory.sign(granted))

	stolen := mallory.document(hospitalB)
	stolen.ID, stolen.Version, stolen.Previous = d.ID, 2, d.Digest(w.genesis.Network)
	w.refuses(fault.Conflict, "patient", gatewayMSP, "Consent:Put", mallory.sign(stolen))

	bridge := victim.newDevice(startHour, "heart_rate")
	bridge.enrol.PatientSignature = sign(t, mallory.key, record.Digest(record.DomainDevice, w.genesis.Network, bridge.enrol.Device))
	w.refuses(fault.BadSignature, "patient", gatewayMSP, "Registry:EnrolDevice", bridge.enrol)
}

func TestAttackRecoveryKeyGrants(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	recovery := w.recoveryKey(p.code)
	public := record.PublicKeyBytes(&recovery.PublicKey)

	byRecovery := func(d consent.Document) consent.Signed {
		return consent.Signed{Document: d, Key: public, Signature: sign(t, recovery, d.Digest(w.genesis.Network))}
	}
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", byRecovery(p.document(hospitalA)))
	d := p.consents(hospitalA)
	wider := p.next(d, func(n *consent.Document) { n.CapMicro++ })
	w.refuses(fault.BadSignature, "key", gatewayMSP, "Consent:Put", byRecovery(wider))
	revoked := p.next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	w.must(gatewayMSP, "Consent:Put", byRecovery(revoked), nil)
}

func TestAttackCopiedSeedHash(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", mallory.enrol, nil)
	for piece := range 3 {
		clone := mallory.newDevice(startHour, "heart_rate")
		// The copy may stand for another piece.
		clone.enrol.Device.SeedHashes[(piece+1)%3] = victim.devices[0].enrol.Device.SeedHashes[piece]
		clone.sign(mallory)
		w.refuses(fault.Conflict, "named by device", gatewayMSP, "Registry:EnrolDevice", clone.enrol)
	}
	twice := mallory.newDevice(startHour, "heart_rate")
	twice.enrol.Device.SeedHashes[1] = twice.enrol.Device.SeedHashes[0]
	twice.sign(mallory)
	w.refuses(fault.Invalid, "twice", gatewayMSP, "Registry:EnrolDevice", twice.enrol)

	// Not even the victim may use a seed again, under a new device.
	again := victim.newDevice(startHour, "heart_rate")
	again.enrol.Device.SeedHashes = victim.devices[0].enrol.Device.SeedHashes
	again.sign(victim)
	w.refuses(fault.Conflict, "named by device", gatewayMSP, "Registry:EnrolDevice", again.enrol)
}

// TestAttackSeedsNamedBeforeTheirOwner: who sees an enrolment on its way and names
// its blob or a hash of it first has no seeds that fit. Its holders show that, and
// then the owner enrols with the very documents that it has signed.
func TestAttackSeedsNamedBeforeTheirOwner(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	owner, thief := w.enrolledPerson(), w.enrolledPerson()
	mine, blob := owner.sealed(first, honestly)
	for name, take := range map[string]func(d *record.Device, blob *[]byte){
		"the blob": func(_ *record.Device, b *[]byte) {
			if b != nil {
				*b = blob
			}
		},
		"a hash": func(d *record.Device, _ *[]byte) {
			if d != nil {
				d.SeedHashes[2] = mine.enrol.Device.SeedHashes[2]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			his, hisBlob := thief.sealedDevice(first, func(d *record.Device, _ []he.Seed, b *[]byte) { take(d, b) })
			w.refuses(fault.Conflict, "named by device", gatewayMSP, "Registry:EnrolDevice", mine.enrol)
			e, err := w.evidence(first, hospitalA, his, hisBlob)
			if err != nil {
				t.Fatal(err)
			}
			w.must(hospitalA, "Registry:Complain", e, nil)
		})
	}
	w.must(gatewayMSP, "Registry:EnrolDevice", mine.enrol, nil)
	clone, _ := thief.sealed(first, func(_ *record.Device, _ []he.Seed, b *[]byte) {
		if b != nil {
			*b = blob
		}
	})
	w.refuses(fault.Conflict, "seed_blob was named by device", gatewayMSP, "Registry:EnrolDevice", clone.enrol)
}

// The erasure of its patient takes what a device has named from it, as evidence does.
func TestAttackSeedsNamedByADeviceThatIsErased(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	owner, thief := w.enrolledPerson(), w.enrolledPerson()
	mine, blob := owner.sealed(first, honestly)
	thief.sealedDevice(first, func(_ *record.Device, _ []he.Seed, b *[]byte) {
		if b != nil {
			*b = blob
		}
	})
	w.must(gatewayMSP, "Registry:Erase", thief.erasure(), nil)
	w.must(gatewayMSP, "Registry:EnrolDevice", mine.enrol, nil)
}

func TestAttackCopiedRowUnderOtherDevice(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	w.tick(start + 7200)
	row := victim.devices[0].row(w, startHour)
	w.anchor(row)

	moved := row
	moved.Pointer.Device = mallory.devices[0].id
	w.refusesPointer(fault.BadSignature, moved)
	shifted := row
	shifted.Pointer.Index++
	w.refusesPointer(fault.BadSignature, shifted)
	for _, p := range []record.SignedPointer{
		{Pointer: victim.devices[0].row(w, startHour+1).Pointer, Signature: row.Signature},
		mallory.devices[0].pointer(w, victim.devices[0].row(w, startHour+1).Pointer),
	} {
		w.refusesPointer(fault.BadSignature, p)
	}
	unknown := row
	unknown.Pointer.Device = record.RandomID()
	w.refusesPointer(fault.NotFound, unknown)
}

func TestAttackDuplicateWindow(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 7200)
	first, second := d.row(w, startHour), d.row(w, startHour)
	r := w.anchor(first, second, first)
	for i, want := range []string{record.Anchored, record.Refused, record.Repeated} {
		if r.Items[i].Outcome != want {
			t.Errorf("item %d of one call is %+v, want %s", i, r.Items[i], want)
		}
	}
	w.refusesPointer(fault.Conflict, second)
	if r := w.anchor(first); r.Items[0].Outcome != record.Repeated || !r.Batch.IsZero() {
		t.Errorf("repeated: %+v", r)
	}
	// A second ECDSA signature of the same pointer is the same pointer.
	if r := w.anchor(d.pointer(w, first.Pointer)); r.Items[0].Outcome != record.Repeated {
		t.Errorf("signed again: %+v", r)
	}
}

func TestAttackRowOfAnotherTime(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 3600 - 601)
	w.refusesPointer(fault.TooEarly, d.row(w, startHour))
	w.refusesPointer(fault.Invalid, d.row(w, startHour-1))
	w.refusesPointer(fault.Invalid, d.day(w, startDay-1))
	w.tick(start + 3600 - 600)
	if r := w.anchor(d.row(w, startHour)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("ten minutes before its end: %+v", r.Items[0])
	}
	w.refusesPointer(fault.TooEarly, d.day(w, startDay))
	w.tick(start + 8*86400)
	if r := w.anchor(d.day(w, startDay)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("seven days after: %+v", r.Items[0])
	}
	w.tick(start + 9*86400 + 1)
	w.refusesPointer(fault.Expired, d.day(w, startDay+1))
}

func TestAttackDayRootWithTwoNames(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 86400)
	var huge record.ID
	for i := range huge {
		huge[i] = 0xff // not below the order of the field
	}
	w.refusesPointer(fault.Invalid, d.pointer(w, record.Pointer{Device: d.id, Kind: record.KindDay, Index: startDay, Commitment: huge}))
	w.refusesPointer(fault.Invalid, d.pointer(w, record.Pointer{Device: d.id, Kind: record.KindDay, Index: startDay}))
	w.refusesPointer(fault.Invalid, d.pointer(w, record.Pointer{Device: d.id, Kind: "week", Index: 1, Commitment: record.RandomID()}))
	blob := d.day(w, startDay).Pointer
	blob.Blob = record.RandomID()
	w.refusesPointer(fault.Invalid, d.pointer(w, blob))
}

// calls are arguments of every method that writes, well formed and, for who may
// call, addressed to nothing that exists.
func calls(w *world) map[string]any {
	p := w.newPerson()
	return map[string]any{
		"Registry:EnrolPatient":     p.enrol,
		"Registry:EnrolDevice":      p.newDevice(startHour, "heart_rate").enrol,
		"Registry:ChangeKeys":       consent.SignedKeys{},
		"Registry:AcknowledgeSeeds": record.AcknowledgeSeeds{Devices: []record.ID{record.RandomID()}},
		"Registry:PostPieceKey":     record.PostedKey{},
		"Registry:ComplainPieceKey": record.ComplainKey{},
		"Clock:Tick":                record.Tick{Time: start + 1},
		"Clock:Reset":               record.ResetClock{Time: start - 1},
		"Consent:Put":               p.sign(p.document(hospitalA)),
		"Registry:Erase":            p.erasure(),
		"Registry:ReportErasure":    record.SignedErasureReport{},
		"Pointer:Anchor":            record.Anchor{Pointers: []record.SignedPointer{{}}},
		"Pointer:Available":         record.Available{Posts: []record.SignedAvailable{{}}},
		"Study:Create":              record.Study{},
		"Query:Ask":                 record.Ask{},
		"Query:PostCohort":          record.PostCohort{},
		"Query:Abandon":             record.Abandon{},
		"Query:PostRelease":         record.PostRelease{},
		"Query:ConfirmShares":       record.SignedShares{},
		"Query:Fail":                record.FailQuery{},
		"Predicate:Request":         record.AskPredicate{},
		"Predicate:Close":           record.NamePredicate{},
	}
}

func TestAttackOutsiderMSP(t *testing.T) {
	w := newWorld(t)
	for function, arg := range calls(w) {
		w.refuses(fault.Forbidden, outsider, outsider, function, arg)
	}
	for function, arg := range map[string]any{
		"Registry:GetPatient": record.RandomID().String(), "Registry:GetDevice": record.RandomID().String(),
		"Registry:GetPieceKey": "0", "Clock:Now": "{}", "Consent:OfPatient": record.RandomID().String(),
		"Registry:GetErasure": record.RandomID().String(), "Consent:Get": record.RandomID().String(), "Pointer:GetBatch": record.RandomID().String(),
		"Query:Get": record.RandomID().String(), "Predicate:Get": record.RandomID().String(),
		"Predicate:Pending": record.RandomID().String(), "Study:Get": "resting",
	} {
		w.refuses(fault.Forbidden, outsider, outsider, function, arg)
	}
}

func TestAttackGatewayActsAsMember(t *testing.T) {
	w := newWorld(t)
	forPatients := map[string]bool{
		"Registry:EnrolPatient": true, "Registry:ChangeKeys": true, "Registry:EnrolDevice": true, "Consent:Put": true,
		"Registry:Erase": true,
		"Pointer:Anchor": true, "Predicate:Close": true,
	}
	for function, arg := range calls(w) {
		if !forPatients[function] {
			w.refuses(fault.Forbidden, "not a member", gatewayMSP, function, arg)
		}
	}
}

func TestAttackRegistrarAsks(t *testing.T) {
	w := newWorld(t)
	all := calls(w)
	for _, function := range []string{"Study:Create", "Query:Ask", "Query:PostRelease", "Query:Fail", "Predicate:Request"} {
		w.refuses(fault.Forbidden, "may never ask", association, function, all[function])
	}
	p := w.enrolled()
	w.refuses(fault.Invalid, "may ask", gatewayMSP, "Consent:Put", p.sign(p.document(association)))
}

func TestAttackPatientWithoutVoucher(t *testing.T) {
	w := newWorld(t)
	p := w.newPerson()
	p.vouch(record.RandomID())
	w.refuses(fault.Forbidden, "0 vouch", hospitalA, "Registry:EnrolPatient", p.enrol)

	p.vouch(record.RandomID(), hospitalA)
	w.refuses(fault.Forbidden, "only "+association, hospitalA, "Registry:EnrolPatient", p.enrol)

	p.enrol.Vouchers[0].By = association // signed by the hospital
	w.refuses(fault.BadSignature, "voucher", hospitalA, "Registry:EnrolPatient", p.enrol)

	other := w.newPerson()
	p.enrol.Voucher, p.enrol.Vouchers = other.enrol.Voucher, other.enrol.Vouchers
	w.refuses(fault.Invalid, "voucher", hospitalA, "Registry:EnrolPatient", p.enrol)

	p.vouch(record.ID{}, association)
	w.refuses(fault.Invalid, "person", hospitalA, "Registry:EnrolPatient", p.enrol)

	p.vouch(record.RandomID(), association)
	p.enrol.Signature = other.enrol.Signature
	w.refuses(fault.BadSignature, "patient", hospitalA, "Registry:EnrolPatient", p.enrol)
}

func TestAttackOnePersonManyPatients(t *testing.T) {
	w := newWorld(t)
	p, q := w.newPerson(), w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	q.vouch(p.enrol.Voucher.Person, association)
	w.refuses(fault.Conflict, "person", gatewayMSP, "Registry:EnrolPatient", q.enrol)
	p.vouch(record.RandomID(), association)
	w.refuses(fault.Conflict, "another person", gatewayMSP, "Registry:EnrolPatient", p.enrol)
}

func TestAttackBackdatedTimestamp(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	p := w.newPerson()
	w.refuses(fault.Unavailable, "tick", gatewayMSP, "Registry:EnrolPatient", p.enrol)
	now := time.Now().Unix()
	w.must(hospitalA, "Clock:Tick", record.Tick{Time: now}, nil)
	w.refuses(fault.Unavailable, "tick", gatewayMSP, "Registry:EnrolPatient", p.enrol)

	w.must(hospitalB, "Clock:Tick", record.Tick{Time: now - 400}, nil)
	w.refuses(fault.TooEarly, "dated", gatewayMSP, "Registry:EnrolPatient", p.enrol)
	w.tick(now)
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	d := p.document(hospitalA)
	d.NotBefore, d.Expires = now, now+86400
	w.must(gatewayMSP, "Consent:Put", p.sign(d), nil)

	w.tick(now + 400) // to the ledger, our transactions now come from the past
	w.refuses(fault.Expired, "dated", gatewayMSP, "Registry:EnrolPatient", p.enrol)
	narrower := p.next(d, func(n *consent.Document) { n.CapMicro = 1 })
	w.refuses(fault.Expired, "dated", gatewayMSP, "Consent:Put", p.sign(narrower))
	p.revoke(d) // nothing keeps a patient from stopping
}

func TestAttackOneMemberMovesTime(t *testing.T) {
	w := newWorld(t)
	w.must(hospitalA, "Clock:Tick", record.Tick{Time: start + state.SimulatedStep}, nil)
	var now record.Tick
	w.read(gatewayMSP, "Clock:Now", "{}", &now)
	if now.Time != start {
		t.Errorf("one member moved ledger time to %d", now.Time)
	}
	w.refuses(fault.Conflict, "back", hospitalB, "Clock:Tick", record.Tick{Time: start - 1})
	w.refuses(fault.Invalid, "seconds", hospitalB, "Clock:Tick", record.Tick{Time: start * 1000})
}

func TestAttackBudgetOverdraw(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study() // budget for four queries
	var group sync.WaitGroup
	var mu sync.Mutex
	asked, exhausted := 0, 0
	for range 8 {
		group.Go(func() {
			_, err := w.submit(hospitalA, "Query:Ask", record.Ask{
				Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 500_000,
			}, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				asked++
			case errors.Is(err, &fault.Error{Code: fault.Exhausted}):
				exhausted++
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked != 4 || exhausted != 4 {
		t.Errorf("%d asked and %d exhausted, want 4 and 4", asked, exhausted)
	}
	w.refuses(fault.Exhausted, "left", hospitalA, "Query:Ask", record.Ask{
		Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 100,
	})
}

func TestAttackAskBeyondTheStudy(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study()
	good := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 500_000}
	for _, c := range []struct {
		code   fault.Code
		words  string
		change func(*record.Ask)
	}{
		{fault.NotFound, "study", func(a *record.Ask) { a.Study = "other" }},
		{fault.Invalid, "study", func(a *record.Ask) { a.Study = "../x" }},
		{fault.Invalid, "metric", func(a *record.Ask) { a.Metric = "spo2" }},
		{fault.Invalid, "within", func(a *record.Ask) { a.From-- }},
		{fault.Invalid, "empty", func(a *record.Ask) { a.Until = a.From }},
		{fault.TooEarly, "ends", func(a *record.Ask) { a.Until++ }},
		{fault.Invalid, "rho", func(a *record.Ask) { a.Rho = 0 }},
		{fault.Invalid, "cap", func(a *record.Ask) { a.Rho = 6_000_000 }},
	} {
		a := good
		c.change(&a)
		w.refuses(c.code, c.words, hospitalA, "Query:Ask", a)
	}
	w.refuses(fault.NotFound, "study", hospitalB, "Query:Ask", good)
}

func TestAttackExactStudyWherePolicyForbidsIt(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Exact = false })
	s := record.Study{
		ID: "exact", Title: "No noise", Purpose: "HRESCH", Metrics: []string{"heart_rate"},
		From: startHour, Until: startHour + 24, MinCohort: 11, Exact: true,
	}
	w.refuses(fault.Forbidden, "noise", hospitalA, "Study:Create", s)
	s.Exact, s.Budget, s.MinCohort = false, 1, 10
	w.refuses(fault.Invalid, "min_cohort", hospitalA, "Study:Create", s)
}

func TestAttackCohortOfFew(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study()
	q := w.query()
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 10}
	w.must(hospitalA, "Query:PostCohort", post, nil)
	w.must(hospitalB, "Query:PostCohort", post, &q)
	if q.Status != record.QueryRefused || q.Size != 10 {
		t.Fatalf("ten patients: %+v", q)
	}
	w.refuses(fault.Conflict, "refused", hospitalA, "Query:PostRelease", record.PostRelease{Query: q.ID, Hash: record.RandomID()})
	w.refuses(fault.Conflict, "refused", association, "Query:PostCohort", record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 12})
}

func TestAttackOneMemberAgreesWithItself(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study()
	q := w.query()
	mine := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.must(hospitalA, "Query:PostCohort", mine, nil)
	w.must(hospitalA, "Query:PostCohort", mine, nil)
	if got := w.getQuery(q.ID); got.Status != record.QueryAsked {
		t.Fatalf("one member made it %s", got.Status)
	}
	changed := mine
	changed.Root = record.RandomID()
	w.refuses(fault.Conflict, "another cohort", hospitalA, "Query:PostCohort", changed)
	// The same root with another size is another cohort.
	smaller := mine
	smaller.Size = 11
	w.must(hospitalB, "Query:PostCohort", smaller, nil)
	if got := w.getQuery(q.ID); got.Status != record.QueryAsked {
		t.Fatalf("two different cohorts made it %s", got.Status)
	}
	w.must(association, "Query:PostCohort", mine, nil)
	if got := w.getQuery(q.ID); got.Status != record.QueryAgreed || got.Size != 12 {
		t.Fatalf("two equal cohorts made it %+v", got)
	}
}

func TestAttackReleaseByStrangerOrTooLate(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study()
	q := w.query()
	release := record.PostRelease{Query: q.ID, Hash: record.RandomID()}
	w.refuses(fault.Conflict, "asked", hospitalA, "Query:PostRelease", release)
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.must(hospitalA, "Query:PostCohort", post, nil)
	w.must(hospitalB, "Query:PostCohort", post, nil)
	w.refuses(fault.Forbidden, hospitalA, hospitalB, "Query:PostRelease", release)
	w.tick(q.Expires - 1)
	w.must(association, "Query:PostCohort", post, nil)
	w.tick(q.Expires)
	w.refuses(fault.Expired, "expired", hospitalA, "Query:PostRelease", release)
	late := record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 12}
	w.refuses(fault.Expired, "expired", hospitalB, "Query:PostCohort", late)
}

func TestAttackReleaseAfterAbandon(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	w.study()
	q := w.query()
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.must(hospitalA, "Query:PostCohort", post, nil)
	w.must(hospitalB, "Query:PostCohort", post, nil)
	stop := record.Abandon{Query: q.ID, Reason: "a patient revoked"}
	w.must(hospitalA, "Query:Abandon", stop, &q)
	if q.Status != record.QueryAbandoned {
		t.Fatalf("abandoned: %+v", q)
	}
	w.must(hospitalB, "Query:Abandon", stop, nil)
	w.refuses(fault.Conflict, "abandoned", hospitalA, "Query:PostRelease", record.PostRelease{Query: q.ID, Hash: record.RandomID()})
	w.refuses(fault.Conflict, "abandoned", hospitalA, "Query:PostCohort", record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 12})
}

func TestAttackMemberPostsForAnother(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 7200)
	batch := w.anchor(d.row(w, startHour), d.row(w, startHour+1)).Batch
	posts := func(s ...record.SignedAvailable) record.Available { return record.Available{Posts: s} }
	w.refuses(fault.Forbidden, "cannot post for", hospitalA, "Pointer:Available", posts(w.availability(hospitalB, batch, 3)))
	forged := w.availability(hospitalB, batch, 3)
	forged.Member = hospitalA
	w.refuses(fault.BadSignature, "signature", hospitalA, "Pointer:Available", posts(forged))
	raised := w.availability(hospitalA, batch, 1)
	raised.Post.Bitmap = []byte{3}
	w.refuses(fault.BadSignature, "signature", hospitalA, "Pointer:Available", posts(raised))
	for _, bitmap := range [][]byte{{}, {4}, {0x83}, {3, 0}} {
		w.refuses(fault.Invalid, "bitmap", hospitalA, "Pointer:Available", posts(w.availability(hospitalA, batch, bitmap...)))
	}
	w.refuses(fault.NotFound, "batch", hospitalA, "Pointer:Available", posts(w.availability(hospitalA, record.RandomID(), 3)))
	w.counts[batch]++
	w.refuses(fault.Invalid, "has 2 pointers", hospitalA, "Pointer:Available", posts(w.availability(hospitalA, batch, 3)))
	w.counts[batch]--
	post := w.availability(hospitalA, batch, 1)
	w.refuses(fault.Invalid, "twice", hospitalA, "Pointer:Available", posts(post, post))

	w.must(hospitalA, "Pointer:Available", posts(post), nil)
	w.refuses(fault.Conflict, "earlier post", hospitalA, "Pointer:Available", posts(w.availability(hospitalA, batch, 2)))
	var done state.Recorded
	w.must(hospitalA, "Pointer:Available", posts(w.availability(hospitalA, batch, 3)), &done)
	if done.Recorded != 1 {
		t.Errorf("a post with more rows recorded %d", done.Recorded)
	}
}

func TestAttackPieceKeyOfANonHolder(t *testing.T) {
	w := newWorld(t)
	e := w.genesis.FirstEpoch()
	// Piece 0 is held by all but member 0.
	refused := func(code fault.Code, words, msp string, p record.PostedKey) {
		t.Helper()
		w.refuses(code, words, msp, "Registry:PostPieceKey", p)
	}
	refused(fault.Forbidden, "does not hold", hospitalA, w.pieceKey(e, hospitalA, 0, 0))
	refused(fault.Forbidden, "of its own", association, w.pieceKey(e, hospitalB, 0, 0))
	to := func(msps ...string) func(*record.PieceKey) {
		return func(k *record.PieceKey) {
			box := k.Boxes[0]
			k.Boxes = nil
			for _, box.To = range msps {
				k.Boxes = append(k.Boxes, box)
			}
		}
	}
	refused(fault.Invalid, "holder", hospitalB, w.pieceKey(e, hospitalB, 0, 0, to(hospitalA)))
	refused(fault.Invalid, "holder", hospitalB, w.pieceKey(e, hospitalB, 0, 0, to(hospitalB)))
	refused(fault.Invalid, "holders", hospitalB, w.pieceKey(e, hospitalB, 0, 0, to(association, association)))
	refused(fault.Invalid, "exist", hospitalB, w.pieceKey(e, hospitalB, 0, 0, func(k *record.PieceKey) { k.Piece = 3 }))
	refused(fault.Conflict, "round 0", hospitalB, w.pieceKey(e, hospitalB, 0, 1))
	unsigned := w.pieceKey(e, hospitalB, 0, 0)
	unsigned.Key.Check = record.RandomID()
	refused(fault.BadSignature, "signature", hospitalB, unsigned)

	first := w.pieceKey(e, hospitalB, 0, 0)
	w.must(hospitalB, "Registry:PostPieceKey", first, nil)
	w.must(hospitalB, "Registry:PostPieceKey", first, nil)
	refused(fault.Conflict, "already", association, w.pieceKey(e, association, 0, 0))
	var got record.PieceKeyState
	w.read(association, "Registry:GetPieceKey", "0", &got)
	if got.Posted == nil || got.Posted.Key.Check != first.Key.Check {
		t.Error("another key is recorded")
	}
}

// TestAttackPieceKeyBoxesOfAnother: boxes whose sender does not show that it knows
// their keys are refused at once, whatever they were copied from.
func TestAttackPieceKeyBoxesOfAnother(t *testing.T) {
	w := newWorld(t)
	e := w.genesis.FirstEpoch()
	his := w.pieceKey(e, hospitalA, 1, 0).Key.Boxes[0].Ciphertext
	for name, box := range map[string][]byte{
		"garbage": make([]byte, opening.BoxBytes), "short": his[:80], "none": nil, "another member's": his,
		"with another's key": slices.Concat(his[:32], w.pieceKey(e, hospitalB, 0, 0).Key.Boxes[0].Ciphertext[32:]),
	} {
		t.Run(name, func(t *testing.T) {
			p := w.pieceKey(e, hospitalB, 0, 0, func(k *record.PieceKey) { k.Boxes[0].Ciphertext = box })
			w.refuses(fault.Invalid, "the box to "+association, hospitalB, "Registry:PostPieceKey", p)
		})
	}
}

// TestAttackGarbagePieceKey: a holder whose key does not open as it said is shown to
// be at fault, and the piece is not lost: another holder makes its key.
func TestAttackGarbagePieceKey(t *testing.T) {
	w := newWorld(t)
	e := w.genesis.FirstEpoch()
	bad := w.pieceKey(e, hospitalB, 0, 0, func(k *record.PieceKey) { k.Check = record.RandomID() })
	w.must(hospitalB, "Registry:PostPieceKey", bad, nil)
	proof, err := he.ComplainPieceKey(he.Context{Network: w.genesis.Network}, bad.Key, hospitalB, *e.Member(association), w.boxes[association].Piece)
	if err != nil {
		t.Fatal(err)
	}
	c := record.ComplainKey{Piece: 0, Proof: proof}
	forged := record.ComplainKey{Piece: 0, Proof: make([]byte, len(proof))}
	w.refuses(fault.BadSignature, "", association, "Registry:ComplainPieceKey", forged)
	w.refuses(fault.BadSignature, "", association, "Registry:ComplainPieceKey", record.ComplainKey{Piece: 0})
	w.refuses(fault.Forbidden, "not sealed", hospitalB, "Registry:ComplainPieceKey", c)
	w.refuses(fault.NotFound, "round 1", association, "Registry:ComplainPieceKey", record.ComplainKey{Piece: 0, Round: 1, Proof: proof})
	var s record.PieceKeyState
	w.must(association, "Registry:ComplainPieceKey", c, &s)
	w.must(association, "Registry:ComplainPieceKey", c, &s)
	if s.Posted != nil || len(s.Faulty) != 1 || s.Faulty[0].Holder != association || s.Faulty[0].Reason != string(opening.WrongSecret) {
		t.Errorf("after the complaint: %+v", s)
	}
	w.refuses(fault.Forbidden, "another holder", hospitalB, "Registry:PostPieceKey", w.pieceKey(e, hospitalB, 0, 1))
	w.refuses(fault.Conflict, "round 1", association, "Registry:PostPieceKey", w.pieceKey(e, association, 0, 0))
	w.must(association, "Registry:PostPieceKey", w.pieceKey(e, association, 0, 1), &s)
	if s.Posted == nil || s.Posted.By != association || s.Posted.Key.Round != 1 {
		t.Errorf("the next key: %+v", s.Posted)
	}
	if found, err := state.ExamineKey(w.genesis.Network, &e, s.Faulty[0].Posted, association, s.Faulty[0].Proof); err != nil || string(found) != s.Faulty[0].Reason {
		t.Errorf("the evidence says %q, %v", found, err)
	}
}

// TestAttackComplaintAboutASoundPieceKey: a holder that wants another key, to be asked
// the same under two, has nothing to show.
func TestAttackComplaintAboutASoundPieceKey(t *testing.T) {
	w := newWorld(t)
	e := w.genesis.FirstEpoch()
	sound := w.pieceKey(e, hospitalB, 0, 0)
	w.must(hospitalB, "Registry:PostPieceKey", sound, nil)
	ctx := he.Context{Network: w.genesis.Network}
	if _, err := he.ComplainPieceKey(ctx, sound.Key, hospitalB, *e.Member(association), w.boxes[association].Piece); !errors.Is(err, opening.ErrSound) {
		t.Errorf("there is evidence: %v", err)
	}
	other := sound.Key
	other.Check = record.RandomID()
	proof, err := he.ComplainPieceKey(ctx, other, hospitalB, *e.Member(association), w.boxes[association].Piece)
	if err != nil {
		t.Fatal(err)
	}
	w.refuses(fault.BadSignature, "", association, "Registry:ComplainPieceKey", record.ComplainKey{Piece: 0, Proof: proof})
}

// A patient, or whoever holds the patient's key, enrols a second device after
// having seen today's data on the first.
func TestAttackDeviceChosenAfterTheData(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	w.tick(start + 3*3600)
	second := p.newDevice(startHour+3, "heart_rate")
	var state record.DeviceState
	w.must(gatewayMSP, "Registry:EnrolDevice", second.enrol, &state)
	if state.FromDay != startDay+1 {
		t.Errorf("the second device counts from day %d, want tomorrow, %d", state.FromDay, startDay+1)
	}
	past := p.newDevice(startHour+2, "heart_rate")
	w.refuses(fault.Expired, "first_hour", gatewayMSP, "Registry:EnrolDevice", past.enrol)
}

// A patient's lists are read as a whole, so they are bounded.
func TestAttackEndlessLists(t *testing.T) {
	if testing.Short() {
		t.Skip("writes hundreds of documents")
	}
	w := newWorld(t)
	p := w.enrolled()
	for range 256 {
		p.consents(hospitalA)
	}
	w.refuses(fault.Exhausted, "limit", gatewayMSP, "Consent:Put", p.sign(p.document(hospitalA)))
	for range 63 {
		p.addDevice(startHour, "spo2")
	}
	w.refuses(fault.Exhausted, "limit", gatewayMSP, "Registry:EnrolDevice", p.newDevice(startHour, "spo2").enrol)
}

func TestAttackGenesisReplaced(t *testing.T) {
	w := newWorld(t)
	other := w.genesis
	other.MinCohort = 12
	w.refuses(fault.Conflict, "another genesis", hospitalA, "Registry:Init", other)
	w.must(hospitalB, "Registry:Init", w.genesis, nil)
}

func TestAttackWeakGenesis(t *testing.T) {
	w := emptyWorld(t)
	w.refuses(fault.Forbidden, "not a member", outsider, "Registry:Init", w.genesis)
	w.refuses(fault.NotFound, "Registry:Init", hospitalA, "Clock:Tick", record.Tick{Time: start})
	for name, weaken := range map[string]func(*record.Genesis){
		"another channel's name":  func(g *record.Genesis) { g.Network = "elsewhere" },
		"a cohort of ten":         func(g *record.Genesis) { g.MinCohort = 10 },
		"a threshold of one":      func(g *record.Genesis) { g.Threshold = 1 },
		"a threshold of four":     func(g *record.Genesis) { g.Threshold = 4 },
		"one member":              func(g *record.Genesis) { g.Members, g.Threshold = g.Members[:1], 1 },
		"a foreign registrar":     func(g *record.Genesis) { g.Registrar = outsider },
		"nobody who vouches":      func(g *record.Genesis) { g.Registrar = "" },
		"one who vouches":         func(g *record.Genesis) { g.Registrar, g.Vouchers = "", 1 },
		"four of three vouch":     func(g *record.Genesis) { g.Registrar, g.Vouchers = "", 4 },
		"two who decide vouching": func(g *record.Genesis) { g.Vouchers = 2 },
		"another schema":          func(g *record.Genesis) { g.Schema = record.RandomID() },
		"an unknown clock":        func(g *record.Genesis) { g.Clock = "" },
		"a shared signing key":    func(g *record.Genesis) { g.Members[1].SignKey = g.Members[0].SignKey },
		"a shared seed key":       func(g *record.Genesis) { g.Members[1].SeedKey = g.Members[0].SeedKey },
		"a key of two purposes":   func(g *record.Genesis) { g.Members[1].ShareKey = g.Members[1].PieceKey },
		"a key of two members'":   func(g *record.Genesis) { g.Members[1].DetailKey = g.Members[0].SeedKey },
		"no key for details":      func(g *record.Genesis) { g.Members[2].DetailKey = nil },
		"a member twice":          func(g *record.Genesis) { g.Members[1].MSP = g.Members[0].MSP },
		"a key off the curve":     func(g *record.Genesis) { g.Members[0].SignKey = make([]byte, 33) },
		"no cap":                  func(g *record.Genesis) { g.CapMicro = 0 },
		"a key of another hash":   func(g *record.Genesis) { g.Circuits[0].Hash = record.RandomID() },
		"a truncated key":         func(g *record.Genesis) { truncate(&g.Circuits[0]) },
		"an unknown setup":        func(g *record.Genesis) { g.Circuits[0].Setup = "trusted" },
		"a class twice":           func(g *record.Genesis) { g.Circuits = append(g.Circuits, g.Circuits[0]) },
		"answers that come late":  func(g *record.Genesis) { g.PredicateSlot = g.PredicateLife },
		"an MSP with a separator": func(g *record.Genesis) { g.Gateways = []string{"a\x00b"} },
		"a portal over http": func(g *record.Genesis) {
			g.RelyingParties = []record.RelyingParty{{ID: "example.org", Origins: []string{"http://example.org"}}}
		},
	} {
		g := w.newGenesis()
		weaken(&g)
		before := w.ledger.Height()
		if _, err := w.submit(hospitalA, "Registry:Init", g, nil); fault.Of(err) != fault.Invalid || w.ledger.Height() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func truncate(c *record.Circuit) {
	c.VerifyingKey = c.VerifyingKey[:len(c.VerifyingKey)-1]
	c.Hash = record.SumID(c.VerifyingKey)
}

func TestAttackHostileArguments(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		function, arg string
		code          fault.Code
	}{
		"not JSON":          {"Clock:Tick", "time", fault.Invalid},
		"an unknown field":  {"Clock:Tick", `{"time":1,"more":2}`, fault.Invalid},
		"a duplicate":       {"Clock:Tick", `{"time":1,"time":2}`, fault.Invalid},
		"another spelling":  {"Clock:Tick", `{"Time":1}`, fault.Invalid},
		"trailing data":     {"Clock:Tick", `{"time":1}{}`, fault.Invalid},
		"too large":         {"Clock:Tick", `{"time":` + string(make([]byte, 20_000)) + `}`, fault.TooLarge},
		"nothing":           {"Clock:Tick", "", fault.Invalid},
		"a bad identifier":  {"Registry:GetPatient", "../../genesis", fault.Invalid},
		"a bad transaction": {"Query:Get", "\x00query\x00", fault.Invalid},
		"a foreign key":     {"Pointer:Get", quoted(t, state.GenesisKey()), fault.Invalid},
		"a bad pointer":     {"Pointer:Get", `{"kind":"x"}`, fault.Invalid},
		"no such method":    {"Clock:Tock", `{}`, fault.Invalid},
		"an empty batch":    {"Pointer:Anchor", `{"pointers":[]}`, fault.TooLarge},
	} {
		before := w.ledger.Height()
		_, err := w.submit(hospitalA, c.function, c.arg, nil)
		if fault.Of(err) != c.code || w.ledger.Height() != before {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	many := record.Anchor{Pointers: make([]record.SignedPointer, record.MaxBatch+1)}
	w.refuses(fault.TooLarge, "500", gatewayMSP, "Pointer:Anchor", many)
}

// A patient who is talked into lifting a denial has a day to think of it, as with a
// permission that was revoked.
func TestAttackDenialLiftedWithinADay(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	p.consents(hospitalA)
	deny := p.document(hospitalA)
	deny.Effect, deny.Predicates, deny.Claims = consent.EffectDeny, nil, 0
	w.must(gatewayMSP, "Consent:Put", p.sign(deny), nil)
	w.tick(start + 100)
	wider := p.next(deny, func(d *consent.Document) { d.Expires++ })
	w.must(gatewayMSP, "Consent:Put", p.sign(wider), nil)
	lifted := map[string]consent.Document{
		"revoked":          p.next(wider, func(d *consent.Document) { d.Status = consent.StatusRevoked }),
		"entered in error": p.next(wider, func(d *consent.Document) { d.Status = consent.StatusInError }),
		"for less":         p.next(wider, func(d *consent.Document) { d.Operations = d.Operations[:1] }),
		"for less time":    p.next(wider, func(d *consent.Document) { d.Expires-- }),
	}
	w.tick(start + 100 + 86400 - 1)
	for name, d := range lifted {
		t.Log(name)
		w.refuses(fault.TooEarly, "denied", gatewayMSP, "Consent:Put", p.sign(d))
	}
	w.tick(start + 100 + 86400)
	p.revoke(p.consents(hospitalA))
	for name, d := range lifted {
		t.Log(name)
		w.refuses(fault.TooEarly, "a consent for HospitalA was revoked", gatewayMSP, "Consent:Put", p.sign(d))
	}
	w.tick(start + 100 + 2*86400)
	w.must(gatewayMSP, "Consent:Put", p.sign(lifted["revoked"]), nil)
}
