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

// pieceKeyDuty sees to the PRF keys of the pieces that this member holds: it opens those
// that others made, complains about those that do not open, and makes those that it
// is this member's turn to make.
type pieceKeyDuty struct {
	since map[string]time.Time // when a key was first missed, by its name in the vault
}

func (d *pieceKeyDuty) bind(in *Institution) func(context.Context) error {
	d.since = map[string]time.Time{}
	return func(ctx context.Context) error { return d.work(ctx, in) }
}

func (d *pieceKeyDuty) work(ctx context.Context, in *Institution) error {
	if in.ended() {
		return nil
	}
	var all error
	for _, piece := range in.params.Sharing().Held(in.cfg.Member) {
		if _, err := in.pieceKey(piece); err == nil {
			continue // stored, and the same as the ledger's
		}
		known, _ := in.index.PieceKey(in.context.Epoch, piece)
		err := error(nil)
		if posted := known.State.Posted; posted != nil {
			err = in.takePieceKey(ctx, piece, *posted)
		} else if err = d.turn(in, piece, known.State); err == nil {
			err = in.makePieceKey(ctx, piece, len(known.State.Faulty))
		}
		all = errors.Join(all, err)
	}
	return all
}

// turn reports whether it is this member's turn to make the key of a piece: that of
// the first holder none of whose keys was found faulty, and of each next one when the
// one before it has let its patience pass. Two who make one at once do no harm: the
// ledger takes the first.
func (d *pieceKeyDuty) turn(in *Institution, piece int, s record.PieceKeyState) error {
	var makers []int
	for _, m := range in.params.Sharing().Holders(piece) {
		if !s.MadeBy(in.cfg.Genesis.Members[m].MSP) {
			makers = append(makers, m)
		}
	}
	rank := slices.Index(makers, in.cfg.Member)
	if rank < 0 {
		return fault.New(fault.Unavailable, "another holder of piece %d makes its next key", piece)
	}
	name := store.PieceKey(piece, len(s.Faulty))
	if _, missed := d.since[name]; !missed {
		d.since[name] = time.Now()
	}
	if time.Since(d.since[name]) < time.Duration(rank)*in.cfg.Patience {
		return fault.New(fault.Unavailable, "%s has not made the key of piece %d yet", in.cfg.Genesis.Members[makers[0]].MSP, piece)
	}
	return nil
}

// pieceKey returns a piece's key if it is stored and the one on the ledger.
func (in *Institution) pieceKey(piece int) (he.PieceKey, error) {
	var key he.PieceKey
	known, _ := in.index.PieceKey(in.context.Epoch, piece)
	posted := known.State.Posted
	if posted == nil {
		return key, fault.New(fault.Unavailable, "the key of piece %d is not there yet; try again", piece)
	}
	raw, found, err := in.vault.Get(store.PieceKey(piece, posted.Key.Round))
	if err != nil {
		return key, err
	}
	if !found {
		return key, fault.New(fault.Unavailable, "the key of piece %d is not there yet; try again", piece)
	}
	copy(key[:], raw)
	if key.Check(in.context, piece) != posted.Key.Check {
		return he.PieceKey{}, fault.New(fault.Internal, "the stored key of piece %d is not the one on the ledger", piece)
	}
	return key, nil
}

// pieceKeyFor is pieceKey for an answer to a query. A query that was asked before the
// key took the place of a faulty one may have been answered under that one.
func (in *Institution) pieceKeyFor(q record.QueryState, piece int) (he.PieceKey, error) {
	key, err := in.pieceKey(piece)
	if err != nil {
		return key, err
	}
	if known, _ := in.index.PieceKey(in.context.Epoch, piece); !in.index.Serves(known, q.ID) {
		return he.PieceKey{}, fault.New(fault.Expired, "query %s is older than the key of piece %d, which took the place of a faulty one; ask again", q.ID, piece)
	}
	return key, nil
}

// makePieceKey stores a fresh key, or takes the one that was stored before a
// crash, and posts it sealed to the other holders.
func (in *Institution) makePieceKey(ctx context.Context, piece, round int) error {
	var key he.PieceKey
	name := store.PieceKey(piece, round)
	raw, found, err := in.vault.Get(name)
	if err != nil {
		return err
	}
	if copy(key[:], raw); !found {
		key = he.NewPieceKey()
		if err := in.vault.Put(name, key[:]); err != nil {
			return err
		}
	}
	var others []record.Member
	for _, m := range in.params.Sharing().Holders(piece) {
		if m != in.cfg.Member {
			others = append(others, in.cfg.Genesis.Members[m])
		}
	}
	post := record.PostedKey{By: in.self.MSP}
	if post.Key, err = he.SealPieceKey(in.context, piece, round, key, in.self.MSP, others); err != nil {
		return err
	}
	if post.Signature, err = record.Sign(in.cfg.SignKey, post.Key.Digest(in.context.Network)); err != nil {
		return err
	}
	return settled(perform(ctx, in, contracts.RegistryPostPieceKey, post))
}

// takePieceKey stores a key that another holder made, or shows that its box to this
// member is at fault.
func (in *Institution) takePieceKey(ctx context.Context, piece int, posted record.PostedKey) error {
	k := posted.Key
	maker := in.cfg.Epoch.Member(posted.By)
	if maker == nil || k.Piece != piece || k.Epoch != in.context.Epoch || record.Verify(maker.SignKey, k.Digest(in.context.Network), posted.Signature) != nil {
		return fault.New(fault.BadSignature, "the key of piece %d on the ledger is not what %q signed, who is said to have made it", piece, posted.By)
	}
	key, err := he.OpenPieceKey(in.context, k, posted.By, in.self, in.cfg.Keys.Piece)
	switch {
	case err == nil:
		return in.vault.Put(store.PieceKey(k.Piece, k.Round), key[:])
	case errors.Is(err, he.ErrNoBox):
		return fault.New(fault.Internal, "the key of piece %d is on the ledger, but neither stored nor sealed to %s: restore its state", k.Piece, in.self.MSP)
	case !errors.Is(err, he.ErrBox):
		return err
	}
	in.log.Warn("the key of a piece does not open; it is taken back", "piece", k.Piece, "by", posted.By, "err", err)
	proof, err := he.ComplainPieceKey(in.context, k, posted.By, in.self, in.cfg.Keys.Piece)
	if err != nil {
		return fmt.Errorf("the complaint about the key of piece %d: %w", k.Piece, err)
	}
	return perform(ctx, in, contracts.RegistryComplainPieceKey, record.ComplainKey{Epoch: k.Epoch, Piece: k.Piece, Round: k.Round, Proof: proof})
}
