package institution

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/column"
)

// rows fetches sealed rows and adds them up. A row counts only as the one that its
// device has signed on the ledger.
type rows struct {
	*member
	checked *verdicts
}

// piecework is one blob with the rows of the cohort that it carries.
type piecework struct {
	device record.ID
	blob   record.ID
	rows   []index.CohortRow
}

// work lists the blobs with wanted rows of a cohort, each once, in a fixed order.
func (ro *rows) work(c index.Cohort, want column.Wanted) ([]piecework, error) {
	var out []piecework
	if want.Size() == 0 {
		return nil, nil
	}
	params := ro.kind(c.Daily).params
	for _, m := range c.Members {
		n, err := ro.numbers.Of(m.Device)
		if err != nil {
			return nil, err
		}
		if !want.HasAny(n, params.Windows(m)) {
			continue
		}
		rows, err := ro.index.Rows(m, c.Daily)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r index.CohortRow) bool { return !want.Has(n, windowOf(r.Place)) })
		slices.SortStableFunc(rows, func(a, b index.CohortRow) int { return a.Blob.Compare(b.Blob) })
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

// sum adds every row of the cohort exactly once, on the asked coefficients:
// from columns what is there, and the rest from blobs. Each is the one that its
// device has signed on the ledger; one that is missing or different ends the sum
// with an error that names it. It also returns how many bytes were read.
func (ro *rows) sum(ctx context.Context, c index.Cohort, coeffs []int) (*he.Sum, int64, error) {
	kind := ro.kind(c.Daily)
	want, err := column.Want(kind.params, c.Members, ro.numbers)
	if err != nil {
		return nil, 0, err
	}
	sum, err := kind.params.NewSum(coeffs)
	if err != nil {
		return nil, 0, err
	}
	read, err := kind.columns.AddTo(ctx, sum, want)
	if err != nil {
		return nil, 0, err
	}
	work, err := ro.work(c, want)
	if err != nil {
		return nil, 0, err
	}
	n, err := ro.sumBlobs(ctx, kind, sum, work)
	if err != nil {
		return nil, 0, err
	}
	if sum.Rows() != c.Rows {
		return nil, 0, fault.New(fault.Internal, "%d rows were added, the cohort has %d", sum.Rows(), c.Rows)
	}
	return sum, read + n, nil
}

