package institution

import (
	"context"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
)

// sumKeeper keeps sums of device secrets up to what queries are likely to cover.
type sumKeeper struct{ *member }

const (
	// keptStudies bounds the studies whose cohorts' sums are kept up to date.
	keptStudies = 8
	// sumPause is the least time between two rounds; a round may take a twentieth
	// of one core at most.
	sumPause = 200 * time.Millisecond
	sumShare = 20
	// sumPatience is how long a round waits for open queries, which come first and
	// make what they need themselves.
	sumPatience = 10 * time.Second
)

// work brings the kept sums up to what the ledger says now: over all
// devices that are ready, and over those that a query of each study and metric
// would cover if it were made now. What changed since the last round is added and
// taken off.
func (sk *sumKeeper) work(ctx context.Context) error {
	if sk.ended() {
		return nil
	}
	sk.quiet(ctx)
	start := time.Now()
	scopes := map[record.ID]bool{}
	keep := func(scope string, devices []record.ID) error {
		if len(devices) == 0 {
			return nil
		}
		id := record.SumID([]byte(scope))
		scopes[id] = true
		return sk.sums.Keep(id, devices)
	}
	if err := keep("ready", sk.index.Ready(sk.context.Epoch)); err != nil {
		return err
	}
	for _, s := range sk.index.Studies(keptStudies) {
		for _, ask := range sk.likely(s.Study) {
			c, err := sk.index.Eligible(s.Owner, s.Study.Purpose, false, ask)
			if err != nil {
				return err
			}
			if err := keep(s.Owner+"/"+s.Study.ID+"/"+ask.Metric+"/"+ask.Want, devicesOf(c)); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	err := sk.sums.Retain(scopes)
	_ = network.Sleep(ctx, max(sumPause, sumShare*time.Since(start)))
	return err
}

// likely is what a study may ask: each question about minutes and about person-days, as
// far as the rows have an answer to it.
func (sk *sumKeeper) likely(s record.Study) []record.Ask {
	var out []record.Ask
	for _, metric := range s.Metrics {
		out = append(out, record.Ask{Metric: metric, From: s.From, Until: s.Until, Epoch: sk.context.Epoch})
		if sk.days.params == nil {
			continue
		}
		days := out[len(out)-1]
		days.From, days.Until = state.WholeDays(s.From, s.Until)
		days.From = max(days.From, days.Until-state.DayHours*privacy.MaxDays)
		days.Want = privacy.WantMean.String()
		out = append(out, days)
	}
	return out
}

// quiet waits until no query is open, but not for long: one may stay open until it
// expires.
func (sk *sumKeeper) quiet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sumPatience)
	defer cancel()
	for ctx.Err() == nil {
		changed := sk.Next()
		if len(sk.index.Open()) == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func devicesOf(c index.Cohort) []record.ID {
	out := make([]record.ID, len(c.Members))
	for i, m := range c.Members {
		out[i] = m.Device
	}
	return out
}
