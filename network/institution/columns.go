package institution

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
	"github.com/vitalveil/vitalveil/wearable"
)

// columns keeps, of every row that this member has found to be the one that its
// device signed, the part of each metric in a file of its own for each day, so that
// a query reads a ninth of the bytes and in order. Files are made of blocks: a
// header, a key for each row, the rows (he.Columns), and a MAC under a key from the
// vault. A block that is damaged is not used. What is not here is read from the
// blobs, so nothing is lost with a file and writes are not synced. It is safe for
// concurrent use.
type columns struct {
	params  *he.Params
	network string
	dir     string
	key     []byte
	layouts map[int]*he.Columns // by slot
	number  func(record.ID) (int, error)
	buffers sync.Pool // *[]byte

	mu      sync.Mutex
	pending map[columnFile]*columnBlock
	gone    map[int]bool        // numbers of devices that were dropped, of which nothing is kept any more
	opened  map[columnFile]bool // its end was checked
	spare   []*columnBlock      // to be filled again
	out     []byte              // a block as it is written
}

// columnFile is the rows of a day (Unix days) and a metric's slot.
type columnFile struct {
	day  int64
	slot int
}

type columnBlock struct {
	keys, rows []byte
	count      int
}

const (
	columnsFolder = "columns"
	columnMagic   = 0x76636f31 // "vco1"
	columnHeader  = 8          // magic and number of rows
	columnKey     = 8          // device's number, hour of the day, correction
	// rowsOfDay is how many rows a device can have in a day.
	rowsOfDay = 24 * (1 + record.MaxCorrection)
	// columnRows bounds the rows of a block.
	columnRows = 512
	// maxColumnFiles bounds the blocks that are being filled.
	maxColumnFiles = 512
)

func newColumns(p *he.Params, network, dir string, v *store.Store, number func(record.ID) (int, error)) (*columns, error) {
	key, found, err := v.Get(store.ColumnKey)
	if err == nil && !found {
		key = make([]byte, 32)
		rand.Read(key)
		err = v.Put(store.ColumnKey, key)
	}
	if err != nil {
		return nil, err
	}
	c := &columns{
		params: p, network: network, dir: filepath.Join(dir, columnsFolder), key: key, number: number,
		layouts: map[int]*he.Columns{}, pending: map[columnFile]*columnBlock{}, gone: map[int]bool{}, opened: map[columnFile]bool{},
	}
	for slot := range p.Schema().Slots() {
		if c.layouts[slot], err = p.Columns(p.Schema().MetricCoefficients(slot)); err != nil {
			return nil, err
		}
	}
	return c, os.MkdirAll(c.dir, 0o700)
}

func (f columnFile) name() string { return fmt.Sprintf("%d-%d", f.day, f.slot) }

// place is where a row lies: its day and its number within.
func place(device int, w he.Window) (int64, int) {
	day := wearable.FloorDiv(w.Hour, 24)
	return day, (device*(1+record.MaxCorrection)+int(w.Correction))*24 + int(w.Hour-24*day)
}

func (c *columns) mac(f columnFile, block []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	id := record.Digest("column-block/v1", c.network, []any{c.params.Profile().Name, c.params.Schema().Digest(), f.day, f.slot})
	h.Write(id[:])
	h.Write(block)
	return h.Sum(nil)
}

// blockSize reads the header of the block at an offset; io.EOF where there is no
// whole block.
func (c *columns) blockSize(file *os.File, f columnFile, at int64) (int64, error) {
	var header [columnHeader]byte
	if _, err := file.ReadAt(header[:], at); err != nil {
		return 0, io.EOF
	}
	count := binary.LittleEndian.Uint32(header[4:])
	if binary.LittleEndian.Uint32(header[:]) != columnMagic || count == 0 || count > columnRows {
		return 0, io.EOF
	}
	size := int64(columnHeader) + int64(count)*int64(columnKey+c.layouts[f.slot].Size()) + sha256.Size
	info, err := file.Stat()
	if err != nil || info.Size() < at+size {
		return 0, io.EOF
	}
	return size, nil
}

// drop deletes every file with rows of a device; they are made again from the
// blobs of the others.
func (c *columns) drop(device record.ID) error {
	n, err := c.number(device)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.gone[n] = true // rows of it may be on their way
	c.mu.Unlock()
	if err := c.flush(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var all error
	for _, e := range entries {
		f, ok := c.parse(e.Name())
		if !ok {
			continue
		}
		holds := false
		err := c.blocks(f, func(block []byte) error {
			defer c.release(block)
			keys, _ := c.split(f, block)
			for i := 0; i < len(keys); i += columnKey {
				holds = holds || int(binary.LittleEndian.Uint64(keys[i:])/rowsOfDay) == n
			}
			return nil
		})
		if holds {
			err = errors.Join(err, os.Remove(filepath.Join(c.dir, e.Name())))
		}
		all = errors.Join(all, err)
	}
	return all
}

func (c *columns) parse(name string) (columnFile, bool) {
	i := len(name) - 1
	for i > 0 && name[i] != '-' {
		i--
	}
	day, err := strconv.ParseInt(name[:max(i, 0)], 10, 64)
	slot, err2 := strconv.Atoi(name[i+1:])
	f := columnFile{day, slot}
	return f, err == nil && err2 == nil && c.layouts[slot] != nil && f.name() == name
}

// split returns the keys and rows of a block.
func (c *columns) split(f columnFile, block []byte) ([]byte, []byte) {
	count := (len(block) - columnHeader - sha256.Size) / (columnKey + c.layouts[f.slot].Size())
	keys := columnHeader + count*columnKey
	return block[columnHeader:keys], block[keys : len(block)-sha256.Size]
}

// blocks calls use with every whole block of a file, damaged or not; each call has
// a buffer of its own, which release takes back.
func (c *columns) blocks(f columnFile, use func(block []byte) error) error {
	file, err := os.Open(filepath.Join(c.dir, f.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	for at := int64(0); ; {
		size, err := c.blockSize(file, f, at)
		if err == io.EOF {
			return nil
		}
		block := c.buffer(int(size))
		if _, err := file.ReadAt(block, at); err != nil {
			return err
		}
		if err := use(block); err != nil {
			return err
		}
		at += size
	}
}

// buffer returns room for a block.
func (c *columns) buffer(size int) []byte {
	if b, ok := c.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:size]
	}
	return make([]byte, size)
}

// release takes a block back that is not needed any more.
func (c *columns) release(block []byte) { c.buffers.Put(&block) }

// layout returns the slot of the metric whose coefficients these are.
func (c *columns) layout(coeffs []int) (int, bool) {
	for slot := range c.layouts {
		if slices.Equal(c.params.Schema().MetricCoefficients(slot), coeffs) {
			return slot, true
		}
	}
	return 0, false
}
