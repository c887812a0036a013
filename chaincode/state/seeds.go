package state

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Examine checks a complaint by a member of the device's epoch and says what is
// wrong with the device's seeds. A fault.Error says what is wrong with the complaint.
func Examine(network string, epoch *record.Epoch, d *record.DeviceState, msp string, e record.Complain) (opening.Fault, error) {
	if record.SumID(e.Blob) != d.Device.SeedBlob {
		return "", fault.New(fault.Invalid, "this is not the seed blob that device %s named", d.ID.Short())
	}
	at, n, ok := boxPlace(epoch, e.Piece, epoch.Place(msp))
	if !ok || e.Piece >= len(d.Device.SeedHashes) {
		return "", fault.New(fault.Forbidden, "%s does not hold piece %d", clip(msp), e.Piece)
	}
	about := fmt.Sprintf("piece %d of device %s", e.Piece, d.ID.Short())
	boxes, err := opening.Boxes(e.Blob, d.ID, n)
	if shown := opening.Fault(""); errors.As(err, &shown) {
		if len(e.Proof) != 0 {
			return "", fault.New(fault.BadSignature, "%s: nothing is opened of a blob whose fault shows", about)
		}
		return shown, nil
	}
	finding, err := seedAddress(network, epoch, d.ID, d.Device, e.Piece, msp).Examine(boxes[at], d.Device.SeedHashes[e.Piece], e.Proof)
	return finding, complaintFault(about, err)
}

func seedAddress(network string, epoch *record.Epoch, id record.ID, d record.Device, piece int, holder string) opening.Address {
	return opening.SeedPlace{
		Network: network, Profile: d.Profile, Epoch: d.Epoch, Device: id, Piece: piece,
	}.To(*epoch.Member(holder))
}

// CheckSeedBlob reports what is wrong with the seed blob of a device that everybody
// can see: it has another form, is another device's, or has a box whose sender did
// not make it for its place. Such a blob is not worth storing.
func CheckSeedBlob(network string, epoch *record.Epoch, d record.Device, blob []byte) error {
	id := record.DeviceID(network, d.Key)
	_, n, _ := boxPlace(epoch, 0, -1)
	boxes, err := opening.Boxes(blob, id, n)
	if err != nil {
		return err
	}
	for piece := range Pieces(len(epoch.Members), epoch.Threshold) {
		for holder, m := range epoch.Members {
			at, _, holds := boxPlace(epoch, piece, holder)
			if !holds {
				continue
			}
			if err := seedAddress(network, epoch, id, d, piece, m.MSP).Check(boxes[at]); err != nil {
				return fmt.Errorf("piece %d to %s: %w", piece, m.MSP, err)
			}
		}
	}
	return nil
}

// boxPlace returns the number of the box for a piece and one of its holders in a
// seed blob, and how many boxes there are.
func boxPlace(e *record.Epoch, piece, holder int) (int, int, bool) {
	n, t := len(e.Members), e.Threshold
	each := n - t + 1
	boxes := Pieces(n, t) * each
	if piece < 0 || piece >= Pieces(n, t) || holder < 0 {
		return 0, boxes, false
	}
	lacking := lackers(piece, n, t)
	if slices.Contains(lacking, holder) {
		return 0, boxes, false
	}
	before := holder
	for _, m := range lacking {
		if m < holder {
			before--
		}
	}
	return piece*each + before, boxes, true
}

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

// Pieces is the number of pieces of every device secret: one for each set of
// threshold-1 members, which is the set that lacks it.
func Pieces(members, threshold int) int {
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
		with := Pieces(members-m-1, threshold-1-len(set))
		if piece < with {
			set = append(set, m)
			continue
		}
		piece -= with
	}
	return set
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
	if k.Piece < 0 || k.Piece >= Pieces(n, t) {
		return fault.New(fault.Invalid, "piece %d does not exist, there are %d", k.Piece, Pieces(n, t))
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

// Holds reports whether a member of an epoch holds a piece of its secrets.
func Holds(e *record.Epoch, piece int, msp string) bool {
	_, _, ok := boxPlace(e, piece, e.Place(msp))
	return ok
}
