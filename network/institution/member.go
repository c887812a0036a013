package institution

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"

	"github.com/vitalveil/vitalveil/network/institution/keysum"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// member is who this process is, what it was given, and the ledger as it reads it: what
// all parts of an institution share. None of it changes once New has returned.
type member struct {
	*follow.Follower
	cfg     Config // its Genesis has the members, threshold and profile of the epoch
	genesis record.Genesis
	self    record.Member
	context he.Context
	params  *he.Params // of hours; sharing, pieces and seeds are the same for days
	hours   rowKind
	days    rowKind // without parameters where the network's rows have none
	index   *index.Index
	vault   *store.Store
	numbers *keysum.Numbers
	sums    *keysum.Sums

	peers *peers
	log   *slog.Logger
}

// checkEpoch reports whether the ledger has this process's epoch. Where it has
// another one under that number, this member's keys must not be used.
func (me *member) checkEpoch() error {
	s, err := me.index.Epoch(me.context.Epoch)
	if err != nil {
		return fault.New(fault.Unavailable, "epoch %d has not begun yet", me.context.Epoch)
	}
	if s.Epoch.Digest(me.genesis.Network) != me.cfg.Epoch.Digest(me.genesis.Network) {
		return fault.New(fault.Conflict, "the ledger's epoch %d is not the one this member was configured with", me.context.Epoch)
	}
	return nil
}

// mine refuses queries that this process does not answer: those about devices of
// another epoch, whose seeds it does not hold, and all once its own is retired.
func (me *member) mine(q record.QueryState) error {
	if q.Ask.Epoch != me.context.Epoch {
		return fault.New(fault.Conflict, "query %s is about devices of epoch %d; this process of %s serves epoch %d", q.ID, q.Ask.Epoch, me.self.MSP, me.context.Epoch)
	}
	if err := me.checkEpoch(); err != nil {
		return err
	}
	_, err := me.index.Living(me.context.Epoch)
	return err
}

// serves reports whether a device is of this process's epoch.
func (me *member) serves(device record.ID) bool {
	s, _, _, known := me.index.Device(device)
	return known && s.Device.Epoch == me.context.Epoch
}

// ended reports whether this process's epoch is retired.
func (me *member) ended() bool {
	_, err := me.index.Living(me.context.Epoch)
	return fault.Of(err) == fault.Expired
}

// VoteQuarantine votes that a device be put into quarantine, or come out of it.
func (me *member) VoteQuarantine(ctx context.Context, v record.VoteQuarantine) error {
	return perform(ctx, me, contracts.RegistryVoteQuarantine, v)
}

// CreateStudy registers a study of this institution. The same study again is
// fault.Conflict.
func (me *member) CreateStudy(ctx context.Context, s record.Study) error {
	return perform(ctx, me, contracts.StudyCreate, s)
}

// blob fetches a blob and checks that it is the one with this hash.
func (me *member) blob(ctx context.Context, id record.ID) ([]byte, error) {
	b, err := me.cfg.Blobs.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", id.Short(), err)
	}
	if record.SumID(b) != id {
		return nil, fault.New(fault.Invalid, "blob %s has other contents than its name says", id.Short())
	}
	return b, nil
}

// enough is how many holders of a piece must have the same share for one of them to be
// honest while fewer than the threshold collude; where so many do not hold it, all.
func (me *member) enough(piece int) int {
	return min(me.params.Sharing().Threshold, len(me.params.Sharing().Holders(piece)))
}

func (me *member) holders(piece int) string {
	var names []string
	for _, m := range me.params.Sharing().Holders(piece) {
		names = append(names, me.cfg.Genesis.Members[m].MSP)
	}
	return strings.Join(names, " and ")
}

// holdersOwnFirst lists a piece's holders, this member first if it is one.
func (me *member) holdersOwnFirst(piece int) []int {
	var out []int
	if me.params.Sharing().Holds(me.cfg.Member, piece) {
		out = append(out, me.cfg.Member)
	}
	for _, m := range me.params.Sharing().Holders(piece) {
		if m != me.cfg.Member {
			out = append(out, m)
		}
	}
	return out
}

// minimum is the smallest cohort that a query opens.
func (me *member) minimum(q record.QueryState) int {
	return max(q.MinCohort, me.cfg.Genesis.MinCohort)
}

// await waits until done says so, looking again after every block, for at most
// the institution's patience. late makes the error when that is used up.
func (me *member) await(ctx context.Context, done func() (bool, error), late func() error) error {
	timer := time.NewTimer(me.cfg.Patience)
	defer timer.Stop()
	for {
		changed := me.Next()
		if err := me.Failure(); err != nil {
			return err
		}
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-timer.C:
			return late()
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "gave up waiting: %w", ctx.Err())
		}
	}
}

// readAll waits until this member has read the newest block of the ledger.
func (me *member) readAll(ctx context.Context) error {
	read := me.index.Height() // before the ledger is asked: it may grow meanwhile
	height, err := me.cfg.Height(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "the ledger's height is not known: %w", err)
	}
	if height < read {
		return fault.New(fault.Unavailable, "the ledger has %d blocks, and %s has read %d: it lags behind, or was rolled back", height, me.self.MSP, read)
	}
	height = max(height, me.Least())
	done := func() (bool, error) { return me.index.Height() >= height, nil }
	return me.await(ctx, done, func() error {
		return fault.New(fault.Unavailable, "%s is still reading the ledger; try again", me.self.MSP)
	})
}

// perform is submit for duties: it returns when this member has read what it
// wrote, so that a duty never does the same again because it looked too early.
func perform[A, R any](ctx context.Context, me *member, m contracts.Write[A, R], doc A) error {
	_, res, err := submit(ctx, me, m, doc)
	if err != nil {
		return err
	}
	return me.reads(ctx, res.Block)
}

// reads waits until this member has read a block.
func (me *member) reads(ctx context.Context, block uint64) error {
	read := func() (bool, error) { return me.index.Height() > block, nil }
	return me.await(ctx, read, func() error {
		return fault.New(fault.Unavailable, "block %d does not arrive", block)
	})
}

// submit calls a contract as this member, unless it has stopped.
func submit[A, R any](ctx context.Context, me *member, m contracts.Write[A, R], doc A) (R, network.Result, error) {
	if err := me.Stopped(); err != nil {
		var none R
		return none, network.Result{}, err
	}
	return m.Submit(ctx, me.cfg.Client, doc)
}
