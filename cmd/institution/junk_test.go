package institution

import (
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	role "github.com/vitalveil/vitalveil/network/institution"
)

// A junk row ends one query and none after it: the institutions' processes find the
// device and put it out, one of them only after it was killed in the middle of that. The
// operator sees by what the commands print what became of the query.
func TestAJunkRowEndsOneQuery(t *testing.T) {
	w := newWorld(t, 1)
	w.startAll()
	w.enrol(12)
	w.people[5].broken = true
	w.measure()
	w.study(hospitalA, "noisy", false)
	err := w.call(t.Context(), hospitalA, "ask", w.ask("noisy", 900_000), new(role.Answer))
	if fault.Of(err) != fault.Conflict {
		t.Fatalf("with a junk row: %v", err)
	}
	w.members[hospitalB].kill()
	w.up(hospitalB)
	w.ready(hospitalB)
	w.wait("the device is out", time.Minute, func(s Status) bool { return s.Counts.Quarantined == 1 && s.Counts.Queries[record.QueryFailed] == 1 })
	var a role.Answer
	w.check(w.call(t.Context(), hospitalA, "ask", w.ask("noisy", 900_000), &a))
	if a.Cohort != 11 {
		t.Errorf("the next query has %d patients", a.Cohort)
	}
	var again role.Answer
	w.check(w.call(t.Context(), hospitalA, "fetch", fetchRequest{Query: a.QueryID}, &again))
	if again.Hash != a.Hash || again.Salt != a.Salt {
		t.Error("fetched again, it is another answer")
	}
	w.wait("the answer is final", time.Minute, func(Status) bool {
		var q record.QueryState
		w.check(w.call(t.Context(), hospitalB, "confirm", fetchRequest{Query: a.QueryID}, &q))
		return q.Standing == record.StandingFinal
	})
	wantConflict := w.call(t.Context(), hospitalB, "abandon", record.Abandon{Query: a.QueryID, Reason: "too late"}, nil)
	if fault.Of(wantConflict) != fault.Conflict {
		t.Errorf("abandoning an answered query: %v", wantConflict)
	}
	lift := record.VoteQuarantine{Device: w.people[5].device.ID, Lift: true, Reason: "repaired"}
	for _, m := range []int{hospitalA, patients} {
		w.check(w.call(t.Context(), m, "quarantine", lift, nil))
	}
	w.wait("the device is back", time.Minute, func(s Status) bool { return s.Counts.Quarantined == 0 })
	var flag record.DeviceFlag
	w.check(w.call(t.Context(), hospitalB, "call", callRequest{contracts.RegistryFlagDevice.Name(), []byte(
		`{"device":"` + w.people[5].device.ID.String() + `","kind":"pointer","note":"sent a junk row"}`,
	)}, &flag))
	if flag.Member != msps[hospitalB] {
		t.Errorf("flagged: %+v", flag)
	}
}
