package institution

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
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
	g.Go(func() error { return in.follow(ctx) })
	g.Go(func() error { return in.serve(ctx) })
	g.Go(func() error { return in.keepCheckpoint(ctx) })
	g.Go(func() error { return in.keepHead(ctx) })
	g.Go(func() error { return in.serveKeys(ctx) })
	duties := []struct {
		name string
		work func(context.Context) error
	}{
		{"seeds", new(seedDuty).bind(in)},
		{"piece keys", new(pieceKeyDuty).bind(in)},
		{"rows", new(rowDuty).bind(in)},
		{"details keys", new(keyDuty).bind(in)},
		{"consent details", new(detailDuty).bind(in)},
		{"erasures", in.keepErasures},
		{"cohorts", in.keepCohorts},
		{"confirmations", in.keepConfirmed},
		{"broken devices", new(searchDuty).bind(in)},
		{"predicates", in.expirePredicates},
		{"key sums", in.keepKeySums},
		{"epoch", in.keepEpoch},
	}
	for _, d := range duties {
		g.Go(func() error { return in.onChange(ctx, d.name, d.work) })
	}
	if in.cfg.Genesis.Clock == record.ClockWall {
		g.Go(func() error { return in.tickAlong(ctx) })
	}
	err := g.Wait()
	in.lastCheckpoint()
	if cerr := in.peers.close(); cerr != nil {
		in.log.Warn("closing connections", "err", cerr)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// follow feeds the index, from the checkpoint on. The ledger's stream may break and is taken up again;
// a block that the index refuses ends everything.
func (in *Institution) follow(ctx context.Context) error {
	err := in.recognise(ctx)
	if err == nil {
		err = in.resume(ctx)
	}
	pause := firstPause
	for ; ctx.Err() == nil; err = in.recognise(ctx) {
		if err != nil {
			in.fail(err)
			return err
		}
		for block, err := range in.cfg.Client.Blocks(ctx, in.index.Height()) {
			if err != nil {
				in.log.Warn("lost the ledger's blocks; trying again", "err", err, "in", pause)
				break
			}
			if err := in.apply(block); err != nil {
				in.fail(err)
				return err
			}
			pause = firstPause
		}
		_ = network.Sleep(ctx, pause)
		pause = min(2*pause, mostPause)
	}
	return nil
}

func (in *Institution) apply(block *network.Block) error {
	first := !in.hasGenesis()
	if err := in.inPlace(block); err != nil {
		return err
	}
	if err := in.index.Apply(block); err != nil {
		return err
	}
	if first && in.hasGenesis() {
		if err := in.checkGenesis(); err != nil {
			return err
		}
	}
	in.tellRefused()
	in.blocks.fire()
	return nil
}

// tellRefused logs what the index has refused since it was asked last.
func (in *Institution) tellRefused() {
	n, list := in.index.Refused(in.refused)
	for _, r := range list {
		in.log.Error("the ledger records what does not follow from signatures; it counts for nothing",
			"block", r.At.Block, "transaction", r.Tx, "record", r.What, "reason", r.Reason)
	}
	in.refused = n
}

func (in *Institution) hasGenesis() bool {
	_, ok := in.index.Genesis()
	return ok
}

// checkGenesis compares the ledger's policy with the one that this member was
// given out of band. On another network its keys must not be used.
func (in *Institution) checkGenesis() error {
	got, _ := in.index.Genesis()
	a, err := json.Marshal(got)
	if err != nil {
		return err
	}
	b, err := json.Marshal(in.genesis)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fault.New(fault.Conflict, "the ledger's genesis document is not the one this member was configured with")
	}
	return nil
}

// onChange does work now and after every block, and where it failed also after a
// pause.
func (in *Institution) onChange(ctx context.Context, name string, work func(context.Context) error) error {
	pause := firstPause
	for ctx.Err() == nil {
		changed := in.blocks.next()
		ready, err := in.caughtUp(ctx)
		if ready && in.hasGenesis() && in.Stopped() == nil {
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

// caughtUp reports whether the index has read the blocks that were there when it
// was asked for the first time. Before, everything that this member has done
// long ago would look undone.
func (in *Institution) caughtUp(ctx context.Context) (bool, error) {
	in.mu.Lock()
	target := in.start
	in.mu.Unlock()
	if target == 0 {
		height, err := in.cfg.Height(ctx)
		if err != nil {
			return false, fault.New(fault.Unavailable, "the ledger's height is not known: %w", err)
		}
		in.mu.Lock()
		in.start = height
		in.mu.Unlock()
		target = height
	}
	if in.index.Height() < max(target, in.least()) {
		return false, nil
	}
	in.inherit()
	return true, nil
}

// inherit notes, once, the queries that are older than this process. Whether a
// share of one of them has left is in the state; but the state may be a copy that
// was restored, and then it does not know (tooLate).
func (in *Institution) inherit() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.inherited != nil {
		return
	}
	in.inherited = map[string]bool{}
	for _, id := range in.index.Open() {
		in.inherited[id] = true
	}
}

// severity: what is merely not there yet is no reason to wake anybody.
func severity(err error) slog.Level {
	if errors.Is(err, context.Canceled) || fault.Of(err) == fault.Unavailable {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// perform is submit for duties: it returns when this member has read what it
// wrote, so that a duty never does the same again because it looked too early.
func (in *Institution) perform(ctx context.Context, function string, doc any) error {
	res, err := in.submit(ctx, function, doc, nil)
	if err != nil {
		return err
	}
	return in.reads(ctx, res.Block)
}

// reads waits until this member has read a block.
func (in *Institution) reads(ctx context.Context, block uint64) error {
	read := func() (bool, error) { return in.index.Height() > block, nil }
	return in.await(ctx, read, func() error {
		return fault.New(fault.Unavailable, "block %d does not arrive", block)
	})
}

// submit calls the chaincode with one document and decodes the answer into
// result unless that is nil.
func (in *Institution) submit(ctx context.Context, function string, doc, result any) (network.Result, error) {
	if err := in.Stopped(); err != nil {
		return network.Result{}, err
	}
	arg, err := json.Marshal(doc)
	if err != nil {
		return network.Result{}, fmt.Errorf("%s: %w", function, err)
	}
	res, err := network.SubmitRetry(ctx, in.cfg.Client, network.Call{Function: function, Args: []string{string(arg)}})
	if err != nil {
		return res, err
	}
	if result != nil {
		if err := json.Unmarshal(res.Payload, result); err != nil {
			return res, fmt.Errorf("%s answered something else than expected: %w", function, err)
		}
	}
	return res, nil
}

// Submit calls a contract as this member with one JSON document and returns what it
// answers.
func (in *Institution) Submit(ctx context.Context, function string, doc json.RawMessage) (json.RawMessage, error) {
	var out json.RawMessage
	_, err := in.submit(ctx, function, doc, &out)
	return out, err
}
