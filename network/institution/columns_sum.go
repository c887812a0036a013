package institution

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
)

// wanted is rows that are still to be added, by day: the bits of place.
type wanted map[int64]*deviceSet

func (w wanted) flip(device int, window he.Window) {
	day, at := place(device, window)
	if w[day] == nil {
		w[day] = &deviceSet{}
	}
	w[day].flip(at)
}

func (w wanted) has(device int, window he.Window) bool {
	day, at := place(device, window)
	return w[day] != nil && w[day].has(at)
}

// hasAny reports whether a row of a cohort's member is still wanted.
func (w wanted) hasAny(device int, m record.CohortMember) bool {
	for window := range windowsOf(m) {
		if w.has(device, window) {
			return true
		}
	}
	return false
}

// size is how many rows are wanted.
func (w wanted) size() int {
	n := 0
	for _, day := range w {
		n += day.size()
	}
	return n
}

// windowsOf goes through the windows of a cohort's member.
func windowsOf(m record.CohortMember) iter.Seq[he.Window] {
	return func(yield func(he.Window) bool) {
		for _, r := range m.Ranges {
			for h := r[0]; h < r[1]; h++ {
				if !yield(he.Window{Hour: h}) {
					return
				}
			}
		}
		for _, c := range m.Corrections {
			if !yield(he.Window{Hour: c[0], Correction: uint8(c[1])}) {
				return
			}
		}
	}
}

// sum adds the wanted rows that are here, each once, and takes them out of want. It
// returns the sum and how many bytes were read. Memory does not depend on how many
// rows there are.
func (c *columns) sum(ctx context.Context, slot int, want wanted) (*he.Sum, int64, error) {
	coeffs := c.params.Schema().MetricCoefficients(slot)
	total, err := c.params.NewSum(coeffs)
	if err != nil {
		return nil, 0, err
	}
	type part struct {
		file  columnFile
		block []byte
	}
	parts := make(chan part, runtime.GOMAXPROCS(0))
	var mu sync.Mutex // want and total
	var read atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			own, err := c.params.NewSum(coeffs)
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
			f := columnFile{day, slot}
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
	err = g.Wait()
	return total, read.Load(), err
}

// addBlock adds a block's wanted rows. One whose MAC is wrong is passed over: its
// rows stay wanted, and come from the blobs.
func (c *columns) addBlock(sum *he.Sum, f columnFile, block []byte, want wanted, mu *sync.Mutex) error {
	body := block[:len(block)-sha256.Size]
	if !hmac.Equal(c.mac(f, body), block[len(body):]) {
		return nil
	}
	keys, rows := c.split(f, block)
	size := c.layouts[f.slot].Size()
	kept := 0
	mu.Lock()
	set := want[f.day]
	for i := 0; i < len(keys); i += columnKey {
		at := int(binary.LittleEndian.Uint64(keys[i:]))
		if !set.has(at) {
			continue
		}
		set.flip(at)
		from := i / columnKey * size
		if to := kept * size; to != from {
			copy(rows[to:to+size], rows[from:from+size])
		}
		kept++
	}
	mu.Unlock()
	return c.layouts[f.slot].AddTo(sum, rows[:kept*size])
}
