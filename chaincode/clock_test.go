package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// TestAttackTwoWrongClocks: two clocks that are wrong at one moment, as after a flat
// battery, move ledger time by a step and not to the end of the world, and as many
// votes as open anything set it back.
func TestAttackTwoWrongClocks(t *testing.T) {
	for mode, step := range map[string]int64{record.ClockWall: state.WallStep, record.ClockSimulated: state.SimulatedStep} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, func(g *record.Genesis) { g.Clock = mode })
			w.Tick(start)
			now := w.now
			for _, wrong := range []int64{start + step + 1, 4_294_967_296, 16_725_225_600} {
				for _, m := range []string{hospitalA, hospitalB} {
					if _, err := w.Submit(m, contracts.ClockTick, record.Tick{Time: wrong}); err == nil {
						t.Fatalf("a tick of %d was taken at %d", wrong, start)
					}
				}
			}
			for _, m := range []string{hospitalA, hospitalB} {
				w.Must(m, contracts.ClockTick, record.Tick{Time: start + step})
			}
			if now() != start+step {
				t.Fatalf("ledger time is %d", now())
			}
			back := record.ResetClock{Time: start + 60}
			var state record.ClockState
			w.Must(hospitalB, contracts.ClockReset, back, &state)
			if state.Votes != 1 || now() != start+step {
				t.Fatalf("one vote has set time back: %+v", state)
			}
			w.Must(association, contracts.ClockReset, record.ResetClock{Time: start + 61}, nil) // another opinion
			if now() != start+step {
				t.Fatal("two opinions have set time back")
			}
			w.Must(association, contracts.ClockReset, back, &state)
			if state.Round != 1 || now() != back.Time {
				t.Fatalf("ledger time is %d after %+v", now(), state)
			}
			w.Refuses(fault.Conflict, "set back 1 times", hospitalA, contracts.ClockReset, record.ResetClock{Time: start})
			w.Refuses(fault.Conflict, "set back 1 times", hospitalA, contracts.ClockTick, record.Tick{Time: start + 120})
			w.Must(hospitalA, contracts.ClockTick, record.Tick{Time: start + 120, Round: 1}, nil) // whose clock was wrong
			w.Must(hospitalB, contracts.ClockTick, record.Tick{Time: start + 120, Round: 1})
			if now() != start+120 {
				t.Errorf("time does not go on: %d", now())
			}
			w.Refuses(fault.Invalid, "set back only", hospitalA, contracts.ClockReset, record.ResetClock{Time: start + 121, Round: 1})
		})
	}
}

// TestAttackWrongClockInANewEpoch: an epoch that began while clocks were wrong does not
// keep that time for ever.
func TestAttackWrongClockInANewEpoch(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + state.SimulatedStep)
	first := w.Genesis.FirstEpoch()
	w.begins(first, w.epoch(first, 2, hospitalA, hospitalB, association), hospitalA, hospitalB)
	back := record.ResetClock{Time: start + 60}
	w.Must(hospitalA, contracts.ClockReset, back)
	w.Must(hospitalB, contracts.ClockReset, back)
	if now := w.now(); now != back.Time {
		t.Errorf("ledger time is %d after it was set back to %d", now, back.Time)
	}
}

// What was permitted by a wrong clock is revoked with everything, although the time of
// the revocation is before it.
func TestAttackConsentFromALaterTimeOutlivesARevocation(t *testing.T) {
	w := newWorld(t)
	p := w.committed()
	w.Tick(start + 3*86400)
	d := p.document(hospitalB)
	w.Must(gatewayMSP, contracts.ConsentPut, p.Sign(d))
	for _, m := range []string{hospitalA, hospitalB} {
		w.Must(m, contracts.ClockReset, record.ResetClock{Time: start + 60})
	}
	var s record.Patient
	w.Must(gatewayMSP, changeKeys, p.recovery(record.NewRecoveryCode(), true, p.Key), &s)
	if !s.RevokedSince(start + 3*86400) {
		t.Errorf("revoked at %d, and the consent is of %d", *s.RevokedAt, start+3*86400)
	}
}

// TestAttackOneVoteAndOneOfLongAgo: a vote to set time back that came to nothing does not
// wait for another member to join it.
func TestAttackOneVoteAndOneOfLongAgo(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockSimulated })
	w.Tick(start)
	back := record.ResetClock{Time: start - 60}
	w.Must(hospitalA, contracts.ClockReset, back)
	w.Tick(start + 2*86400)
	var state record.ClockState
	w.Must(hospitalB, contracts.ClockReset, back, &state)
	if state.Votes != 1 || w.now() != start+2*86400 {
		t.Fatalf("one vote has set time back: %+v", state)
	}
	w.Must(hospitalA, contracts.ClockReset, back, &state) // says it again
	if state.Round != 1 || w.now() != start-60 {
		t.Errorf("two votes have not: %+v", state)
	}
}
