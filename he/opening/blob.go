package opening

import (
	"bytes"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Magic begins every seed blob. The identifier of the device follows, and then the
// boxes, piece by piece and holder by holder in ascending order.
const Magic = "VVS2"

const headBytes = len(Magic) + len(record.ID{})

// BlobBytes is the length of a seed blob with this many boxes.
func BlobBytes(boxes int) int { return headBytes + boxes*BoxBytes }

// Blob is the seed blob of a device.
func Blob(device record.ID, boxes [][]byte) []byte {
	return slices.Concat([]byte(Magic), device[:], bytes.Join(boxes, nil))
}

// Boxes returns the boxes of a device's seed blob, which has n. A blob of another
// form or another device is a Fault of who named it, for which its hash on the
// ledger is the evidence: no box of it is looked at.
func Boxes(blob []byte, device record.ID, n int) ([][]byte, error) {
	if len(blob) != BlobBytes(n) || string(blob[:len(Magic)]) != Magic {
		return nil, BadBlob
	}
	if record.ID(blob[len(Magic):headBytes]) != device {
		return nil, ForeignBlob
	}
	return slices.Collect(slices.Chunk(blob[headBytes:], BoxBytes)), nil
}

// BlobDevice returns the device whose seeds a blob says it holds, and false if it
// is no seed blob.
func BlobDevice(blob []byte) (record.ID, bool) {
	if len(blob) <= headBytes || (len(blob)-headBytes)%BoxBytes != 0 || string(blob[:len(Magic)]) != Magic {
		return record.ID{}, false
	}
	return record.ID(blob[len(Magic):headBytes]), true
}
