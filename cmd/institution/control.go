package institution

import (
	"context"
	"encoding/json"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"
	role "github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/site"
)

// tickTime bounds posting a clock, which takes a second on a ledger that works.
const tickTime = 30 * time.Second

// Status is what an institution says about itself.
type Status struct {
	Member  string `json:"member"`
	Network string `json:"network"`
	Time    int64  `json:"ledger_time"` // Unix seconds; 0 before there is one
	Height  uint64 `json:"ledger_height"`
	Read    uint64 `json:"blocks_read"`
	Problem string `json:"problem,omitempty"` // with the ledger
	// Stalled is since when nothing that the institution submits is ordered, in Unix
	// seconds, and Stall what was said last; 0 while all is well.
	Stalled int64        `json:"stalled,omitempty"`
	Stall   string       `json:"stall,omitempty"`
	Clock   string       `json:"clock,omitempty"` // why no clock is posted
	Ready   bool         `json:"ready"`           // the whole ledger was read, and it is this network's
	Counts  index.Counts `json:"counts"`
	// Certificates says until when those in use serve, and warns from 60 days on.
	Certificates []site.Certificate `json:"certificates"`
}

// staller is a ledger that may be read while it orders nothing.
type staller interface{ Stalled() (time.Time, error) }

// fetchRequest names a query of the past.
type fetchRequest struct {
	Query string `json:"query"`
}

// commands are what an operator may say to a running institution.
func (p *Process) commands() site.Commands {
	return site.Commands{
		"ask":  site.Handle(func(ctx context.Context, a *record.Ask) (*role.Answer, error) { return p.Ask(ctx, *a) }),
		"plan": site.Handle(func(_ context.Context, r *role.PlanRequest) ([]role.Outlook, error) { return p.Plan(*r) }),
		"fetch": site.Handle(func(ctx context.Context, f *fetchRequest) (*role.Answer, error) {
			return p.Fetch(ctx, f.Query)
		}),
		"abandon": site.Handle(func(ctx context.Context, a *record.Abandon) (struct{}, error) {
			return struct{}{}, p.Abandon(ctx, a.Query, a.Reason)
		}),
		"confirm": site.Handle(func(ctx context.Context, f *fetchRequest) (record.QueryState, error) {
			return p.Confirm(ctx, f.Query)
		}),
		"quarantine": site.Handle(func(ctx context.Context, v *record.VoteQuarantine) (struct{}, error) {
			return struct{}{}, p.VoteQuarantine(ctx, *v)
		}),
		"call": site.Handle(func(ctx context.Context, c *callRequest) (json.RawMessage, error) {
			return p.Submit(ctx, c.Function, c.Document)
		}),
		"flag": site.Handle(func(ctx context.Context, f *record.FlagDevice) (record.DeviceFlag, error) {
			return submit(ctx, p, contracts.RegistryFlagDevice, *f)
		}),
		"enrol":   site.Handle(p.enrol),
		"claimed": site.Handle(p.claimed),
		"claims": site.Handle(func(ctx context.Context, _ *struct{}) ([]role.Claimed, error) {
			return p.Claimed(ctx, maxClaims)
		}),
		"claim": site.Handle(func(ctx context.Context, a *record.AskPredicate) (string, error) { return p.AskPredicate(ctx, *a) }),
		"epoch-vote": site.Handle(func(ctx context.Context, e *record.Epoch) (record.EpochState, error) {
			sig, err := record.Sign(p.sign, e.Digest(p.genesis.Network))
			if err != nil {
				return record.EpochState{}, err
			}
			return submit(ctx, p, contracts.RegistryVoteEpoch, record.VoteEpoch{Epoch: *e, Signature: sig})
		}),
		"epoch-retire": site.Handle(func(ctx context.Context, r *record.RetireEpoch) (record.EpochState, error) {
			return submit(ctx, p, contracts.RegistryRetireEpoch, *r)
		}),
		"study": site.Handle(func(ctx context.Context, s *record.Study) (struct{}, error) {
			return struct{}{}, p.CreateStudy(ctx, *s)
		}),
		"tick": site.Handle(func(ctx context.Context, t *record.Tick) (struct{}, error) {
			ctx, cancel := context.WithTimeout(ctx, tickTime)
			defer cancel()
			return struct{}{}, p.Tick(ctx, t.Time)
		}),
		"accept-clock": site.Handle(func(_ context.Context, t *record.Tick) (struct{}, error) {
			return struct{}{}, p.AcceptClock(t.Time)
		}),
		"clock-reset": site.Handle(func(ctx context.Context, t *record.Tick) (record.ClockState, error) {
			return p.ResetClock(ctx, t.Time)
		}),
		"newest": site.Handle(func(ctx context.Context, _ *struct{}) (follow.Block, error) { return p.Newest(ctx) }),
		"accept-ledger": site.Handle(func(ctx context.Context, b *follow.Block) (struct{}, error) {
			return struct{}{}, p.AcceptLedger(ctx, *b)
		}),
		"status": site.Handle(func(ctx context.Context, _ *struct{}) (Status, error) { return p.status(ctx), nil }),
	}
}

func (p *Process) status(ctx context.Context) Status {
	s := Status{Member: p.MSP(), Network: p.genesis.Network, Time: p.Index().Time(), Read: p.Index().Height(), Counts: p.Index().Counts(), Certificates: p.ids.Certificates()}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var err error
	if s.Height, err = p.ledger.Height(ctx); err != nil {
		s.Problem = err.Error()
	}
	s.Stalled, s.Stall = stall(p.ledger)
	_, founded := p.Index().Genesis()
	if stopped := p.Stopped(); stopped != nil {
		s.Problem = stopped.Error()
	}
	if problem := p.ClockProblem(); problem != nil {
		s.Clock = problem.Error()
	}
	s.Ready = s.Problem == "" && founded && s.Read >= s.Height
	return s
}

// stall is since when a ledger orders nothing, and why.
func stall(l site.Ledger) (int64, string) {
	s, ok := l.(staller)
	if !ok {
		return 0, "" // an embedded ledger orders, or is not reached at all
	}
	since, why := s.Stalled()
	if since.IsZero() || why == nil {
		return 0, ""
	}
	return since.Unix(), why.Error()
}
