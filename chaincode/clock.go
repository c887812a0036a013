package chaincode

import (
	"math"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Durations in seconds.
const (
	hourSeconds = 3600
	daySeconds  = 86400
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
	if t.Time < -consent.MaxTime || t.Time > consent.MaxTime {
		return t, fault.New(fault.Invalid, "time %d is out of bounds; it counts in seconds", t.Time)
	}
	var last record.Tick
	ok, err := c.get(TickKey(c.msp), &last)
	switch {
	case err != nil:
		return t, err
	case ok && t.Time == last.Time:
		return last, nil
	case ok && t.Time < last.Time:
		return t, fault.New(fault.Conflict, "your latest tick is %d; time cannot go back to %d", last.Time, t.Time)
	}
	return t, c.put(TickKey(c.msp), t)
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
		if _, err := c.get(TickKey(m.MSP), &t); err != nil {
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
