package chaincode_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
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
		key := newKey(w)
		w.keys[msp] = key
		e.Members = append(e.Members, w.newBoxes(msp).Enter(record.Member{
			MSP: msp, Name: msp, SignKey: record.PublicKeyBytes(&key.PublicKey),
		}))
	}
	return e
}

func (w *world) vote(msp string, e record.Epoch) record.VoteEpoch {
	return record.VoteEpoch{Epoch: e, Signature: sign(w, w.keys[msp], e.Digest(w.genesis.Network))}
}

// begins has these members vote and expects the epoch to be current then.
func (w *world) begins(before, e record.Epoch, msps ...string) record.EpochState {
	w.Helper()
	var s record.EpochState
	for i, msp := range msps {
		w.must(msp, "Registry:VoteEpoch", w.vote(msp, e), &s)
		if current := w.roster().Current; (current == e.Number) != (i == len(msps)-1) {
			w.Fatalf("after %d votes epoch %d is current", i+1, current)
		}
	}
	if err := record.CheckSuccession(w.genesis.Network, before, s); err != nil {
		w.Errorf("the votes do not show the succession: %v", err)
	}
	return s
}

func (w *world) roster() record.Roster {
	w.Helper()
	var r record.Roster
	w.read(gatewayMSP, "Registry:GetRoster", struct{}{}, &r)
	return r
}

func TestAMemberJoins(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	next := w.epoch(first, 2, hospitalA, hospitalB, association, outsider)
	w.refuses(fault.Forbidden, "", outsider, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{{1}}})
	s := w.begins(first, next, hospitalA, outsider, hospitalB)
	if s.From != start || len(s.Votes) != 3 {
		t.Errorf("the epoch began at %d with %d votes", s.From, len(s.Votes))
	}
	w.must(hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, next), nil) // a retry

	old := w.enrolledPerson().newDevice(startHour, "heart_rate")
	w.refuses(fault.Invalid, "epoch is 0, the current one is 1", gatewayMSP, "Registry:EnrolDevice", old.enrol)
	d, blob := w.enrolledPerson().sealedDevice(next, honestly)
	for _, msp := range []string{hospitalA, hospitalB, association, outsider} {
		if _, err := w.evidence(next, msp, d, blob); err == nil {
			t.Errorf("%s cannot open its seeds", msp)
		}
		w.must(msp, "Registry:AcknowledgeSeeds", record.AcknowledgeSeeds{Devices: []record.ID{d.id}}, nil)
	}
}

func (w *world) enrolledPerson() *person {
	w.Helper()
	p := w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	return p
}

func TestAMemberIsReplaced(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	inOld := w.enrolled().devices[0]
	next := w.epoch(first, 2, hospitalA, outsider, association)
	w.begins(first, next, hospitalA, association, outsider)
	w.tick(start + 60) // hospital B too: it is in epoch 0, which lives
	w.must(outsider, "Clock:Tick", record.Tick{Time: start + 60}, nil)

	inNew, _ := w.enrolledPerson().sealedDevice(next, honestly)
	ack := func(d *device) record.AcknowledgeSeeds { return record.AcknowledgeSeeds{Devices: []record.ID{d.id}} }
	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Registry:AcknowledgeSeeds", ack(inNew))
	w.refuses(fault.Forbidden, "epoch 0", outsider, "Registry:AcknowledgeSeeds", ack(inOld))
	w.must(hospitalB, "Registry:AcknowledgeSeeds", ack(inOld), nil)
	w.must(outsider, "Registry:AcknowledgeSeeds", ack(inNew), nil)
	key := w.pieceKey(next, outsider, 0, 0)
	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Registry:PostPieceKey", key)
	w.must(outsider, "Registry:PostPieceKey", key, nil)
}

