package keysum

import (
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	// largeChange is from how many devices on a sum is made on every core and
	// remembered. Below it expanded pieces are kept in memory instead: the same few
	// devices come and go.
	largeChange = 128
	// manyDevices is from how many devices on a sum's making is logged: it takes
	// some 15 microseconds of a core for each.
	manyDevices = 1000
	// sumPart is how many devices one core takes at a time.
	sumPart = 128
)

// over returns a piece's sum over a set. It starts from the nearest sum, which may
// be one that the caller has, and adds and takes off the rest. The result is the
// caller's to wipe.
func (k *Sums) over(piece int, set Set, have *keptSum) (*keptSum, error) {
	from := k.nearest(piece, set)
	if have != nil && have.set.distance(set) <= from.set.distance(set) {
		from = have
	}
	if from.set.distance(set) >= largeChange {
		return k.large(piece, set, from)
	}
	out := k.startingFrom(from, set)
	err := set.each(from.set, func(n int) error {
		device, err := k.numbers.Device(n)
		if err != nil {
			return err
		}
		t, err := k.secrets.get(pieceOf{device, piece})
		if err != nil {
			return err
		}
		if set.Has(n) {
			return out.sum.Add(t)
		}
		return out.sum.Sub(t)
	})
	return out, err
}

// startingFrom is a sum's copy under the name of another set.
func (k *Sums) startingFrom(from *keptSum, set Set) *keptSum {
	out := &keptSum{set: set.clone(), sum: k.params.NewKeySum()}
	copy(out.sum, from.sum)
	return out
}

// large is over for many devices. Who needs a sum that is being made waits for it: a
// query that comes while the sums are brought up to date does not make them again.
func (k *Sums) large(piece int, set Set, from *keptSum) (*keptSum, error) {
	id := record.SumID(set.bytes())
	made, err, _ := k.making.Do(strconv.Itoa(piece)+"/"+id.String(), func() (any, error) {
		out := k.startingFrom(from, set)
		if err := k.change(out.sum, piece, set, from.set); err != nil {
			return nil, err
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.mayKeep(set) == nil {
			k.latest[piece] = out
		}
		return out, nil
	})
	if err != nil {
		return nil, err
	}
	return k.startingFrom(made.(*keptSum), set), nil
}

// pieceChange is a device that a sum gains or loses.
type pieceChange struct {
	device record.ID
	leaves bool
}

// change adds to a sum over one set what makes it one over another. Every core takes
// parts of the devices, in the order in which their seeds are stored, into sums of its
// own.
func (k *Sums) change(sum he.KeySum, piece int, set, from Set) error {
	var changes []pieceChange
	err := set.each(from, func(n int) error {
		device, err := k.numbers.Device(n)
		changes = append(changes, pieceChange{device, !set.Has(n)})
		return err
	})
	if err != nil {
		return err
	}
	if len(changes) >= manyDevices {
		k.log.Info("making a key sum from seeds", "piece", piece, "devices", len(changes))
		defer k.log.Info("made the key sum", "piece", piece)
	}
	slices.SortFunc(changes, func(a, b pieceChange) int { return a.device.Compare(b.device) })
	parts := slices.Collect(slices.Chunk(changes, sumPart))
	var next atomic.Int64
	var mu sync.Mutex // sum
	var g errgroup.Group
	for range min(runtime.GOMAXPROCS(0), len(parts)) {
		g.Go(func() error {
			come, leave := k.params.NewKeySum(), k.params.NewKeySum()
			defer clear(come)
			defer clear(leave)
			for i := next.Add(1) - 1; int(i) < len(parts); i = next.Add(1) - 1 {
				if err := k.expand(come, leave, piece, parts[i]); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			return errors.Join(sum.AddSum(come), sum.SubSum(leave))
		})
	}
	return g.Wait()
}

// expand adds the pieces of a part to those that come and those that leave.
func (k *Sums) expand(come, leave he.KeySum, piece int, part []pieceChange) error {
	devices := make([]record.ID, len(part))
	for i, c := range part {
		devices[i] = c.device
	}
	pieces := [2][]he.Piece{make([]he.Piece, 0, len(part)), make([]he.Piece, 0, len(part))} // that come, and that leave
	defer func() { clear(pieces[0]); clear(pieces[1]) }()
	err := k.secrets.each(piece, devices, func(i int, seed he.Seed) error {
		to := &pieces[0]
		if part[i].leaves {
			to = &pieces[1]
		}
		*to = append(*to, he.Piece{Device: devices[i], Number: piece, Seed: seed})
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(k.params.AddPieces(come, k.context, pieces[0]), k.params.AddPieces(leave, k.context, pieces[1]))
}
