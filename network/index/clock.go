package index

import (
	"errors"
	"math"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// putTick takes a member's clock, by the contracts' rules.
func (cl *clock) putTick(w write) error {
	t, err := decode[record.Tick](w)
	if err != nil {
		return err
	}
	member := w.parts[0]
	last, ok := cl.ticks[member]
	if ok && t.Time == last {
		return nil // also of those whom a vote has set back
	}
	if err := w.by(member); err != nil {
		return err
	}
	if said, err := argument(w, contracts.ClockTick); err != nil || said != t {
		return errors.Join(err, refuse("it is another time than the one that %s has posted", member))
	}
	if t.Round != cl.round {
		return refuse("ledger time was set back %d times, and the tick is for the time after %d", cl.round, t.Round)
	}
	if ok && t.Time < last {
		return refuse("%s's clock went back from %d to %d", member, last, t.Time)
	}
	now, known := cl.median()
	if err := state.CheckTick(cl.policy.genesis.Clock, t.Time, now, !known); err != nil {
		return doubt(err)
	}
	cl.ticks[member] = t.Time
	cl.tell()
	return nil
}

// putClock sets ledger time back by the votes of the current epoch's threshold. The
// caller's vote comes next in the same transaction.
func (cl *clock) putClock(w write) error {
	r, err := argument(w, contracts.ClockReset)
	if err != nil {
		return err
	}
	current := cl.policy.current()
	votes := 0
	now, known := cl.median()
	for _, m := range current.Members {
		vote, ok := cl.votes[m.MSP]
		if m.MSP == w.tx.Creator.MSP && !cl.policy.voted[w.tx.ID] || ok && vote.For(r, now) {
			votes++
		}
	}
	if r.Round != cl.round || !known || r.Time >= now || votes < current.Threshold {
		return refuse("%d members have voted to set ledger time back to %d, %d must", votes, r.Time, current.Threshold)
	}
	for _, m := range cl.policy.roster.Members() {
		cl.ticks[m.MSP] = r.Time
	}
	cl.policy.lower(r.Time)
	cl.latest, cl.round = max(cl.latest, now), r.Round+1
	clear(cl.votes)
	cl.tell()
	return nil
}

func (cl *clock) putClockVote(w write) error {
	member := w.parts[0]
	if err := cl.policy.seat(w, cl.policy.roster.Current, member); err != nil {
		return err
	}
	r, err := argument(w, contracts.ClockReset)
	if err != nil {
		return err
	}
	if err := cl.policy.countOnce(w); err != nil {
		return err
	}
	if r.Round == cl.round { // otherwise it has just decided
		cl.votes[cl.names.one(member)] = record.ClockVote{Reset: r, Member: cl.names.one(member), At: cl.now}
	}
	return nil
}

// ClockRound is how often ledger time was set back.
func (ix *Index) ClockRound() uint32 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.clock.round
}

// tell makes ledger time anew: 0 while there is none.
func (cl *clock) tell() {
	now, known := cl.median()
	if cl.now = 0; known {
		cl.now = now
	}
}

// furthest is the latest that ledger time ever was.
func (cl *clock) furthest() int64 {
	if cl.round == 0 {
		return cl.now
	}
	return max(cl.latest, cl.now)
}

// noTick is the tick of a member that has posted none.
const noTick = math.MinInt64
