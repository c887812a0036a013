package column

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/keysum"
)

// Wanted is rows that are still to be added, by day: the bits of place.
type Wanted map[int64]*keysum.Set

// Want is every row of a cohort, of the kind that the parameters are for.
func Want(p *he.Params, members []record.CohortMember, numbers *keysum.Numbers) (Wanted, error) {
	w := Wanted{}
	for _, m := range members {
		n, err := numbers.Of(m.Device)
		if err != nil {
			return nil, err
		}
		for window := range p.Windows(m) {
			w.flip(n, window)
		}
	}
	return w, nil
}

func (w Wanted) flip(device int, window he.Window) {
	day, at := place(device, window)
	if w[day] == nil {
		w[day] = &keysum.Set{}
	}
	w[day].Flip(at)
}

// Has reports whether a row of the device with this number is still wanted.
func (w Wanted) Has(device int, window he.Window) bool {
	day, at := place(device, window)
	return w[day] != nil && w[day].Has(at)
}

// HasAny reports whether a row of the device in one of the windows is still wanted.
func (w Wanted) HasAny(device int, windows iter.Seq[he.Window]) bool {
	for window := range windows {
		if w.Has(device, window) {
			return true
		}
	}
	return false
}

// Size is how many rows are wanted.
func (w Wanted) Size() int {
	n := 0
	for _, day := range w {
		n += day.Size()
	}
	return n
}

// AddTo adds the wanted rows that are here to a sum, each once, and takes them out of
// want. It returns how many bytes were read. Memory does not depend on how many rows
// there are.
func (c *Columns) AddTo(ctx context.Context, total *he.Sum, want Wanted) (int64, error) {
	if c == nil {
		return 0, nil
	}
	slot, ok := c.slotWith(total.Coefficients())
	if !ok {
		return 0, nil
	}
	type part struct {
		file  fileOf
		block []byte
	}
	parts := make(chan part, runtime.GOMAXPROCS(0))
	var mu sync.Mutex // want and total
	var read atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			own, err := c.params.NewSum(total.Coefficients())
			if err != nil {
				return err
			}
			for p := range parts {
				read.Add(int64(len(p.block)))
				err := c.addBlock(own, p.file, p.block, want, &mu)
				c.release(p.block)
				if err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			return total.Merge(own)
		})
	}
	g.Go(func() error {
		defer close(parts)
		for day := range want {
			f := fileOf{day, slot}
			err := c.blocks(f, func(block []byte) error {
				select {
				case parts <- part{f, block}:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	err := g.Wait()
	return read.Load(), err
}

// addBlock adds a block's wanted rows. One whose MAC is wrong is passed over: its
// rows stay wanted, and come from the blobs.
func (c *Columns) addBlock(sum *he.Sum, f fileOf, block []byte, want Wanted, mu *sync.Mutex) error {
	body := block[:len(block)-sha256.Size]
	if !hmac.Equal(c.mac(f, body), block[len(body):]) {
		return nil
	}
	keys, rows := c.split(f, block)
	size := c.layouts[f.slot].Size()
	kept := 0
	mu.Lock()
	set := want[f.day]
	for i := 0; i < len(keys); i += keySize {
		at := int(binary.LittleEndian.Uint64(keys[i:]))
		if !set.Has(at) {
			continue
		}
		set.Flip(at)
		from := i / keySize * size
		if to := kept * size; to != from {
			copy(rows[to:to+size], rows[from:from+size])
		}
		kept++
	}
	mu.Unlock()
	return c.layouts[f.slot].AddTo(sum, rows[:kept*size])
}
