package chaincode_test

import (
	"bytes"
	"testing"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// sealing is the members' parameters in an epoch.
func (w *world) sealing(e record.Epoch) (*he.Params, he.Context) {
	return w.ParamsOf(e), he.Context{Network: w.Genesis.Network, Epoch: e.Number}
}

// sealedDevice enrols a device with real seeds in an epoch.
func (p *person) sealedDevice(e record.Epoch, spoil func(d *record.Device, seeds []he.Seed, blob *[]byte)) (*device, []byte) {
	p.w.Helper()
	d, blob := p.sealed(e, spoil)
	p.w.Must(gatewayMSP, contracts.RegistryEnrolDevice, d.Enrolment)
	return d, blob
}

// sealed makes a device with real seeds; spoil may alter what is sealed and what is
// said about it.
func (p *person) sealed(e record.Epoch, spoil func(d *record.Device, seeds []he.Seed, blob *[]byte)) (*device, []byte) {
	p.w.Helper()
	d := p.NewDevice(startHour+24*30, "heart_rate")
	params, _ := p.w.sealing(e)
	d.Reseed(params, e, func(seeds []he.Seed, blob *[]byte) {
		if blob == nil {
			spoil(&d.Enrolment.Device, seeds, nil)
		} else {
			spoil(nil, nil, blob)
		}
	})
	d.Sign()
	return d, d.Seeds
}

func honestly(*record.Device, []he.Seed, *[]byte) {}

// evidence is a member's complaint, made as an institution makes it.
func (w *world) evidence(e record.Epoch, msp string, d *device, blob []byte) (record.Complain, error) {
	w.Helper()
	params, ctx := w.sealing(e)
	piece, proof, err := params.ComplainSeeds(ctx, d.ID, e.Place(msp), *e.Member(msp), w.Boxes[msp].Seed, blob, d.Enrolment.Device.SeedHashes)
	return record.Complain{Device: d.ID, Piece: piece, Blob: blob, Proof: proof}, err
}

func TestAComplaintWithEvidenceQuarantines(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	_, otherBlob := w.enrolled().sealedDevice(first, honestly)
	otherBlob = bytes.Clone(otherBlob)
	otherBlob[len(otherBlob)-1] ^= 1 // its hash is not named yet
	w.Tick(start + 1)
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
				w.Refuses(fault.BadSignature, "nothing is opened", hospitalA, contracts.RegistryComplain, needless)
			}
			var s record.DeviceState
			w.Must(hospitalA, contracts.RegistryComplain, e, &s)
			if s.Quarantined == nil || s.Quarantined.How != record.ByEvidence || s.Quarantined.At != start+1 ||
				s.Quarantined.By[0] != hospitalA || s.Quarantined.Reason != c.reason {
				t.Errorf("state is %+v", s.Quarantined)
			}
			w.Must(hospitalA, contracts.RegistryComplain, e, &s)
			w.Refuses(fault.Conflict, "shown", hospitalA, contracts.RegistryVoteQuarantine, record.VoteQuarantine{Device: d.ID, Lift: true, Reason: "sorry"})
			w.refusesPointer(fault.Forbidden, d.Row(startHour+24*30, 0))
		})
	}
}

func TestAttackComplaintAboutAnHonestDevice(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
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
		"replayed for another device": {hospitalA, func(e *record.Complain) { e.Device, e.Blob = d.ID, blob }, fault.BadSignature},
		"with another blob":           {hospitalA, func(e *record.Complain) { e.Device = d.ID }, fault.Invalid},
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
			w.Refuses(c.code, "", c.by, contracts.RegistryComplain, x)
		})
	}
}

func vote(d *device, lift bool) record.VoteQuarantine {
	return record.VoteQuarantine{Device: d.ID, Lift: lift, Reason: "seeds are withheld"}
}

func TestThresholdVotesQuarantineAndLift(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	w.Tick(start + 3600)
	state := func() record.DeviceState {
		var s record.DeviceState
		w.Read(gatewayMSP, contracts.RegistryGetDevice, d.ID.String(), &s)
		return s
	}
	w.Must(hospitalA, contracts.RegistryVoteQuarantine, vote(d, false))
	w.Must(hospitalA, contracts.RegistryVoteQuarantine, vote(d, false))
	if state().Quarantined != nil {
		t.Fatal("one member's votes put a device into quarantine")
	}
	w.Must(association, contracts.RegistryVoteQuarantine, vote(d, false))
	if q := state().Quarantined; q == nil || q.How != record.ByVote || len(q.By) != 2 {
		t.Fatalf("after two votes: %+v", q)
	}
	w.refusesPointer(fault.Forbidden, d.Row(startHour, 0))
	w.refusesPointer(fault.Forbidden, d.Day(startDay))

	w.Must(hospitalB, contracts.RegistryVoteQuarantine, vote(d, true))
	if state().Quarantined == nil {
		t.Fatal("one vote lifted a quarantine")
	}
	w.Must(hospitalA, contracts.RegistryVoteQuarantine, vote(d, true))
	if state().Quarantined != nil {
		t.Fatal("two votes did not lift it")
	}
	if r := w.anchor(d.Row(startHour, 0)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("after that: %+v", r.Items[0])
	}
	// The association's first vote belongs to a round that is over.
	w.Must(hospitalB, contracts.RegistryVoteQuarantine, vote(d, false))
	if state().Quarantined != nil {
		t.Error("a vote of an earlier round counted again")
	}
	w.Refuses(fault.Forbidden, "", outsider, contracts.RegistryVoteQuarantine, vote(d, false))
	w.Refuses(fault.Invalid, "reason", hospitalA, contracts.RegistryVoteQuarantine, record.VoteQuarantine{Device: d.ID})
	w.Refuses(fault.NotFound, "", hospitalA, contracts.RegistryVoteQuarantine, record.VoteQuarantine{Device: record.RandomID(), Reason: "x"})
}

