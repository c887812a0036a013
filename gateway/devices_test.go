package gateway

import (
	"context"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestADeviceIsRetiredByItselfOrItsPatient(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	d, other := w.device(), w.device()
	retire := record.RetireDevice{Device: d.ID, Lost: true}
	digest := record.Digest(record.DomainRetire, w.Genesis.Network, retire)
	forged := record.SignedRetirement{Retire: retire, Signature: consortium.Sign(other.Key, digest)}
	if _, err := other.client().RetireDevice(ctx, forged); fault.Of(err) != fault.BadSignature {
		t.Errorf("a retirement that another device signed: %v", err)
	}
	c := d.client()
	op, err := c.RetireDevice(ctx, record.SignedRetirement{Retire: retire, Signature: consortium.Sign(d.Key, digest)})
	w.ok(err)
	op, err = c.Wait(ctx, op)
	w.ok(err)
	s, err := c.Device(ctx, d.ID)
	w.ok(err)
	if s.State.Retired == nil || !s.State.Retired.Lost {
		t.Errorf("operation %v left the device %+v", op, s.State.Retired)
	}
}

func TestADevicesReputationIsShown(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	w.Must(hospitalA, contracts.RegistryFlagDevice, record.FlagDevice{Device: d.ID, Kind: record.FlagOutlier, Note: "far off"})
	w.Must(hospitalB, contracts.RegistryVoteQuarantine, record.VoteQuarantine{Device: d.ID, Reason: "far off"})
	w.eventually("the flag is shown", func() bool {
		s, err := d.client().Device(context.Background(), d.ID)
		return err == nil && s.Reputation != nil && s.Reputation.Flags[record.FlagOutlier] == 1 && s.Reputation.Votes == 1
	})
}

// A member that joins in a later epoch reads blobs as soon as that has begun.
func TestAMemberOfALaterEpochReadsBlobs(t *testing.T) {
	w := newWorld(t)
	d := w.device()
	next := record.Epoch{Number: 1, Threshold: 2, Members: append([]record.Member{}, w.Genesis.Members...), Profile: w.Genesis.Profile}
	key := consortium.NewKey()
	next.Members[0].SignKey = consortium.Public(key)
	before := w.Keys[hospitalA]
	w.Keys[hospitalA] = key
	if _, err := w.member(hospitalA).Blob(context.Background(), d.Enrolment.Device.SeedBlob); fault.Of(err) != fault.BadSignature {
		t.Fatalf("before the epoch: %v", err)
	}
	w.Keys[hospitalA] = before
	for _, msp := range []string{hospitalA, hospitalB} {
		w.Must(msp, contracts.RegistryVoteEpoch, record.VoteEpoch{Epoch: next, Signature: consortium.Sign(w.Keys[msp], next.Digest(w.Genesis.Network))})
	}
	w.Keys[hospitalA] = key
	w.eventually("the member reads", func() bool {
		_, err := w.member(hospitalA).Blob(context.Background(), d.Enrolment.Device.SeedBlob)
		return err == nil
	})
}

// TestAttackSeedBlobOfAnother: a device that brings another's seeds, or boxes that
// their sender did not prove, is refused before anything is stored.
func TestAttackSeedBlobOfAnother(t *testing.T) {
	w := newWorld(t)
	victim, p := w.device(), w.enrolled()
	foreign := func(d *device) []byte {
		boxes, err := opening.Boxes(victim.Seeds, victim.ID, 6)
		w.ok(err)
		return opening.Blob(d.ID, boxes)
	}
	for name, c := range map[string]struct {
		seeds func(d *device) []byte
		words string
	}{
		"another's blob":    {func(*device) []byte { return victim.Seeds }, string(opening.ForeignBlob)},
		"another's boxes":   {foreign, string(opening.BadProof)},
		"something else":    {func(*device) []byte { return random(1000) }, string(opening.BadBlob)},
		"a spoilt last box": {func(d *device) []byte { d.Seeds[len(d.Seeds)-1] ^= 1; return d.Seeds }, string(opening.BadProof)},
	} {
		t.Run(name, func(t *testing.T) {
			d := p.newDevice()
			d.Seeds = c.seeds(d)
			d.Enrolment.Device.SeedBlob = record.SumID(d.Seeds)
			d.Sign()
			_, err := w.as("", nil).EnrolDevice(t.Context(), d.Enrolment, d.Seeds)
			wantFault(t, fault.Invalid, err)
			if !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v does not say that %s", err, c.words)
			}
			if name != "another's blob" && w.stored(record.SumID(d.Seeds)) {
				t.Error("it is stored all the same")
			}
		})
	}
}