func TestAMemberLeavesAndTheOldEpochAnswersUntilItIsRetired(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	d := w.enrolled().devices[0]
	w.tick(start + 86400)
	w.study()
	next := w.epoch(first, 2, hospitalA, association)
	w.begins(first, next, hospitalA, association)

	ask := record.Ask{Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 100_000}
	var old, fresh record.QueryState
	w.must(hospitalA, "Query:Ask", ask, &old)
	ask.Epoch = 1
	w.must(hospitalA, "Query:Ask", ask, &fresh)
	post := record.PostCohort{Root: record.RandomID(), Size: 11}
	post.Query = fresh.ID
	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Query:PostCohort", post)
	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Query:Abandon", record.Abandon{Query: fresh.ID, Reason: "spite"})
	post.Query = old.ID
	w.must(hospitalA, "Query:PostCohort", post, nil)
	w.must(hospitalB, "Query:PostCohort", post, &old)
	if old.Status != record.QueryAgreed {
		t.Errorf("the old epoch's query is %s", old.Status)
	}
	if r := w.anchor(d.row(w, startHour)); r.Items[0].Outcome != record.Anchored {
		t.Errorf("a device of the old epoch: %+v", r.Items[0])
	}
	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Predicate:Request", record.AskPredicate{})

	w.refuses(fault.Forbidden, "epoch 1", hospitalB, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 0})
	w.refuses(fault.Conflict, "current", hospitalA, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 1})
	w.refuses(fault.NotFound, "", hospitalA, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 2})
	w.must(hospitalA, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 0}, nil)
	if len(w.roster().Epochs) != 2 {
		t.Fatal("one vote retired an epoch")
	}
	var s record.EpochState
	w.must(association, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 0}, &s)
	if s.Retired != start+86400 || len(w.roster().Epochs) != 1 {
		t.Fatalf("after the threshold's votes: %+v", s)
	}
	ask.Epoch = 0
	w.refuses(fault.Expired, "retired", hospitalA, "Query:Ask", ask)
	w.refuses(fault.Expired, "retired", association, "Query:PostCohort", post)
	w.refusesPointer(fault.Expired, d.row(w, startHour+1))
	w.refuses(fault.Forbidden, "not a member", hospitalB, "Clock:Tick", record.Tick{Time: start + 90000})
	w.must(hospitalA, "Registry:RetireEpoch", record.RetireEpoch{Epoch: 0}, nil)
	ask.Epoch = 2
	w.refuses(fault.NotFound, "no epoch 2", hospitalA, "Query:Ask", ask)
}

func TestAttackEpochProposedAlone(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	mine := w.epoch(first, 2, hospitalA, association, outsider)
	w.must(hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, mine), nil)
	w.must(hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, mine), nil)
	w.must(outsider, "Registry:VoteEpoch", w.vote(outsider, mine), nil)
	if w.roster().Current != 0 {
		t.Fatal("one member and the one it brings made an epoch")
	}
	other := mine
	other.Members = slices.Clone(mine.Members)
	other.Members[2].Name = "Another"
	w.must(association, "Registry:VoteEpoch", w.vote(association, other), nil)
	if w.roster().Current != 0 {
		t.Fatal("votes for different epochs were added up")
	}
	forged := w.vote(hospitalA, mine) // submitted by B, signed by A
	w.refuses(fault.BadSignature, "", hospitalB, "Registry:VoteEpoch", forged)
	w.refuses(fault.Forbidden, "", gatewayMSP, "Registry:VoteEpoch", w.vote(hospitalA, mine))
}

// TestAttackProposalsOfEpochsWithoutEnd: an organisation of the channel that is no
// member fills the state with epochs of its own, and a member does.
func TestAttackProposalsOfEpochsWithoutEnd(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	next := w.epoch(first, 2, hospitalA, hospitalB, association, outsider)
	votes := func() int { return len(w.latest(state.KindEpochVote)) }
	for i := range 5 {
		next.Members[0].Name = fmt.Sprintf("A %d", i)
		w.refuses(fault.Forbidden, "no member of epoch 0 has voted", outsider, "Registry:VoteEpoch", w.vote(outsider, next))
	}
	if n := votes(); n != 0 {
		t.Fatalf("%d votes of an outsider are in the state", n)
	}
	for i := range 5 {
		next.Members[0].Name = fmt.Sprintf("A %d", i)
		w.must(hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, next), nil)
		w.must(outsider, "Registry:VoteEpoch", w.vote(outsider, next), nil)
	}
	if n := votes(); n != 2 {
		t.Errorf("%d votes are in the state, of two who voted", n)
	}
}

