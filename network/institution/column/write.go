package column

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Row is a sealed row of a device.
type Row struct {
	Window he.Window
	Sealed []byte
}

// maxSpareBlocks bounds the emptied blocks that are kept: one for each metric of a day.
const maxSpareBlocks = 16

// Add takes rows of a device in. They must be known to be those that the ledger has
// for this device and these windows. Taking them apart, which is most of the work,
// may happen on all cores at once.
func (c *Columns) Add(device record.ID, rows ...Row) error {
	if c == nil || len(rows) == 0 {
		return nil
	}
	n, err := c.numbers.Of(device)
	if err != nil {
		return err
	}
	parts := make(map[int][]byte, len(c.layouts)) // by slot, row after row
	for slot, layout := range c.layouts {
		part := make([]byte, 0, len(rows)*layout.Size())
		for _, r := range rows {
			if part, err = layout.Append(part, r.Sealed); err != nil {
				return err
			}
		}
		parts[slot] = part
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone[n] {
		return nil
	}
	for i, r := range rows {
		day, at := place(n, r.Window)
		for slot, part := range parts {
			size := c.layouts[slot].Size()
			if err := c.put(fileOf{day, slot}, at, part[i*size:(i+1)*size]); err != nil {
				return err
			}
		}
	}
	if len(c.pending) > maxPending {
		return c.writeAll()
	}
	return nil
}

// put appends a row's part to the block that is being filled. The caller holds mu, as
// for what follows.
func (c *Columns) put(f fileOf, at int, part []byte) error {
	b := c.pending[f]
	if b == nil {
		b = &filling{}
		if last := len(c.spare) - 1; last >= 0 {
			b, c.spare = c.spare[last], c.spare[:last]
		}
		c.pending[f] = b
	}
	b.rows = append(b.rows, part...)
	b.keys = binary.LittleEndian.AppendUint64(b.keys, uint64(at))
	if b.count++; b.count == maxRows {
		return c.write(f)
	}
	return nil
}

// Flush writes what was taken in.
func (c *Columns) Flush() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeAll()
}

func (c *Columns) writeAll() error {
	var all error
	for f := range c.pending {
		all = errors.Join(all, c.write(f))
	}
	return all
}

func (c *Columns) write(f fileOf) error {
	b := c.pending[f]
	delete(c.pending, f)
	block := binary.LittleEndian.AppendUint32(c.out[:0], magic)
	block = binary.LittleEndian.AppendUint32(block, uint32(b.count))
	block = append(append(block, b.keys...), b.rows...)
	block = append(block, c.mac(f, block)...)
	c.out = block
	if len(c.spare) < maxSpareBlocks {
		c.spare = append(c.spare, &filling{keys: b.keys[:0], rows: b.rows[:0]})
	}
	path := filepath.Join(c.dir, f.name())
	if !c.opened[f] {
		if err := c.cut(f, path); err != nil {
			return err
		}
		c.opened[f] = true
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(block)
	if err = errors.Join(err, file.Close()); err != nil {
		c.opened[f] = false
	}
	return err
}

// cut ends a file after its last whole block: a crash may have left a part of one.
func (c *Columns) cut(f fileOf, path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	end, err := int64(0), error(nil)
	for err == nil {
		var size int64
		if size, err = c.blockSize(file, f, end); err == nil {
			end += size
		}
	}
	return errors.Join(file.Truncate(end), file.Close())
}
