package chaincode_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// epoch is the successor of another, with these members: those of before keep
// their keys.
func (w *world) epoch(before record.Epoch, threshold int, msps ...string) record.Epoch {
	w.Helper()
	e := record.Epoch{Number: before.Number + 1, Threshold: threshold, Profile: before.Profile}
	if len(msps) > 3 {
		e.Profile = he.TightProfile().Name
	}
	for _, msp := range msps {
		if m := before.Member(msp); m != nil {
			e.Members = append(e.Members, *m)
			continue
		}
		e.Members = append(e.Members, w.NewMember(msp))
	}
	return e
}

func (w *world) vote(msp string, e record.Epoch) record.VoteEpoch {
	return record.VoteEpoch{Epoch: e, Signature: consortium.Sign(w.Keys[msp], e.Digest(w.Genesis.Network))}
}

// begins has these members vote and expects the epoch to be current then.
func (w *world) begins(before, e record.Epoch, msps ...string) record.EpochState {
	w.Helper()
	var s record.EpochState
	for i, msp := range msps {
		w.Must(msp, contracts.RegistryVoteEpoch, w.vote(msp, e), &s)
		if current := w.roster().Current; (current == e.Number) != (i == len(msps)-1) {
			w.Fatalf("after %d votes epoch %d is current", i+1, current)
		}
	}
	if err := record.CheckSuccession(w.Genesis.Network, before, s); err != nil {
		w.Errorf("the votes do not show the succession: %v", err)
	}
	return s
}

func (w *world) roster() record.Roster {
	w.Helper()
	var r record.Roster
	w.Read(gatewayMSP, contracts.RegistryGetRoster, struct{}{}, &r)
	return r
}

func TestAMemberJoins(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	next := w.epoch(first, 2, hospitalA, hospitalB, association, outsider)
	w.Refuses(fault.Forbidden, "", outsider, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{{1}}})
	s := w.begins(first, next, hospitalA, outsider, hospitalB)
	if s.From != start || len(s.Votes) != 3 {
		t.Errorf("the epoch began at %d with %d votes", s.From, len(s.Votes))
	}
	w.Must(hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, next), nil) // a retry

	old := w.enrolledPerson().NewDevice(startHour, "heart_rate")
	w.Refuses(fault.Invalid, "epoch is 0, the current one is 1", gatewayMSP, contracts.RegistryEnrolDevice, old.Enrolment)
	d, blob := w.enrolledPerson().sealedDevice(next, honestly)
	for _, msp := range []string{hospitalA, hospitalB, association, outsider} {
		if _, err := w.evidence(next, msp, d, blob); err == nil {
			t.Errorf("%s cannot open its seeds", msp)
		}
		w.Must(msp, contracts.RegistryAcknowledgeSeeds, record.AcknowledgeSeeds{Devices: []record.ID{d.ID}})
	}
}

func (w *world) enrolledPerson() *person {
	w.Helper()
	p := w.newPerson()
	w.Must(gatewayMSP, contracts.RegistryEnrolPatient, p.Enrolment)
	return p
}

func TestAMemberIsReplaced(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	inOld := w.enrolled().Devices[0]
	next := w.epoch(first, 2, hospitalA, outsider, association)
	w.begins(first, next, hospitalA, association, outsider)
	w.Tick(start + 60) // hospital B too: it is in epoch 0, which lives
	w.Must(outsider, contracts.ClockTick, record.Tick{Time: start + 60})

	inNew, _ := w.enrolledPerson().sealedDevice(next, honestly)
	ack := func(d *device) record.AcknowledgeSeeds { return record.AcknowledgeSeeds{Devices: []record.ID{d.ID}} }
	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.RegistryAcknowledgeSeeds, ack(inNew))
	w.Refuses(fault.Forbidden, "epoch 0", outsider, contracts.RegistryAcknowledgeSeeds, ack(inOld))
	w.Must(hospitalB, contracts.RegistryAcknowledgeSeeds, ack(inOld))
	w.Must(outsider, contracts.RegistryAcknowledgeSeeds, ack(inNew))
	key := w.pieceKey(next, outsider, 0, 0)
	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.RegistryPostPieceKey, key)
	w.Must(outsider, contracts.RegistryPostPieceKey, key)
}

