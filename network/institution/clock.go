package institution

import (
	"context"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// clock posts this member's clock, unless it is far from ledger time and its operator
// has not said that it is right.
type clock struct {
	*member

	mu       sync.Mutex
	problem  error // why no clock is posted
	accepted bool  // the operator's word that it is right although ledger time is far behind
}

// A member whose clock is far from ledger time posts none: one of the two is wrong,
// and a battery that went flat must not move the time of a network. Time that a whole
// network has slept through is caught up within a day by itself, and beyond that with
// the operators' word, in steps that the contracts bound.
const (
	// tickEvery is how often a member posts its clock.
	tickEvery = 30 * time.Second
	// tickAgain is when it tries again: a new network has no genesis for a moment.
	tickAgain = time.Second
	// clockTolerance is how far from ledger time a member posts its clock unasked, in
	// seconds.
	clockTolerance = state.WallStep
	// wordTolerance is how far from this machine's clock the time may be that its
	// operator says it is.
	wordTolerance = 10 * time.Minute
)

// Tick posts this member's clock, in Unix seconds.
func (cl *clock) Tick(ctx context.Context, unix int64) error {
	_, _, err := submit(ctx, cl.member, contracts.ClockTick, record.Tick{Time: unix, Round: cl.index.ClockRound()})
	return err
}

// tickAlong posts the machine's clock in a network whose clock is the wall's.
func (cl *clock) tickAlong(ctx context.Context) error {
	for ctx.Err() == nil {
		next, err := cl.tickNow(ctx)
		if err != nil && ctx.Err() == nil {
			cl.log.Warn("could not post the clock; trying again", "err", err, "in", next)
		}
		_ = network.Sleep(ctx, next)
	}
	return nil
}

// tickNow posts the clock once, if it may, and says when the next time is.
func (cl *clock) tickNow(ctx context.Context) (time.Duration, error) {
	if ready, err := cl.CaughtUp(ctx); !ready || err != nil {
		return tickAgain, err
	}
	unix, err := cl.mayPost(cl.cfg.Clock().Unix())
	cl.mu.Lock()
	cl.problem = err
	accepted := cl.accepted
	cl.mu.Unlock()
	if err != nil {
		return tickEvery, err
	}
	if err := cl.Tick(ctx, unix); err != nil || accepted {
		return tickAgain, err
	}
	return tickEvery, nil
}

// mayPost returns the time to post where this machine's clock says unix.
func (cl *clock) mayPost(unix int64) (int64, error) {
	ledger := cl.index.Time()
	ahead := unix - ledger
	cl.mu.Lock()
	defer cl.mu.Unlock()
	switch {
	case ledger == 0: // there is none yet
		return unix, nil
	case ahead <= clockTolerance && ahead >= -clockTolerance:
		cl.accepted = false
		return unix, nil
	case ahead > 0 && cl.accepted:
		return ledger + state.WallStep, nil
	}
	return 0, fault.New(fault.Conflict, "this machine's clock says %s and ledger time is %s: set the clock if it is wrong; if it is right and the ledger was still, "+
		"say so with \"vitalveil institution accept-clock\"; if ledger time is wrong, vote with \"vitalveil institution clock-reset\"",
		time.Unix(unix, 0).UTC().Format(time.RFC3339), time.Unix(ledger, 0).UTC().Format(time.RFC3339))
}

// ClockProblem says why this member posts no clock; nil where it does.
func (cl *clock) ClockProblem() error {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.problem
}

// AcceptClock is the operator's word that it is this time, in Unix seconds, although
// ledger time is far before it. The member then posts its clock in the steps that the
// contracts allow, until ledger time has caught up.
func (cl *clock) AcceptClock(unix int64) error {
	own := cl.cfg.Clock()
	if d := time.Unix(unix, 0).Sub(own); d > wordTolerance || d < -wordTolerance {
		return fault.New(fault.Conflict, "this machine's clock says %s, and you say it is %s: set the clock first",
			own.UTC().Format(time.RFC3339), time.Unix(unix, 0).UTC().Format(time.RFC3339))
	}
	cl.log.Warn("the operator says that the clock is right, and ledger time is not", "time", unix)
	cl.mu.Lock()
	cl.accepted = true
	cl.mu.Unlock()
	return nil
}

// ResetClock votes that ledger time goes back to a time, in Unix seconds. It does with
// the votes of the threshold of the current epoch for the same second: consents that
// had expired by the wrong time permit again until they expire anew. It returns how many
// votes there are, 0 once time was set back.
func (cl *clock) ResetClock(ctx context.Context, unix int64) (record.ClockState, error) {
	s, _, err := submit(ctx, cl.member, contracts.ClockReset, record.ResetClock{Time: unix, Round: cl.index.ClockRound()})
	return s, err
}
