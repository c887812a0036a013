package opening

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Sizes in bytes.
const (
	SeedBytes  = 32
	keyBytes   = 32
	BoxBytes   = keyBytes + SeedBytes + 16 // encapsulated key, seed, tag
	ProofBytes = 1 + 3*32
)

// Magic begins every seed blob; the boxes follow, piece by piece and holder by
// holder in ascending order.
const Magic = "VVS1"

// Purpose is the info of the HPKE context of a seed box.
const Purpose = "vitalveil seed box v1"

const (
	domainSeedHash = "he-seed-hash/v1"
	domainSeedBox  = "he-seed-box/v1"
)

// Place is where a seed belongs. It is bound into the seed's hash, and together
// with the recipient into the box (as additional data), so that neither means
// anything elsewhere.
type Place struct {
	Network string
	Profile string
	Epoch   uint32
	Device  record.ID
	Piece   int
}

// SeedHash is what the ledger keeps of a seed.
func (p Place) SeedHash(seed []byte) record.ID {
	return record.Digest(domainSeedHash, p.Network, []any{p.Profile, p.Epoch, p.Device, p.Piece, seed})
}

// Binding is the additional data of the box to a member.
func (p Place) Binding(msp string) record.ID {
	return record.Digest(domainSeedBox, p.Network, []any{p.Profile, p.Epoch, p.Device, p.Piece, msp})
}

// ErrBlob says that a blob cannot be a seed blob: a fault of the device, for
// which its hash on the ledger is the evidence.
var ErrBlob = errors.New("not a seed blob")

// BlobBytes is the length of a seed blob with this many boxes.
func BlobBytes(boxes int) int { return len(Magic) + boxes*BoxBytes }

// Box returns box number i of a blob that has this many. It returns ErrBlob,
// wrapped, if the blob has another form.
func Box(blob []byte, i, boxes int) ([]byte, error) {
	if len(blob) != BlobBytes(boxes) || string(blob[:len(Magic)]) != Magic {
		return nil, fmt.Errorf("%w: it has %d bytes, and should have %d and begin with %s", ErrBlob, len(blob), BlobBytes(boxes), Magic)
	}
	if i < 0 || i >= boxes {
		return nil, fmt.Errorf("there is no box %d of %d", i, boxes)
	}
	at := len(Magic) + i*BoxBytes
	return blob[at : at+BoxBytes : at+BoxBytes], nil
}
