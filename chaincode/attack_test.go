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
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestAttackGatewayAltersConsent(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	honest := p.Sign(p.document(hospitalA))
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
			key := consortium.NewKey()
			s.Key, s.Signature = consortium.Public(key), consortium.Sign(key, s.Document.Digest(w.Genesis.Network))
		},
		"another network's signature": func(s *consent.Signed) {
			s.Signature = consortium.Sign(p.Key, s.Document.Digest("another-network"))
		},
		"no signature": func(s *consent.Signed) { s.Signature = nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			forged := honest
			alter(&forged)
			w.Refuses(fault.BadSignature, "", gatewayMSP, contracts.ConsentPut, forged)
		})
	}
	w.Must(gatewayMSP, contracts.ConsentPut, honest)
}

func TestAttackReplayOldConsentVersion(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	first := p.consents(hospitalA)
	second := p.Next(first, func(d *consent.Document) { d.CapMicro = 1 })
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(second))
	w.Refuses(fault.Conflict, "version", gatewayMSP, contracts.ConsentPut, p.Sign(first))

	skipped := p.Next(second, func(d *consent.Document) { d.Version++ })
	w.Refuses(fault.Conflict, "version", gatewayMSP, contracts.ConsentPut, p.Sign(skipped))
	forked := p.Next(first, func(d *consent.Document) { d.Version = 3 })
	w.Refuses(fault.Conflict, "digest", gatewayMSP, contracts.ConsentPut, p.Sign(forked))
	sibling := p.Next(first, func(d *consent.Document) { d.CapMicro = 2 })
	w.Refuses(fault.Conflict, "version", gatewayMSP, contracts.ConsentPut, p.Sign(sibling))

	revoked := p.revoke(second)
	for _, old := range []consent.Document{first, second} {
		w.Refuses(fault.Conflict, "final", gatewayMSP, contracts.ConsentPut, p.Sign(old))
	}
	revived := p.Next(revoked, func(d *consent.Document) { d.Status = consent.StatusActive })
	w.Refuses(fault.Conflict, "final", gatewayMSP, contracts.ConsentPut, p.Sign(revived))
}

func TestAttackRegrantRightAfterRevocation(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	other := p.consents(hospitalA)
	p.revoke(p.consents(hospitalA))
	again := p.Sign(p.document(hospitalA))
	w.Refuses(fault.TooEarly, "revoked", gatewayMSP, contracts.ConsentPut, again)
	wider := p.Next(other, func(d *consent.Document) { d.CapMicro++ })
	w.Refuses(fault.TooEarly, "revoked", gatewayMSP, contracts.ConsentPut, p.Sign(wider))
	w.Tick(start + 86400 - 1)
	w.Refuses(fault.TooEarly, "revoked", gatewayMSP, contracts.ConsentPut, again)

	narrower := p.Next(other, func(d *consent.Document) { d.CapMicro-- })
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(narrower))
	p.consents(hospitalB)
	deny := p.document(hospitalA)
	deny.Effect, deny.Predicates, deny.Claims = consent.EffectDeny, nil, 0
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(deny))

	w.Tick(start + 86400)
	w.Must(gatewayMSP, contracts.ConsentPut, again)
}

func TestAttackForeignPatientSubmits(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	d := victim.consents(hospitalA)
	revoked := victim.Next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, mallory.Sign(revoked))

	granted := victim.document(hospitalB)
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, mallory.Sign(granted))

	stolen := mallory.document(hospitalB)
	stolen.ID, stolen.Version, stolen.Previous = d.ID, 2, d.Digest(w.Genesis.Network)
	w.Refuses(fault.Conflict, "patient", gatewayMSP, contracts.ConsentPut, mallory.Sign(stolen))

	bridge := victim.NewDevice(startHour, "heart_rate")
	bridge.Enrolment.PatientSignature = consortium.Sign(mallory.Key, record.Digest(record.DomainDevice, w.Genesis.Network, bridge.Enrolment.Device))
	w.Refuses(fault.BadSignature, "patient", gatewayMSP, contracts.RegistryEnrolDevice, bridge.Enrolment)
}

func TestAttackRecoveryKeyGrants(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	recovery := p.RecoveryKey(p.Code)
	public := consortium.Public(recovery)

	byRecovery := func(d consent.Document) consent.Signed {
		return consent.Signed{Document: d, Key: public, Signature: consortium.Sign(recovery, d.Digest(w.Genesis.Network))}
	}
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, byRecovery(p.document(hospitalA)))
	d := p.consents(hospitalA)
	wider := p.Next(d, func(n *consent.Document) { n.CapMicro++ })
	w.Refuses(fault.BadSignature, "key", gatewayMSP, contracts.ConsentPut, byRecovery(wider))
	revoked := p.Next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	w.Must(gatewayMSP, contracts.ConsentPut, byRecovery(revoked))
}

