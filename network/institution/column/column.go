package column

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
	"strconv"
	"sync"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/keysum"
	"github.com/vitalveil/vitalveil/network/institution/store"
	"github.com/vitalveil/vitalveil/wearable"
)

// Columns are the columns of a member; a nil one keeps nothing. They are safe for
// concurrent use.
type Columns struct {
	params  *he.Params
	network string
	dir     string
	key     []byte
	layouts map[int]*he.Columns // by slot
	numbers *keysum.Numbers
	buffers sync.Pool // *[]byte

	mu      sync.Mutex
	pending map[fileOf]*filling
	gone    map[int]bool    // numbers of devices that were dropped, of which nothing is kept any more
	opened  map[fileOf]bool // its end was checked
	spare   []*filling      // to be filled again
	out     []byte          // a block as it is written
}

// fileOf is the rows of a day (Unix days) and a metric's slot.
type fileOf struct {
	day  int64
	slot int
}

type filling struct {
	keys, rows []byte
	count      int
}

const (
	folder     = "columns" // of hours
	dayFolder  = "day-columns"
	magic      = 0x76636f31 // "vco1"
	headerSize = 8          // magic and number of rows
	keySize    = 8          // device's number, hour of the day, correction
	// rowsOfDay is how many rows a device can have in a day.
	rowsOfDay = 24 * (1 + record.MaxCorrection)
	// maxRows bounds the rows of a block.
	maxRows = 512
	// maxPending bounds the blocks that are being filled.
	maxPending = 512
)

// Open opens or makes the columns below dir, of devices with these numbers on the ledger:
// those of hours or of day rows, as the parameters are.
func Open(p *he.Params, network, dir string, s *store.Store, numbers *keysum.Numbers) (*Columns, error) {
	key, found, err := s.Get(store.ColumnKey)
	if err == nil && !found {
		key = make([]byte, 32)
		rand.Read(key)
		err = s.Put(store.ColumnKey, key)
	}
	if err != nil {
		return nil, err
	}
	c := &Columns{
		params: p, network: network, dir: filepath.Join(dir, folder), key: key, numbers: numbers,
		layouts: map[int]*he.Columns{}, pending: map[fileOf]*filling{}, gone: map[int]bool{}, opened: map[fileOf]bool{},
	}
	if p.Schema().Daily() {
		c.dir = filepath.Join(dir, dayFolder)
	}
	for slot := range p.Schema().Slots() {
		if c.layouts[slot], err = p.Columns(p.Schema().MetricCoefficients(slot)); err != nil {
			return nil, err
		}
	}
	return c, os.MkdirAll(c.dir, 0o700)
}

func (f fileOf) name() string { return fmt.Sprintf("%d-%d", f.day, f.slot) }

// place is where a row lies: its day and its number within.
func place(device int, w he.Window) (int64, int) {
	day := wearable.FloorDiv(w.Hour, 24)
	return day, (device*(1+record.MaxCorrection)+int(w.Correction))*24 + int(w.Hour-24*day)
}

func (c *Columns) mac(f fileOf, block []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	id := record.Digest("column-block/v1", c.network, []any{c.params.Profile().Name, c.params.Schema().Digest(), f.day, f.slot})
	h.Write(id[:])
	h.Write(block)
	return h.Sum(nil)
}

// blockSize reads the header of the block at an offset; io.EOF where there is no
// whole block.
func (c *Columns) blockSize(file *os.File, f fileOf, at int64) (int64, error) {
	var header [headerSize]byte
	if _, err := file.ReadAt(header[:], at); err != nil {
		return 0, io.EOF
	}
	count := binary.LittleEndian.Uint32(header[4:])
	if binary.LittleEndian.Uint32(header[:]) != magic || count == 0 || count > maxRows {
		return 0, io.EOF
	}
	size := int64(headerSize) + int64(count)*int64(keySize+c.layouts[f.slot].Size()) + sha256.Size
	info, err := file.Stat()
	if err != nil || info.Size() < at+size {
		return 0, io.EOF
	}
	return size, nil
}

// Drop deletes every file with rows of a device; those of the others are made again
// from their blobs. No row of the device is kept from now on.
func (c *Columns) Drop(device record.ID) error {
	if c == nil {
		return nil
	}
	n, err := c.numbers.Of(device)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.gone[n] = true // rows of it may be on their way
	c.mu.Unlock()
	if err := c.Flush(); err != nil {
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
			for i := 0; i < len(keys); i += keySize {
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

// Clear deletes everything.
func (c *Columns) Clear() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.pending)
	clear(c.opened)
	entries, err := os.ReadDir(c.dir)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(c.dir, e.Name())))
	}
	return err
}

func (c *Columns) parse(name string) (fileOf, bool) {
	i := len(name) - 1
	for i > 0 && name[i] != '-' {
		i--
	}
	day, err := strconv.ParseInt(name[:max(i, 0)], 10, 64)
	slot, err2 := strconv.Atoi(name[i+1:])
	f := fileOf{day, slot}
	return f, err == nil && err2 == nil && c.layouts[slot] != nil && f.name() == name
}

// split returns the keys and rows of a block.
func (c *Columns) split(f fileOf, block []byte) ([]byte, []byte) {
	count := (len(block) - headerSize - sha256.Size) / (keySize + c.layouts[f.slot].Size())
	keys := headerSize + count*keySize
	return block[headerSize:keys], block[keys : len(block)-sha256.Size]
}

// blocks calls use with every whole block of a file, damaged or not; each call has
// a buffer of its own, which release takes back.
func (c *Columns) blocks(f fileOf, use func(block []byte) error) error {
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
func (c *Columns) buffer(size int) []byte {
	if b, ok := c.buffers.Get().(*[]byte); ok && cap(*b) >= size {
		return (*b)[:size]
	}
	return make([]byte, size)
}

// release takes a block back that is not needed any more.
func (c *Columns) release(block []byte) { c.buffers.Put(&block) }

// slotWith returns the slot of the metric that has these coefficients.
func (c *Columns) slotWith(coeffs []int) (int, bool) {
	for slot, layout := range c.layouts {
		if layout.Cover(coeffs) {
			return slot, true
		}
	}
	return 0, false
}
