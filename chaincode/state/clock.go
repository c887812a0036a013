package state

import (
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Durations in seconds.
const (
	Hour = 3600
	Day  = 86400
	// WallStep and SimulatedStep are how far after ledger time a tick may be, by the
	// network's clock: time that members' clocks have slept through is caught up in
	// steps, while wrong clocks of a moment do not end a network.
	WallStep      = Day
	SimulatedStep = 366 * Day
	// maxTick is the end of the year 2199: no clock that says more is right.
	maxTick = 7_258_118_399
)

// CheckTick checks a tick by itself and against ledger time, unless there is none yet.
func CheckTick(clock string, at, now int64, first bool) error {
	if at < -consent.MaxTime || at > maxTick {
		return fault.New(fault.Invalid, "time %d is out of bounds; it counts in seconds", at)
	}
	if step := TickStep(clock); !first && at > now+step {
		return fault.New(fault.TooEarly, "your clock says %d and ledger time is %d: one tick moves it by %d at most", at, now, step)
	}
	return nil
}

// TickStep is how far after ledger time a tick may be.
func TickStep(clock string) int64 {
	if clock == record.ClockSimulated {
		return SimulatedStep
	}
	return WallStep
}