func TestAttackCopiedSeedHash(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.newPerson()
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, mallory.Enrolment)
	for piece := range 3 {
		clone := mallory.NewDevice(startHour, "heart_rate")
		// The copy may stand for another piece.
		clone.Enrolment.Device.SeedHashes[(piece+1)%3] = victim.Devices[0].Enrolment.Device.SeedHashes[piece]
		clone.Sign()
		w.Refuses(fault.Conflict, "named by device", gatewayMSP, contracts.RegistryEnrolDevice, clone.Enrolment)
	}
	twice := mallory.NewDevice(startHour, "heart_rate")
	twice.Enrolment.Device.SeedHashes[1] = twice.Enrolment.Device.SeedHashes[0]
	twice.Sign()
	w.Refuses(fault.Invalid, "twice", gatewayMSP, contracts.RegistryEnrolDevice, twice.Enrolment)

	// Not even the victim may use a seed again, under a new device.
	again := victim.NewDevice(startHour, "heart_rate")
	again.Enrolment.Device.SeedHashes = victim.Devices[0].Enrolment.Device.SeedHashes
	again.Sign()
	w.Refuses(fault.Conflict, "named by device", gatewayMSP, contracts.RegistryEnrolDevice, again.Enrolment)
}

// TestAttackSeedsNamedBeforeTheirOwner: who sees an enrolment on its way and names
// its blob or a hash of it first has no seeds that fit. Its holders show that, and
// then the owner enrols with the very documents that it has signed.
func TestAttackSeedsNamedBeforeTheirOwner(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
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
				d.SeedHashes[2] = mine.Enrolment.Device.SeedHashes[2]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			his, hisBlob := thief.sealedDevice(first, func(d *record.Device, _ []he.Seed, b *[]byte) { take(d, b) })
			w.Refuses(fault.Conflict, "named by device", gatewayMSP, contracts.RegistryEnrolDevice, mine.Enrolment)
			e, err := w.evidence(first, hospitalA, his, hisBlob)
			if err != nil {
				t.Fatal(err)
			}
			w.Must(hospitalA, contracts.RegistryComplain, e)
		})
	}
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, mine.Enrolment)
	clone, _ := thief.sealed(first, func(_ *record.Device, _ []he.Seed, b *[]byte) {
		if b != nil {
			*b = blob
		}
	})
	w.Refuses(fault.Conflict, "seed_blob was named by device", gatewayMSP, contracts.RegistryEnrolDevice, clone.Enrolment)
}

// The erasure of its patient takes what a device has named from it, as evidence does.
func TestAttackSeedsNamedByADeviceThatIsErased(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	owner, thief := w.enrolledPerson(), w.enrolledPerson()
	mine, blob := owner.sealed(first, honestly)
	thief.sealedDevice(first, func(_ *record.Device, _ []he.Seed, b *[]byte) {
		if b != nil {
			*b = blob
		}
	})
	w.Must(gatewayMSP, contracts.RegistryErase, thief.Erasure(thief.Key))
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, mine.Enrolment)
}

func TestAttackCopiedRowUnderOtherDevice(t *testing.T) {
	w := newWorld(t)
	victim, mallory := w.enrolled(), w.enrolled()
	w.Tick(start + 7200)
	row := victim.Devices[0].Row(startHour, 0)
	w.anchor(row)

	moved := row
	moved.Pointer.Device = mallory.Devices[0].ID
	w.refusesPointer(fault.BadSignature, moved)
	shifted := row
	shifted.Pointer.Index++
	w.refusesPointer(fault.BadSignature, shifted)
	for _, p := range []record.SignedPointer{
		{Pointer: victim.Devices[0].Row(startHour+1, 0).Pointer, Signature: row.Signature},
		mallory.Devices[0].Pointer(victim.Devices[0].Row(startHour+1, 0).Pointer),
	} {
		w.refusesPointer(fault.BadSignature, p)
	}
	unknown := row
	unknown.Pointer.Device = record.RandomID()
	w.refusesPointer(fault.NotFound, unknown)
}

func TestAttackDuplicateWindow(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 7200)
	first, second := d.Row(startHour, 0), d.Row(startHour, 0)
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
	if r := w.anchor(d.Pointer(first.Pointer)); r.Items[0].Outcome != record.Repeated {
		t.Errorf("signed again: %+v", r)
	}
}

