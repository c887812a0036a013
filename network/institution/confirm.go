package institution

import (
	"context"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/share"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// confirmer says of other members' releases what this member's own shares are, and of
// each that it cannot speak of so once.
type confirmer struct {
	*member
	answerer *answerer

	mu     sync.Mutex
	unsaid map[string]bool // releases that this member cannot confirm
}

// Unconfirmed is a piece of whose share too few holders are known to have the same
// bytes: one that lied would have moved the answer.
type Unconfirmed struct {
	Piece int      `json:"piece"`
	From  []string `json:"from"` // members that gave it
}

// unconfirmed lists the pieces whose shares nobody could compare. This member's own are
// not among them.
func (as *asker) unconfirmed(got *gathered) []Unconfirmed {
	var out []Unconfirmed
	for piece := range as.params.Sharing().Pieces() {
		from := got.from[piece]
		if len(from) >= as.enough(piece) || slices.Contains(from, as.cfg.Member) {
			continue
		}
		u := Unconfirmed{Piece: piece}
		for _, m := range from {
			u.From = append(u.From, as.cfg.Genesis.Members[m].MSP)
		}
		out = append(out, u)
	}
	return out
}

// settle takes what the ledger says of a release: who stands behind the shares by now.
// An answer that a holder disputes is fault.Conflict.
func (as *asker) settle(a *Answer, q record.QueryState) error {
	a.Standing, a.Unconfirmed = q.Standing, nil
	for piece, s := range q.Shares {
		if len(s.Against) > 0 {
			return fault.New(fault.Conflict, "the answer to query %s is disputed: %v signed for one share of piece %d, %v for another; at least one of them is faulty", q.ID, s.By, piece, s.Against)
		}
		if len(s.By) < as.enough(piece) && !slices.Contains(s.By, q.Asker) {
			a.Unconfirmed = append(a.Unconfirmed, Unconfirmed{piece, s.By})
		}
	}
	return nil
}

// work says of every preliminary release what this member's own shares are.
// A member that was away when it was asked thus confirms or disputes what another gave
// in its absence.
func (co *confirmer) work(ctx context.Context) error {
	var all error
	for _, id := range co.index.Unsettled(co.context.Epoch, co.self.MSP) {
		if co.unsayable(id) {
			continue
		}
		_, err := co.Confirm(ctx, id)
		var no *cannotConfirm
		if errors.As(err, &no) {
			co.log.Info("a release cannot be confirmed here", "query", id, "err", err)
			co.leaveUnsaid(id, no.err)
			continue
		}
		all = errors.Join(all, settled(err))
	}
	return all
}

// cannotConfirm is why a member has no share of its own to compare.
type cannotConfirm struct{ err error }

func (c *cannotConfirm) Error() string { return c.err.Error() }
func (c *cannotConfirm) Unwrap() error { return c.err }

// leaveUnsaid notes a release that this member cannot speak of: seeds for it are
// erased, or its cohort is not the one that it derives. What may pass is tried again
// after the next block.
func (co *confirmer) leaveUnsaid(id string, err error) {
	if fault.Of(err) == fault.Unavailable {
		return
	}
	co.mu.Lock()
	defer co.mu.Unlock()
	co.unsaid[id] = true
}

func (co *confirmer) unsayable(id string) bool {
	co.mu.Lock()
	defer co.mu.Unlock()
	return co.unsaid[id]
}

// Confirm posts the hashes of this member's own shares of a released query, those that
// left or, if none did, those that it would have given; the shares themselves stay
// here. It returns the query as it stands then.
func (co *confirmer) Confirm(ctx context.Context, id string) (record.QueryState, error) {
	defer co.answerer.locks.lock(id)()
	q, err := co.index.Query(id)
	if err != nil {
		return q, err
	}
	if err := co.mine(q); err != nil {
		return q, err
	}
	if q.Status != record.QueryReleased {
		return q, fault.New(fault.Conflict, "query %s is %s: only a release can be confirmed", id, q.Status)
	}
	signed, err := co.answerer.ownShares(ctx, q)
	if err != nil {
		return q, &cannotConfirm{err}
	}
	for _, p := range signed.Statement.Pieces {
		if q.Shares[p.Piece].Hash != p.Hash {
			co.log.Error("this member has another share than the one that opened a release", "query", id, "piece", p.Piece, "of", q.Shares[p.Piece].By)
		}
	}
	now, res, err := submit(ctx, co.member, contracts.QueryConfirmShares, signed)
	if err != nil {
		return q, err
	}
	return now, co.reads(ctx, res.Block)
}

// ownShares is this member's signed statement about a query's shares.
func (an *answerer) ownShares(ctx context.Context, q record.QueryState) (record.SignedShares, error) {
	raw, found, err := an.vault.Get(store.Answer(q.ID, q.Attempt))
	if err != nil {
		return record.SignedShares{}, err
	}
	if found {
		r := &share.GetShareResponse{}
		if err := proto.Unmarshal(raw, r); err != nil {
			return record.SignedShares{}, err
		}
		return signedShares(r)
	}
	c, err := an.index.Cohort(q.ID, q.Attempt)
	if err != nil {
		return record.SignedShares{}, err
	}
	if c.Root != q.Root {
		return record.SignedShares{}, fault.New(fault.Conflict, "%s derives another cohort for query %s than the one agreed", an.self.MSP, q.ID)
	}
	shares, err := an.shares(ctx, q, c)
	if err != nil {
		return record.SignedShares{}, err
	}
	s := record.SignedShares{Statement: record.ShareStatement{
		Member: an.self.MSP, Query: q.ID, Attempt: q.Attempt, Root: q.Root, Block: an.index.Height() - 1,
	}}
	for _, piece := range an.params.Sharing().Held(an.cfg.Member) {
		s.Statement.Pieces = append(s.Statement.Pieces, record.StatedPiece{Piece: piece, Hash: record.SumID(shares[piece])})
	}
	s.Signature, err = record.Sign(an.cfg.SignKey, s.Statement.Digest(an.cfg.Genesis.Network))
	return s, err
}