func TestADeviceInQuarantineIsNotAsked(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	for _, msp := range []string{hospitalA, hospitalB} {
		w.Must(msp, contracts.RegistryVoteQuarantine, vote(p.Devices[0], false))
	}
	w.Refuses(fault.Forbidden, "quarantine", hospitalA, contracts.PredicateRequest, p.Question())
}

func TestARetiredDeviceAnchorsWhatHadBegun(t *testing.T) {
	w := newWorld(t)
	p := w.enrolled()
	d := p.Devices[0]
	w.Tick(start + 3600 + 60)
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(p.Key, false))
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(p.Key, false))
	w.Tick(start + 86400)
	if r := w.anchor(d.Row(startHour, 0), d.Row(startHour+1, 0), d.Day(startDay)); len(r.Batch) == 0 || r.Items[1].Outcome != record.Anchored || r.Items[2].Outcome != record.Anchored {
		t.Errorf("windows that had begun: %+v", r.Items)
	}
	w.refusesPointer(fault.Expired, d.Row(startHour+2, 0))

	next := p.addDevice(startHour+24, "heart_rate", "spo2")
	var s record.DeviceState
	w.Read(gatewayMSP, contracts.RegistryGetDevice, next.ID.String(), &s)
	if s.FromDay != startDay+2 {
		t.Errorf("the new device takes over on day %d, want the day after its enrolment, %d", s.FromDay, startDay+2)
	}
}

func TestALostDeviceAnchorsNothingMore(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	d := p.Devices[0]
	w.refusesPointer(fault.TooEarly, d.Row(startHour+24*20, 0))
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(p.Key, false))
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(p.Key, true))
	w.refusesPointer(fault.Expired, d.Row(startHour, 0))
	w.Refuses(fault.Expired, "lost", hospitalA, contracts.PredicateRequest, p.Question())
	var s record.DeviceState
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(p.Key, false), &s)
	if !s.Retired.Lost {
		t.Error("a lost device was found again")
	}
}

func TestAttackRetirementBySomeoneElse(t *testing.T) {
	w := newWorld(t)
	p, other := w.enrolled(), w.enrolled()
	d := p.Devices[0]
	w.Refuses(fault.BadSignature, "", gatewayMSP, contracts.RegistryRetireDevice, d.Retirement(other.Key, false))
	swapped := d.Retirement(p.Key, false)
	swapped.Retire.Lost = true
	w.Refuses(fault.BadSignature, "", gatewayMSP, contracts.RegistryRetireDevice, swapped)
	elsewhere := d.Retirement(p.Key, false)
	elsewhere.Retire.Device = other.Devices[0].ID
	w.Refuses(fault.BadSignature, "", gatewayMSP, contracts.RegistryRetireDevice, elsewhere)

	r := record.RetireDevice{Device: d.ID}
	own := record.SignedRetirement{Retire: r, Signature: consortium.Sign(d.Key, record.Digest(record.DomainRetire, w.Genesis.Network, r))}
	w.Must(gatewayMSP, contracts.RegistryRetireDevice, own)
}

func TestFlagsAreOneForEachMemberKindAndDay(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled().Devices[0]
	f := record.FlagDevice{Device: d.ID, Kind: record.FlagOutlier, Note: "far from its neighbours"}
	before := w.Ledger.Height()
	for range 3 {
		w.Must(hospitalA, contracts.RegistryFlagDevice, f)
	}
	w.Must(hospitalB, contracts.RegistryFlagDevice, f)
	written := map[string]bool{}
	w.writes(before, func(key string) { written[key] = true })
	if len(written) != 2 {
		t.Errorf("%d flags, want 2", len(written))
	}
	w.Refuses(fault.Forbidden, "", gatewayMSP, contracts.RegistryFlagDevice, f)
	w.Refuses(fault.Invalid, "kind", hospitalA, contracts.RegistryFlagDevice, record.FlagDevice{Device: d.ID, Kind: "x", Note: "y"})
}

// writes calls each with the keys written from a block on.
func (w *world) writes(from uint64, each func(key string)) {
	w.Helper()
	last := w.Ledger.Height()
	if from >= last {
		return
	}
	for b, err := range w.Clients[hospitalA].Blocks(w.Context(), from) {
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
