package record

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A rows blob carries sealed rows of one device, in the form in which the
// bridge stores them at the gateway and institutions fetch them. All integers
// are big-endian:
//
//	"vvrows/1"          8 bytes
//	device              32 bytes
//	count               2 bytes, 1..MaxBlobRows
//	count times:
//	    hour            8 bytes, two's complement Unix hour
//	    correction      1 byte
//	    length          2 bytes, 1..MaxRowBytes
//	    row             length bytes
//
// Rows are in strictly ascending order of (hour, correction) and nothing
// follows the last one, so that equal contents have equal bytes.
const rowsMagic = "vvrows/1"

const (
	rowsHeader = len(rowsMagic) + 32 + 2
	rowHeader  = 8 + 1 + 2
)

// Limits of a rows blob.
const (
	// MaxBlobRows is the most rows in one blob.
	MaxBlobRows = 512
	// MaxRowBytes is the most bytes in one row.
	MaxRowBytes = 4096
	// MaxBlobBytes is the size of the largest rows blob; readers may refuse
	// anything longer before they hold it.
	MaxBlobBytes = rowsHeader + MaxBlobRows*(rowHeader+MaxRowBytes)
)

// PersonDayMark is the correction number of a day row in a rows blob. No hour has as
// many corrections, so a day row is never taken for a row of the hour that it begins
// with.
const PersonDayMark uint8 = 0xff

// BlobRow is one sealed row in a rows blob. Hour is the Unix hour of its
// window; what the bytes of Row mean is for package he to say. The day row of day D
// has Hour 24 D and Correction PersonDayMark.
type BlobRow struct {
	Hour       int64
	Correction uint8
	Row        []byte
}

// Pointer returns what names the row, in a blob of the device with this hash.
func (r BlobRow) Pointer(device, blob ID) Pointer {
	p := Pointer{Device: device, Kind: KindRow, Index: r.Hour, Correction: r.Correction, Blob: blob, Commitment: SumID(r.Row)}
	if r.Correction == PersonDayMark {
		p.Kind, p.Index, p.Correction = KindPersonDay, r.Hour/24, 0 // which is exact
	}
	return p
}

// before is the order of rows in a blob.
func (r BlobRow) before(o BlobRow) bool {
	if r.Hour != o.Hour {
		return r.Hour < o.Hour
	}
	return r.Correction < o.Correction
}

// EncodeRows returns the blob with these rows of the device. It fails when the
// rows are not in strictly ascending order or break a limit, since no reader
// would take such a blob.
func EncodeRows(device ID, rows []BlobRow) ([]byte, error) {
	if len(rows) == 0 || len(rows) > MaxBlobRows {
		return nil, fmt.Errorf("a rows blob carries 1 to %d rows, not %d", MaxBlobRows, len(rows))
	}
	size := rowsHeader
	for i, r := range rows {
		if len(r.Row) == 0 || len(r.Row) > MaxRowBytes {
			return nil, fmt.Errorf("row %d has %d bytes, the limits are 1 and %d", i, len(r.Row), MaxRowBytes)
		}
		if i > 0 && !rows[i-1].before(r) {
			return nil, fmt.Errorf("row %d (hour %d, correction %d) does not come after the row before it", i, r.Hour, r.Correction)
		}
		size += rowHeader + len(r.Row)
	}
	b := make([]byte, 0, size)
	b = append(b, rowsMagic...)
	b = append(b, device[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rows)))
	for _, r := range rows {
		b = binary.BigEndian.AppendUint64(b, uint64(r.Hour))
		b = append(b, r.Correction)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.Row)))
		b = append(b, r.Row...)
	}
	return b, nil
}

var errRowsShort = errors.New("rows blob ends early")

// DecodeRows reads a rows blob and returns the device that it names and its
// rows, which share memory with b. It accepts exactly what EncodeRows makes.
// That the blob is the one a pointer names, and a row the one it commits to, is
// for the caller to check.
func DecodeRows(b []byte) (ID, []BlobRow, error) {
	var device ID
	if len(b) > MaxBlobBytes {
		return device, nil, fmt.Errorf("rows blob has %d bytes, the limit is %d", len(b), MaxBlobBytes)
	}
	if len(b) < rowsHeader {
		return device, nil, errRowsShort
	}
	if string(b[:len(rowsMagic)]) != rowsMagic {
		return device, nil, fmt.Errorf("not a rows blob: it does not begin with %q", rowsMagic)
	}
	copy(device[:], b[len(rowsMagic):])
	count := int(binary.BigEndian.Uint16(b[rowsHeader-2:]))
	if count == 0 || count > MaxBlobRows {
		return ID{}, nil, fmt.Errorf("rows blob says %d rows, the limits are 1 and %d", count, MaxBlobRows)
	}
	rest := b[rowsHeader:]
	// Smallest possible length first: count alone must not make us allocate.
	if len(rest) < count*(rowHeader+1) {
		return ID{}, nil, errRowsShort
	}
	rows := make([]BlobRow, count)
	for i := range rows {
		row, after, err := decodeRow(rest)
		if err != nil {
			return ID{}, nil, fmt.Errorf("row %d: %w", i, err)
		}
		if i > 0 && !rows[i-1].before(row) {
			return ID{}, nil, fmt.Errorf("row %d (hour %d, correction %d) does not come after the row before it", i, row.Hour, row.Correction)
		}
		rows[i], rest = row, after
	}
	if len(rest) != 0 {
		return ID{}, nil, fmt.Errorf("%d bytes follow the last row", len(rest))
	}
	return device, rows, nil
}

func decodeRow(b []byte) (BlobRow, []byte, error) {
	if len(b) < rowHeader {
		return BlobRow{}, nil, errRowsShort
	}
	n := int(binary.BigEndian.Uint16(b[9:]))
	if n == 0 || n > MaxRowBytes {
		return BlobRow{}, nil, fmt.Errorf("length %d, the limits are 1 and %d", n, MaxRowBytes)
	}
	if len(b) < rowHeader+n {
		return BlobRow{}, nil, errRowsShort
	}
	row := BlobRow{
		Hour:       int64(binary.BigEndian.Uint64(b)),
		Correction: b[8],
		Row:        b[rowHeader : rowHeader+n : rowHeader+n],
	}
	return row, b[rowHeader+n:], nil
}
