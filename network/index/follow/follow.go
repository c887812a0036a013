// Package follow keeps an index of the ledger up: blocks as they come, details that came
// late, checkpoints so that a restart does not read the ledger from its first block, and
// a high-water mark by which a ledger that was rolled back is known.
//
// Entry points: Follower is for programs that go on for ever; Read is for checks that
// read a ledger once.
//
// Trust: whoever serves the ledger is not trusted. The index judges what it says; the
// genesis document must be the one that the caller was given, and blocks must contain
// those that were read before.
//
// Promise: a Follower with a Store never goes on with a ledger that lacks the newest
// block which it has read, unless its operator accepts another one in so many words.
// What a checkpoint says about patients is sealed, and gone when they are erased.
package follow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// What failed is tried again after a wait that doubles.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

// Config is what a follower is made of.
type Config struct {
	Genesis record.Genesis // what the ledger has to say of its network
	Client  network.Client
	// Height returns the number of blocks that the peer behind Client has.
	Height func(context.Context) (uint64, error)
	Index  *index.Index // of no block yet
	// Role is what people call the program, as in "vitalveil ROLE accept-ledger".
	Role string
	// Store has the high-water mark and the keys of checkpoints, which are in Dir; nil:
	// there are none, and every start reads the whole ledger.
	Store *store.Store
	Dir   string
	// Ended reports that no checkpoint is needed at the end; nil: it is.
	Ended func() bool
	Log   *slog.Logger // nil: no log
}

// Follower is an index that follows a ledger. It is safe for concurrent use.
type Follower struct {
	cfg     Config
	index   *index.Index
	log     *slog.Logger
	changed *changes
	saved   checkpoints
	hurry   atomic.Bool // details that are missing may be readable now
	refused int         // of the refusals of the index, those that were logged

	accepted   chan struct{} // another ledger was accepted
	recognised chan struct{} // closed, once, when the ledger is known to be the one
	once       sync.Once

	mu     sync.Mutex
	start  uint64 // blocks that there were when Run began; 0: not known yet
	failed error  // why the index does not go on
	// stopped is why nothing is to be done: the ledger has not got what was read of it.
	stopped error
	other   bool // the operator has accepted another ledger
	// head is the newest block that was read before the start, or accepted; nil for none.
	head *Block
}

// New makes a follower of what its store says, and drops what a crash has left of
// checkpoints. Call Run to start.
func New(cfg Config) (*Follower, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	f := &Follower{
		cfg: cfg, index: cfg.Index, log: cfg.Log, changed: newChanges(),
		accepted: make(chan struct{}, 1), recognised: make(chan struct{}),
	}
	if cfg.Store == nil {
		return f, nil
	}
	return f, errors.Join(cfg.Store.GetJSON(store.Head, &f.head), f.openCheckpoints())
}

// Index is the reading of the ledger.
func (f *Follower) Index() *index.Index { return f.index }

// Run follows the ledger until ctx ends, which is no error. An error means that the
// ledger cannot be followed: it is of another network, or of another version of the
// program.
func (f *Follower) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.follow(ctx) })
	g.Go(func() error { return f.supply(ctx) })
	if f.cfg.Store != nil {
		g.Go(func() error { return f.keepCheckpoint(ctx) })
		g.Go(func() error { return f.keepHead(ctx) })
		g.Go(func() error { return f.keepForgotten(ctx) })
	}
	err := g.Wait()
	f.lastCheckpoint()
	return err
}

// follow feeds the index, from the checkpoint on. The ledger's stream may break and is
// resumed; a block that the index refuses ends everything.
func (f *Follower) follow(ctx context.Context) error {
	err := f.recognise(ctx)
	if err == nil {
		err = f.resume(ctx)
	}
	pause := firstPause
	for ; ctx.Err() == nil; err = f.recognise(ctx) {
		if err != nil {
			f.fail(err)
			return err
		}
		for block, err := range f.cfg.Client.Blocks(ctx, f.index.Height()) {
			if err != nil {
				f.log.Warn("lost the ledger's blocks; trying again", "err", err, "in", pause)
				break
			}
			if err := f.apply(block); err != nil {
				f.fail(err)
				return err
			}
			pause = firstPause
		}
		_ = network.Sleep(ctx, pause)
		pause = min(2*pause, mostPause)
	}
	return nil
}