// sumBlobs adds rows from their blobs, and puts them into columns for the next time.
func (ro *rows) sumBlobs(ctx context.Context, kind rowKind, sum *he.Sum, work []piecework) (int64, error) {
	if len(work) == 0 {
		return 0, nil
	}
	sums := make([]*he.Sum, max(readers, runtime.GOMAXPROCS(0)))
	var read atomic.Int64
	var err error
	g, ctx := errgroup.WithContext(ctx)
	for w := range sums {
		if sums[w], err = kind.params.NewSum(sum.Coefficients()); err != nil {
			return 0, err
		}
		g.Go(func() error {
			for i := w; i < len(work) && ctx.Err() == nil; i += len(sums) {
				n, err := ro.addBlob(ctx, kind, sums[w], work[i])
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
	ro.flush()
	for _, s := range sums {
		if err := sum.Merge(s); err != nil {
			return 0, err
		}
	}
	return read.Load(), nil
}

// addBlob adds the rows of one blob and returns its size.
func (ro *rows) addBlob(ctx context.Context, kind rowKind, sum *he.Sum, p piecework) (int, error) {
	blob, err := ro.blob(ctx, p.blob)
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
		i, found := slices.BinarySearchFunc(rows, want.Place, compareRow)
		if !found || record.SumID(rows[i].Row) != want.Commitment {
			return 0, fault.New(fault.Invalid, "the row of device %s for %s is not the one that it has signed", p.device.Short(), want.Place)
		}
		if err := sum.Add(rows[i].Row); err != nil {
			return 0, fault.New(fault.Invalid, "the row of device %s for %s: %w", p.device.Short(), want.Place, err)
		}
		checked = append(checked, column.Row{Window: windowOf(want.Place), Sealed: rows[i].Row})
	}
	ro.takeIn(kind, p.device, checked...)
	return len(blob), nil
}

// windowOf is the window under which a row in a blob was sealed.
func windowOf(p index.Place) he.Window {
	if p.Daily() {
		return he.Window{Hour: p.Hour}
	}
	return he.Window{Hour: p.Hour, Correction: p.Correction}
}

// compareRow is the order of rows in a blob.
func compareRow(r record.BlobRow, want index.Place) int {
	return cmp.Or(cmp.Compare(r.Hour, want.Hour), cmp.Compare(r.Correction, want.Correction))
}

// takeIn puts rows of one kind that are known to be the ledger's into columns. A failure
// costs time later: they are read from their blob.
func (ro *rows) takeIn(kind rowKind, device record.ID, rows ...column.Row) {
	if len(rows) == 0 || ro.index.ErasedDevice(device) {
		return
	}
	if err := kind.columns.Add(device, rows...); err != nil {
		ro.log.Warn("rows are not in columns", "device", device.Short(), "rows", len(rows), "err", err)
	}
}

func (ro *rows) flush() {
	if err := errors.Join(ro.hours.columns.Flush(), ro.days.columns.Flush()); err != nil {
		ro.log.Warn("columns could not be written", "err", err)
	}
}

// of returns the row that a pointer names in its blob: none, the zero value, if there is no
// such row, or the blob is not one of the pointer's device. An error means that the blob
// could not be fetched.
func (ro *rows) of(ctx context.Context, p record.Pointer) (checkedRow, error) {
	rows, ok := ro.checked.get(p)
	if !ok {
		blob, err := ro.blob(ctx, p.Blob)
		if err != nil {
			return checkedRow{}, err
		}
		rows = map[index.Place]checkedRow{}
		device, list, err := record.DecodeRows(blob)
		if err == nil && device == p.Device {
			for _, r := range list {
				if ro.wellFormed(r) {
					rows[index.Place{Hour: r.Hour, Correction: r.Correction}] = checkedRow{record.SumID(r.Row), r.Row}
				}
			}
		}
		ro.checked.put(p, rows)
	}
	return rows[placeOf(p)], nil
}

func placeOf(p record.Pointer) index.Place {
	hour, correction := p.Place()
	return index.Place{Hour: hour, Correction: correction}
}

// wellFormed reports whether a row is one of an hour, or of a day where the network's
// schema has day rows.
func (ro *rows) wellFormed(r record.BlobRow) bool {
	if r.Correction == record.PersonDayMark {
		days := ro.params.Day()
		return days != nil && r.Hour%24 == 0 && days.CheckRow(r.Row) == nil
	}
	return r.Correction <= record.MaxCorrection && ro.params.CheckRow(r.Row) == nil
}

// checkedRow is a well-formed row and its SHA-256.
type checkedRow struct {
	hash record.ID
	row  []byte
}

// verdicts remembers what was in the blobs looked at last, since a blob's rows
// may be anchored in several batches.
type verdicts struct {
	mu   sync.Mutex
	rows map[verdictKey]map[index.Place]checkedRow
}

type verdictKey struct{ blob, device record.ID }

// maxVerdicts bounds the blobs remembered, some 35 kB each where a blob has a day; all are forgotten
// when there are more.
const maxVerdicts = 256

func newVerdicts() *verdicts { return &verdicts{rows: map[verdictKey]map[index.Place]checkedRow{}} }

func (v *verdicts) get(p record.Pointer) (map[index.Place]checkedRow, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	rows, ok := v.rows[verdictKey{p.Blob, p.Device}]
	return rows, ok
}

func (v *verdicts) put(p record.Pointer, rows map[index.Place]checkedRow) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.rows) >= maxVerdicts {
		clear(v.rows)
	}
	v.rows[verdictKey{p.Blob, p.Device}] = rows
}