func TestAttackRowOfAnotherTime(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 3600 - 601)
	w.refusesPointer(fault.TooEarly, d.Row(startHour, 0))
	w.refusesPointer(fault.Invalid, d.Row(startHour-1, 0))
	w.refusesPointer(fault.Invalid, d.Day(startDay-1))
	w.Tick(start + 3600 - 600)
	if r := w.anchor(d.Row(startHour, 0)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("ten minutes before its end: %+v", r.Items[0])
	}
	w.refusesPointer(fault.TooEarly, d.Day(startDay))
	w.Tick(start + 8*86400)
	if r := w.anchor(d.Day(startDay)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("seven days after: %+v", r.Items[0])
	}
	w.Tick(start + 9*86400 + 1)
	w.refusesPointer(fault.Expired, d.Day(startDay+1))
}

func TestAttackDayRootWithTwoNames(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 86400)
	var huge record.ID
	for i := range huge {
		huge[i] = 0xff // not below the order of the field
	}
	w.refusesPointer(fault.Invalid, d.Pointer(record.Pointer{Device: d.ID, Kind: record.KindDay, Index: startDay, Commitment: huge}))
	w.refusesPointer(fault.Invalid, d.Pointer(record.Pointer{Device: d.ID, Kind: record.KindDay, Index: startDay}))
	w.refusesPointer(fault.Invalid, d.Pointer(record.Pointer{Device: d.ID, Kind: "week", Index: 1, Commitment: record.RandomID()}))
	blob := d.Day(startDay).Pointer
	blob.Blob = record.RandomID()
	w.refusesPointer(fault.Invalid, d.Pointer(blob))
}

// calls are arguments of every method that writes, well formed and, for who may
// call, addressed to nothing that exists.
func calls(w *world) map[contracts.Method]any {
	p := w.newPerson()
	return map[contracts.Method]any{
		contracts.RegistryEnrolPatient:     p.Enrolment,
		contracts.RegistryEnrolDevice:      p.NewDevice(startHour, "heart_rate").Enrolment,
		contracts.RegistryChangeKeys:       consent.SignedKeys{},
		contracts.RegistryAcknowledgeSeeds: record.AcknowledgeSeeds{Devices: []record.ID{record.RandomID()}},
		contracts.RegistryPostPieceKey:     record.PostedKey{},
		contracts.RegistryComplainPieceKey: record.ComplainKey{},
		contracts.ClockTick:                record.Tick{Time: start + 1},
		contracts.ClockReset:               record.ResetClock{Time: start - 1},
		contracts.ConsentPut:               p.Sign(p.document(hospitalA)),
		contracts.RegistryErase:            p.Erasure(p.Key),
		contracts.RegistryReportErasure:    record.SignedErasureReport{},
		contracts.PointerAnchor:            record.Anchor{Pointers: []record.SignedPointer{{}}},
		contracts.PointerAvailable:         record.Available{Posts: []record.SignedAvailable{{}}},
		contracts.StudyCreate:              record.Study{},
		contracts.QueryAsk:                 record.Ask{},
		contracts.QueryPostCohort:          record.PostCohort{},
		contracts.QueryAbandon:             record.Abandon{},
		contracts.QueryPostRelease:         record.PostRelease{},
		contracts.QueryConfirmShares:       record.SignedShares{},
		contracts.QueryFail:                record.FailQuery{},
		contracts.PredicateRequest:         record.AskPredicate{},
		contracts.PredicateClose:           record.NamePredicate{},
	}
}

func TestAttackOutsiderMSP(t *testing.T) {
	w := newWorld(t)
	for function, arg := range calls(w) {
		w.Refuses(fault.Forbidden, outsider, outsider, function, arg)
	}
	for function, arg := range map[contracts.Method]any{
		contracts.RegistryGetPatient: record.RandomID().String(), contracts.RegistryGetDevice: record.RandomID().String(),
		contracts.RegistryGetPieceKey: "0", contracts.ClockNow: "{}", contracts.ConsentOfPatient: record.RandomID().String(),
		contracts.RegistryGetErasure: record.RandomID().String(), contracts.ConsentGet: record.RandomID().String(), contracts.PointerGetBatch: record.RandomID().String(),
		contracts.QueryGet: record.RandomID().String(), contracts.PredicateGet: record.RandomID().String(),
		contracts.PredicatePending: record.RandomID().String(), contracts.StudyGet: "resting",
	} {
		w.Refuses(fault.Forbidden, outsider, outsider, function, arg)
	}
}

func TestAttackGatewayActsAsMember(t *testing.T) {
	w := newWorld(t)
	forPatients := map[contracts.Method]bool{
		contracts.RegistryEnrolPatient: true, contracts.RegistryChangeKeys: true, contracts.RegistryEnrolDevice: true, contracts.ConsentPut: true,
		contracts.RegistryErase: true,
		contracts.PointerAnchor: true, contracts.PredicateClose: true,
	}
	for function, arg := range calls(w) {
		if !forPatients[function] {
			w.Refuses(fault.Forbidden, "not a member", gatewayMSP, function, arg)
		}
	}
}

