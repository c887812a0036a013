package gateway

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

// Pointers of many uploads are anchored together: a batch leaves when it is
// full or when its first pointer has waited for flushAfter.
const (
	batchSize  = record.MaxBatch
	flushAfter = 25 * time.Millisecond
	inFlight   = 4 // batches at once
)

// batcher gathers pointers into transactions.
type batcher struct {
	*ledger
	ops     *operations
	uploads chan entry
	slots   chan struct{}
	sending sync.WaitGroup
	// discard deletes blobs of a device that the ledger has refused up to a block. It
	// reports false when the gateway ends before.
	discard func(ctx context.Context, device record.ID, refused []record.ID, block uint64) bool
}

// anchoring is one upload under way.
type anchoring struct {
	entry
	mu      sync.Mutex
	left    int
	outcome *apiv1.Operation
	proven  bool // the device was shown what the ledger has in a pointer's place
}

// waiting is one pointer of an upload.
type waiting struct {
	upload *anchoring
	place  int
	signed record.SignedPointer
}

func newBatcher(l *ledger, ops *operations, discard func(ctx context.Context, device record.ID, refused []record.ID, block uint64) bool) *batcher {
	return &batcher{
		ledger: l, ops: ops, discard: discard,
		uploads: make(chan entry, maxPending), slots: make(chan struct{}, inFlight),
	}
}

// run gathers until the gateway is closed; what it has not sent by then stays in
// the journal.
func (b *batcher) run(ctx context.Context) {
	defer b.sending.Wait()
	var gathered []waiting
	var flush <-chan time.Time
	for {
		select {
		case <-b.quit:
			return
		case e := <-b.uploads:
			gathered = append(gathered, b.begin(e)...)
			if flush == nil {
				flush = time.After(flushAfter)
			}
		case <-flush:
			flush = nil
		}
		for len(gathered) >= batchSize || flush == nil && len(gathered) > 0 {
			n := min(len(gathered), batchSize)
			if !b.send(ctx, gathered[:n:n]) {
				return
			}
			gathered = gathered[n:]
		}
		if len(gathered) == 0 {
			flush = nil
		}
	}
}

// begin splits an upload into its pointers.
func (b *batcher) begin(e entry) []waiting {
	pointers := e.request.GetAnchor().GetPointers()
	up := &anchoring{entry: e, left: len(pointers), outcome: proto.CloneOf(e.state)}
	up.outcome.Items = make([]*apiv1.AnchorItem, len(pointers))
	out := make([]waiting, len(pointers))
	for i, m := range pointers {
		out[i] = waiting{upload: up, place: i}
		var err error
		if out[i].signed, err = m.Record(); err != nil {
			b.ops.finish(e.id, failed(e.state, fault.New(fault.Invalid, "pointer %d: %w", i, err)))
			return nil
		}
	}
	return out
}

// send anchors a batch in the background, once one of the slots is free.
func (b *batcher) send(ctx context.Context, batch []waiting) bool {
	select {
	case <-b.quit:
		return false
	case b.slots <- struct{}{}:
	}
	b.sending.Go(func() {
		defer func() { <-b.slots }()
		b.anchor(ctx, batch)
	})
	return true
}

// anchor brings a batch onto the ledger. Where a race was lost, or one pointer
// may have spoiled the transaction for the others, the batch is halved; while
// the ledger is away, it waits.
func (b *batcher) anchor(ctx context.Context, batch []waiting) {
	wait := firstPause
	for {
		res, err := b.submit(ctx, batch)
		if err == nil {
			b.deliver(ctx, batch, res)
			return
		}
		code := asFault(err).Code
		if len(batch) > 1 && divisible[code] {
			b.anchor(ctx, batch[:len(batch)/2])
			b.anchor(ctx, batch[len(batch)/2:])
			return
		}
		if !passing(err) {
			b.refuse(ctx, batch, asFault(err))
			return
		}
		if code == fault.Unavailable {
			b.log.Warn("the ledger did not take a batch; trying again", "pointers", len(batch))
		}
		if !pause(wait, b.quit) {
			return
		}
		wait = min(2*wait, mostPause)
	}
}

// divisible are failures of a batch that may be due to a part of it.
var divisible = map[fault.Code]bool{
	fault.Contention: true, fault.Invalid: true, fault.TooLarge: true, fault.Internal: true,
}

func (b *batcher) submit(ctx context.Context, batch []waiting) (network.Result, error) {
	a := record.Anchor{Pointers: make([]record.SignedPointer, len(batch))}
	for i, w := range batch {
		a.Pointers[i] = w.signed
	}
	call, err := contracts.PointerAnchor.Call(a)
	if err != nil {
		return network.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	return b.client.Submit(ctx, call)
}

// deliver hands each pointer's outcome to its upload.
func (b *batcher) deliver(ctx context.Context, batch []waiting, res network.Result) {
	r, err := contracts.PointerAnchor.Answer(res)
	if err == nil && len(r.Items) != len(batch) {
		err = fault.New(fault.Internal, "the ledger answered for %d of %d pointers", len(r.Items), len(batch))
	}
	if err != nil {
		b.refuse(ctx, batch, asFault(err))
		return
	}
	for i, w := range batch {
		item := &apiv1.AnchorItem{
			Outcome: r.Items[i].Outcome, Leaf: uint32(r.Items[i].Leaf),
			Code: r.Items[i].Code, Detail: r.Items[i].Detail, TxId: res.TxID,
		}
		if item.Outcome == record.Anchored {
			item.Batch = r.Batch.String()
		}
		if item.Code == string(fault.Conflict) && !w.upload.shown() {
			item.Recorded = b.recorded(ctx, w.signed.Pointer)
		}
		b.put(ctx, w, item, func(out *apiv1.Operation) { out.TxId, out.Block = res.TxID, res.Block })
	}
}

// shown reports whether it was called before: one proof is enough.
func (up *anchoring) shown() bool {
	up.mu.Lock()
	defer up.mu.Unlock()
	before := up.proven
	up.proven = true
	return before
}

// refuse ends pointers whose transaction failed; their uploads fail with it and
// may be posted again.
func (b *batcher) refuse(ctx context.Context, batch []waiting, f *fault.Error) {
	b.log.Warn("a batch was refused", "pointers", len(batch), "code", string(f.Code))
	for _, w := range batch {
		item := &apiv1.AnchorItem{Outcome: record.Refused, Code: string(f.Code), Detail: f.Detail}
		b.put(ctx, w, item, func(out *apiv1.Operation) {
			out.Error = &apiv1.Failure{Code: string(f.Code), Detail: f.Detail}
		})
	}
}

// put stores one outcome and ends the upload with its last one.
func (b *batcher) put(ctx context.Context, w waiting, item *apiv1.AnchorItem, note func(*apiv1.Operation)) {
	up := w.upload
	up.mu.Lock()
	up.outcome.Items[w.place] = item
	note(up.outcome)
	up.left--
	done := up.left == 0
	up.mu.Unlock()
	if done {
		b.end(ctx, w)
	}
}

// end finishes an upload. Blobs that were refused go before the journal forgets it,
// and in nobody's way.
func (b *batcher) end(ctx context.Context, last waiting) {
	up := last.upload
	refused := refusedBlobs(up.request.GetAnchor().GetPointers(), up.outcome.Items)
	if len(refused) == 0 {
		b.ops.finish(up.id, up.outcome)
		return
	}
	b.ops.letGo(up.id)
	b.sending.Go(func() {
		if b.discard(ctx, last.signed.Pointer.Device, refused, up.outcome.Block) {
			b.ops.finish(up.id, up.outcome)
		}
	})
}
