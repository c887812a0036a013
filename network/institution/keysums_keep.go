package institution

import (
	"context"
	"errors"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
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
	if err := in.keepScope(scopes, "ready", in.index.Ready(in.context.Epoch)); err != nil {
		return err
	}
	for _, s := range in.index.Studies(keptStudies) {
		for _, metric := range s.Study.Metrics {
			c, err := in.index.Eligible(in.context.Epoch, s.Owner, s.Study.Purpose, metric, s.Study.From, s.Study.Until, 0, false)
			if err != nil {
				return err
			}
			if err := in.keepScope(scopes, s.Owner+"/"+s.Study.ID+"/"+metric, devicesOf(c)); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	err := in.sums.retain(scopes)
	_ = network.Sleep(ctx, max(sumPause, sumShare*time.Since(start)))
	return err
}

// quiet waits until no query is open, but not for long: one may stay open until it
// expires.
func (in *Institution) quiet(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sumPatience)
	defer cancel()
	for ctx.Err() == nil {
		changed := in.blocks.next()
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

func (in *Institution) keepScope(scopes map[record.ID]bool, scope string, devices []record.ID) error {
	if len(devices) == 0 {
		return nil
	}
	id := record.SumID([]byte(scope))
	scopes[id] = true
	set, err := in.sums.setOf(in.sums.withoutErased(devices))
	if err != nil {
		return err
	}
	for _, piece := range in.params.Sharing().Held(in.cfg.Member) {
		if err := in.sums.keep(piece, id, set); err != nil {
			return err
		}
	}
	return nil
}

// dropDevice forgets what is computed from a device's seeds and what is kept of
// its rows. Erasure calls it once the seeds themselves are gone.
func (in *Institution) dropDevice(device record.ID) error {
	in.secrets.drop(device)
	err := in.sums.drop(device)
	if in.columns != nil {
		err = errors.Join(err, in.columns.drop(device))
	}
	return err
}

// groups sums one piece over the devices that have a row, hour by hour, and
// collects the hours in which they are the same, wherever they lie. The sum over a
// set of devices is made from the nearest that is kept, or from the group before.
func (in *Institution) groups(members []record.CohortMember, piece int) ([]he.KeyGroup, error) {
	numbers := make([]int, len(members))
	for i, m := range members {
		var err error
		if numbers[i], err = in.sums.number(m.Device); err != nil {
			return nil, err
		}
	}
	changes := presence(members)
	byPresence := map[record.ID]int{}
	var groups []he.KeyGroup
	var present deviceSet
	var last *keptSum
	for i := 0; i < len(changes); {
		hour := changes[i].hour
		for ; i < len(changes) && changes[i].hour == hour; i++ {
			present.flip(numbers[changes[i].member])
		}
		if i == len(changes) {
			break
		}
		id := record.SumID(present.bytes())
		g, known := byPresence[id]
		if !known && present.size() > 0 {
			var err error
			if last, err = in.sums.over(piece, present, last); err != nil {
				return nil, err
			}
			g = len(groups)
			byPresence[id] = g
			groups = append(groups, he.KeyGroup{Secret: last.sum})
		}
		if present.size() == 0 {
			continue
		}
		for h := hour; h < changes[i].hour; h++ {
			groups[g].Windows = append(groups[g].Windows, he.Window{Hour: h})
		}
	}
	if present.size() != 0 {
		return nil, fault.New(fault.Internal, "devices of the cohort have no end")
	}
	return groups, nil
}
