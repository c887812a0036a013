package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// countAsk counts one more query of the caller in the day of ledger time, and refuses
// it beyond the network's bound. Exact queries have no budget that would end them, and
// each query makes work for every member.
func (c *call) countAsk(now int64) error {
	day := wearable.DayOf(now)
	var n record.AskCount
	if _, err := c.get(state.AsksKey(c.msp), &n); err != nil {
		return err
	}
	if n.Day != day {
		n = record.AskCount{Day: day}
	}
	if most := c.genesis.AsksPerDay(); n.Count >= most {
		return fault.New(fault.Exhausted, "%s has asked %d queries on this day (UTC, ledger time), the most in this network", c.msp, most)
	}
	n.Count++
	return c.put(state.AsksKey(c.msp), n)
}