func TestALaterVoteForAnEpochTakesThePlaceOfAnEarlier(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	one, other := w.epoch(first, 2, hospitalA, hospitalB, association), w.epoch(first, 2, hospitalA, association)
	w.must(hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, one), nil)
	w.must(hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, other), nil)
	w.must(hospitalB, "Registry:VoteEpoch", w.vote(hospitalB, one), nil)
	if w.roster().Current != 0 {
		t.Fatal("a vote that was taken back counted")
	}
	w.must(association, "Registry:VoteEpoch", w.vote(association, other), nil)
	if w.roster().Current != 1 {
		t.Error("two votes for one epoch do not begin it")
	}
}

func TestAttackEpochWithAMemberThatHasNotAgreed(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	next := w.epoch(first, 2, hospitalA, hospitalB, association, outsider)
	for _, msp := range []string{hospitalA, hospitalB, association} {
		w.must(msp, "Registry:VoteEpoch", w.vote(msp, next), nil)
	}
	if w.roster().Current != 0 {
		t.Fatal("a member joined that never agreed")
	}
	stolen := w.vote(outsider, next)
	stolen.Signature = sign(t, w.keys[hospitalA], next.Digest(w.genesis.Network))
	w.refuses(fault.BadSignature, "", outsider, "Registry:VoteEpoch", stolen)
}

func TestEpochsAreWellFormed(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
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
			w.refuses(fault.Invalid, "epoch", hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, e))
		})
	}
	skips := w.epoch(first, 2, hospitalA, hospitalB, association)
	skips.Number = 2
	w.refuses(fault.Conflict, "follow", hospitalA, "Registry:VoteEpoch", w.vote(hospitalA, skips))
}

// New members have no clock yet and those that leave may have had the latest.
func TestTimeDoesNotGoBackWhenMembersChange(t *testing.T) {
	w := newWorld(t)
	first := w.genesis.FirstEpoch()
	w.must(hospitalB, "Clock:Tick", record.Tick{Time: start + 100}, nil)
	w.must(association, "Clock:Tick", record.Tick{Time: start + 50}, nil)
	if now := w.now(); now != start+50 {
		t.Fatalf("it is %d", now-start)
	}
	next := w.epoch(first, 2, hospitalA, outsider, association)
	w.begins(first, next, hospitalA, association, outsider)
	if now := w.now(); now != start+50 {
		t.Errorf("in the new epoch it is %d", now-start)
	}
	w.must(outsider, "Clock:Tick", record.Tick{Time: start + 70}, nil)
	w.must(association, "Clock:Tick", record.Tick{Time: start + 60}, nil)
	if now := w.now(); now != start+60 {
		t.Errorf("then it is %d", now-start)
	}
	w.must(hospitalB, "Clock:Tick", record.Tick{Time: start + 5000}, nil)
	if now := w.now(); now != start+60 {
		t.Errorf("a member of an older epoch moves time to %d", now-start)
	}
}

func FuzzCheckSuccession(f *testing.F) {
	key := newKey(f)
	before := record.Epoch{Threshold: 1, Members: []record.Member{{MSP: "A", SignKey: record.PublicKeyBytes(&key.PublicKey)}}}
	next := record.Epoch{Number: 1, Threshold: 1, Members: before.Members}
	good := record.EpochState{Epoch: next, Votes: []record.EpochVote{{Member: "A", Signature: sign(f, key, next.Digest("n"))}}}
	f.Add([]byte(argument(f, good)))
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
