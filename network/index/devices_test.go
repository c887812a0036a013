package index

import (
	"reflect"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestADeviceInQuarantineIsInNoLaterCohort(t *testing.T) {
	l := newLedger()
	l.ready(3)
	before := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	l.quarantine(0, true)
	after := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	l.quarantine(0, false)
	lifted := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for id, want := range map[string]int{before: 3, after: 2, lifted: 3} {
		if got := size(t, ix, id); got != want {
			t.Errorf("%d patients, want %d", got, want)
		}
	}
	// The first was open when the device went: it is derived again, and lifting
	// the quarantine afterwards does not undo that.
	block, gone, err := ix.Stale(before, 0)
	if err != nil || len(gone) != 1 || gone[0] != l.devices[0].ID || block != 2 {
		t.Errorf("stale at %d for %v (%v)", block, gone, err)
	}
	if _, gone, err := ix.Stale(lifted, 0); err != nil || len(gone) != 0 {
		t.Errorf("a query after the quarantine was lifted is stale: %v (%v)", gone, err)
	}
}

func TestAttackCohortOfMixedEpochs(t *testing.T) {
	l := newLedger()
	l.ready(3)
	l.succeed(members[0], members[1])
	l.patient()
	p := l.patients[len(l.patients)-1]
	d := l.device(p, day0, metric)
	l.ack(d.ID, members[0])
	half := l.askEpoch(1, members[0], hour0, hour0+24, 100)
	l.ack(d.ID, members[1])
	l.rows(d.ID, hour0, hour0+48)
	l.consent(l.permit(p, members[0], hour0, hour0+100))
	// A patient of the old epoch takes a device of the new one from day two on.
	e := l.device(l.patients[0], day0+1, metric)
	l.ack(e.ID, members[0])
	l.ack(e.ID, members[1])
	l.rows(e.ID, hour0+24, hour0+48)
	old := l.askEpoch(0, members[0], hour0, hour0+48, 100)
	fresh := l.askEpoch(1, members[0], hour0, hour0+48, 100)
	l.cut()
	ix := apply(t, l.blocks)
	for id, want := range map[string]uint32{half: 1, old: 0, fresh: 1} {
		c, err := ix.Cohort(id, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.Members {
			if s, _, _, _ := ix.Device(m.Device); s.Device.Epoch != want {
				t.Errorf("a device of epoch %d in a cohort of epoch %d", s.Device.Epoch, want)
			}
		}
	}
	if a, b, c := size(t, ix, half), size(t, ix, old), size(t, ix, fresh); a != 0 || b != 3 || c != 2 {
		t.Errorf("%d, %d and %d patients, want 0, 3 and 2", a, b, c)
	}
	for _, m := range ix.NotPosted(fresh, 0) {
		if m == members[2] {
			t.Error("a member of the old epoch alone is waited for")
		}
	}
}

func TestRowsCountByTheMembersOfTheirEpoch(t *testing.T) {
	l := newLedger()
	l.succeed(members[0], members[1])
	l.patient()
	d := l.device(l.patients[0], day0, metric)
	l.anchor(d.ID, hour0)
	l.available(0, members[2], ^uint64(0))
	l.available(0, members[0], ^uint64(0))
	l.cut()
	if r, err := apply(t, l.blocks).Receipts(d.ID, record.KindRow, hour0, hour0+1); err != nil || len(r) != 0 {
		t.Errorf("a member that cannot open it made a row count: %v, %v", r, err)
	}
	l.available(0, members[1], ^uint64(0))
	l.cut()
	r, err := apply(t, l.blocks).Receipts(d.ID, record.KindRow, hour0, hour0+1)
	if err != nil || len(r) != 1 || len(r[0].Posts) != 2 {
		t.Errorf("receipts %+v, %v", r, err)
	}
}

func TestARetiredEpochIsNotLiving(t *testing.T) {
	l := newLedger()
	l.succeed(members[0], members[1])
	l.retire(0)
	l.cut()
	ix := apply(t, l.blocks)
	if _, err := ix.Living(0); fault.Of(err) != fault.Expired {
		t.Errorf("epoch 0 is %v", err)
	}
	if e, err := ix.Living(1); err != nil || len(e.Members) != 2 {
		t.Errorf("epoch 1: %+v, %v", e, err)
	}
	if _, err := ix.Living(2); fault.Of(err) != fault.NotFound {
		t.Errorf("epoch 2 is %v", err)
	}
}

func TestReputationIsWhatTheLedgerShows(t *testing.T) {
	l := newLedger()
	l.patient()
	d := l.device(l.patients[0], day0, metric)
	l.anchor(d.ID, hour0, hour0+1, hour0+5)
	l.available(0, members[0], 0b011)
	l.available(0, members[1], 0b001)
	for _, m := range members {
		l.tick(m, day0*86400+6*3600+10)
		f := record.DeviceFlag{Flag: record.FlagDevice{Device: d.ID, Kind: record.FlagOutlier}, Member: m}
		l.call(m, contracts.RegistryFlagDevice, f.Flag, put(state.DeviceFlagKey(f), f))
	}
	for _, m := range members[:1] {
		v := record.DeviceVote{Vote: record.VoteQuarantine{Device: d.ID}, Member: m}
		l.call(m, contracts.RegistryVoteQuarantine, v.Vote, put(state.DeviceVoteKey(d.ID, m), v))
	}
	l.cut()
	got, err := apply(t, l.blocks).Reputation(d.ID)
	want := Reputation{Device: d.ID, Hours: 6, Anchored: 3, Gaps: 3, Refused: 2, Flags: map[string]int{record.FlagOutlier: 3}, Votes: 1}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v (%v)", got, want, err)
	}
}
