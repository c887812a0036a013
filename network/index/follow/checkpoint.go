package follow

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// A checkpoint is the index as it was after some block, so that a restart reads the
// blocks after it only. It has what consents say, so every checkpoint is sealed
// under a key of its own, which the vault keeps under the checkpoint's name: the
// one that is named there is the one that counts, and taking the name away makes
// what was sealed unreadable. Losing a checkpoint costs time and nothing else.
const (
	// CheckpointFolder is the folder of checkpoints in Config.Dir.
	CheckpointFolder = "checkpoints"
	// checkpointPause is the least time between two checkpoints, and they may take
	// a hundredth of the time at most.
	checkpointPause = time.Minute
	checkpointShare = 100
	// checkpointBlocks is how many blocks a checkpoint must save reading.
	checkpointBlocks = 32
	// forgetAgain is the pause after a checkpoint could not be written without an erased
	// patient.
	forgetAgain = 5 * time.Second
)

// checkpoints says what the newest one has.
type checkpoints struct {
	mu  sync.Mutex
	dir string
	// height and erasures are how many blocks and erasures the newest one has
	// seen; 0 without one.
	height   uint64
	erasures int
}

// keepCheckpoint writes checkpoints until ctx ends.
func (f *Follower) keepCheckpoint(ctx context.Context) error {
	pause := checkpointPause
	for ctx.Err() == nil {
		_ = network.Sleep(ctx, pause)
		if ctx.Err() != nil || f.Failure() != nil || f.index.Height() < f.saved.reached()+checkpointBlocks {
			continue
		}
		start := time.Now()
		if err := f.Save(ctx); err != nil {
			f.log.Warn("no checkpoint was written; a restart reads more blocks again", "err", err)
		}
		pause = max(checkpointPause, checkpointShare*time.Since(start))
	}
	return nil
}

// lastCheckpoint writes one at the end, so that the next start reads nothing again.
func (f *Follower) lastCheckpoint() {
	ctx := context.Background()
	if f.cfg.Store == nil || f.Failure() != nil || f.cfg.Ended != nil && f.cfg.Ended() || f.index.Height() == f.saved.reached() {
		return
	}
	if err := f.Save(ctx); err != nil {
		f.log.Warn("no checkpoint was written; the next start reads more blocks again", "err", err)
	}
}

func (c *checkpoints) reached() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.height
}

// Forget makes sure that what is kept has seen these first erasures of
// the ledger: what the patients' consents said is in no checkpoint any more.
func (f *Follower) Forget(ctx context.Context, erasures int) error {
	f.saved.mu.Lock()
	done := f.saved.height == 0 || f.saved.erasures >= erasures
	f.saved.mu.Unlock()
	if done {
		return nil
	}
	return f.Save(ctx)
}

// Save writes a checkpoint in the place of the one before.
func (f *Follower) Save(ctx context.Context) error {
	c := &f.saved
	c.mu.Lock()
	defer c.mu.Unlock()
	start := time.Now()
	height, erasures := f.index.Height(), len(f.index.Erasures(0)) // it may see more
	id, key := record.RandomID().String(), make([]byte, 32)
	rand.Read(key)
	err := state.Write(filepath.Join(c.dir, id), func(w io.Writer) error {
		s, err := newSealingWriter(w, key)
		if err != nil {
			return err
		}
		if err := f.index.Save(s); err != nil {
			return err
		}
		return s.Close()
	})
	if err != nil {
		return errors.Join(err, f.tidyCheckpoints())
	}
	old, err := f.cfg.Store.Names(store.Checkpoints)
	if err != nil {
		return err
	}
	if err := f.cfg.Store.Replace(ctx, old, append(f.Mark(), store.Entry{Name: store.Checkpoints + id, Value: key})...); err != nil {
		return err
	}
	c.height, c.erasures = height, erasures
	f.log.Debug("checkpoint", "height", height, "took", time.Since(start))
	return f.tidyCheckpoints()
}

// tidyCheckpoints removes every file but the checkpoint that counts.
func (f *Follower) tidyCheckpoints() error {
	names, err := f.cfg.Store.Names(store.Checkpoints)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(f.saved.dir)
	if err != nil {
		return err
	}
	var all error
	for _, e := range entries {
		if len(names) != 1 || store.Checkpoints+e.Name() != names[0] {
			all = errors.Join(all, os.Remove(filepath.Join(f.saved.dir, e.Name())))
		}
	}
	return all
}

