package chaincode_test

import (
	"bytes"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// sealing is the members' parameters in an epoch.
func (w *world) sealing(e record.Epoch) (*he.Params, he.Context) {
	w.Helper()
	sharing, err := he.NewSharing(len(e.Members), e.Threshold)
	if err != nil {
		w.Fatal(err)
	}
	profile, _ := he.ProfileByName(e.Profile)
	p, err := he.New(profile, privacy.V1(), sharing)
	if err != nil {
		w.Fatal(err)
	}
	return p, he.Context{Network: w.genesis.Network, Epoch: e.Number}
}

// sealedDevice enrols a device with real seeds in an epoch.
func (p *person) sealedDevice(e record.Epoch, spoil func(d *record.Device, seeds []he.Seed, blob *[]byte)) (*device, []byte) {
	p.w.Helper()
	d, blob := p.sealed(e, spoil)
	p.w.must(gatewayMSP, "Registry:EnrolDevice", d.enrol, nil)
	return d, blob
}

// sealed makes a device with real seeds; spoil may alter what is sealed and what is
// said about it.
func (p *person) sealed(e record.Epoch, spoil func(d *record.Device, seeds []he.Seed, blob *[]byte)) (*device, []byte) {
	p.w.Helper()
	d := p.newDevice(startHour+24*30, "heart_rate")
	d.enrol.Device.Epoch, d.enrol.Device.Profile = e.Number, e.Profile
	params, ctx := p.w.sealing(e)
	seeds := make([]he.Seed, params.Sharing().Pieces())
	d.enrol.Device.SeedHashes = make([]record.ID, len(seeds))
	for i := range seeds {
		seeds[i] = he.NewSeed()
		d.enrol.Device.SeedHashes[i] = params.SeedHash(ctx, d.id, i, seeds[i])
	}
	var blob []byte
	spoil(&d.enrol.Device, seeds, nil)
	blob, err := params.SealSeeds(ctx, d.id, seeds, e.Members)
	if err != nil {
		p.w.Fatal(err)
	}
	spoil(nil, nil, &blob)
	d.enrol.Device.SeedBlob = record.SumID(blob)
	d.sign(p)
	return d, blob
}

func honestly(*record.Device, []he.Seed, *[]byte) {}

// evidence is a member's complaint, made as an institution makes it.
func (w *world) evidence(e record.Epoch, msp string, d *device, blob []byte) (record.Complain, error) {
	w.Helper()
	params, ctx := w.sealing(e)
	piece, proof, err := params.ComplainSeeds(ctx, d.id, e.Place(msp), *e.Member(msp), w.boxes[msp].Seed, blob, d.enrol.Device.SeedHashes)
	return record.Complain{Device: d.id, Piece: piece, Blob: blob, Proof: proof}, err
}

func TestAComplaintWithEvidenceQuarantines(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	_, otherBlob := w.enrolled().sealedDevice(first, honestly)
	otherBlob = bytes.Clone(otherBlob)
	otherBlob[len(otherBlob)-1] ^= 1 // its hash is not named yet
	w.tick(start + 1)
	for name, c := range map[string]struct {
		spoil  func(d *record.Device, seeds []he.Seed, blob *[]byte)
		reason string
	}{
		"a wrong seed": {func(_ *record.Device, seeds []he.Seed, _ *[]byte) {
			if seeds != nil {
				seeds[2] = he.NewSeed()
			}
		}, string(opening.WrongSecret)},
		"garbage": {func(_ *record.Device, _ []he.Seed, blob *[]byte) {
			if blob != nil {
				for i := opening.BlobBytes(0) + 40; i < len(*blob); i += opening.BoxBytes {
					(*blob)[i] ^= 0x55 // past the encapsulated keys
				}
			}
		}, string(opening.BadProof)},
		"another device's seeds": {func(_ *record.Device, _ []he.Seed, blob *[]byte) {
			if blob != nil {
				*blob = otherBlob
			}
		}, string(opening.ForeignBlob)},
		"a key of small order": {func(_ *record.Device, _ []he.Seed, blob *[]byte) {
			if blob != nil {
				clear((*blob)[opening.BlobBytes(0):])
			}
		}, string(opening.BadKey)},
		"another form": {func(_ *record.Device, _ []he.Seed, blob *[]byte) {
			if blob != nil {
				*blob = []byte("nothing")
			}
		}, string(opening.BadBlob)},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			d, blob := w.enrolled().sealedDevice(first, c.spoil)
			e, err := w.evidence(first, hospitalA, d, blob)
			if err != nil {
				t.Fatal(err)
			}
			if opened := c.reason == string(opening.WrongSecret); opened != (len(e.Proof) > 0) {
				t.Errorf("a proof of %d bytes", len(e.Proof))
			}
			if len(e.Proof) == 0 {
				needless := e
				needless.Proof = make([]byte, opening.OpeningBytes)
				w.refuses(fault.BadSignature, "nothing is opened", hospitalA, "Registry:Complain", needless)
			}
			var s record.DeviceState
			w.must(hospitalA, "Registry:Complain", e, &s)
			if s.Quarantined == nil || s.Quarantined.How != record.ByEvidence || s.Quarantined.At != start+1 ||
				s.Quarantined.By[0] != hospitalA || s.Quarantined.Reason != c.reason {
				t.Errorf("state is %+v", s.Quarantined)
			}
			w.must(hospitalA, "Registry:Complain", e, &s)
			w.refuses(fault.Conflict, "shown", hospitalA, "Registry:VoteQuarantine", record.VoteQuarantine{Device: d.id, Lift: true, Reason: "sorry"})
			w.refusesPointer(fault.Forbidden, d.row(&w, startHour+24*30))
		})
	}
}