func TestAMemberLeavesAndTheOldEpochAnswersUntilItIsRetired(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	d := w.enrolled().Devices[0]
	w.Tick(start + 86400)
	w.study()
	next := w.epoch(first, 2, hospitalA, association)
	w.begins(first, next, hospitalA, association)

	ask := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 100_000}
	var old, fresh record.QueryState
	w.Must(hospitalA, contracts.QueryAsk, ask, &old)
	ask.Epoch = 1
	w.Must(hospitalA, contracts.QueryAsk, ask, &fresh)
	post := record.PostCohort{Root: record.RandomID(), Size: 11}
	post.Query = fresh.ID
	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.QueryPostCohort, post)
	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.QueryAbandon, record.Abandon{Query: fresh.ID, Reason: "spite"})
	post.Query = old.ID
	w.Must(hospitalA, contracts.QueryPostCohort, post)
	w.Must(hospitalB, contracts.QueryPostCohort, post, &old)
	if old.Status != record.QueryAgreed {
		t.Errorf("the old epoch's query is %s", old.Status)
	}
	if r := w.anchor(d.Row(startHour, 0)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("a device of the old epoch: %+v", r.Items[0])
	}
	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.PredicateRequest, record.AskPredicate{})

	w.Refuses(fault.Forbidden, "epoch 1", hospitalB, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 0})
	w.Refuses(fault.Conflict, "current", hospitalA, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 1})
	w.Refuses(fault.NotFound, "", hospitalA, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 2})
	w.Must(hospitalA, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 0})
	if len(w.roster().Epochs) != 2 {
		t.Fatal("one vote retired an epoch")
	}
	var s record.EpochState
	w.Must(association, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 0}, &s)
	if s.Retired != start+86400 || len(w.roster().Epochs) != 1 {
		t.Fatalf("after the threshold's votes: %+v", s)
	}
	ask.Epoch = 0
	w.Refuses(fault.Expired, "retired", hospitalA, contracts.QueryAsk, ask)
	w.Refuses(fault.Expired, "retired", association, contracts.QueryPostCohort, post)
	w.refusesPointer(fault.Expired, d.Row(startHour+1, 0))
	w.Refuses(fault.Forbidden, "not a member", hospitalB, contracts.ClockTick, record.Tick{Time: start + 90000})
	w.Must(hospitalA, contracts.RegistryRetireEpoch, record.RetireEpoch{Epoch: 0})
	ask.Epoch = 2
	w.Refuses(fault.NotFound, "no epoch 2", hospitalA, contracts.QueryAsk, ask)
}

func TestAttackEpochProposedAlone(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	mine := w.epoch(first, 2, hospitalA, association, outsider)
	w.Must(hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, mine))
	w.Must(hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, mine))
	w.Must(outsider, contracts.RegistryVoteEpoch, w.vote(outsider, mine))
	if w.roster().Current != 0 {
		t.Fatal("one member and the one it brings made an epoch")
	}
	other := mine
	other.Members = slices.Clone(mine.Members)
	other.Members[2].Name = "Another"
	w.Must(association, contracts.RegistryVoteEpoch, w.vote(association, other))
	if w.roster().Current != 0 {
		t.Fatal("votes for different epochs were added up")
	}
	forged := w.vote(hospitalA, mine) // submitted by B, signed by A
	w.Refuses(fault.BadSignature, "", hospitalB, contracts.RegistryVoteEpoch, forged)
	w.Refuses(fault.Forbidden, "", gatewayMSP, contracts.RegistryVoteEpoch, w.vote(hospitalA, mine))
}

// TestAttackProposalsOfEpochsWithoutEnd: an organisation of the channel that is no
// member fills the state with epochs of its own, and a member does.
func TestAttackProposalsOfEpochsWithoutEnd(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	next := w.epoch(first, 2, hospitalA, hospitalB, association, outsider)
	votes := func() int { return len(w.latest(state.KindEpochVote)) }
	for i := range 5 {
		next.Members[0].Name = fmt.Sprintf("A %d", i)
		w.Refuses(fault.Forbidden, "no member of epoch 0 has voted", outsider, contracts.RegistryVoteEpoch, w.vote(outsider, next))
	}
	if n := votes(); n != 0 {
		t.Fatalf("%d votes of an outsider are in the state", n)
	}
	for i := range 5 {
		next.Members[0].Name = fmt.Sprintf("A %d", i)
		w.Must(hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, next))
		w.Must(outsider, contracts.RegistryVoteEpoch, w.vote(outsider, next))
	}
	if n := votes(); n != 2 {
		t.Errorf("%d votes are in the state, of two who voted", n)
	}
}

