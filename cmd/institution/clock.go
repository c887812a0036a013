package institution

import (
	"context"
	"fmt"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

type acceptClockCommand struct {
	dirFlag
	Time time.Time `arg:"" help:"What time it is, as in 2031-05-01T09:30:00Z." format:"2006-01-02T15:04:05Z07:00"`
}

// Help says when it is needed.
func (acceptClockCommand) Help() string {
	return `An institution posts its clock only within a day of ledger time: a wrong clock must
not move the time of a network. When a network has stood still for longer, the
operators of more than half of its members say here what time it is. Ledger time is
then caught up, a day with each step. Everything that expires by then has expired.`
}

// Run says the time.
func (c acceptClockCommand) Run(ctx context.Context) error {
	if err := c.call(ctx, "accept-clock", record.Tick{Time: c.Time.Unix()}, nil); err != nil {
		return err
	}
	_, err := fmt.Println("accepted: ledger time is caught up as soon as more than half of the members do the same")
	return err
}

type clockResetCommand struct {
	dirFlag
	Time     time.Time `arg:"" help:"The time to go back to, as in 2031-05-01T09:30:00Z; all who vote name the same second." format:"2006-01-02T15:04:05Z07:00"`
	GivingUp bool      `help:"You have read what it gives up."`
}

// resetGivesUp is what going back in time costs.
const resetGivesUp = `Ledger time goes back when as many members as open anything vote for the same second:
 - consents that had expired by the wrong time permit again, until they expire anew;
 - queries and requests that had expired could be answered again;
 - what was recorded meanwhile keeps its times, later than now;
 - a patient who revokes everything and has consents from that time permits more only
   a day after the latest of them.
Revocations, erasures, budgets and hours that were opened stay: they go by their place.
`

// Help says what it gives up.
func (clockResetCommand) Help() string {
	return "The way back after clocks of members were wrong.\n\n" + resetGivesUp
}

// Run votes.
func (c clockResetCommand) Run(ctx context.Context) error {
	if !c.GivingUp {
		fmt.Print(resetGivesUp)
		return fault.New(fault.Invalid, "to vote for it, repeat the command with --giving-up")
	}
	var s record.ClockState
	if err := c.call(ctx, "clock-reset", record.Tick{Time: c.Time.Unix()}, &s); err != nil {
		return err
	}
	if s.Votes > 0 {
		_, err := fmt.Printf("%d members have voted; ledger time goes back when the threshold has\n", s.Votes)
		return err
	}
	_, err := fmt.Printf("ledger time was set back to %s\n", c.Time.UTC().Format(time.RFC3339))
	return err
}
