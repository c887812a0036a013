package fabric_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A search looks at every byte that the nodes of a network have on disk. Peers and
// orderers keep their databases in LevelDB: its tables are in blocks that Snappy has
// compressed, and its logs cut records into pieces, so both are read as their formats
// say (leveldb's doc/table_format.md and doc/log_format.md). Everything else is looked
// at as it is: our own databases hold sealed values, which do not compress.

// eachText calls look with the content of every file below dir, in whichever forms it
// may be readable.
func eachText(t testing.TB, dir string, look func(path string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // a database has just removed it
			return nil
		}
		if err != nil {
			return err
		}
		look(path, data)
		switch {
		case strings.HasSuffix(path, ".ldb"):
			for _, block := range tableBlocks(data) {
				look(path, block)
			}
		case strings.HasSuffix(path, ".log"):
			look(path, logRecords(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

const tableMagic = "\x57\xfb\x80\x8b\x24\x75\x47\xdb"

// tableBlocks returns the data blocks of a LevelDB table, decompressed; none of what is
// no table.
func tableBlocks(table []byte) [][]byte {
	if len(table) < 48 || string(table[len(table)-8:]) != tableMagic {
		return nil
	}
	footer := table[len(table)-48:]
	_, a := binary.Uvarint(footer) // the index of meta blocks
	_, b := binary.Uvarint(footer[a:])
	index := tableBlock(table, footer[a+b:])
	var out [][]byte
	for _, handle := range blockValues(index) {
		out = append(out, tableBlock(table, handle))
	}
	return out
}

// tableBlock reads the block that a handle points at.
func tableBlock(table, handle []byte) []byte {
	at, n := binary.Uvarint(handle)
	size, _ := binary.Uvarint(handle[n:])
	if at+size+1 > uint64(len(table)) {
		return nil
	}
	block := table[at : at+size]
	if table[at+size] == 1 {
		return unsnap(block)
	}
	return block
}

// blockValues returns the values of a block's entries.
func blockValues(block []byte) [][]byte {
	if len(block) < 4 {
		return nil
	}
	restarts := int(binary.LittleEndian.Uint32(block[len(block)-4:]))
	end := len(block) - 4 - 4*restarts
	var out [][]byte
	for at := 0; at < end; {
		_, a := binary.Uvarint(block[at:])
		unshared, b := binary.Uvarint(block[at+a:])
		length, c := binary.Uvarint(block[at+a+b:])
		at += a + b + c + int(unshared)
		if a <= 0 || b <= 0 || c <= 0 || at+int(length) > end {
			return out
		}
		out = append(out, block[at:at+int(length)])
		at += int(length)
	}
	return out
}

// unsnap decompresses a Snappy block (google/snappy, format_description.txt), as far
// as it is one.
func unsnap(in []byte) []byte {
	_, at := binary.Uvarint(in)
	var out []byte
	for at > 0 && at < len(in) {
		tag := in[at]
		at++
		length, offset := int(tag>>2)+1, 0
		extra := 0
		switch tag & 3 {
		case 0:
			if length > 60 {
				extra = length - 60
				length = int(little(in, at, extra)) + 1
			}
			at += extra
			if at+length > len(in) {
				return out
			}
			out = append(out, in[at:at+length]...)
			at += length
			continue
		case 1:
			length, offset, extra = int(tag>>2&7)+4, int(tag>>5)<<8|int(little(in, at, 1)), 1
		case 2:
			offset, extra = int(little(in, at, 2)), 2
		case 3:
			offset, extra = int(little(in, at, 4)), 4
		}
		at += extra
		if offset <= 0 || offset > len(out) {
			return out
		}
		for range length {
			out = append(out, out[len(out)-offset])
		}
	}
	return out
}

func little(in []byte, at, n int) uint32 {
	var v uint32
	for i := range n {
		if at+i < len(in) {
			v |= uint32(in[at+i]) << (8 * i)
		}
	}
	return v
}

// logRecords puts the pieces of a LevelDB log's records together.
func logRecords(log []byte) []byte {
	const block, header = 32 << 10, 7
	var out []byte
	for start := 0; start < len(log); start += block {
		page := log[start:min(start+block, len(log))]
		for len(page) >= header {
			n := int(binary.LittleEndian.Uint16(page[4:]))
			if page[6] == 0 || header+n > len(page) {
				break
			}
			out = append(out, page[header:header+n]...)
			page = page[header+n:]
		}
	}
	return out
}

func TestTheSearchReadsCompressedBlocksAndCutRecords(t *testing.T) {
	// "abcd" and a copy of eight bytes from four back: Snappy's own example of a run.
	if got := unsnap([]byte{12, 3 << 2, 'a', 'b', 'c', 'd', 4<<2 | 1, 4}); string(got) != "abcdabcdabcd" {
		t.Errorf("unsnap: %q", got)
	}
	piece := func(kind byte, s string) []byte {
		return append([]byte{0, 0, 0, 0, byte(len(s)), byte(len(s) >> 8), kind}, s...)
	}
	long := strings.Repeat("x", 32<<10-7-7-3)
	log := append(piece(1, long), piece(2, "cut")...)
	if len(log) != 32<<10 {
		t.Fatalf("the page has %d bytes", len(log))
	}
	if got := logRecords(append(log, piece(4, "ting")...)); !bytes.HasSuffix(got, []byte("xcutting")) {
		t.Errorf("log records end with %q", got[len(got)-10:])
	}
}
