package chaincode

import (
	"bytes"

	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// AcknowledgeSeeds records that the calling member holds the seeds of devices
// (record.AcknowledgeSeeds, Recorded).
func (*Registry) AcknowledgeSeeds(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, largeArgument, acknowledgeSeeds)
}

func acknowledgeSeeds(c *call, a record.AcknowledgeSeeds) (state.Recorded, error) {
	var done state.Recorded
	if len(a.Devices) < 1 || len(a.Devices) > record.MaxBatch {
		return done, fault.New(fault.TooLarge, "one call acknowledges 1 to %d devices, not %d", record.MaxBatch, len(a.Devices))
	}
	seen := make(map[record.ID]bool, len(a.Devices))
	for _, id := range a.Devices {
		if seen[id] {
			continue
		}
		seen[id] = true
		d, err := c.device(id)
		if err != nil {
			return done, err
		}
		if _, err := c.seatIn(d.Device.Epoch); err != nil {
			return done, err
		}
		key := state.AckKey(id, c.msp)
		exists, err := c.get(key, new(state.Acknowledged))
		if err != nil {
			return done, err
		}
		if exists {
			continue
		}
		if err := c.put(key, state.Acknowledged{Device: id, Member: c.msp}); err != nil {
			return done, err
		}
		done.Recorded++
	}
	return done, nil
}

// PostPieceKey records a piece's PRF key, sealed by one of its holders to the
// others (record.PostedKey, record.PieceKeyState).
func (*Registry) PostPieceKey(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, postPieceKey)
}

// ComplainPieceKey takes a piece's key back on evidence (record.ComplainKey,
// record.PieceKeyState): proof of what its box to the calling member opens to.
// Another holder then makes the next.
func (*Registry) ComplainPieceKey(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, complainPieceKey)
}

// GetPieceKey returns the record.PieceKeyState of a piece of the current epoch; the
// argument is its number.
func (*Registry) GetPieceKey(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, func(c *call, piece int) (*record.PieceKeyState, error) {
		return c.pieceKey(c.roster.Current, piece)
	})
}

func (c *call) pieceKey(epoch uint32, piece int) (*record.PieceKeyState, error) {
	s := new(record.PieceKeyState)
	return s, c.need(state.PieceKeyKey(epoch, piece), s, "the key of this piece")
}

func postPieceKey(c *call, p record.PostedKey) (*record.PieceKeyState, error) {
	k := p.Key
	epoch, err := c.seatIn(k.Epoch)
	if err != nil {
		return nil, err
	}
	if p.By != c.msp {
		return nil, fault.New(fault.Forbidden, "%s posts keys of its own, not of %q", c.msp, clip(p.By))
	}
	if err := state.CheckPieceKey(c.genesis.Network, epoch, p); err != nil {
		return nil, err
	}
	s := &record.PieceKeyState{Epoch: k.Epoch, Piece: k.Piece}
	if _, err := c.get(state.PieceKeyKey(k.Epoch, k.Piece), s); err != nil {
		return nil, err
	}
	switch {
	case s.Posted != nil && s.Posted.By == c.msp && samePieceKey(s.Posted.Key, k):
		return s, nil
	case s.Posted != nil:
		return nil, fault.New(fault.Conflict, "piece %d has a key already; open the box that is sealed to you", k.Piece)
	case k.Round != len(s.Faulty):
		return nil, fault.New(fault.Conflict, "%d keys of piece %d were found faulty; the next has round %d", len(s.Faulty), k.Piece, len(s.Faulty))
	case s.MadeBy(c.msp):
		return nil, fault.New(fault.Forbidden, "a key of piece %d by %s was found faulty; another holder makes the next", k.Piece, c.msp)
	}
	s.Posted = &p
	return s, c.put(state.PieceKeyKey(k.Epoch, k.Piece), s)
}

func complainPieceKey(c *call, e record.ComplainKey) (*record.PieceKeyState, error) {
	epoch, err := c.seatIn(e.Epoch)
	if err != nil {
		return nil, err
	}
	s, err := c.pieceKey(e.Epoch, e.Piece)
	switch {
	case err != nil:
		return nil, err
	case e.Round >= 0 && e.Round < len(s.Faulty):
		return s, nil // taken back already, perhaps since a complaint before the retry
	case s.Posted == nil || e.Round != s.Posted.Key.Round:
		return nil, fault.New(fault.NotFound, "piece %d has no key of round %d", e.Piece, e.Round)
	}
	finding, err := state.ExamineKey(c.genesis.Network, epoch, *s.Posted, c.msp, e.Proof)
	if err != nil {
		return nil, err
	}
	s.Faulty = append(s.Faulty, record.FaultyKey{Posted: *s.Posted, Holder: c.msp, Reason: string(finding), Proof: e.Proof})
	s.Posted = nil
	return s, c.put(state.PieceKeyKey(e.Epoch, e.Piece), s)
}

func samePieceKey(a, b record.PieceKey) bool {
	if a.Epoch != b.Epoch || a.Piece != b.Piece || a.Round != b.Round || a.Check != b.Check || len(a.Boxes) != len(b.Boxes) {
		return false
	}
	for i := range a.Boxes {
		if a.Boxes[i].To != b.Boxes[i].To || !bytes.Equal(a.Boxes[i].Ciphertext, b.Boxes[i].Ciphertext) {
			return false
		}
	}
	return true
}
