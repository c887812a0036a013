package institution

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// TestAttackTwoClocksWrongAtOneMoment: members whose machines wake up years ahead post
// nothing, so the network's time stays; only their operators' word moves it, in steps,
// and as many votes as open anything take it back.
func TestAttackTwoClocksWrongAtOneMoment(t *testing.T) {
	w := newWorld(t, func(g *record.Genesis) { g.Clock = record.ClockWall })
	ledger := func() int64 { return w.members[association].Index().Time() }
	w.wait("there is a time", func() bool { return ledger() > 0 })
	before := ledger()
	const years = 10 * 365 * 24 * time.Hour
	var wrong atomic.Int64
	wrong.Store(int64(years))
	for _, m := range []int{hospitalA, hospitalB} {
		w.down(m)
		w.up(m, func(c *Config) {
			c.Clock = func() time.Time { return time.Now().Add(time.Duration(wrong.Load())) }
		})
		w.wait("it says that its clock is wrong", func() bool { return w.members[m].ClockProblem() != nil })
	}
	if now := ledger(); now-before > 600 {
		t.Fatalf("ledger time moved by %d s", now-before)
	}
	a, b := w.members[hospitalA], w.members[hospitalB]
	wantFault(t, fault.Conflict, a.AcceptClock(before)) // its operator looks at another clock
	said := time.Now().Add(years).Unix()
	for _, in := range []*running{a, b} {
		w.check(in.AcceptClock(said))
		_, err := in.tickNow(t.Context())
		w.check(err)
	}
	w.wait("a step was made", func() bool { return ledger() > before+80_000 })
	if now := ledger(); now > before+10*86_400 {
		t.Errorf("ledger time moved by %d s at once", now-before)
	}
	w.down(hospitalB)
	wrong.Store(0)
	w.up(hospitalB)
	w.wait("the index is there", func() bool { return w.members[hospitalB].Index().Height() >= w.Ledger.Height() })
	for i, in := range []*running{w.members[hospitalB], w.members[association]} {
		s, err := in.ResetClock(t.Context(), before+1)
		if err != nil || s.Votes != 1-i {
			t.Fatalf("vote %d: %+v, %v", i, s, err)
		}
	}
	w.wait("time went back", func() bool { return ledger() < before+80_000 })
}
