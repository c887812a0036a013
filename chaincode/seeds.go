package chaincode

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Acknowledged is the state of Registry:AcknowledgeSeeds for one device and
// member.
type Acknowledged struct {
	Device record.ID `json:"device"`
	Member string    `json:"member"`
}

// Recorded is the result of batched calls: how many entries this transaction
// recorded, those that were there already not counted.
type Recorded struct {
	Recorded int `json:"recorded"`
}

// pieces is the number of pieces of every device secret: one for each set of
// threshold-1 members, which is the set that lacks it.
func pieces(members, threshold int) int {
	n := 1
	for i := 1; i < threshold; i++ {
		n = n * (members - i + 1) / i
	}
	return n
}

// lackers returns the members without this piece: the piece numbers the sets of
// threshold-1 members in lexicographic order.
func lackers(piece, members, threshold int) []int {
	var set []int
	for m := 0; len(set) < threshold-1; m++ {
		// How many sets go on from here with member m.
		with := pieces(members-m-1, threshold-1-len(set))
		if piece < with {
			set = append(set, m)
			continue
		}
		piece -= with
	}
	return set
}

// AcknowledgeSeeds records that the calling member holds the seeds of devices
// (record.AcknowledgeSeeds, Recorded).
func (*Registry) AcknowledgeSeeds(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, largeArgument, acknowledgeSeeds)
}

func acknowledgeSeeds(c *call, a record.AcknowledgeSeeds) (Recorded, error) {
	var done Recorded
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
		key := AckKey(id, c.msp)
		exists, err := c.get(key, new(Acknowledged))
		if err != nil {
			return done, err
		}
		if exists {
			continue
		}
		if err := c.put(key, Acknowledged{Device: id, Member: c.msp}); err != nil {
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
	return s, c.need(PieceKeyKey(epoch, piece), s, "the key of this piece")
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
	if err := CheckPieceKey(c.genesis.Network, epoch, p); err != nil {
		return nil, err
	}
	s := &record.PieceKeyState{Epoch: k.Epoch, Piece: k.Piece}
	if _, err := c.get(PieceKeyKey(k.Epoch, k.Piece), s); err != nil {
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
	return s, c.put(PieceKeyKey(k.Epoch, k.Piece), s)
}

// CheckPieceKey checks what a posted key shows by itself: a holder of the piece has
// signed it, and its boxes are to all the others, with their sender's proofs. What is in
// them is for those to say.
func CheckPieceKey(network string, epoch *record.Epoch, p record.PostedKey) error {
	if err := checkHolders(epoch, p.By, p.Key); err != nil {
		return err
	}
	if err := record.Verify(epoch.Member(p.By).SignKey, p.Key.Digest(network), p.Signature); err != nil {
		return fault.New(fault.BadSignature, "the member's signature of the key: %w", err)
	}
	for _, b := range p.Key.Boxes {
		if err := keyAddress(network, epoch, p, b.To).Check(b.Ciphertext); err != nil {
			return fault.New(fault.Invalid, "the box to %s: %w", b.To, err)
		}
	}
	return nil
}

// checkHolders makes sure that only holders of a piece know its key: with the
// key one can compute the piece's share of the privacy noise and take it off.
func checkHolders(epoch *record.Epoch, by string, k record.PieceKey) error {
	n, t := len(epoch.Members), epoch.Threshold
	if k.Piece < 0 || k.Piece >= pieces(n, t) {
		return fault.New(fault.Invalid, "piece %d does not exist, there are %d", k.Piece, pieces(n, t))
	}
	if k.Check.IsZero() {
		return fault.New(fault.Invalid, "check is missing")
	}
	if !Holds(epoch, k.Piece, by) {
		return fault.New(fault.Forbidden, "%s does not hold piece %d", clip(by), k.Piece)
	}
	others := make(map[string]bool, n)
	for _, m := range epoch.Members {
		if m.MSP != by && Holds(epoch, k.Piece, m.MSP) {
			others[m.MSP] = true
		}
	}
	if len(k.Boxes) != len(others) {
		return fault.New(fault.Invalid, "piece %d has %d other holders, not %d", k.Piece, len(others), len(k.Boxes))
	}
	for _, b := range k.Boxes {
		if !others[b.To] {
			return fault.New(fault.Invalid, "%s is not another holder of piece %d, or is named twice", clip(b.To), k.Piece)
		}
		delete(others, b.To)
	}
	return nil
}

func keyAddress(network string, epoch *record.Epoch, p record.PostedKey, holder string) opening.Address {
	k := p.Key
	return opening.KeyPlace{Network: network, Epoch: k.Epoch, Piece: k.Piece, Round: k.Round, From: p.By}.To(*epoch.Member(holder))
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
	finding, err := ExamineKey(c.genesis.Network, epoch, *s.Posted, c.msp, e.Proof)
	if err != nil {
		return nil, err
	}
	s.Faulty = append(s.Faulty, record.FaultyKey{Posted: *s.Posted, Holder: c.msp, Reason: string(finding), Proof: e.Proof})
	s.Posted = nil
	return s, c.put(PieceKeyKey(e.Epoch, e.Piece), s)
}

// ExamineKey checks a complaint by a holder of a piece about its key and says what is
// wrong with the box to it. A fault.Error says what is wrong with the complaint.
func ExamineKey(network string, epoch *record.Epoch, p record.PostedKey, holder string, proof []byte) (opening.Fault, error) {
	for _, b := range p.Key.Boxes {
		if b.To == holder {
			finding, err := keyAddress(network, epoch, p, holder).Examine(b.Ciphertext, p.Key.Check, proof)
			return finding, complaintFault(fmt.Sprintf("the key of piece %d", p.Key.Piece), err)
		}
	}
	return "", fault.New(fault.Forbidden, "the key of piece %d is not sealed to %s", p.Key.Piece, clip(holder))
}

// complaintFault is what is wrong with a complaint.
func complaintFault(about string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, opening.ErrSound):
		return fault.New(fault.Conflict, "%s: %w", about, err)
	}
	return fault.New(fault.BadSignature, "%s: %w", about, err)
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

// Holds reports whether a member of an epoch holds a piece of its secrets.
func Holds(e *record.Epoch, piece int, msp string) bool {
	_, _, ok := boxPlace(e, piece, e.Place(msp))
	return ok
}
