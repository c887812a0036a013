package gateway

import (
	"context"
	"testing"

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
