package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// TestAttackTwoWrongClocks: two clocks that are wrong at one moment, as after a flat
// battery, move ledger time by a step and not to the end of the world, and as many
// votes as open anything set it back.
func TestAttackTwoWrongClocks(t *testing.T) {
	for mode, step := range map[string]int64{record.ClockWall: state.WallStep, record.ClockSimulated: state.SimulatedStep} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, func(g *record.Genesis) { g.Clock = mode })
			w.tick(start)
			now := w.now
			for _, wrong := range []int64{start + step + 1, 4_294_967_296, 16_725_225_600} {
				for _, m := range []string{hospitalA, hospitalB} {
					if _, err := w.submit(m, "Clock:Tick", record.Tick{Time: wrong}, nil); err == nil {
						t.Fatalf("a tick of %d was taken at %d", wrong, start)
					}
				}
			}
			for _, m := range []string{hospitalA, hospitalB} {
				w.must(m, "Clock:Tick", record.Tick{Time: start + step}, nil)
			}
			if now() != start+step {
				t.Fatalf("ledger time is %d", now())
			}
			back := record.ResetClock{Time: start + 60}
			var state record.ClockState
			w.must(hospitalB, "Clock:Reset", back, &state)
			if state.Votes != 1 || now() != start+step {
				t.Fatalf("one vote has set time back: %+v", state)
			}
			w.must(association, "Clock:Reset", record.ResetClock{Time: start + 61}, nil) // another opinion
			if now() != start+step {
				t.Fatal("two opinions have set time back")
			}
			w.must(association, "Clock:Reset", back, &state)
			if state.Round != 1 || now() != back.Time {
				t.Fatalf("ledger time is %d after %+v", now(), state)
			}
			w.refuses(fault.Conflict, "set back 1 times", hospitalA, "Clock:Reset", record.ResetClock{Time: start})
			w.refuses(fault.Conflict, "set back 1 times", hospitalA, "Clock:Tick", record.Tick{Time: start + 120})
			w.must(hospitalA, "Clock:Tick", record.Tick{Time: start + 120, Round: 1}, nil) // whose clock was wrong
			w.must(hospitalB, "Clock:Tick", record.Tick{Time: start + 120, Round: 1}, nil)
			if now() != start+120 {
				t.Errorf("time does not go on: %d", now())
			}
			w.refuses(fault.Invalid, "set back only", hospitalA, "Clock:Reset", record.ResetClock{Time: start + 121, Round: 1})
		})
	}
}

// TestAttackWrongClockInANewEpoch: an epoch that began while clocks were wrong does not
// keep that time for ever.
func TestAttackWrongClockInANewEpoch(t *testing.T) {
	w := newWorld(t)
	w.tick(start + state.SimulatedStep)
	first := w.genesis.FirstEpoch()
	w.begins(first, w.epoch(first, 2, hospitalA, hospitalB, association), hospitalA, hospitalB)
	back := record.ResetClock{Time: start + 60}
	w.must(hospitalA, "Clock:Reset", back, nil)
	w.must(hospitalB, "Clock:Reset", back, nil)
	if now := w.now(); now != back.Time {
		t.Errorf("ledger time is %d after it was set back to %d", now, back.Time)
	}
}

// What was permitted by a wrong clock is revoked with everything, although the time of
// the revocation is before it.
func TestAttackConsentFromALaterTimeOutlivesARevocation(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	w.tick(start + 3*86400)
	d := p.document(hospitalB)
	w.must(gatewayMSP, "Consent:Put", p.sign(d), nil)
	for _, m := range []string{hospitalA, hospitalB} {
		w.must(m, "Clock:Reset", record.ResetClock{Time: start + 60}, nil)
	}
	var s record.Patient
	w.must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), true, p.key), &s)
	if !s.RevokedSince(start + 3*86400) {
		t.Errorf("revoked at %d, and the consent is of %d", *s.RevokedAt, start+3*86400)
	}
}

// TestAttackOneVoteAndOneOfLongAgo: a vote to set time back that came to nothing does not
// wait for another member to join it.
func TestAttackOneVoteAndOneOfLongAgo(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockSimulated })
	w.tick(start)
	back := record.ResetClock{Time: start - 60}
	w.must(hospitalA, "Clock:Reset", back, nil)
	w.tick(start + 2*86400)
	var state record.ClockState
	w.must(hospitalB, "Clock:Reset", back, &state)
	if state.Votes != 1 || w.now() != start+2*86400 {
		t.Fatalf("one vote has set time back: %+v", state)
	}
	w.must(hospitalA, "Clock:Reset", back, &state) // says it again
	if state.Round != 1 || w.now() != start-60 {
		t.Errorf("two votes have not: %+v", state)
	}
}
