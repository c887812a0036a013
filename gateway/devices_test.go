package gateway

import (
	"context"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestADeviceIsRetiredByItselfOrItsPatient(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d, other := w.device(), w.device()
	retire := record.RetireDevice{Device: d.id, Lost: true}
	digest := record.Digest(record.DomainRetire, w.genesis.Network, retire)
	forged := record.SignedRetirement{Retire: retire, Signature: sign(t, other.key, digest)}
	if _, err := other.client().RetireDevice(ctx, forged); fault.Of(err) != fault.BadSignature {
		t.Errorf("a retirement that another device signed: %v", err)
	}
	c := d.client()
	op, err := c.RetireDevice(ctx, record.SignedRetirement{Retire: retire, Signature: sign(t, d.key, digest)})
	w.ok(err)
	op, err = c.Wait(ctx, op)
	w.ok(err)
	s, err := c.Device(ctx, d.id)
	w.ok(err)
	if s.State.Retired == nil || !s.State.Retired.Lost {
		t.Errorf("operation %v left the device %+v", op, s.State.Retired)
	}
}

func TestADevicesReputationIsShown(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.submit(hospitalA, "Registry:FlagDevice", record.FlagDevice{Device: d.id, Kind: record.FlagOutlier, Note: "far off"})
	w.submit(hospitalB, "Registry:VoteQuarantine", record.VoteQuarantine{Device: d.id, Reason: "far off"})
	w.eventually("the flag is shown", func() bool {
		s, err := d.client().Device(context.Background(), d.id)
		return err == nil && s.Reputation != nil && s.Reputation.Flags[record.FlagOutlier] == 1 && s.Reputation.Votes == 1
	})
}

// A member that joins in a later epoch reads blobs as soon as that has begun.
func TestAMemberOfALaterEpochReadsBlobs(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	next := record.Epoch{Number: 1, Threshold: 2, Members: append([]record.Member{}, w.genesis.Members...), Profile: w.genesis.Profile}
	key := newKey(w)
	next.Members[0].SignKey = record.PublicKeyBytes(&key.PublicKey)
	before := w.signers[hospitalA]
	w.signers[hospitalA] = key
	if _, err := w.member(hospitalA).Blob(context.Background(), d.enrol.Device.SeedBlob); fault.Of(err) != fault.BadSignature {
		t.Fatalf("before the epoch: %v", err)
	}
	w.signers[hospitalA] = before
	for _, msp := range []string{hospitalA, hospitalB} {
		w.submit(msp, "Registry:VoteEpoch", record.VoteEpoch{Epoch: next, Signature: sign(t, w.signers[msp], next.Digest(w.genesis.Network))})
	}
	w.signers[hospitalA] = key
	w.eventually("the member reads", func() bool {
		_, err := w.member(hospitalA).Blob(context.Background(), d.enrol.Device.SeedBlob)
		return err == nil
	})
}

// TestAttackSeedBlobOfAnother: a device that brings another's seeds, or boxes that
// their sender did not prove, is refused before anything is stored.
func TestAttackSeedBlobOfAnother(t *testing.T) {
	w := newWorld(t)
	victim, p := w.device(), w.enrolled()
	foreign := func(id record.ID) []byte {
		boxes, err := opening.Boxes(victim.seeds, victim.id, 6)
		w.ok(err)
		return opening.Blob(id, boxes)
	}
	for name, c := range map[string]struct {
		seeds func(id record.ID) []byte
		words string
	}{
		"another's blob":    {func(record.ID) []byte { return victim.seeds }, string(opening.ForeignBlob)},
		"another's boxes":   {foreign, string(opening.BadProof)},
		"something else":    {func(record.ID) []byte { return random(1000) }, string(opening.BadBlob)},
		"a spoilt last box": {func(id record.ID) []byte { b := w.sealedSeeds(id); b[len(b)-1] ^= 1; return b }, string(opening.BadProof)},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.newDevice()
			d.seeds = c.seeds(d.id)
			d.enrol.Device.SeedBlob = record.SumID(d.seeds)
			d.sign(p)
			_, err := w.as("", nil).EnrolDevice(t.Context(), d.enrol, d.seeds)
			wantFault(t, fault.Invalid, err)
			if !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v does not say that %s", err, c.words)
			}
			if name != "another's blob" && w.stored(record.SumID(d.seeds)) {
				t.Error("it is stored all the same")
			}
		})
	}
}
