package institution

import (
	"context"
	"errors"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
)

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

// keepKeySums brings the kept sums up to what the ledger says now: over all
// devices that are ready, and over those that a query of each study and metric
// would cover if it were made now. What changed since the last round is added and
// taken off.
func (in *Institution) keepKeySums(ctx context.Context) error {
	if in.ended() {
		return nil
	}
	in.quiet(ctx)
	start := time.Now()
	scopes := map[record.ID]bool{}
	keep := func(scope string, devices []record.ID) error {
		if len(devices) == 0 {
			return nil
		}
		id := record.SumID([]byte(scope))
		scopes[id] = true
		return in.sums.Keep(id, devices)
	}
	if err := keep("ready", in.index.Ready(in.context.Epoch)); err != nil {
		return err
	}
	for _, s := range in.index.Studies(keptStudies) {
		for _, metric := range s.Study.Metrics {
			c, err := in.index.Eligible(in.context.Epoch, s.Owner, s.Study.Purpose, metric, s.Study.From, s.Study.Until, 0, false)
			if err != nil {
				return err
			}
			if err := keep(s.Owner+"/"+s.Study.ID+"/"+metric, devicesOf(c)); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	err := in.sums.Retain(scopes)
	_ = network.Sleep(ctx, max(sumPause, sumShare*time.Since(start)))
	return err
}

// quiet waits until no query is open, but not for long: one may stay open until it
// expires.
func (in *Institution) quiet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sumPatience)
	defer cancel()
	for ctx.Err() == nil {
		changed := in.Next()
		if len(in.index.Open()) == 0 {
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

// dropDevice forgets what is computed from a device's seeds and what is kept of
// its rows. Erasure calls it once the seeds themselves are gone.
func (in *Institution) dropDevice(device record.ID) error {
	return errors.Join(in.sums.Drop(device), in.columns.Drop(device))
}