func TestAttackRegistrarAsks(t *testing.T) {
	w := newWorld(t)
	all := calls(w)
	for _, function := range []contracts.Method{contracts.StudyCreate, contracts.QueryAsk, contracts.QueryPostRelease, contracts.QueryFail, contracts.PredicateRequest} {
		w.Refuses(fault.Forbidden, "may never ask", association, function, all[function])
	}
	p := w.enrolled()
	w.Refuses(fault.Invalid, "may ask", gatewayMSP, contracts.ConsentPut, p.Sign(p.document(association)))
}

func TestAttackPatientWithoutVoucher(t *testing.T) {
	w := newWorld(t)
	p := w.newPerson()
	p.Vouch(record.RandomID())
	w.Refuses(fault.Forbidden, "0 vouch", hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)

	p.Vouch(record.RandomID(), hospitalA)
	w.Refuses(fault.Forbidden, "only "+association, hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)

	p.Enrolment.Vouchers[0].By = association // signed by the hospital
	w.Refuses(fault.BadSignature, "voucher", hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)

	other := w.newPerson()
	p.Enrolment.Voucher, p.Enrolment.Vouchers = other.Enrolment.Voucher, other.Enrolment.Vouchers
	w.Refuses(fault.Invalid, "voucher", hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)

	p.Vouch(record.ID{}, association)
	w.Refuses(fault.Invalid, "person", hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)

	p.Vouch(record.RandomID(), association)
	p.Enrolment.Signature = other.Enrolment.Signature
	w.Refuses(fault.BadSignature, "patient", hospitalA, contracts.RegistryEnrolPatient, p.Enrolment)
}

