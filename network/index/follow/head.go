package follow

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// A ledger that was rolled back, or is another one, has forgotten what was acted upon:
// revocations, what queries have cost, which hours were opened. So the number and the
// hash of the newest block that was read are kept as a high-water mark, and the follower
// works with a ledger that contains this block or with none. Only its operator can say
// otherwise (AcceptLedger).

// Block names a block of the ledger.
type Block struct {
	Number uint64    `json:"number"`
	Hash   record.ID `json:"hash"`
}

// Mark is the newest block that was read, for the vault; nothing before there is
// one, while what was read before the start is read again, and once another ledger was
// accepted.
func (f *Follower) Mark() []store.Entry {
	height, hash := f.index.Head()
	if height < f.Least() || height == 0 || f.wasAccepted() {
		return nil
	}
	raw, err := json.Marshal(Block{height - 1, hash})
	if err != nil {
		return nil // an identifier and a number: this cannot be
	}
	return []store.Entry{{Name: store.Head, Value: raw}}
}

// Least is how many blocks this follower has to read to be where it was before its start.
func (f *Follower) Least() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == nil {
		return 0
	}
	return f.head.Number + 1
}

// known is the newest block that this follower has read, before a restart or since; nil
// for none.
func (f *Follower) known() *Block {
	height, hash := f.index.Head()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head != nil && height <= f.head.Number+1 || height == 0 {
		return f.head
	}
	return &Block{height - 1, hash}
}

// inPlace checks that the newest block which was known before the start comes again
// where it was. A server could have shown it by itself, and serve another ledger now.
func (f *Follower) inPlace(b *network.Block) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == nil || b.Number != f.head.Number || b.Hash == f.head.Hash {
		return nil
	}
	return fault.New(fault.Conflict, "the ledger serves block %d with hash %s, and this %s has read it with hash %s: "+
		"whoever serves the ledger has shown one and serves another", b.Number, b.Hash, f.cfg.Role, f.head.Hash)
}

// NewestKnown is the newest block that a follower with its store in dir has read,
// nil for none. It is for checks while no process has the state open.
func NewestKnown(dir string) (*Block, error) {
	s, err := store.OpenReadOnly(dir, "")
	if err != nil {
		return nil, err
	}
	var b *Block
	err = errors.Join(s.GetJSON(store.Head, &b), s.Close())
	return b, err
}

// recognise returns when the ledger contains the newest block that this follower has
// read, or when ctx ends. Meanwhile it is stopped. It is an error where the
// operator has accepted another ledger than the one that the index has read: only a
// new start helps then.
func (f *Follower) recognise(ctx context.Context) error {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, mostPause) {
		var err error
		if known := f.known(); known != nil {
			err = f.contains(ctx, *known)
		}
		if err == nil {
			f.halt(nil)
			return nil
		}
		if ctx.Err() != nil {
			break
		}
		if fault.Of(err) == fault.Conflict {
			f.halt(err)
		} else {
			f.log.Warn("the ledger does not answer; trying again", "err", err, "in", pause)
		}
		timer, cancel := context.WithTimeout(ctx, pause)
		select {
		case <-timer.Done():
		case <-f.accepted:
			pause = firstPause
		}
		cancel()
		if f.index.Height() > 0 && f.wasAccepted() {
			return fault.New(fault.Conflict, "another ledger was accepted; start this %s again, and it reads that from the first block", f.cfg.Role)
		}
	}
	return nil
}

// contains checks that the ledger has a block; fault.Conflict where it has not.
func (f *Follower) contains(ctx context.Context, b Block) error {
	hash, err := f.blockHash(ctx, b.Number)
	if fault.Of(err) != fault.NotFound && (err != nil || hash == b.Hash) {
		return err
	}
	has := "has fewer blocks"
	if err == nil {
		has = "has " + hash.String() + " there"
	}
	return fault.New(fault.Conflict, "the ledger was rolled back or is another one: this %s has read block %d with hash %s, the ledger %s. "+
		"It gives no shares and posts nothing until the ledger has this block, or until its operator accepts another with \"vitalveil %s accept-ledger\"",
		f.cfg.Role, b.Number, b.Hash, has, f.cfg.Role)
}

// halt notes why this follower does nothing, or with nil that it goes on.
func (f *Follower) halt(err error) {
	f.mu.Lock()
	before := f.stopped
	if f.stopped = err; err == nil {
		f.other = false
	}
	f.mu.Unlock()
	switch {
	case err != nil && before == nil:
		f.log.Error("stopped", "err", err)
	case err == nil && before != nil:
		f.log.Info("the ledger has the block again: going on")
	}
	if err == nil {
		f.once.Do(func() { close(f.recognised) })
	}
	f.Fire()
}

// Stopped says why this follower gives no shares and posts nothing; nil while it works.
func (f *Follower) Stopped() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped
}

// Recognised is closed when the ledger was found to be the one that this follower knows,
// or one for a member that knows none.
func (f *Follower) Recognised() <-chan struct{} { return f.recognised }

func (f *Follower) wasAccepted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.other
}

// AcceptLedger is the operator's word that a ledger without the newest block which
// this follower has read is the one to work with. It names a block of that ledger. What
// was on the other ledger only is given up: patients' revocations and erasures,
// budgets that queries have spent, and the rule that an hour is opened once, beyond
// a member's own answers. fault.Conflict while it is not stopped, and where
// the ledger has not got that block either.
func (f *Follower) AcceptLedger(ctx context.Context, b Block) error {
	if f.Stopped() == nil || f.cfg.Store == nil {
		return fault.New(fault.Conflict, "this %s is not stopped: the ledger is the one that it knows", f.cfg.Role)
	}
	hash, err := f.blockHash(ctx, b.Number)
	if err != nil {
		return err
	}
	if hash != b.Hash {
		return fault.New(fault.Conflict, "block %d of the ledger has hash %s, and you accept one with %s", b.Number, hash, b.Hash)
	}
	raw, err := json.Marshal(b)
	if err != nil {
		return err
	}
	if err := f.dropCheckpoint(ctx); err != nil {
		return err
	}
	if err := f.cfg.Store.Put(store.Head, raw); err != nil {
		return err
	}
	f.log.Warn("the operator has accepted another ledger", "block", b.Number, "hash", b.Hash)
	f.mu.Lock()
	f.other, f.head = true, &b
	f.mu.Unlock()
	select {
	case f.accepted <- struct{}{}:
	default:
	}
	return nil
}

// Newest returns the newest block of the ledger at hand, whatever this follower knows.
func (f *Follower) Newest(ctx context.Context) (Block, error) {
	height, err := f.cfg.Height(ctx)
	if err != nil {
		return Block{}, err
	}
	if height == 0 {
		return Block{}, fault.New(fault.Unavailable, "the ledger has no blocks")
	}
	hash, err := f.blockHash(ctx, height-1)
	return Block{height - 1, hash}, err
}

// HeadPause is how often the newest block is noted while blocks come; with every
// answer it is noted as well.
const HeadPause = time.Second

// keepHead notes the newest block until ctx ends.
func (f *Follower) keepHead(ctx context.Context) error {
	noted := uint64(0)
	for network.Sleep(ctx, HeadPause) == nil {
		height := f.index.Height()
		if height == noted || f.Failure() != nil {
			continue
		}
		if err := f.cfg.Store.PutAll(f.Mark()...); err != nil {
			return err
		}
		noted = height
	}
	return nil
}