func TestALaterVoteForAnEpochTakesThePlaceOfAnEarlier(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	one, other := w.epoch(first, 2, hospitalA, hospitalB, association), w.epoch(first, 2, hospitalA, association)
	w.Must(hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, one))
	w.Must(hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, other))
	w.Must(hospitalB, contracts.RegistryVoteEpoch, w.vote(hospitalB, one))
	if w.roster().Current != 0 {
		t.Fatal("a vote that was taken back counted")
	}
	w.Must(association, contracts.RegistryVoteEpoch, w.vote(association, other))
	if w.roster().Current != 1 {
		t.Error("two votes for one epoch do not begin it")
	}
}

func TestAttackEpochWithAMemberThatHasNotAgreed(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	next := w.epoch(first, 2, hospitalA, hospitalB, association, outsider)
	for _, msp := range []string{hospitalA, hospitalB, association} {
		w.Must(msp, contracts.RegistryVoteEpoch, w.vote(msp, next))
	}
	if w.roster().Current != 0 {
		t.Fatal("a member joined that never agreed")
	}
	stolen := w.vote(outsider, next)
	stolen.Signature = consortium.Sign(w.Keys[hospitalA], next.Digest(w.Genesis.Network))
	w.Refuses(fault.BadSignature, "", outsider, contracts.RegistryVoteEpoch, stolen)
}

func TestEpochsAreWellFormed(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	for name, change := range map[string]func(*record.Epoch){
		"one opens alone":       func(e *record.Epoch) { e.Threshold = 1 },
		"more than there are":   func(e *record.Epoch) { e.Threshold = 4 },
		"a key twice":           func(e *record.Epoch) { e.Members[0].SeedKey = e.Members[1].SeedKey },
		"a key of two purposes": func(e *record.Epoch) { e.Members[0].SeedKey = e.Members[0].PieceKey },
		"a member twice":        func(e *record.Epoch) { e.Members[0] = e.Members[1] },
		"without the registrar": func(e *record.Epoch) { e.Members = e.Members[:2] },
		"a key on the twist":    func(e *record.Epoch) { e.Members[0].SeedKey = append([]byte{2}, make([]byte, 31)...) },
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.TB = t
			e := w.epoch(first, 2, hospitalA, hospitalB, association)
			change(&e)
			w.Refuses(fault.Invalid, "epoch", hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, e))
		})
	}
	skips := w.epoch(first, 2, hospitalA, hospitalB, association)
	skips.Number = 2
	w.Refuses(fault.Conflict, "follow", hospitalA, contracts.RegistryVoteEpoch, w.vote(hospitalA, skips))
}

// New members have no clock yet and those that leave may have had the latest.
func TestTimeDoesNotGoBackWhenMembersChange(t *testing.T) {
	w := newWorld(t)
	first := w.Genesis.FirstEpoch()
	w.Must(hospitalB, contracts.ClockTick, record.Tick{Time: start + 100})
	w.Must(association, contracts.ClockTick, record.Tick{Time: start + 50})
	if now := w.now(); now != start+50 {
		t.Fatalf("it is %d", now-start)
	}
	next := w.epoch(first, 2, hospitalA, outsider, association)
	w.begins(first, next, hospitalA, association, outsider)
	if now := w.now(); now != start+50 {
		t.Errorf("in the new epoch it is %d", now-start)
	}
	w.Must(outsider, contracts.ClockTick, record.Tick{Time: start + 70})
	w.Must(association, contracts.ClockTick, record.Tick{Time: start + 60})
	if now := w.now(); now != start+60 {
		t.Errorf("then it is %d", now-start)
	}
	w.Must(hospitalB, contracts.ClockTick, record.Tick{Time: start + 5000})
	if now := w.now(); now != start+60 {
		t.Errorf("a member of an older epoch moves time to %d", now-start)
	}
}

func FuzzCheckSuccession(f *testing.F) {
	key := consortium.NewKey()
	before := record.Epoch{Threshold: 1, Members: []record.Member{{MSP: "A", SignKey: consortium.Public(key)}}}
	next := record.Epoch{Number: 1, Threshold: 1, Members: before.Members}
	good := record.EpochState{Epoch: next, Votes: []record.EpochVote{{Member: "A", Signature: consortium.Sign(key, next.Digest("n"))}}}
	f.Add([]byte(argument(good)))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s record.EpochState
		if record.DecodeJSON(data, 1<<16, &s) != nil {
			return
		}
		if record.CheckSuccession("n", before, s) == nil && s.Epoch.Digest("n") != next.Digest("n") {
			t.Error("an epoch that nobody signed follows")
		}
	})
}
