package institution

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/column"
)

// piecework is one blob with the rows of the cohort that it carries.
type piecework struct {
	device record.ID
	blob   record.ID
	rows   []index.HourRow
}

// work lists the blobs with wanted rows of a cohort, each once, in a fixed order.
func (in *Institution) work(c index.Cohort, want column.Wanted) ([]piecework, error) {
	var out []piecework
	if want.Size() == 0 {
		return nil, nil
	}
	for _, m := range c.Members {
		n, err := in.numbers.Of(m.Device)
		if err != nil {
			return nil, err
		}
		if !want.HasAny(n, m) {
			continue
		}
		rows, err := in.index.Rows(m)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r index.HourRow) bool { return !want.Has(n, windowOfRow(r)) })
		slices.SortStableFunc(rows, func(a, b index.HourRow) int { return a.Blob.Compare(b.Blob) })
		for i, r := range rows {
			if i == 0 || rows[i-1].Blob != r.Blob {
				out = append(out, piecework{device: m.Device, blob: r.Blob})
			}
			last := &out[len(out)-1]
			last.rows = append(last.rows, r)
		}
	}
	return out, nil
}

// sumRows adds every row of the cohort exactly once, on the asked coefficients:
// from columns what is there, and the rest from blobs. Each is the one that its
// device has signed on the ledger; one that is missing or different ends the sum
// with an error that names it. It also returns how many bytes were read.
func (in *Institution) sumRows(ctx context.Context, c index.Cohort, coeffs []int) (*he.Sum, int64, error) {
	want, err := column.Want(c.Members, in.numbers)
	if err != nil {
		return nil, 0, err
	}
	sum, err := in.params.NewSum(coeffs)
	if err != nil {
		return nil, 0, err
	}
	read, err := in.columns.AddTo(ctx, sum, want)
	if err != nil {
		return nil, 0, err
	}
	work, err := in.work(c, want)
	if err != nil {
		return nil, 0, err
	}
	n, err := in.sumBlobs(ctx, sum, work)
	if err != nil {
		return nil, 0, err
	}
	if sum.Rows() != c.Rows {
		return nil, 0, fault.New(fault.Internal, "%d rows were added, the cohort has %d", sum.Rows(), c.Rows)
	}
	return sum, read + n, nil
}

// sumBlobs adds rows from their blobs, and puts them into columns for the next time.
func (in *Institution) sumBlobs(ctx context.Context, sum *he.Sum, work []piecework) (int64, error) {
	if len(work) == 0 {
		return 0, nil
	}
	sums := make([]*he.Sum, max(readers, runtime.GOMAXPROCS(0)))
	var read atomic.Int64
	var err error
	g, ctx := errgroup.WithContext(ctx)
	for w := range sums {
		if sums[w], err = in.params.NewSum(sum.Coefficients()); err != nil {
			return 0, err
		}
		g.Go(func() error {
			for i := w; i < len(work) && ctx.Err() == nil; i += len(sums) {
				n, err := in.addBlob(ctx, sums[w], work[i])
				if err != nil {
					return err
				}
				read.Add(int64(n))
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	in.flushColumns()
	for _, s := range sums {
		if err := sum.Merge(s); err != nil {
			return 0, err
		}
	}
	return read.Load(), nil
}

// addBlob adds the rows of one blob and returns its size.
func (in *Institution) addBlob(ctx context.Context, sum *he.Sum, p piecework) (int, error) {
	blob, err := in.blob(ctx, p.blob)
	if err != nil {
		return 0, fault.New(fault.Unavailable, "rows of device %s: %w", p.device.Short(), err)
	}
	device, rows, err := record.DecodeRows(blob)
	if err != nil {
		return 0, fault.New(fault.Invalid, "rows of device %s: %w", p.device.Short(), err)
	}
	if device != p.device {
		return 0, fault.New(fault.Invalid, "blob %s carries rows of device %s, not %s", p.blob.Short(), device.Short(), p.device.Short())
	}
	checked := make([]column.Row, 0, len(p.rows))
	for _, want := range p.rows {
		i, found := slices.BinarySearchFunc(rows, want, compareRow)
		if !found || record.SumID(rows[i].Row) != want.Commitment {
			return 0, fault.New(fault.Invalid, "the row of device %s for hour %d, correction %d, is not the one that it has signed", p.device.Short(), want.Hour, want.Correction)
		}
		if err := sum.Add(rows[i].Row); err != nil {
			return 0, fault.New(fault.Invalid, "the row of device %s for hour %d, correction %d: %w", p.device.Short(), want.Hour, want.Correction, err)
		}
		checked = append(checked, column.Row{Window: windowOfRow(want), Sealed: rows[i].Row})
	}
	in.takeIn(p.device, checked...)
	return len(blob), nil
}

func windowOfRow(r index.HourRow) he.Window { return he.Window{Hour: r.Hour, Correction: r.Correction} }

// compareRow is the order of rows in a blob.
func compareRow(r record.BlobRow, want index.HourRow) int {
	return cmp.Or(cmp.Compare(r.Hour, want.Hour), cmp.Compare(r.Correction, want.Correction))
}
