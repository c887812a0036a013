package institution

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

// A ledger that was rolled back, or is another one, has forgotten what this member has
// acted upon: revocations, what queries have cost, which hours were opened. So a
// member keeps the number and the hash of the newest block that it has read beside its
// answers, and works with a ledger that contains this block or with none. Only its
// operator can say otherwise (AcceptLedger).

// Block names a block of the ledger.
type Block struct {
	Number uint64    `json:"number"`
	Hash   record.ID `json:"hash"`
}

// headEntry is the newest block that was read, for the vault; nothing before there is
// one, while what was read before the start is read again, and once another ledger was
// accepted.
func (in *Institution) headEntry() []store.Entry {
	height, hash := in.index.Head()
	if height < in.least() || height == 0 || in.wasAccepted() {
		return nil
	}
	raw, err := json.Marshal(Block{height - 1, hash})
	if err != nil {
		return nil // an identifier and a number: this cannot be
	}
	return []store.Entry{{Name: store.Head, Value: raw}}
}

// loadHead takes from the vault which block was the newest before the start.
func (in *Institution) loadHead() error { return in.vault.GetJSON(store.Head, &in.head) }

// least is how many blocks this member has to read to be where it was before its start.
func (in *Institution) least() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.head == nil {
		return 0
	}
	return in.head.Number + 1
}

// known is the newest block that this member has read, before a restart or since; nil
// for none.
func (in *Institution) known() *Block {
	height, hash := in.index.Head()
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.head != nil && height <= in.head.Number+1 || height == 0 {
		return in.head
	}
	return &Block{height - 1, hash}
}

// inPlace checks that the newest block which was known before the start comes again
// where it was. A server could have shown it by itself, and serve another ledger now.
func (in *Institution) inPlace(b *network.Block) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.head == nil || b.Number != in.head.Number || b.Hash == in.head.Hash {
		return nil
	}
	return fault.New(fault.Conflict, "the ledger serves block %d with hash %s, and this member has read it with hash %s: "+
		"whoever serves the ledger has shown one and serves another", b.Number, b.Hash, in.head.Hash)
}

// NewestKnown is the newest block that an institution with its state in dir has read,
// nil for none. It is for checks while no process has the state open.
func NewestKnown(dir string) (*Block, error) {
	s, err := store.OpenReadOnly(dir)
	if err != nil {
		return nil, err
	}
	var b *Block
	err = errors.Join(s.GetJSON(store.Head, &b), s.Close())
	return b, err
}

// recognise returns when the ledger contains the newest block that this member has
// read, or when ctx ends. Meanwhile the member is stopped. It is an error where the
// operator has accepted another ledger than the one that the index has read: only a
// new start helps then.
func (in *Institution) recognise(ctx context.Context) error {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, mostPause) {
		var err error
		if known := in.known(); known != nil {
			err = in.contains(ctx, *known)
		}
		if err == nil {
			in.halt(nil)
			return nil
		}
		if ctx.Err() != nil {
			break
		}
		if fault.Of(err) == fault.Conflict {
			in.halt(err)
		} else {
			in.log.Warn("the ledger does not answer; trying again", "err", err, "in", pause)
		}
		timer, cancel := context.WithTimeout(ctx, pause)
		select {
		case <-timer.Done():
		case <-in.accepted:
			pause = firstPause
		}
		cancel()
		if in.index.Height() > 0 && in.wasAccepted() {
			return fault.New(fault.Conflict, "another ledger was accepted; start this member again, and it reads that from the first block")
		}
	}
	return nil
}

// contains checks that the ledger has a block; fault.Conflict where it has not.
func (in *Institution) contains(ctx context.Context, b Block) error {
	hash, err := in.blockHash(ctx, b.Number)
	if fault.Of(err) != fault.NotFound && (err != nil || hash == b.Hash) {
		return err
	}
	has := "has fewer blocks"
	if err == nil {
		has = "has " + hash.String() + " there"
	}
	return fault.New(fault.Conflict, "the ledger was rolled back or is another one: this member has read block %d with hash %s, the ledger %s. "+
		"It gives no shares and posts nothing until the ledger has this block, or until its operator accepts another with \"vitalveil institution accept-ledger\"",
		b.Number, b.Hash, has)
}

// halt notes why this member does nothing, or with nil that it goes on.
func (in *Institution) halt(err error) {
	in.mu.Lock()
	before := in.stopped
	if in.stopped = err; err == nil {
		in.other = false
	}
	in.mu.Unlock()
	switch {
	case err != nil && before == nil:
		in.log.Error("stopped", "err", err)
	case err == nil && before != nil:
		in.log.Info("the ledger has the block again: going on")
	}
	if err == nil {
		in.once.Do(func() { close(in.recognised) })
	}
	in.blocks.fire()
}

// Stopped says why this member gives no shares and posts nothing; nil while it works.
func (in *Institution) Stopped() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.stopped
}

// Recognised is closed when the ledger was found to be the one that this member knows,
// or one for a member that knows none.
func (in *Institution) Recognised() <-chan struct{} { return in.recognised }

func (in *Institution) wasAccepted() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.other
}

// AcceptLedger is the operator's word that a ledger without the newest block which
// this member has read is the one to work with. It names a block of that ledger. What
// was on the other ledger only is given up: patients' revocations and erasures,
// budgets that queries have spent, and the rule that an hour is opened once, beyond
// this member's own answers. fault.Conflict while the member is not stopped, and where
// the ledger has not got that block either.
func (in *Institution) AcceptLedger(ctx context.Context, b Block) error {
	if in.Stopped() == nil {
		return fault.New(fault.Conflict, "%s is not stopped: the ledger is the one that it knows", in.self.MSP)
	}
	hash, err := in.blockHash(ctx, b.Number)
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
	if err := in.dropCheckpoint(ctx); err != nil {
		return err
	}
	if err := in.vault.Put(store.Head, raw); err != nil {
		return err
	}
	in.log.Warn("the operator has accepted another ledger", "block", b.Number, "hash", b.Hash)
	in.mu.Lock()
	in.other, in.head = true, &b
	in.mu.Unlock()
	select {
	case in.accepted <- struct{}{}:
	default:
	}
	return nil
}

// Newest returns the newest block of the ledger at hand, whatever this member knows.
func (in *Institution) Newest(ctx context.Context) (Block, error) {
	height, err := in.cfg.Height(ctx)
	if err != nil {
		return Block{}, err
	}
	if height == 0 {
		return Block{}, fault.New(fault.Unavailable, "the ledger has no blocks")
	}
	hash, err := in.blockHash(ctx, height-1)
	return Block{height - 1, hash}, err
}

// notShorter refuses to work where the ledger has fewer blocks than were read.
func (in *Institution) notShorter(height uint64) error {
	if read := in.index.Height(); height < read {
		return fault.New(fault.Unavailable, "the ledger has %d blocks, and %s has read %d: it lags behind, or was rolled back", height, in.self.MSP, read)
	}
	return nil
}

// headPause is how often the newest block is noted while blocks come; with every
// answer it is noted as well.
const headPause = time.Second

// keepHead notes the newest block until ctx ends.
func (in *Institution) keepHead(ctx context.Context) error {
	noted := uint64(0)
	for network.Sleep(ctx, headPause) == nil {
		height := in.index.Height()
		if height == noted || in.failure() != nil {
			continue
		}
		if err := in.vault.PutAll(in.headEntry()...); err != nil {
			return err
		}
		noted = height
	}
	return nil
}