func TestAttackOnePersonManyPatients(t *testing.T) {
	w := newWorld(t)
	p, q := w.newPerson(), w.newPerson()
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	q.Vouch(p.Enrolment.Voucher.Person, association)
	w.Refuses(fault.Conflict, "person", gatewayMSP, contracts.RegistryEnrolPatient, q.Enrolment)
	p.Vouch(record.RandomID(), association)
	w.Refuses(fault.Conflict, "another person", gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
}

func TestAttackBackdatedTimestamp(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	p := w.newPerson()
	w.Refuses(fault.Unavailable, "tick", gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	now := time.Now().Unix()
	w.Must(hospitalA, contracts.ClockTick, record.Tick{Time: now})
	w.Refuses(fault.Unavailable, "tick", gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)

	w.Must(hospitalB, contracts.ClockTick, record.Tick{Time: now - 400})
	w.Refuses(fault.TooEarly, "dated", gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	w.Tick(now)
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	d := p.document(hospitalA)
	d.NotBefore, d.Expires = now, now+86400
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(d))

	w.Tick(now + 400) // to the ledger, our transactions now come from the past
	w.Refuses(fault.Expired, "dated", gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	narrower := p.Next(d, func(n *consent.Document) { n.CapMicro = 1 })
	w.Refuses(fault.Expired, "dated", gatewayMSP, contracts.ConsentPut, p.Sign(narrower))
	p.revoke(d) // nothing keeps a patient from stopping
}

func TestAttackOneMemberMovesTime(t *testing.T) {
	w := newWorld(t)
	w.Must(hospitalA, contracts.ClockTick, record.Tick{Time: start + state.SimulatedStep})
	var now record.Tick
	w.Read(gatewayMSP, contracts.ClockNow, "{}", &now)
	if now.Time != start {
		t.Errorf("one member moved ledger time to %d", now.Time)
	}
	w.Refuses(fault.Conflict, "back", hospitalB, contracts.ClockTick, record.Tick{Time: start - 1})
	w.Refuses(fault.Invalid, "seconds", hospitalB, contracts.ClockTick, record.Tick{Time: start * 1000})
}

func TestAttackBudgetOverdraw(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study() // budget for four queries
	var group sync.WaitGroup
	var mu sync.Mutex
	asked, exhausted := 0, 0
	for range 8 {
		group.Go(func() {
			_, err := w.Submit(hospitalA, contracts.QueryAsk, record.Ask{
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
	w.Refuses(fault.Exhausted, "left", hospitalA, contracts.QueryAsk, record.Ask{
		Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 100,
	})
}

func TestAttackAskBeyondTheStudy(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
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
		w.Refuses(c.code, c.words, hospitalA, contracts.QueryAsk, a)
	}
	w.Refuses(fault.NotFound, "study", hospitalB, contracts.QueryAsk, good)
}

func TestAttackExactStudyWherePolicyForbidsIt(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Exact = false })
	s := record.Study{
		ID: "exact", Title: "No noise", Purpose: "HRESCH", Metrics: []string{"heart_rate"},
		From: startHour, Until: startHour + 24, MinCohort: 11, Exact: true,
	}
	w.Refuses(fault.Forbidden, "noise", hospitalA, contracts.StudyCreate, s)
	s.Exact, s.Budget, s.MinCohort = false, 1, 10
	w.Refuses(fault.Invalid, "min_cohort", hospitalA, contracts.StudyCreate, s)
}

func TestAttackCohortOfFew(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study()
	q := w.query()
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 10}
	w.Must(hospitalA, contracts.QueryPostCohort, post)
	w.Must(hospitalB, contracts.QueryPostCohort, post, &q)
	if q.Status != record.QueryRefused || q.Size != 10 {
		t.Fatalf("ten patients: %+v", q)
	}
	w.Refuses(fault.Conflict, "refused", hospitalA, contracts.QueryPostRelease, record.PostRelease{Query: q.ID, Hash: record.RandomID()})
	w.Refuses(fault.Conflict, "refused", association, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 12})
}

func TestAttackOneMemberAgreesWithItself(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study()
	q := w.query()
	mine := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.Must(hospitalA, contracts.QueryPostCohort, mine)
	w.Must(hospitalA, contracts.QueryPostCohort, mine)
	if got := w.getQuery(q.ID); got.Status != record.QueryAsked {
		t.Fatalf("one member made it %s", got.Status)
	}
	changed := mine
	changed.Root = record.RandomID()
	w.Refuses(fault.Conflict, "another cohort", hospitalA, contracts.QueryPostCohort, changed)
	// The same root with another size is another cohort.
	smaller := mine
	smaller.Size = 11
	w.Must(hospitalB, contracts.QueryPostCohort, smaller)
	if got := w.getQuery(q.ID); got.Status != record.QueryAsked {
		t.Fatalf("two different cohorts made it %s", got.Status)
	}
	w.Must(association, contracts.QueryPostCohort, mine)
	if got := w.getQuery(q.ID); got.Status != record.QueryAgreed || got.Size != 12 {
		t.Fatalf("two equal cohorts made it %+v", got)
	}
}

func TestAttackReleaseByStrangerOrTooLate(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study()
	q := w.query()
	release := record.PostRelease{Query: q.ID, Hash: record.RandomID()}
	w.Refuses(fault.Conflict, "asked", hospitalA, contracts.QueryPostRelease, release)
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.Must(hospitalA, contracts.QueryPostCohort, post)
	w.Must(hospitalB, contracts.QueryPostCohort, post)
	w.Refuses(fault.Forbidden, hospitalA, hospitalB, contracts.QueryPostRelease, release)
	w.Tick(q.Expires - 1)
	w.Must(association, contracts.QueryPostCohort, post)
	w.Tick(q.Expires)
	w.Refuses(fault.Expired, "expired", hospitalA, contracts.QueryPostRelease, release)
	late := record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 12}
	w.Refuses(fault.Expired, "expired", hospitalB, contracts.QueryPostCohort, late)
}

func TestAttackReleaseAfterAbandon(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	w.study()
	q := w.query()
	post := record.PostCohort{Query: q.ID, Root: record.RandomID(), Size: 12}
	w.Must(hospitalA, contracts.QueryPostCohort, post)
	w.Must(hospitalB, contracts.QueryPostCohort, post)
	stop := record.Abandon{Query: q.ID, Reason: "a patient revoked"}
	w.Must(hospitalA, contracts.QueryAbandon, stop, &q)
	if q.Status != record.QueryAbandoned {
		t.Fatalf("abandoned: %+v", q)
	}
	w.Must(hospitalB, contracts.QueryAbandon, stop)
	w.Refuses(fault.Conflict, "abandoned", hospitalA, contracts.QueryPostRelease, record.PostRelease{Query: q.ID, Hash: record.RandomID()})
	w.Refuses(fault.Conflict, "abandoned", hospitalA, contracts.QueryPostCohort, record.PostCohort{Query: q.ID, Attempt: 1, Root: record.RandomID(), Size: 12})
}

func TestAttackMemberPostsForAnother(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 7200)
	batch := w.anchor(d.Row(startHour, 0), d.Row(startHour+1, 0)).Batch
	posts := func(s ...record.SignedAvailable) record.Available { return record.Available{Posts: s} }
	w.Refuses(fault.Forbidden, "cannot post for", hospitalA, contracts.PointerAvailable, posts(w.availability(hospitalB, batch, 3)))
	forged := w.availability(hospitalB, batch, 3)
	forged.Member = hospitalA
	w.Refuses(fault.BadSignature, "signature", hospitalA, contracts.PointerAvailable, posts(forged))
	raised := w.availability(hospitalA, batch, 1)
	raised.Post.Bitmap = []byte{3}
	w.Refuses(fault.BadSignature, "signature", hospitalA, contracts.PointerAvailable, posts(raised))
	for _, bitmap := range [][]byte{{}, {4}, {0x83}, {3, 0}} {
		w.Refuses(fault.Invalid, "bitmap", hospitalA, contracts.PointerAvailable, posts(w.availability(hospitalA, batch, bitmap...)))
	}
	w.Refuses(fault.NotFound, "batch", hospitalA, contracts.PointerAvailable, posts(w.availability(hospitalA, record.RandomID(), 3)))
	w.counts[batch]++
	w.Refuses(fault.Invalid, "has 2 pointers", hospitalA, contracts.PointerAvailable, posts(w.availability(hospitalA, batch, 3)))
	w.counts[batch]--
	post := w.availability(hospitalA, batch, 1)
	w.Refuses(fault.Invalid, "twice", hospitalA, contracts.PointerAvailable, posts(post, post))

	w.Must(hospitalA, contracts.PointerAvailable, posts(post))
	w.Refuses(fault.Conflict, "earlier post", hospitalA, contracts.PointerAvailable, posts(w.availability(hospitalA, batch, 2)))
	var done state.Recorded
	w.Must(hospitalA, contracts.PointerAvailable, posts(w.availability(hospitalA, batch, 3)), &done)
	if done.Recorded != 1 {
		t.Errorf("a post with more rows recorded %d", done.Recorded)
	}
}

func TestAttackPieceKeyOfANonHolder(t *testing.T) {
	w := newWorld(t)
	e := w.Genesis.FirstEpoch()
	// Piece 0 is held by all but member 0.
	refused := func(code fault.Code, words, msp string, p record.PostedKey) {
		t.Helper()
		w.Refuses(code, words, msp, contracts.RegistryPostPieceKey, p)
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
	w.Must(hospitalB, contracts.RegistryPostPieceKey, first)
	w.Must(hospitalB, contracts.RegistryPostPieceKey, first)
	refused(fault.Conflict, "already", association, w.pieceKey(e, association, 0, 0))
	var got record.PieceKeyState
	w.Read(association, contracts.RegistryGetPieceKey, "0", &got)
	if got.Posted == nil || got.Posted.Key.Check != first.Key.Check {
		t.Error("another key is recorded")
	}
}

// TestAttackPieceKeyBoxesOfAnother: boxes whose sender does not show that it knows
// their keys are refused at once, whatever they were copied from.
func TestAttackPieceKeyBoxesOfAnother(t *testing.T) {
	w := newWorld(t)
	e := w.Genesis.FirstEpoch()
	his := w.pieceKey(e, hospitalA, 1, 0).Key.Boxes[0].Ciphertext
	for name, box := range map[string][]byte{
		"garbage": make([]byte, opening.BoxBytes), "short": his[:80], "none": nil, "another member's": his,
		"with another's key": slices.Concat(his[:32], w.pieceKey(e, hospitalB, 0, 0).Key.Boxes[0].Ciphertext[32:]),
	} {
		t.Run(name, func(t *testing.T) {
			p := w.pieceKey(e, hospitalB, 0, 0, func(k *record.PieceKey) { k.Boxes[0].Ciphertext = box })
			w.Refuses(fault.Invalid, "the box to "+association, hospitalB, contracts.RegistryPostPieceKey, p)
		})
	}
}

// TestAttackGarbagePieceKey: a holder whose key does not open as it said is shown to
// be at fault, and the piece is not lost: another holder makes its key.
func TestAttackGarbagePieceKey(t *testing.T) {
	w := newWorld(t)
	e := w.Genesis.FirstEpoch()
	bad := w.pieceKey(e, hospitalB, 0, 0, func(k *record.PieceKey) { k.Check = record.RandomID() })
	w.Must(hospitalB, contracts.RegistryPostPieceKey, bad)
	proof, err := he.ComplainPieceKey(he.Context{Network: w.Genesis.Network}, bad.Key, hospitalB, *e.Member(association), w.Boxes[association].Piece)
	if err != nil {
		t.Fatal(err)
	}
	c := record.ComplainKey{Piece: 0, Proof: proof}
	forged := record.ComplainKey{Piece: 0, Proof: make([]byte, len(proof))}
	w.Refuses(fault.BadSignature, "", association, contracts.RegistryComplainPieceKey, forged)
	w.Refuses(fault.BadSignature, "", association, contracts.RegistryComplainPieceKey, record.ComplainKey{Piece: 0})
	w.Refuses(fault.Forbidden, "not sealed", hospitalB, contracts.RegistryComplainPieceKey, c)
	w.Refuses(fault.NotFound, "round 1", association, contracts.RegistryComplainPieceKey, record.ComplainKey{Piece: 0, Round: 1, Proof: proof})
	var s record.PieceKeyState
	w.Must(association, contracts.RegistryComplainPieceKey, c, &s)
	w.Must(association, contracts.RegistryComplainPieceKey, c, &s)
	if s.Posted != nil || len(s.Faulty) != 1 || s.Faulty[0].Holder != association || s.Faulty[0].Reason != string(opening.WrongSecret) {
		t.Errorf("after the complaint: %+v", s)
	}
	w.Refuses(fault.Forbidden, "another holder", hospitalB, contracts.RegistryPostPieceKey, w.pieceKey(e, hospitalB, 0, 1))
	w.Refuses(fault.Conflict, "round 1", association, contracts.RegistryPostPieceKey, w.pieceKey(e, association, 0, 0))
	w.Must(association, contracts.RegistryPostPieceKey, w.pieceKey(e, association, 0, 1), &s)
	if s.Posted == nil || s.Posted.By != association || s.Posted.Key.Round != 1 {
		t.Errorf("the next key: %+v", s.Posted)
	}
	if found, err := state.ExamineKey(w.Genesis.Network, &e, s.Faulty[0].Posted, association, s.Faulty[0].Proof); err != nil || string(found) != s.Faulty[0].Reason {
		t.Errorf("the evidence says %q, %v", found, err)
	}
}

// TestAttackComplaintAboutASoundPieceKey: a holder that wants another key, to be asked
// the same under two, has nothing to show.
func TestAttackComplaintAboutASoundPieceKey(t *testing.T) {
	w := newWorld(t)
	e := w.Genesis.FirstEpoch()
	sound := w.pieceKey(e, hospitalB, 0, 0)
	w.Must(hospitalB, contracts.RegistryPostPieceKey, sound)
	ctx := he.Context{Network: w.Genesis.Network}
	if _, err := he.ComplainPieceKey(ctx, sound.Key, hospitalB, *e.Member(association), w.Boxes[association].Piece); !errors.Is(err, opening.ErrSound) {
		t.Errorf("there is evidence: %v", err)
	}
	other := sound.Key
	other.Check = record.RandomID()
	proof, err := he.ComplainPieceKey(ctx, other, hospitalB, *e.Member(association), w.Boxes[association].Piece)
	if err != nil {
		t.Fatal(err)
	}
	w.Refuses(fault.BadSignature, "", association, contracts.RegistryComplainPieceKey, record.ComplainKey{Piece: 0, Proof: proof})
}

// A patient, or whoever holds the patient's key, enrols a second device after
// having seen today's data on the first.
func TestAttackDeviceChosenAfterTheData(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	w.Tick(start + 3*3600)
	second := p.NewDevice(startHour+3, "heart_rate")
	var state record.DeviceState
	w.Must(gatewayMSP, contracts.RegistryEnrolDevice, second.Enrolment, &state)
	if state.FromDay != startDay+1 {
		t.Errorf("the second device counts from day %d, want tomorrow, %d", state.FromDay, startDay+1)
	}
	past := p.NewDevice(startHour+2, "heart_rate")
	w.Refuses(fault.Expired, "first_hour", gatewayMSP, contracts.RegistryEnrolDevice, past.Enrolment)
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
	w.Refuses(fault.Exhausted, "limit", gatewayMSP, contracts.ConsentPut, p.Sign(p.document(hospitalA)))
	for range 63 {
		p.addDevice(startHour, "spo2")
	}
	w.Refuses(fault.Exhausted, "limit", gatewayMSP, contracts.RegistryEnrolDevice, p.NewDevice(startHour, "spo2").Enrolment)
}

func TestAttackGenesisReplaced(t *testing.T) {
	w := newWorld(t)
	other := w.Genesis
	other.MinCohort = 12
	w.Refuses(fault.Conflict, "another genesis", hospitalA, contracts.RegistryInit, other)
	w.Must(hospitalB, contracts.RegistryInit, w.Genesis)
}

func TestAttackWeakGenesis(t *testing.T) {
	w := emptyWorld(t)
	w.Refuses(fault.Forbidden, "not a member", outsider, contracts.RegistryInit, w.Genesis)
	w.Refuses(fault.NotFound, contracts.RegistryInit.Name(), hospitalA, contracts.ClockTick, record.Tick{Time: start})
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
		"a ceremony of nobody":    func(g *record.Genesis) { g.Circuits[0].Setup = "ceremony" },
		"a ceremony of one": func(g *record.Genesis) {
			g.Circuits[0].Setup, g.Circuits[0].Transcript, g.Circuits[0].Contributors = "ceremony", record.RandomID(), []string{"A"}
		},
		"a ceremony of the same twice": func(g *record.Genesis) {
			g.Circuits[0].Setup, g.Circuits[0].Transcript, g.Circuits[0].Contributors = "ceremony", record.RandomID(), []string{"A", "A"}
		},
		"a ceremony without transcript": func(g *record.Genesis) {
			g.Circuits[0].Setup, g.Circuits[0].Contributors = "ceremony", []string{"A", "B"}
		},
		"a development setup with contributors":               func(g *record.Genesis) { g.Circuits[0].Contributors = []string{"A", "B"} },
		"a development setup, where ceremonies are asked for": func(g *record.Genesis) { g.Ceremony = true },
		"a class twice":           func(g *record.Genesis) { g.Circuits = append(g.Circuits, g.Circuits[0]) },
		"answers that come late":  func(g *record.Genesis) { g.PredicateSlot = g.PredicateLife },
		"an MSP with a separator": func(g *record.Genesis) { g.Gateways = []string{"a\x00b"} },
		"a portal over http": func(g *record.Genesis) {
			g.RelyingParties = []record.RelyingParty{{ID: "example.org", Origins: []string{"http://example.org"}}}
		},
	} {
		g := w.Genesis
		g.Members, g.Circuits, g.Gateways = slices.Clone(g.Members), slices.Clone(g.Circuits), slices.Clone(g.Gateways)
		weaken(&g)
		before := w.Ledger.Height()
		if _, err := w.Submit(hospitalA, contracts.RegistryInit, g); fault.Of(err) != fault.Invalid || w.Ledger.Height() != before {
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
		method contracts.Method
		arg    string
		code   fault.Code
	}{
		"not JSON":          {contracts.ClockTick, "time", fault.Invalid},
		"an unknown field":  {contracts.ClockTick, `{"time":1,"more":2}`, fault.Invalid},
		"a duplicate":       {contracts.ClockTick, `{"time":1,"time":2}`, fault.Invalid},
		"another spelling":  {contracts.ClockTick, `{"Time":1}`, fault.Invalid},
		"trailing data":     {contracts.ClockTick, `{"time":1}{}`, fault.Invalid},
		"too large":         {contracts.ClockTick, `{"time":` + string(make([]byte, 20_000)) + `}`, fault.TooLarge},
		"nothing":           {contracts.ClockTick, "", fault.Invalid},
		"a bad identifier":  {contracts.RegistryGetPatient, "../../genesis", fault.Invalid},
		"a bad transaction": {contracts.QueryGet, "\x00query\x00", fault.Invalid},
		"a foreign key":     {contracts.PointerGet, quoted(state.GenesisKey()), fault.Invalid},
		"a bad pointer":     {contracts.PointerGet, `{"kind":"x"}`, fault.Invalid},
		"no such method":    {contracts.ClockTick + "Tock", `{}`, fault.Invalid},
		"an empty batch":    {contracts.PointerAnchor, `{"pointers":[]}`, fault.TooLarge},
	} {
		before := w.Ledger.Height()
		_, err := w.Submit(hospitalA, c.method, c.arg, nil)
		if fault.Of(err) != c.code || w.Ledger.Height() != before {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	many := record.Anchor{Pointers: make([]record.SignedPointer, record.MaxBatch+1)}
	w.Refuses(fault.TooLarge, "500", gatewayMSP, contracts.PointerAnchor, many)
}

// A patient who is talked into lifting a denial has a day to think of it, as with a
// permission that was revoked.
func TestAttackDenialLiftedWithinADay(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	p.consents(hospitalA)
	deny := p.document(hospitalA)
	deny.Effect, deny.Predicates, deny.Claims = consent.EffectDeny, nil, 0
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(deny))
	w.Tick(start + 100)
	wider := p.Next(deny, func(d *consent.Document) { d.Expires++ })
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(wider))
	lifted := map[string]consent.Document{
		"revoked":          p.Next(wider, func(d *consent.Document) { d.Status = consent.StatusRevoked }),
		"entered in error": p.Next(wider, func(d *consent.Document) { d.Status = consent.StatusInError }),
		"for less":         p.Next(wider, func(d *consent.Document) { d.Operations = d.Operations[:1] }),
		"for less time":    p.Next(wider, func(d *consent.Document) { d.Expires-- }),
	}
	w.Tick(start + 100 + 86400 - 1)
	for name, d := range lifted {
		t.Log(name)
		w.Refuses(fault.TooEarly, "denied", gatewayMSP, contracts.ConsentPut, p.Sign(d))
	}
	w.Tick(start + 100 + 86400)
	p.revoke(p.consents(hospitalA))
	for name, d := range lifted {
		t.Log(name)
		w.Refuses(fault.TooEarly, "a consent for HospitalA was revoked", gatewayMSP, contracts.ConsentPut, p.Sign(d))
	}
	w.Tick(start + 100 + 2*86400)
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(lifted["revoked"]))
}
