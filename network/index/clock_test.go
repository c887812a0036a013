package index

import (
	"testing"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// reset records a member's vote, and what follows from it if it decides.
func (l *ledger) reset(member string, r record.ResetClock, decides bool) {
	writes := []network.Write{put(state.ClockVoteKey(member), map[string]any{"reset": r, "member": member})}
	if decides {
		l.round = r.Round + 1
		writes = append(writes, put(state.ClockKey(), record.ClockState{Round: r.Round + 1}))
		for _, m := range l.roster.Members() {
			l.ticks[m.MSP] = r.Time
			writes = append(writes, put(state.TickKey(m.MSP), record.Tick{Time: r.Time}))
		}
	}
	l.call(member, contracts.ClockReset, r, writes...)
}

func (l *ledger) tickAll(at int64) {
	for _, m := range members {
		l.tick(m, at)
	}
}

// Time goes back by the votes of the threshold, wherever the ledger says it is, and a
// consent that had expired by the wrong clock permits again.
func TestTimeGoesBackByVotesOnly(t *testing.T) {
	l := newLedger()
	l.ready(2)
	start := l.time()
	d := l.consents[0]
	d.Version, d.Expires = 2, start+1000
	l.consent(d)
	under := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	l.tickAll(start + 5000)
	wrong := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	back := record.ResetClock{Time: start + 60}
	l.reset(members[0], back, false)
	l.reset(members[1], back, true)
	right := l.ask(members[0], hour0, hour0+24, 100)
	l.cut()
	ix := apply(t, l.blocks)
	if n, list := ix.Refused(0); n > 0 || ix.Time() != start+60 || ix.ClockRound() != 1 {
		t.Fatalf("time is %d after %d resets: %v", ix.Time(), ix.ClockRound(), list)
	}
	for id, want := range map[string]int{under: 2, wrong: 1, right: 2} {
		if got := size(t, ix, id); got != want {
			t.Errorf("%d patients, want %d", got, want)
		}
	}
	for i := range l.blocks { // whenever it is asked, it has expired in the same block
		early := apply(t, l.blocks[:i+1])
		if block, gone, err := early.Stale(under, 0); err == nil && i > 2 && (len(gone) != 1 || block != 2) {
			t.Errorf("after block %d it was stale at %d for %v", i, block, gone)
		}
	}
	l.tickAll(start + 120)
	l.cut()
	if ix := apply(t, l.blocks); ix.Time() != start+120 {
		t.Errorf("time is %d and does not go on", ix.Time())
	}
}

func TestAttackTimeSetBackByFewerThanTheThreshold(t *testing.T) {
	back := record.ResetClock{Time: day0*86400 - 60}
	for name, forge := range map[string]func(*ledger){
		"by one": func(l *ledger) { l.reset(members[0], back, true) },
		"by one and an old vote": func(l *ledger) {
			l.reset(members[1], back, false)
			old := l.open[len(l.open)-1]
			l.reset(members[1], record.ResetClock{Time: back.Time + 1}, false)
			l.open = append(l.open, old) // once more
			l.reset(members[0], back, true)
		},
		"by two of different opinions": func(l *ledger) {
			l.reset(members[0], record.ResetClock{Time: back.Time + 1}, false)
			l.reset(members[1], back, true)
		},
		"of another round": func(l *ledger) {
			r := record.ResetClock{Time: back.Time, Round: 1}
			l.reset(members[0], r, false)
			l.reset(members[1], r, true)
		},
		"forwards": func(l *ledger) {
			r := record.ResetClock{Time: day0*86400 + 60}
			l.reset(members[0], r, false)
			l.reset(members[1], r, true)
		},
	} {
		l := newLedger()
		l.cut()
		forge(l)
		l.cut()
		ix := apply(t, l.blocks)
		if n, _ := ix.Refused(0); n == 0 || ix.Time() != day0*86400 || ix.ClockRound() != 0 {
			t.Errorf("%s: time is %d, %d writes were refused", name, ix.Time(), n)
		}
	}
}

// A ledger that records clocks far ahead does not move time.
func TestAttackTicksBeyondAStep(t *testing.T) {
	l := newLedger()
	l.cut()
	l.tickAll(day0*86400 + state.SimulatedStep + 1)
	l.cut()
	if ix := apply(t, l.blocks); ix.Time() != day0*86400 {
		t.Errorf("time is %d", ix.Time())
	}
}

// What was permitted at a later time, before time was set back, is revoked with
// everything.
func TestAttackConsentFromALaterTimeOutlivesARevocation(t *testing.T) {
	l := newLedger()
	l.ready(2)
	start := l.time()
	l.tickAll(start + 5*86400)
	late := l.permit(l.patients[0], members[0], hour0, hour0+100)
	late.Operations = []string{consent.OpAggregate}
	l.consent(late)
	back := record.ResetClock{Time: start + 60}
	l.reset(members[0], back, false)
	l.reset(members[1], back, true)
	l.changeKeys(l.patients[0], true)
	query := l.ask(members[0], hour0, hour0+24, 100)
	if got := size(t, l.forged(t, 0, ""), query); got != 1 {
		t.Errorf("%d patients, want 1", got)
	}
}

// Who voted once that time go back, when something else was wrong, has not voted for it
// now.
func TestAttackAVoteOfLongAgoSetsTimeBack(t *testing.T) {
	l := newLedger()
	start := l.time()
	l.tickAll(start + 60)
	back := record.ResetClock{Time: start}
	l.reset(members[1], back, false)
	l.tickAll(start + 2*86400)
	l.reset(members[0], back, true)
	l.cut()
	if ix := apply(t, l.blocks); ix.Time() != start+2*86400 || ix.ClockRound() != 0 {
		t.Errorf("one vote has set time back to %d", ix.Time())
	}
}

// After votes have set time back, a ledger cannot move it by the ticks of the wrong clocks
// once more.
func TestAttackTicksOfWrongClocksRepeated(t *testing.T) {
	l := newLedger()
	start := l.time()
	l.cut()
	l.tickAll(start + 5*86400)
	wrong := l.open
	l.cut()
	back := record.ResetClock{Time: start + 60}
	l.reset(members[0], back, false)
	l.reset(members[1], back, true)
	for _, tx := range wrong {
		tx.Index = len(l.open)
		l.open = append(l.open, tx)
	}
	if ix := l.forged(t, len(wrong), "set back 1 times"); ix.Time() != start+60 {
		t.Errorf("time is %d", ix.Time())
	}
}
