package index

import (
	"errors"
	"math"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// putTick takes a member's clock, by the contracts' rules.
func (ix *Index) putTick(w write) error {
	t, err := decode[record.Tick](w)
	if err != nil {
		return err
	}
	member := w.parts[0]
	last, ok := ix.ticks[member]
	if ok && t.Time == last {
		return nil // also of those whom a vote has set back
	}
	if err := w.by(member); err != nil {
		return err
	}
	if said, err := argument(w, contracts.ClockTick); err != nil || said != t {
		return errors.Join(err, refuse("it is another time than the one that %s has posted", member))
	}
	if t.Round != ix.clockRound {
		return refuse("ledger time was set back %d times, and the tick is for the time after %d", ix.clockRound, t.Round)
	}
	if ok && t.Time < last {
		return refuse("%s's clock went back from %d to %d", member, last, t.Time)
	}
	now, known := ix.median()
	if err := state.CheckTick(ix.genesis.Clock, t.Time, now, !known); err != nil {
		return doubt(err)
	}
	ix.ticks[member] = t.Time
	ix.tellTime()
	return nil
}

// putClock sets ledger time back by the votes of the current epoch's threshold. The
// caller's vote comes next in the same transaction.
func (ix *Index) putClock(w write) error {
	r, err := argument(w, contracts.ClockReset)
	if err != nil {
		return err
	}
	current := ix.roster.Epoch(ix.roster.Current)
	votes := 0
	now, known := ix.median()
	for _, m := range current.Members {
		vote, ok := ix.clockVotes[m.MSP]
		if m.MSP == w.tx.Creator.MSP && !ix.voted[w.tx.ID] || ok && vote.For(r, now) {
			votes++
		}
	}
	if r.Round != ix.clockRound || !known || r.Time >= now || votes < current.Threshold {
		return refuse("%d members have voted to set ledger time back to %d, %d must", votes, r.Time, current.Threshold)
	}
	for _, m := range ix.roster.Members() {
		ix.ticks[m.MSP] = r.Time
	}
	ix.roster.Floor = min(ix.roster.Floor, r.Time)
	ix.latest, ix.clockRound = max(ix.latest, now), r.Round+1
	clear(ix.clockVotes)
	ix.tellTime()
	return nil
}

func (ix *Index) putClockVote(w write) error {
	member := w.parts[0]
	if err := ix.seat(w, ix.roster.Current, member); err != nil {
		return err
	}
	r, err := argument(w, contracts.ClockReset)
	if err != nil {
		return err
	}
	if err := ix.votes(w); err != nil {
		return err
	}
	if r.Round == ix.clockRound { // otherwise it has just decided
		ix.clockVotes[ix.name(member)] = record.ClockVote{Reset: r, Member: ix.name(member), At: ix.now}
	}
	return nil
}

// ClockRound is how often ledger time was set back.
func (ix *Index) ClockRound() uint32 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.clockRound
}

// tellTime makes ledger time anew: 0 while there is none.
func (ix *Index) tellTime() {
	now, known := ix.median()
	if ix.now = 0; known {
		ix.now = now
	}
}

// furthest is the latest that ledger time ever was.
func (ix *Index) furthest() int64 {
	if ix.clockRound == 0 {
		return ix.now
	}
	return max(ix.latest, ix.now)
}

// noTick is the tick of a member that has posted none.
const noTick = math.MinInt64
