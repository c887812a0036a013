package institution

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// pieceKeys has the PRF keys of the pieces that this member holds: each is the one on the
// ledger, on disk before it is posted.
type pieceKeys struct {
	*member
	since map[string]time.Time // when a key was first missed, by its name in the vault
}

// work sees to the PRF keys of the pieces that this member holds: it opens those
// that others made, complains about those that do not open, and makes those that it
// is this member's turn to make.
func (pk *pieceKeys) work(ctx context.Context) error {
	if pk.ended() {
		return nil
	}
	var all error
	for _, piece := range pk.params.Sharing().Held(pk.cfg.Member) {
		if _, err := pk.get(piece); err == nil {
			continue // stored, and the same as the ledger's
		}
		known, _ := pk.index.PieceKey(pk.context.Epoch, piece)
		err := error(nil)
		if posted := known.State.Posted; posted != nil {
			err = pk.take(ctx, piece, *posted)
		} else if err = pk.turn(piece, known.State); err == nil {
			err = pk.make(ctx, piece, len(known.State.Faulty))
		}
		all = errors.Join(all, err)
	}
	return all
}

// turn reports whether it is this member's turn to make the key of a piece: that of
// the first holder none of whose keys was found faulty, and of each next one when the
// one before it has let its patience pass. Two who make one at once do no harm: the
// ledger takes the first.
func (pk *pieceKeys) turn(piece int, s record.PieceKeyState) error {
	var makers []int
	for _, m := range pk.params.Sharing().Holders(piece) {
		if !s.MadeBy(pk.cfg.Genesis.Members[m].MSP) {
			makers = append(makers, m)
		}
	}
	rank := slices.Index(makers, pk.cfg.Member)
	if rank < 0 {
		return fault.New(fault.Unavailable, "another holder of piece %d makes its next key", piece)
	}
	name := store.PieceKey(piece, len(s.Faulty))
	if _, missed := pk.since[name]; !missed {
		pk.since[name] = time.Now()
	}
	if time.Since(pk.since[name]) < time.Duration(rank)*pk.cfg.Patience {
		return fault.New(fault.Unavailable, "%s has not made the key of piece %d yet", pk.cfg.Genesis.Members[makers[0]].MSP, piece)
	}
	return nil
}

// get returns a piece's key if it is stored and the one on the ledger.
func (pk *pieceKeys) get(piece int) (he.PieceKey, error) {
	var key he.PieceKey
	known, _ := pk.index.PieceKey(pk.context.Epoch, piece)
	posted := known.State.Posted
	if posted == nil {
		return key, fault.New(fault.Unavailable, "the key of piece %d is not there yet; try again", piece)
	}
	raw, found, err := pk.vault.Get(store.PieceKey(piece, posted.Key.Round))
	if err != nil {
		return key, err
	}
	if !found {
		return key, fault.New(fault.Unavailable, "the key of piece %d is not there yet; try again", piece)
	}
	copy(key[:], raw)
	if key.Check(pk.context, piece) != posted.Key.Check {
		return he.PieceKey{}, fault.New(fault.Internal, "the stored key of piece %d is not the one on the ledger", piece)
	}
	return key, nil
}

// getFor is get for an answer to a query. A query that was asked before the
// key took the place of a faulty one may have been answered under that one.
func (pk *pieceKeys) getFor(q record.QueryState, piece int) (he.PieceKey, error) {
	key, err := pk.get(piece)
	if err != nil {
		return key, err
	}
	if known, _ := pk.index.PieceKey(pk.context.Epoch, piece); !pk.index.Serves(known, q.ID) {
		return he.PieceKey{}, fault.New(fault.Expired, "query %s is older than the key of piece %d, which took the place of a faulty one; ask again", q.ID, piece)
	}
	return key, nil
}

// make stores a fresh key, or takes the one that was stored before a
// crash, and posts it sealed to the other holders.
func (pk *pieceKeys) make(ctx context.Context, piece, round int) error {
	var key he.PieceKey
	name := store.PieceKey(piece, round)
	raw, found, err := pk.vault.Get(name)
	if err != nil {
		return err
	}
	if copy(key[:], raw); !found {
		key = he.NewPieceKey()
		if err := pk.vault.Put(name, key[:]); err != nil {
			return err
		}
	}
	var others []record.Member
	for _, m := range pk.params.Sharing().Holders(piece) {
		if m != pk.cfg.Member {
			others = append(others, pk.cfg.Genesis.Members[m])
		}
	}
	post := record.PostedKey{By: pk.self.MSP}
	if post.Key, err = he.SealPieceKey(pk.context, piece, round, key, pk.self.MSP, others); err != nil {
		return err
	}
	if post.Signature, err = record.Sign(pk.cfg.SignKey, post.Key.Digest(pk.context.Network)); err != nil {
		return err
	}
	return settled(perform(ctx, pk.member, contracts.RegistryPostPieceKey, post))
}

// take stores a key that another holder made, or shows that its box to this
// member is at fault.
func (pk *pieceKeys) take(ctx context.Context, piece int, posted record.PostedKey) error {
	k := posted.Key
	maker := pk.cfg.Epoch.Member(posted.By)
	if maker == nil || k.Piece != piece || k.Epoch != pk.context.Epoch || record.Verify(maker.SignKey, k.Digest(pk.context.Network), posted.Signature) != nil {
		return fault.New(fault.BadSignature, "the key of piece %d on the ledger is not what %q signed, who is said to have made it", piece, posted.By)
	}
	key, err := he.OpenPieceKey(pk.context, k, posted.By, pk.self, pk.cfg.Keys.Piece)
	switch {
	case err == nil:
		return pk.vault.Put(store.PieceKey(k.Piece, k.Round), key[:])
	case errors.Is(err, he.ErrNoBox):
		return fault.New(fault.Internal, "the key of piece %d is on the ledger, but neither stored nor sealed to %s: restore its state", k.Piece, pk.self.MSP)
	case !errors.Is(err, he.ErrBox):
		return err
	}
	pk.log.Warn("the key of a piece does not open; it is taken back", "piece", k.Piece, "by", posted.By, "err", err)
	proof, err := he.ComplainPieceKey(pk.context, k, posted.By, pk.self, pk.cfg.Keys.Piece)
	if err != nil {
		return fmt.Errorf("the complaint about the key of piece %d: %w", k.Piece, err)
	}
	return perform(ctx, pk.member, contracts.RegistryComplainPieceKey, record.ComplainKey{Epoch: k.Epoch, Piece: k.Piece, Round: k.Round, Proof: proof})
}
