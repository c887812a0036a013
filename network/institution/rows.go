package institution

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/column"
)

const (
	// readers is how many blobs are fetched and checked at once, or as many as there
	// are cores.
	readers = 2
	// batchesAtOnce bounds the batches of one Available post.
	batchesAtOnce = 200
)

// rowDuty vouches for the rows of new batches that this member has fetched and
// found well formed. Rows whose blob is not there yet are posted later: bits of
// a batch may be added.
type rowDuty struct {
	next    int // batches before this one were looked at
	waiting backlog[index.Batch]
}

func (d *rowDuty) bind(in *Institution) func(context.Context) error {
	return func(ctx context.Context) error { return d.work(ctx, in) }
}

func (d *rowDuty) work(ctx context.Context, in *Institution) error {
	fresh := in.index.Batches(d.next)
	d.next += len(fresh)
	for part := range slices.Chunk(d.waiting.take(fresh), batchesAtOnce) {
		later, err := in.vouch(ctx, part)
		if err != nil {
			in.log.Warn("rows could not be vouched for; trying again", "err", err)
			later = part
		}
		d.waiting.keep(later)
	}
	return d.waiting.err("rows")
}

// vouch checks batches and posts what it found in one transaction. It returns
// the batches with rows to look for again.
func (in *Institution) vouch(ctx context.Context, batches []index.Batch) ([]index.Batch, error) {
	var mu sync.Mutex
	var posts []record.SignedAvailable
	var later []index.Batch
	g, gctx := errgroup.WithContext(ctx) // ends with Wait; the post below does not
	g.SetLimit(max(readers, runtime.GOMAXPROCS(0)))
	for _, b := range batches {
		g.Go(func() error {
			before, done := in.index.Vouched(b.ID, in.self.MSP)
			if done {
				return nil
			}
			bitmap, missing := in.inspect(gctx, b, before)
			mu.Lock()
			defer mu.Unlock()
			if missing {
				later = append(later, b)
			}
			if string(bitmap) == string(before) || missing && isZero(bitmap) {
				return nil
			}
			post, err := in.signAvailable(b, bitmap)
			posts = append(posts, post)
			return err
		})
	}
	err := g.Wait()
	in.flushColumns()
	if err != nil || len(posts) == 0 {
		return later, err
	}
	return later, perform(ctx, in, contracts.PointerAvailable, record.Available{Posts: posts})
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func (in *Institution) signAvailable(b index.Batch, bitmap []byte) (record.SignedAvailable, error) {
	post := record.AvailablePost{Batch: b.ID, Count: len(b.Pointers), Bitmap: bitmap}
	sig, err := record.Sign(in.cfg.SignKey, post.Digest(in.cfg.Genesis.Network))
	return record.SignedAvailable{Post: post, Member: in.self.MSP, Signature: sig}, err
}

// inspect returns a batch's bitmap, with the bits of this member's earlier post,
// and whether a blob could not be fetched. Day roots carry no blob; the device has
// signed them and that is all. Rows of another epoch's devices are left to the
// process that serves it.
func (in *Institution) inspect(ctx context.Context, b index.Batch, before []byte) ([]byte, bool) {
	missing := false
	bitmap := make([]byte, (len(b.Pointers)+7)/8)
	copy(bitmap, before)
	if !in.isRoot(b) {
		return bitmap, false
	}
	var device record.ID
	var checked []column.Row // of the device: a batch mostly has its hours in a row
	for i, p := range b.Pointers {
		if p.Device != device {
			in.takeIn(device, checked...)
			device, checked = p.Device, checked[:0]
		}
		found := true
		if p.Kind == record.KindRow && !in.serves(p.Device) {
			continue
		}
		if !in.signedPointer(p, b.Signatures[i]) {
			continue
		}
		if p.Kind == record.KindRow {
			rows, err := in.rowsOf(ctx, p)
			if err != nil && in.index.ErasedDevice(p.Device) {
				found = false // and will not come
			} else if err != nil {
				in.log.Debug("blob is not there yet", "blob", p.Blob.Short(), "err", err)
				missing, found = true, false
			} else if found = rows[windowOf(p)].hash == p.Commitment; !found {
				in.log.Warn("a row is not what its pointer commits to", "device", p.Device.Short(), "hour", p.Index, "correction", p.Correction)
			} else {
				checked = append(checked, column.Row{Window: windowOf(p), Sealed: rows[windowOf(p)].row})
			}
		}
		if found {
			bitmap[i/8] |= 1 << (i % 8)
		}
	}
	in.takeIn(device, checked...)
	return bitmap, missing
}

// isRoot reports whether a batch is named by the Merkle root of its pointers, as the
// contracts name it. What this member signs about a batch says nothing else.
func (in *Institution) isRoot(b index.Batch) bool {
	leaves := make([]record.ID, len(b.Pointers))
	for i, p := range b.Pointers {
		leaves[i] = p.Digest(in.cfg.Genesis.Network)
	}
	ok := record.Root(leaves) == b.ID
	if !ok {
		in.log.Error("a batch of the ledger has other pointers than its name is the root of", "batch", b.ID)
	}
	return ok
}

// signedPointer reports whether a pointer's device has signed it. Whoever relies on the
// word of enough members need not look again.
func (in *Institution) signedPointer(p record.Pointer, sig []byte) bool {
	d, _, _, _ := in.index.Device(p.Device)
	if err := record.Verify(d.Device.Key, p.Digest(in.cfg.Genesis.Network), sig); err != nil {
		in.log.Error("the ledger has a pointer that its device has not signed", "device", p.Device, "kind", p.Kind, "index", p.Index, "err", err)
		return false
	}
	return true
}

// takeIn puts rows that are known to be the ledger's into columns. A failure costs
// time later: they are read from their blob.
func (in *Institution) takeIn(device record.ID, rows ...column.Row) {
	if len(rows) == 0 || in.index.ErasedDevice(device) {
		return
	}
	if err := in.columns.Add(device, rows...); err != nil {
		in.log.Warn("rows are not in columns", "device", device.Short(), "rows", len(rows), "err", err)
	}
}

func (in *Institution) flushColumns() {
	if err := in.columns.Flush(); err != nil {
		in.log.Warn("columns could not be written", "err", err)
	}
}

// checkedRow is a well-formed row and its SHA-256.
type checkedRow struct {
	hash record.ID
	row  []byte
}

// rowsOf returns the well-formed rows in a pointer's blob by window:
// none if the blob is not one of the pointer's device. An error means that the
// blob could not be fetched.
func (in *Institution) rowsOf(ctx context.Context, p record.Pointer) (map[he.Window]checkedRow, error) {
	if rows, ok := in.checked.get(p); ok {
		return rows, nil
	}
	blob, err := in.blob(ctx, p.Blob)
	if err != nil {
		return nil, err
	}
	rows := map[he.Window]checkedRow{}
	device, list, err := record.DecodeRows(blob)
	if err == nil && device == p.Device {
		for _, r := range list {
			if r.Correction <= record.MaxCorrection && in.params.CheckRow(r.Row) == nil {
				rows[he.Window{Hour: r.Hour, Correction: r.Correction}] = checkedRow{record.SumID(r.Row), r.Row}
			}
		}
	}
	in.checked.put(p, rows)
	return rows, nil
}

// verdicts remembers what was in the blobs looked at last, since a blob's rows
// may be anchored in several batches.
type verdicts struct {
	mu   sync.Mutex
	rows map[verdictKey]map[he.Window]checkedRow
}

type verdictKey struct{ blob, device record.ID }

// maxVerdicts bounds the blobs remembered, some 35 kB each where a blob has a day; all are forgotten
// when there are more.
const maxVerdicts = 256

func newVerdicts() *verdicts { return &verdicts{rows: map[verdictKey]map[he.Window]checkedRow{}} }

func (v *verdicts) get(p record.Pointer) (map[he.Window]checkedRow, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	rows, ok := v.rows[verdictKey{p.Blob, p.Device}]
	return rows, ok
}

func (v *verdicts) put(p record.Pointer, rows map[he.Window]checkedRow) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.rows) >= maxVerdicts {
		clear(v.rows)
	}
	v.rows[verdictKey{p.Blob, p.Device}] = rows
}

func windowOf(p record.Pointer) he.Window { return he.Window{Hour: p.Index, Correction: p.Correction} }