// openCheckpoints makes the folder and drops what a crash has left in it.
func (f *Follower) openCheckpoints() error {
	f.saved.dir = filepath.Join(f.cfg.Dir, CheckpointFolder)
	if err := os.MkdirAll(f.saved.dir, 0o700); err != nil {
		return err
	}
	return f.tidyCheckpoints()
}

// Saved loads the checkpoint; nil where there is none.
func (f *Follower) Saved() (*index.Index, error) {
	names, err := f.cfg.Store.Names(store.Checkpoints)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	key, _, err := f.cfg.Store.Get(names[0])
	if err != nil {
		return nil, err
	}
	file, err := os.Open(filepath.Join(f.saved.dir, strings.TrimPrefix(names[0], store.Checkpoints)))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	r, err := newOpeningReader(file, key)
	if err != nil {
		return nil, err
	}
	return index.Load(r)
}

// resume goes on from the checkpoint, if the ledger is still the one that it was
// made of. Otherwise the ledger is read from its first block.
func (f *Follower) resume(ctx context.Context) error {
	if f.cfg.Store == nil {
		return nil
	}
	loaded, err := f.Saved()
	if loaded == nil && err == nil {
		return nil
	}
	if err == nil {
		err = f.sameLedger(ctx, loaded)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		f.log.Warn("the checkpoint is of no use; reading the ledger from its first block", "err", err)
		return f.dropCheckpoint(ctx)
	}
	erasures := len(loaded.Erasures(0))
	if err := f.index.Resume(loaded); err != nil {
		return err
	}
	f.refused, _ = f.index.Refused(0)
	f.saved.mu.Lock()
	f.saved.height, f.saved.erasures = f.index.Height(), erasures
	f.saved.mu.Unlock()
	f.log.Info("going on from the checkpoint", "height", f.index.Height())
	if f.HasGenesis() {
		if err := f.checkGenesis(); err != nil {
			return err
		}
	}
	f.Fire()
	return nil
}

// dropCheckpoint forgets a checkpoint that is unusable here: it may be one of
// another version, with what patients have said who are erased by now.
func (f *Follower) dropCheckpoint(ctx context.Context) error {
	names, err := f.cfg.Store.Names(store.Checkpoints)
	if err != nil {
		return err
	}
	if err := f.cfg.Store.Replace(ctx, names); err != nil {
		return err
	}
	return f.tidyCheckpoints()
}

// sameLedger compares the last block that an index has read with the ledger's,
// waiting for a ledger that does not answer.
func (f *Follower) sameLedger(ctx context.Context, loaded *index.Index) error {
	height, last := loaded.Head()
	if height == 0 {
		return nil
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		hash, err := f.blockHash(ctx, height-1)
		switch {
		case err == nil && hash != last:
			return fmt.Errorf("block %d of the ledger has another hash", height-1)
		case err == nil || fault.Of(err) == fault.NotFound || ctx.Err() != nil:
			return err
		}
		f.log.Warn("the ledger does not answer; trying again", "err", err, "in", pause)
		_ = network.Sleep(ctx, pause)
	}
}

// blockHash reads the hash of a block; fault.NotFound where the ledger is shorter.
func (f *Follower) blockHash(ctx context.Context, number uint64) (record.ID, error) {
	height, err := f.cfg.Height(ctx)
	if err != nil {
		return record.ID{}, err
	}
	if height <= number {
		return record.ID{}, fault.New(fault.NotFound, "the ledger has %d blocks, and the checkpoint has read %d", height, number+1)
	}
	for b, err := range f.cfg.Client.Blocks(ctx, number) {
		if err != nil {
			return record.ID{}, err
		}
		return b.Hash, nil
	}
	return record.ID{}, fault.New(fault.Unavailable, "the ledger's blocks end before block %d", number)
}

// keepForgotten has what erased patients have said out of the checkpoint as soon as their
// erasure was read, until ctx ends.
func (f *Follower) keepForgotten(ctx context.Context) error {
	for ctx.Err() == nil {
		changed := f.Next()
		ready, err := f.CaughtUp(ctx)
		if ready && err == nil && f.Failure() == nil {
			err = f.Forget(ctx, len(f.index.Erasures(0)))
		}
		var again <-chan time.Time
		if err != nil {
			f.log.Debug("the checkpoint still has what erased patients have said; trying again", "err", err)
			again = time.After(forgetAgain)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
		}
	}
	return nil
}
