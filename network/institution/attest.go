package institution

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/institution/column"
)

// attester attests the availability of the rows that this member has fetched and found
// well formed, once for each batch and again only to say more.
type attester struct {
	*member
	rows    *rows
	next    int // batches before this one were looked at
	waiting backlog[index.Batch]
}

const (
	// readers is how many blobs are fetched and checked at once, or as many as there
	// are cores.
	readers = 2
	// batchesAtOnce bounds the batches of one Available post.
	batchesAtOnce = 200
)

// work attests the rows of new batches that this member has fetched and
// found well formed. Rows whose blob is not there yet are posted later: bits of
// a batch may be added.
func (av *attester) work(ctx context.Context) error {
	fresh := av.index.Batches(av.next)
	av.next += len(fresh)
	for part := range slices.Chunk(av.waiting.take(fresh), batchesAtOnce) {
		later, err := av.attest(ctx, part)
		if err != nil {
			av.log.Warn("the availability of rows could not be attested; trying again", "err", err)
			later = part
		}
		av.waiting.keep(later)
	}
	return av.waiting.err("rows")
}

// attest checks batches and posts what it found in one transaction. It returns
// the batches with rows to look for again.
func (av *attester) attest(ctx context.Context, batches []index.Batch) ([]index.Batch, error) {
	var mu sync.Mutex
	var posts []record.SignedAvailable
	var later []index.Batch
	g, gctx := errgroup.WithContext(ctx) // ends with Wait; the post below does not
	g.SetLimit(max(readers, runtime.GOMAXPROCS(0)))
	for _, b := range batches {
		g.Go(func() error {
			before, done := av.index.Attested(b.ID, av.self.MSP)
			if done {
				return nil
			}
			bitmap, missing := av.inspect(gctx, b, before)
			mu.Lock()
			defer mu.Unlock()
			if missing {
				later = append(later, b)
			}
			if string(bitmap) == string(before) || missing && isZero(bitmap) {
				return nil
			}
			post, err := av.sign(b, bitmap)
			posts = append(posts, post)
			return err
		})
	}
	err := g.Wait()
	av.rows.flush()
	if err != nil || len(posts) == 0 {
		return later, err
	}
	return later, perform(ctx, av.member, contracts.PointerAvailable, record.Available{Posts: posts})
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

func (av *attester) sign(b index.Batch, bitmap []byte) (record.SignedAvailable, error) {
	post := record.AvailablePost{Batch: b.ID, Count: len(b.Pointers), Bitmap: bitmap}
	sig, err := record.Sign(av.cfg.SignKey, post.Digest(av.cfg.Genesis.Network))
	return record.SignedAvailable{Post: post, Member: av.self.MSP, Signature: sig}, err
}

// inspect returns a batch's bitmap, with the bits of this member's earlier post,
// and whether a blob could not be fetched. Day roots carry no blob; the device has
// signed them and that is all. Rows of another epoch's devices are left to the
// process that serves it.
func (av *attester) inspect(ctx context.Context, b index.Batch, before []byte) ([]byte, bool) {
	missing := false
	bitmap := make([]byte, (len(b.Pointers)+7)/8)
	copy(bitmap, before)
	if !av.isRoot(b) {
		return bitmap, false
	}
	var device record.ID
	var hours, days []column.Row // of the device: a batch mostly has its hours in a row
	takeIn := func() {
		av.rows.takeIn(av.hours, device, hours...)
		av.rows.takeIn(av.days, device, days...)
		hours, days = hours[:0], days[:0]
	}
	for i, p := range b.Pointers {
		if p.Device != device {
			takeIn()
			device = p.Device
		}
		if p.Sealed() && !av.serves(p.Device) || !av.signedPointer(p, b.Signatures[i]) {
			continue
		}
		if p.Sealed() {
			row, found, late := av.look(ctx, p)
			if missing = missing || late; !found {
				continue
			}
			if p.Kind == record.KindPersonDay {
				days = append(days, row)
			} else {
				hours = append(hours, row)
			}
		}
		bitmap[i/8] |= 1 << (i % 8)
	}
	takeIn()
	return bitmap, missing
}

// look fetches the row of a pointer, and reports whether it is the one that its device
// has signed, or may still come.
func (av *attester) look(ctx context.Context, p record.Pointer) (row column.Row, found, missing bool) {
	r, err := av.rows.of(ctx, p)
	switch {
	case err != nil && av.index.ErasedDevice(p.Device): // will not come
	case err != nil:
		av.log.Debug("blob is not there yet", "blob", p.Blob.Short(), "err", err)
		missing = true
	case r.hash != p.Commitment:
		av.log.Warn("a row is not what its pointer commits to", "device", p.Device.Short(), "kind", p.Kind, "index", p.Index, "correction", p.Correction)
	default:
		row, found = column.Row{Window: windowOf(placeOf(p)), Sealed: r.row}, true
	}
	return row, found, missing
}

// isRoot reports whether a batch is named by the Merkle root of its pointers, as the
// contracts name it. What this member signs about a batch says nothing else.
func (av *attester) isRoot(b index.Batch) bool {
	leaves := make([]record.ID, len(b.Pointers))
	for i, p := range b.Pointers {
		leaves[i] = p.Digest(av.cfg.Genesis.Network)
	}
	ok := record.Root(leaves) == b.ID
	if !ok {
		av.log.Error("a batch of the ledger has other pointers than its name is the root of", "batch", b.ID)
	}
	return ok
}

// signedPointer reports whether a pointer's device has signed it. Whoever relies on the
// word of enough members need not look again.
func (av *attester) signedPointer(p record.Pointer, sig []byte) bool {
	d, _, _, _ := av.index.Device(p.Device)
	if err := record.Verify(d.Device.Key, p.Digest(av.cfg.Genesis.Network), sig); err != nil {
		av.log.Error("the ledger has a pointer that its device has not signed", "device", p.Device, "kind", p.Kind, "index", p.Index, "err", err)
		return false
	}
	return true
}