func TestAttackComplaintAboutAnHonestDevice(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	d, blob := w.enrolled().sealedDevice(first, honestly)
	if _, err := w.evidence(first, hospitalA, d, blob); err == nil {
		t.Error("there is evidence against an honest device")
	}
	bad, badBlob := w.enrolled().sealedDevice(first, func(_ *record.Device, seeds []he.Seed, _ *[]byte) {
		if seeds != nil {
			seeds[2] = he.NewSeed()
		}
	})
	e, err := w.evidence(first, hospitalA, bad, badBlob)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		by     string
		change func(*record.Complain)
		code   fault.Code
	}{
		"replayed for another device": {hospitalA, func(e *record.Complain) { e.Device, e.Blob = d.id, blob }, fault.BadSignature},
		"with another blob":           {hospitalA, func(e *record.Complain) { e.Device = d.id }, fault.Invalid},
		"of another piece":            {hospitalA, func(e *record.Complain) { e.Piece = 1 }, fault.BadSignature},
		"of a piece that is not held": {hospitalA, func(e *record.Complain) { e.Piece = 0 }, fault.Forbidden},
		"of no piece":                 {hospitalA, func(e *record.Complain) { e.Piece = 3 }, fault.Forbidden},
		"with a forged proof":         {hospitalA, func(e *record.Complain) { e.Proof = bytes.Clone(e.Proof); e.Proof[40] ^= 1 }, fault.BadSignature},
		"without proof":               {hospitalA, func(e *record.Complain) { e.Proof = nil }, fault.BadSignature},
		"by a non-holder":             {association, func(*record.Complain) {}, fault.Forbidden},
		"by another holder":           {hospitalB, func(*record.Complain) {}, fault.Forbidden},
		"by a gateway":                {gatewayMSP, func(*record.Complain) {}, fault.Forbidden},
		"by nobody":                   {outsider, func(*record.Complain) {}, fault.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			x := e
			if name == "by another holder" {
				x.Piece = 1 // hospital B lacks it
			}
			c.change(&x)
			w.refuses(c.code, "", c.by, "Registry:Complain", x)
		})
	}
}

func vote(d *device, lift bool) record.VoteQuarantine {
	return record.VoteQuarantine{Device: d.id, Lift: lift, Reason: "seeds are withheld"}
}

func TestThresholdVotesQuarantineAndLift(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	w.tick(start + 3600)
	state := func() record.DeviceState {
		var s record.DeviceState
		w.read(gatewayMSP, "Registry:GetDevice", d.id.String(), &s)
		return s
	}
	w.must(hospitalA, "Registry:VoteQuarantine", vote(d, false), nil)
	w.must(hospitalA, "Registry:VoteQuarantine", vote(d, false), nil)
	if state().Quarantined != nil {
		t.Fatal("one member's votes put a device into quarantine")
	}
	w.must(association, "Registry:VoteQuarantine", vote(d, false), nil)
	if q := state().Quarantined; q == nil || q.How != record.ByVote || len(q.By) != 2 {
		t.Fatalf("after two votes: %+v", q)
	}
	w.refusesPointer(fault.Forbidden, d.row(w, startHour))
	w.refusesPointer(fault.Forbidden, d.day(w, startDay))

	w.must(hospitalB, "Registry:VoteQuarantine", vote(d, true), nil)
	if state().Quarantined == nil {
		t.Fatal("one vote lifted a quarantine")
	}
	w.must(hospitalA, "Registry:VoteQuarantine", vote(d, true), nil)
	if state().Quarantined != nil {
		t.Fatal("two votes did not lift it")
	}
	if r := w.anchor(d.row(w, startHour)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("after that: %+v", r.Items[0])
	}
	// The association's first vote belongs to a round that is over.
	w.must(hospitalB, "Registry:VoteQuarantine", vote(d, false), nil)
	if state().Quarantined != nil {
		t.Error("a vote of an earlier round counted again")
	}
	w.refuses(fault.Forbidden, "", outsider, "Registry:VoteQuarantine", vote(d, false))
	w.refuses(fault.Invalid, "reason", hospitalA, "Registry:VoteQuarantine", record.VoteQuarantine{Device: d.id})
	w.refuses(fault.NotFound, "", hospitalA, "Registry:VoteQuarantine", record.VoteQuarantine{Device: record.RandomID(), Reason: "x"})
}

