package chaincode

import (
	"math"
	"slices"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Durations in seconds.
const (
	// MaxSkew is how far a transaction's timestamp may be from ledger time.
	MaxSkew = 5 * 60
	// MaxAhead is how far after ledger time a window may end.
	MaxAhead = 10 * 60
)

// Tick records the calling member's clock (record.Tick). Time never goes back.
func (*Clock) Tick(tx transaction, arg string) (string, error) {
	return serve(tx, member, untimed, arg, smallArgument, tick)
}

func tick(c *call, t record.Tick) (record.Tick, error) {
	now, err := c.now()
	first := fault.Of(err) == fault.Unavailable
	if err != nil && !first {
		return t, err
	}
	if err := state.CheckTick(c.genesis.Clock, t.Time, now, first); err != nil {
		return t, err
	}
	clock := new(record.ClockState)
	if _, err := c.get(state.ClockKey(), clock); err != nil {
		return t, err
	}
	if t.Round != clock.Round {
		return t, fault.New(fault.Conflict, "ledger time was set back %d times, and your tick is for the time after %d", clock.Round, t.Round)
	}
	var last record.Tick
	ok, err := c.get(state.TickKey(c.msp), &last)
	switch {
	case err != nil:
		return t, err
	case ok && t.Time == last.Time:
		return last, nil
	case ok && t.Time < last.Time:
		return t, fault.New(fault.Conflict, "your latest tick is %d; time cannot go back to %d", last.Time, t.Time)
	}
	return t, c.put(state.TickKey(c.msp), t)
}

// Reset records that the calling member of the current epoch wants ledger time set
// back (record.ResetClock, record.ClockState). With the votes of the threshold for one
// time it is: every member's clock is taken to have said that, and an epoch that began
// at a wrong time keeps none. What was recorded meanwhile keeps its times and its
// place. Like a vote for an epoch it is not timed.
func (*Clock) Reset(tx transaction, arg string) (string, error) {
	return serve(tx, member, untimed, arg, smallArgument, resetClock)
}

func resetClock(c *call, r record.ResetClock) (*record.ClockState, error) {
	current, err := c.seatIn(c.roster.Current)
	if err != nil {
		return nil, err
	}
	clock := new(record.ClockState)
	if _, err := c.get(state.ClockKey(), clock); err != nil {
		return nil, err
	}
	now, err := c.now()
	switch {
	case err != nil:
		return nil, err
	case r.Round != clock.Round:
		return nil, fault.New(fault.Conflict, "ledger time was set back %d times, and your vote is for the time after %d", clock.Round, r.Round)
	case r.Time >= now || r.Time < -consent.MaxTime:
		return nil, fault.New(fault.Invalid, "ledger time is %d and can be set back only, not to %d", now, r.Time)
	}
	mine := record.ClockVote{Reset: r, Member: c.msp, At: now}
	if err := c.put(state.ClockVoteKey(c.msp), mine); err != nil {
		return nil, err
	}
	with, err := votes(c, current.Members, state.ClockVoteKey, mine, func(v record.ClockVote) bool { return v.For(r, now) })
	if err != nil {
		return nil, err
	}
	clock.Votes = len(with)
	if clock.Votes < current.Threshold {
		return clock, nil
	}
	return c.setBack(r)
}

func (c *call) setBack(r record.ResetClock) (*record.ClockState, error) {
	for _, m := range c.roster.Members() {
		if err := c.put(state.TickKey(m.MSP), record.Tick{Time: r.Time}); err != nil {
			return nil, err
		}
	}
	if c.roster.Current > 0 {
		roster := *c.roster
		roster.Floor = min(roster.Floor, r.Time)
		if err := c.put(state.RosterKey(), roster); err != nil {
			return nil, err
		}
	}
	clock := &record.ClockState{Round: r.Round + 1}
	return clock, c.put(state.ClockKey(), clock)
}

// Now returns ledger time (record.Tick); the argument is {}.
func (*Clock) Now(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, func(c *call, _ struct{}) (record.Tick, error) {
		now, err := c.now()
		return record.Tick{Time: now}, err
	})
}

// now is ledger time: the median of the latest ticks of the current epoch's
// members, the lower of two, and not before that epoch began.
func (c *call) now() (int64, error) {
	if c.ticks != nil {
		return *c.ticks, nil
	}
	members := c.roster.Epoch(c.roster.Current).Members
	times := make([]int64, 0, len(members))
	for _, m := range members {
		t := record.Tick{Time: math.MinInt64}
		if _, err := c.get(state.TickKey(m.MSP), &t); err != nil {
			return 0, err
		}
		times = append(times, t.Time)
	}
	slices.Sort(times)
	median := times[(len(times)-1)/2]
	if c.roster.Current > 0 {
		median = max(median, c.roster.Floor)
	}
	if median == math.MinInt64 {
		return 0, fault.New(fault.Unavailable, "there is no ledger time before more than half of the members have posted a tick")
	}
	c.ticks = &median
	return median, nil
}

// checkTimestamp refuses transactions whose timestamp is far from ledger time.
// On a simulated clock there is nothing to compare.
func (c *call) checkTimestamp() error {
	if c.genesis.Clock == record.ClockSimulated {
		return nil
	}
	now, err := c.now()
	if err != nil {
		return err
	}
	stamp, err := c.stub.GetTxTimestamp()
	if err != nil {
		return err
	}
	switch ahead := stamp.GetSeconds() - now; {
	case ahead > MaxSkew:
		return fault.New(fault.TooEarly, "the transaction is dated %d s after ledger time, at most %d are possible", ahead, MaxSkew)
	case ahead < -MaxSkew:
		return fault.New(fault.Expired, "the transaction is dated %d s before ledger time, at most %d are possible", -ahead, MaxSkew)
	}
	return nil
}