func (f *Follower) apply(block *network.Block) error {
	first := !f.HasGenesis()
	if err := f.inPlace(block); err != nil {
		return err
	}
	if err := f.index.Apply(block); err != nil {
		return err
	}
	if first && f.HasGenesis() {
		if err := f.checkGenesis(); err != nil {
			return err
		}
	}
	f.tellRefused()
	f.Fire()
	return nil
}

// tellRefused logs what the index has refused since it was asked last.
func (f *Follower) tellRefused() {
	n, list := f.index.Refused(f.refused)
	for _, r := range list {
		f.log.Error("the ledger records what does not follow from signatures; it counts for nothing",
			"block", r.At.Block, "transaction", r.Tx, "record", r.What, "reason", r.Reason)
	}
	f.refused = n
}

// HasGenesis reports whether the network's document was read.
func (f *Follower) HasGenesis() bool {
	_, ok := f.index.Genesis()
	return ok
}

// checkGenesis compares the ledger's policy with the one that was given out of band. On
// another network no key must be used.
func (f *Follower) checkGenesis() error {
	got, _ := f.index.Genesis()
	a, err := json.Marshal(got)
	if err != nil {
		return err
	}
	b, err := json.Marshal(f.cfg.Genesis)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fault.New(fault.Conflict, "the ledger's genesis document is not the one this %s was configured with", f.cfg.Role)
	}
	return nil
}

// CaughtUp reports whether the index has read the blocks that were there when this was
// asked for the first time. Before, everything that was done long ago would look undone.
func (f *Follower) CaughtUp(ctx context.Context) (bool, error) {
	f.mu.Lock()
	target := f.start
	f.mu.Unlock()
	if target == 0 {
		height, err := f.cfg.Height(ctx)
		if err != nil {
			return false, fault.New(fault.Unavailable, "the ledger's height is not known: %w", err)
		}
		f.mu.Lock()
		f.start = height
		f.mu.Unlock()
		target = height
	}
	return f.index.Height() >= max(target, f.Least()), nil
}

// Next returns a channel that is closed at the next change of the index. Get it before
// looking at what may change, or a change in between is missed.
func (f *Follower) Next() <-chan struct{} { return f.changed.next() }

// Fire says that something has changed, as a block does.
func (f *Follower) Fire() { f.changed.fire() }

// Hurry says that keys have come: details that were missing may be readable now.
func (f *Follower) Hurry() {
	f.hurry.Store(true)
	f.Fire()
}

// Failure is why the index cannot go on, or nothing is to be done; nil while all is well.
func (f *Follower) Failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	return f.stopped
}

func (f *Follower) fail(err error) {
	f.mu.Lock()
	if f.failed == nil {
		f.failed = err
	}
	f.mu.Unlock()
	f.Fire()
}

// supply brings details of consents that came late into the index, after pauses that
// double, until ctx ends.
func (f *Follower) supply(ctx context.Context) error {
	pause, due := firstPause, time.Time{}
	for ctx.Err() == nil {
		changed := f.Next()
		before := len(f.index.Missing())
		if f.hurry.Swap(false) || before == 0 {
			pause, due = firstPause, time.Time{}
		}
		ready, err := f.CaughtUp(ctx)
		if ready && err == nil && before > 0 && f.Failure() == nil && !time.Now().Before(due) {
			err = f.index.Reconcile(ctx, f.cfg.Client)
			due = time.Now().Add(pause)
			pause = min(2*pause, mostPause)
			if len(f.index.Missing()) < before {
				pause, due = firstPause, time.Time{}
				f.Fire() // cohorts may be known now
				continue
			}
		}
		if err != nil {
			f.log.Debug("details of consents are missing; trying again", "err", err)
		}
		var again <-chan time.Time
		if before > 0 {
			again = time.After(max(firstPause, time.Until(due)))
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
		}
	}
	return nil
}

// changes wakes everybody who waits for the next change.
type changes struct {
	mu sync.Mutex
	ch chan struct{}
}

func newChanges() *changes { return &changes{ch: make(chan struct{})} }

func (s *changes) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}

func (s *changes) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}

// Read applies blocks to an index, up to the one before the number until, each of which
// seen gets as well.
func Read(blocks iter.Seq2[*network.Block, error], ix *index.Index, until uint64, seen func(*network.Block) error) error {
	for b, err := range blocks {
		if err != nil {
			return err
		}
		if err := errors.Join(ix.Apply(b), seen(b)); err != nil {
			return fmt.Errorf("block %d: %w", b.Number, err)
		}
		if b.Number+1 == until {
			break
		}
	}
	return nil
}