func TestADeviceInQuarantineIsNotAsked(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	for _, msp := range []string{hospitalA, hospitalB} {
		w.must(msp, "Registry:VoteQuarantine", vote(p.devices[0], false), nil)
	}
	w.refuses(fault.Forbidden, "quarantine", hospitalA, "Predicate:Request", p.question())
}

func (p *person) retires(d *device, lost bool) record.SignedRetirement {
	r := record.RetireDevice{Device: d.id, Lost: lost}
	return record.SignedRetirement{Retire: r, Signature: sign(p.w, p.key, record.Digest(record.DomainRetire, p.w.genesis.Network, r))}
}

func TestARetiredDeviceAnchorsWhatHadBegun(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.devices[0]
	w.tick(start + 3600 + 60)
	w.must(gatewayMSP, "Registry:RetireDevice", p.retires(d, false), nil)
	w.must(gatewayMSP, "Registry:RetireDevice", p.retires(d, false), nil)
	w.tick(start + 86400)
	if r := w.anchor(d.row(w, startHour), d.row(w, startHour+1), d.day(w, startDay)); len(r.Batch) == 0 || r.Items[1].Outcome != record.Anchored || r.Items[2].Outcome != record.Anchored {
		t.Errorf("windows that had begun: %+v", r.Items)
	}
	w.refusesPointer(fault.Expired, d.row(w, startHour+2))

	next := p.addDevice(startHour+24, "heart_rate", "spo2")
	var s record.DeviceState
	w.read(gatewayMSP, "Registry:GetDevice", next.id.String(), &s)
	if s.FromDay != startDay+2 {
		t.Errorf("the new device takes over on day %d, want the day after its enrolment, %d", s.FromDay, startDay+2)
	}
}

func TestALostDeviceAnchorsNothingMore(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	d := p.devices[0]
	w.refusesPointer(fault.TooEarly, d.row(w, startHour+24*20))
	w.must(gatewayMSP, "Registry:RetireDevice", p.retires(d, false), nil)
	w.must(gatewayMSP, "Registry:RetireDevice", p.retires(d, true), nil)
	w.refusesPointer(fault.Expired, d.row(w, startHour))
	w.refuses(fault.Expired, "lost", hospitalA, "Predicate:Request", p.question())
	var s record.DeviceState
	w.must(gatewayMSP, "Registry:RetireDevice", p.retires(d, false), &s)
	if !s.Retired.Lost {
		t.Error("a lost device was found again")
	}
}

func TestAttackRetirementBySomeoneElse(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	d := p.devices[0]
	w.refuses(fault.BadSignature, "", gatewayMSP, "Registry:RetireDevice", other.retires(d, false))
	swapped := p.retires(d, false)
	swapped.Retire.Lost = true
	w.refuses(fault.BadSignature, "", gatewayMSP, "Registry:RetireDevice", swapped)
	elsewhere := p.retires(d, false)
	elsewhere.Retire.Device = other.devices[0].id
	w.refuses(fault.BadSignature, "", gatewayMSP, "Registry:RetireDevice", elsewhere)

	r := record.RetireDevice{Device: d.id}
	own := record.SignedRetirement{Retire: r, Signature: sign(t, d.key, record.Digest(record.DomainRetire, w.genesis.Network, r))}
	w.must(gatewayMSP, "Registry:RetireDevice", own, nil)
}

func TestFlagsAreOneForEachMemberKindAndDay(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().devices[0]
	f := record.FlagDevice{Device: d.id, Kind: record.FlagOutlier, Note: "far from its neighbours"}
	before := w.ledger.Height()
	for range 3 {
		w.must(hospitalA, "Registry:FlagDevice", f, nil)
	}
	w.must(hospitalB, "Registry:FlagDevice", f, nil)
	written := map[string]bool{}
	w.writes(before, func(key string) { written[key] = true })
	if len(written) != 2 {
		t.Errorf("%d flags, want 2", len(written))
	}
	w.refuses(fault.Forbidden, "", gatewayMSP, "Registry:FlagDevice", f)
	w.refuses(fault.Invalid, "kind", hospitalA, "Registry:FlagDevice", record.FlagDevice{Device: d.id, Kind: "x", Note: "y"})
}

// writes calls each with the keys written from a block on.
func (w *world) writes(from uint64, each func(key string)) {
	w.Helper()
	last := w.ledger.Height()
	if from >= last {
		return
	}
	for b, err := range w.clients[hospitalA].Blocks(w.Context(), from) {
		if err != nil {
			w.Fatal(err)
		}
		for _, tx := range b.Txs {
			for _, write := range tx.Writes {
				each(write.Key)
			}
		}
		if b.Number+1 >= last {
			return
		}
	}
}
