package he

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/record"
)

func (c Context) keyPlace(k record.PieceKey, from string) opening.KeyPlace {
	return opening.KeyPlace{Network: c.Network, Epoch: c.Epoch, Piece: k.Piece, Round: k.Round, From: from}
}

// Check is what the ledger keeps of a piece key.
func (k PieceKey) Check(c Context, piece int) record.ID {
	return opening.KeyPlace{Network: c.Network, Epoch: c.Epoch, Piece: piece}.Hash(k[:])
}

// SealPieceKey makes the post of a piece's PRF key in a round: the key sealed by
// one of its holders, from, to the others.
func SealPieceKey(c Context, piece, round int, k PieceKey, from string, others []record.Member) (record.PieceKey, error) {
	post := record.PieceKey{Epoch: c.Epoch, Piece: piece, Round: round, Check: k.Check(c, piece)}
	if err := c.check(); err != nil {
		return post, err
	}
	for _, to := range others {
		box, err := c.keyPlace(post, from).To(to).Seal(k[:])
		if err != nil {
			return post, fmt.Errorf("seal the key of piece %d to %s: %w", piece, to.MSP, err)
		}
		post.Boxes = append(post.Boxes, record.SealedBox{To: to.MSP, Ciphertext: box})
	}
	return post, nil
}

// ErrNoBox says that a post has no box to this member.
var ErrNoBox = errors.New("the key is not sealed to this member")

func pieceBox(k record.PieceKey, msp string) ([]byte, error) {
	i := slices.IndexFunc(k.Boxes, func(b record.SealedBox) bool { return b.To == msp })
	if i < 0 {
		return nil, ErrNoBox
	}
	return k.Boxes[i].Ciphertext, nil
}

// OpenPieceKey opens a posted PRF key that from sealed to self and compares it with
// its check value. It returns ErrBox, wrapped, if the box is at fault.
func OpenPieceKey(c Context, k record.PieceKey, from string, self record.Member, priv *HPKEPrivate) (PieceKey, error) {
	box, err := pieceBox(k, self.MSP)
	if err != nil {
		return PieceKey{}, err
	}
	secret, err := priv.Bytes()
	if err != nil {
		return PieceKey{}, err
	}
	defer clear(secret)
	key, err := c.keyPlace(k, from).To(self).Open(secret, box, k.Check)
	if err != nil {
		return PieceKey{}, fmt.Errorf("key of piece %d by %s: %w", k.Piece, from, boxError(err))
	}
	return PieceKey(key), nil
}

// ComplainPieceKey returns the proof (package opening) that the box to self is at
// fault, for when OpenPieceKey returned ErrBox. The error is opening.ErrSound,
// wrapped, if it is not.
func ComplainPieceKey(c Context, k record.PieceKey, from string, self record.Member, priv *HPKEPrivate) ([]byte, error) {
	box, err := pieceBox(k, self.MSP)
	if err != nil {
		return nil, err
	}
	secret, err := priv.Bytes()
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return c.keyPlace(k, from).To(self).Complain(secret, box, k.Check)
}
