package institution

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

const (
	// A duty that failed is tried again after a wait that doubles.
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

// Run follows the ledger, does the institution's duties and serves shares until
// ctx ends, which is no error. An error means that the ledger cannot be
// followed: it is of another network, or of another version of the program.
func (in *Institution) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.Follower.Run(ctx) })
	g.Go(func() error { return in.serve(ctx) })
	g.Go(func() error { return in.keyring.serve(ctx) })
	g.Go(func() error { return in.poser.serve(ctx) })
	duties := []struct {
		name string
		work func(context.Context) error
	}{
		{"seeds", in.seeds.work},
		{"piece keys", in.pieceKeys.work},
		{"rows", in.attester.work},
		{"details keys", in.keyring.fetch},
		{"erasures", in.eraser.work},
		{"cohorts", in.answerer.keepCohorts},
		{"confirmations", in.confirmer.work},
		{"broken devices", in.searcher.work},
		{"predicates", in.claims.expirePredicates},
		{"key sums", in.sumKeeper.work},
		{"epoch", in.keepEpoch},
	}
	for _, d := range duties {
		g.Go(func() error { return in.onChange(ctx, d.name, d.work) })
	}
	if in.cfg.Genesis.Clock == record.ClockWall {
		g.Go(func() error { return in.clock.tickAlong(ctx) })
	}
	err := g.Wait()
	if cerr := in.peers.close(); cerr != nil {
		in.log.Warn("closing connections", "err", cerr)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// onChange does work now and after every block, and where it failed also after a
// pause.
func (in *Institution) onChange(ctx context.Context, name string, work func(context.Context) error) error {
	pause := firstPause
	for ctx.Err() == nil {
		changed := in.Next()
		ready, err := in.caughtUp(ctx)
		if ready && in.HasGenesis() && in.Stopped() == nil {
			if err = in.checkEpoch(); err == nil {
				err = work(ctx)
			}
		}
		var again <-chan time.Time
		if err == nil {
			pause = firstPause
		} else {
			in.log.Log(ctx, severity(err), "duty is not done; trying again", "duty", name, "err", err, "in", pause)
			again = time.After(pause)
			if severity(err) > slog.LevelDebug { // what waits has pauses of its own
				pause = min(2*pause, mostPause)
			}
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
		}
	}
	return nil
}

// caughtUp reports whether the index has read what was there at the start.
func (in *Institution) caughtUp(ctx context.Context) (bool, error) {
	ready, err := in.CaughtUp(ctx)
	if ready {
		in.answerer.inherit()
	}
	return ready, err
}

// severity: what is merely not there yet is no reason to wake anybody.
func severity(err error) slog.Level {
	if errors.Is(err, context.Canceled) || fault.Of(err) == fault.Unavailable {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// Submit calls the method with this name as this member, with one JSON document, and
// returns what it answers.
func (in *Institution) Submit(ctx context.Context, function string, doc json.RawMessage) (json.RawMessage, error) {
	out, _, err := submit(ctx, in.member, contracts.Write[json.RawMessage, json.RawMessage](function), doc)
	return out, err
}
