package chaincode

import (
	"bytes"

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

// Bounds of a sealed box in bytes: an X25519 point, a tag and a key at least.
const (
	minBox = 32 + 16 + 32
	maxBox = 1024
)

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
// others (record.PieceKey).
func (*Registry) PostPieceKey(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, postPieceKey)
}

// GetPieceKey returns the record.PieceKey of a piece of the current epoch; the
// argument is its number.
func (*Registry) GetPieceKey(tx transaction, arg string) (string, error) {
	return serve(tx, submitter, untimed, arg, smallArgument, func(c *call, piece int) (*record.PieceKey, error) {
		k := new(record.PieceKey)
		return k, c.need(PieceKeyKey(c.roster.Current, piece), k, "the key of this piece")
	})
}

func postPieceKey(c *call, k record.PieceKey) (*record.PieceKey, error) {
	if err := c.checkPieceKey(k); err != nil {
		return nil, err
	}
	recorded := new(record.PieceKey)
	exists, err := c.get(PieceKeyKey(k.Epoch, k.Piece), recorded)
	switch {
	case err != nil:
		return nil, err
	case exists && samePieceKey(*recorded, k):
		return recorded, nil
	case exists:
		return nil, fault.New(fault.Conflict, "piece %d has a key already; open the box that is sealed to you", k.Piece)
	}
	return &k, c.put(PieceKeyKey(k.Epoch, k.Piece), k)
}

// checkPieceKey makes sure that only holders of a piece know its key: with the
// key one can compute the piece's share of the privacy noise and take it off.
func (c *call) checkPieceKey(k record.PieceKey) error {
	epoch, err := c.seatIn(k.Epoch)
	if err != nil {
		return err
	}
	n, t := len(epoch.Members), epoch.Threshold
	if k.Piece < 0 || k.Piece >= pieces(n, t) {
		return fault.New(fault.Invalid, "piece %d does not exist, there are %d", k.Piece, pieces(n, t))
	}
	if k.Check.IsZero() {
		return fault.New(fault.Invalid, "check is missing")
	}
	lacking := lackers(k.Piece, n, t)
	others := make(map[string]bool, n)
	for i, m := range epoch.Members {
		holds := !containsInt(lacking, i)
		if m.MSP == c.msp && !holds {
			return fault.New(fault.Forbidden, "%s does not hold piece %d", c.msp, k.Piece)
		}
		if m.MSP != c.msp && holds {
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
		if len(b.Ciphertext) < minBox || len(b.Ciphertext) > maxBox {
			return fault.New(fault.Invalid, "the box to %s has %d bytes, %d to %d are possible", b.To, len(b.Ciphertext), minBox, maxBox)
		}
	}
	return nil
}

func samePieceKey(a, b record.PieceKey) bool {
	if a.Epoch != b.Epoch || a.Piece != b.Piece || a.Check != b.Check || len(a.Boxes) != len(b.Boxes) {
		return false
	}
	for i := range a.Boxes {
		if a.Boxes[i].To != b.Boxes[i].To || !bytes.Equal(a.Boxes[i].Ciphertext, b.Boxes[i].Ciphertext) {
			return false
		}
	}
	return true
}

func containsInt(list []int, x int) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// Holds reports whether a member of an epoch holds a piece of its secrets.
func Holds(e *record.Epoch, piece int, msp string) bool {
	_, _, ok := boxPlace(e, piece, e.Place(msp))
	return ok
}
