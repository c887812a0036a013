package institution

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
	checkpointFolder = "checkpoints"
	// checkpointPause is the least time between two checkpoints, and they may take
	// a hundredth of the time at most.
	checkpointPause = time.Minute
	checkpointShare = 100
	// checkpointBlocks is how many blocks a checkpoint must save reading.
	checkpointBlocks = 32
)

// checkpoints writes and reads an institution's checkpoints.
type checkpoints struct {
	mu  sync.Mutex
	dir string
	// height and erasures are how many blocks and erasures the newest one has
	// seen; 0 without one.
	height   uint64
	erasures int
}

// keepCheckpoint writes checkpoints until ctx ends.
func (in *Institution) keepCheckpoint(ctx context.Context) error {
	pause := checkpointPause
	for ctx.Err() == nil {
		_ = network.Sleep(ctx, pause)
		if ctx.Err() != nil || in.failure() != nil || in.index.Height() < in.saved.reached()+checkpointBlocks {
			continue
		}
		start := time.Now()
		if err := in.saveIndex(ctx); err != nil {
			in.log.Warn("no checkpoint was written; a restart reads more blocks again", "err", err)
		}
		pause = max(checkpointPause, checkpointShare*time.Since(start))
	}
	return nil
}

// lastCheckpoint writes one at the end, so that the next start reads nothing again.
func (in *Institution) lastCheckpoint() {
	ctx := context.Background()
	if in.failure() != nil || in.ended() || in.index.Height() == in.saved.reached() {
		return
	}
	if err := in.saveIndex(ctx); err != nil {
		in.log.Warn("no checkpoint was written; the next start reads more blocks again", "err", err)
	}
}

func (c *checkpoints) reached() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.height
}

// forgetInCheckpoint makes sure that what is kept has seen these first erasures of
// the ledger: what the patients' consents said is in no checkpoint any more.
func (in *Institution) forgetInCheckpoint(ctx context.Context, erasures int) error {
	in.saved.mu.Lock()
	done := in.saved.height == 0 || in.saved.erasures >= erasures
	in.saved.mu.Unlock()
	if done {
		return nil
	}
	return in.saveIndex(ctx)
}

// saveIndex writes a checkpoint in the place of the one before.
func (in *Institution) saveIndex(ctx context.Context) error {
	c := &in.saved
	c.mu.Lock()
	defer c.mu.Unlock()
	start := time.Now()
	height, erasures := in.index.Height(), len(in.index.Erasures(0)) // it may see more
	id, key := record.RandomID().String(), make([]byte, 32)
	rand.Read(key)
	err := state.Write(filepath.Join(c.dir, id), func(w io.Writer) error {
		s, err := newSealingWriter(w, key)
		if err != nil {
			return err
		}
		if err := in.index.Save(s); err != nil {
			return err
		}
		return s.Close()
	})
	if err != nil {
		return errors.Join(err, in.tidyCheckpoints())
	}
	old, err := in.vault.Names(store.Checkpoints)
	if err != nil {
		return err
	}
	if err := in.vault.Replace(ctx, old, append(in.headEntry(), store.Entry{Name: store.Checkpoints + id, Value: key})...); err != nil {
		return err
	}
	c.height, c.erasures = height, erasures
	in.log.Debug("checkpoint", "height", height, "took", time.Since(start))
	return in.tidyCheckpoints()
}

// tidyCheckpoints removes every file but the checkpoint that counts.
func (in *Institution) tidyCheckpoints() error {
	names, err := in.vault.Names(store.Checkpoints)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(in.saved.dir)
	if err != nil {
		return err
	}
	var all error
	for _, e := range entries {
		if len(names) != 1 || store.Checkpoints+e.Name() != names[0] {
			all = errors.Join(all, os.Remove(filepath.Join(in.saved.dir, e.Name())))
		}
	}
	return all
}

// openCheckpoints makes the folder and drops what a crash has left in it.
func (in *Institution) openCheckpoints() error {
	in.saved.dir = filepath.Join(in.cfg.Dir, checkpointFolder)
	if err := os.MkdirAll(in.saved.dir, 0o700); err != nil {
		return err
	}
	return in.tidyCheckpoints()
}

// readCheckpoint loads the checkpoint; nil where there is none.
func (in *Institution) readCheckpoint() (*index.Index, error) {
	names, err := in.vault.Names(store.Checkpoints)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	key, _, err := in.vault.Get(names[0])
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(in.saved.dir, strings.TrimPrefix(names[0], store.Checkpoints)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := newOpeningReader(f, key)
	if err != nil {
		return nil, err
	}
	return index.Load(r)
}

// resume goes on from the checkpoint, if the ledger is still the one that it was
// made of. Otherwise the ledger is read from its first block.
func (in *Institution) resume(ctx context.Context) error {
	loaded, err := in.readCheckpoint()
	if loaded == nil && err == nil {
		return nil
	}
	if err == nil {
		err = in.sameLedger(ctx, loaded)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		in.log.Warn("the checkpoint is of no use; reading the ledger from its first block", "err", err)
		return in.dropCheckpoint(ctx)
	}
	erasures := len(loaded.Erasures(0))
	if err := in.index.Resume(loaded); err != nil {
		return err
	}
	in.refused, _ = in.index.Refused(0)
	in.saved.mu.Lock()
	in.saved.height, in.saved.erasures = in.index.Height(), erasures
	in.saved.mu.Unlock()
	in.log.Info("going on from the checkpoint", "height", in.index.Height())
	if in.hasGenesis() {
		if err := in.checkGenesis(); err != nil {
			return err
		}
	}
	in.blocks.fire()
	return nil
}

// dropCheckpoint forgets a checkpoint that is of no use here: it may be one of
// another version, with what patients have said who are erased by now.
func (in *Institution) dropCheckpoint(ctx context.Context) error {
	names, err := in.vault.Names(store.Checkpoints)
	if err != nil {
		return err
	}
	if err := in.vault.Replace(ctx, names); err != nil {
		return err
	}
	return in.tidyCheckpoints()
}

// sameLedger compares the last block that an index has read with the ledger's,
// waiting for a ledger that does not answer.
func (in *Institution) sameLedger(ctx context.Context, loaded *index.Index) error {
	height, last := loaded.Head()
	if height == 0 {
		return nil
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		hash, err := in.blockHash(ctx, height-1)
		switch {
		case err == nil && hash != last:
			return fmt.Errorf("block %d of the ledger has another hash", height-1)
		case err == nil || fault.Of(err) == fault.NotFound || ctx.Err() != nil:
			return err
		}
		in.log.Warn("the ledger does not answer; trying again", "err", err, "in", pause)
		_ = network.Sleep(ctx, pause)
	}
}

// blockHash reads the hash of a block; fault.NotFound where the ledger is shorter.
func (in *Institution) blockHash(ctx context.Context, number uint64) (record.ID, error) {
	height, err := in.cfg.Height(ctx)
	if err != nil {
		return record.ID{}, err
	}
	if height <= number {
		return record.ID{}, fault.New(fault.NotFound, "the ledger has %d blocks, and the checkpoint has read %d", height, number+1)
	}
	for b, err := range in.cfg.Client.Blocks(ctx, number) {
		if err != nil {
			return record.ID{}, err
		}
		return b.Hash, nil
	}
	return record.ID{}, fault.New(fault.Unavailable, "the ledger's blocks end before block %d", number)
}
