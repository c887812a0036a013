package record_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
)

func sampleRows() []record.BlobRow {
	return []record.BlobRow{
		{Hour: -3, Row: []byte{1}},
		{Hour: 0, Row: []byte{2, 3}},
		{Hour: 0, Correction: 1, Row: []byte{4}},
		{Hour: 7, Row: bytes.Repeat([]byte{9}, record.MaxRowBytes)},
	}
}

func TestRowsBlobRoundTrip(t *testing.T) {
	device := record.SumID([]byte("device"))
	blob, err := record.EncodeRows(device, sampleRows())
	if err != nil {
		t.Fatal(err)
	}
	got, rows, err := record.DecodeRows(blob)
	if err != nil {
		t.Fatal(err)
	}
	if got != device || len(rows) != 4 {
		t.Fatalf("got device %s and %d rows", got.Short(), len(rows))
	}
	for i, want := range sampleRows() {
		r := rows[i]
		if r.Hour != want.Hour || r.Correction != want.Correction || !bytes.Equal(r.Row, want.Row) {
			t.Errorf("row %d: got hour %d correction %d, %d bytes", i, r.Hour, r.Correction, len(r.Row))
		}
	}
}

// The blob's hash is on the ledger: its bytes must never change.
func TestRowsBlobBytesAreFixed(t *testing.T) {
	blob, err := record.EncodeRows(record.ID{1}, []record.BlobRow{{Hour: -1, Correction: 2, Row: []byte{0xab}}})
	if err != nil {
		t.Fatal(err)
	}
	id := record.ID{1}
	want := append([]byte("vvrows/1"), id[:]...)
	want = append(want, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255, 2, 0, 1, 0xab)
	if !bytes.Equal(blob, want) {
		t.Fatalf("got %x\nwant %x", blob, want)
	}
}

func TestRowsBlobLimits(t *testing.T) {
	many := make([]record.BlobRow, record.MaxBlobRows+1)
	for i := range many {
		many[i] = record.BlobRow{Hour: int64(i), Row: bytes.Repeat([]byte{1}, record.MaxRowBytes)}
	}
	full, err := record.EncodeRows(record.ID{}, many[:record.MaxBlobRows])
	if err != nil || len(full) != record.MaxBlobBytes {
		t.Fatalf("a full blob: %d bytes, want %d, error %v", len(full), record.MaxBlobBytes, err)
	}
	refused := map[string][]record.BlobRow{
		"none":          nil,
		"too many":      many,
		"empty row":     {{Hour: 1}},
		"row too long":  {{Hour: 1, Row: make([]byte, record.MaxRowBytes+1)}},
		"same window":   {{Hour: 1, Row: []byte{1}}, {Hour: 1, Row: []byte{2}}},
		"out of order":  {{Hour: 2, Row: []byte{1}}, {Hour: 1, Row: []byte{2}}},
		"order of corr": {{Hour: 2, Correction: 1, Row: []byte{1}}, {Hour: 2, Row: []byte{2}}},
	}
	for name, rows := range refused {
		if _, err := record.EncodeRows(record.ID{}, rows); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// A relay must not be able to make two blobs that read alike, nor one that
// makes the reader hold more than it was sent.
func TestAttackMalformedRowsBlob(t *testing.T) {
	good, err := record.EncodeRows(record.ID{7}, sampleRows())
	if err != nil {
		t.Fatal(err)
	}
	edit := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	bad := map[string][]byte{
		"empty":             nil,
		"header only":       good[:42],
		"magic":             edit(0, 'x'),
		"count zero":        edit(41, 0),
		"count above":       edit(40, 255),
		"count one short":   edit(41, 3),
		"count one more":    edit(41, 5),
		"row length zero":   edit(52, 0),
		"row length beyond": edit(51, 0x20),
		"trailing byte":     append(bytes.Clone(good), 0),
		"cut":               good[:len(good)-1],
		"too long":          make([]byte, record.MaxBlobBytes+1),
		"same hour twice":   edit(42+12+7, 0xfd), // hour 0 becomes 0xfd: order breaks with the next row
	}
	for name, b := range bad {
		if _, _, err := record.DecodeRows(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRowsBlobAnyRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 40).Draw(t, "rows")
		hour := rapid.Int64Range(-1<<40, 1<<40).Draw(t, "first hour")
		rows := make([]record.BlobRow, n)
		for i := range rows {
			rows[i] = record.BlobRow{Hour: hour, Row: rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "row")}
			hour += rapid.Int64Range(1, 9).Draw(t, "step")
		}
		blob, err := record.EncodeRows(record.ID{3}, rows)
		if err != nil {
			t.Fatal(err)
		}
		_, got, err := record.DecodeRows(blob)
		if err != nil || len(got) != n {
			t.Fatalf("%d of %d rows, error %v", len(got), n, err)
		}
		for i := range got {
			if got[i].Hour != rows[i].Hour || !bytes.Equal(got[i].Row, rows[i].Row) {
				t.Fatalf("row %d differs", i)
			}
		}
	})
}

// Whatever is accepted encodes to the same bytes again.
func FuzzDecodeRows(f *testing.F) {
	good, err := record.EncodeRows(record.ID{7}, sampleRows()[:3])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:50])
	f.Add([]byte("vvrows/1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		device, rows, err := record.DecodeRows(b)
		if err != nil {
			return
		}
		again, err := record.EncodeRows(device, rows)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("accepted bytes are not canonical: %v", err)
		}
	})
}
