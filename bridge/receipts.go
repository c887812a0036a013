package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ErrReceipt says that a receipt does not prove what it should. It is not
// stored. The gateway is at fault, or the network's members are not those of the
// genesis that this bridge was given: do not take its word for anything.
var ErrReceipt = errors.New("receipt does not hold")

// VerifyReceipt checks that the receipt's pointer is in its batch and that at
// least Threshold different members of the genesis signed that they hold what it
// points to. Whose pointer it is, is for the caller to check.
func VerifyReceipt(g *record.Genesis, r record.Receipt) error {
	return (&receiptChecker{genesis: g}).check(r)
}

// receiptChecker verifies receipts; it remembers the posts that it has verified,
// as hundreds of receipts carry the same ones.
type receiptChecker struct {
	genesis *record.Genesis
	good    map[record.ID]bool
}

func (c *receiptChecker) check(r record.Receipt) error {
	g := c.genesis
	if r.Count < 1 || r.Count > record.MaxBatch {
		return fmt.Errorf("%w: a batch of %d", ErrReceipt, r.Count)
	}
	if len(r.Posts) > len(g.Members) {
		return fmt.Errorf("%w: %d posts of %d members", ErrReceipt, len(r.Posts), len(g.Members))
	}
	if err := record.VerifyPath(r.Batch, r.Pointer.Pointer.Digest(g.Network), r.Leaf, r.Count, r.Path); err != nil {
		return fmt.Errorf("%w: %v", ErrReceipt, err)
	}
	seen := map[string]bool{}
	for _, post := range r.Posts {
		if seen[post.Member] {
			return fmt.Errorf("%w: two posts of %s", ErrReceipt, post.Member)
		}
		seen[post.Member] = true
		if err := c.checkPost(r, post); err != nil {
			return fmt.Errorf("%w: post of %s: %v", ErrReceipt, post.Member, err)
		}
	}
	if len(seen) < g.Threshold {
		return fmt.Errorf("%w: %d members found it available, %d are needed", ErrReceipt, len(seen), g.Threshold)
	}
	return nil
}

// checkPost checks one member's word: its batch, a bitmap of exactly the batch's
// length, the bit of the pointer, and the signature.
func (c *receiptChecker) checkPost(r record.Receipt, s record.SignedAvailable) error {
	if s.Post.Batch != r.Batch {
		return errors.New("it is about another batch")
	}
	if s.Post.Count != r.Count {
		return fmt.Errorf("it is about %d pointers, the receipt about %d", s.Post.Count, r.Count)
	}
	bits := s.Post.Bitmap
	if len(bits) != (r.Count+7)/8 {
		return fmt.Errorf("a bitmap of %d bytes for %d pointers", len(bits), r.Count)
	}
	if rest := r.Count % 8; rest != 0 && bits[len(bits)-1]>>rest != 0 {
		return errors.New("bits beyond the batch are set")
	}
	if bits[r.Leaf/8]>>(r.Leaf%8)&1 == 0 {
		return errors.New("it does not say that this pointer is available")
	}
	for _, m := range c.genesis.Members {
		if m.MSP == s.Member {
			return c.checkSignature(m, s)
		}
	}
	return errors.New("not a member of the genesis")
}

func (c *receiptChecker) checkSignature(m record.Member, s record.SignedAvailable) error {
	digest := s.Post.Digest(c.genesis.Network)
	id := record.SumID(slices.Concat(m.SignKey, digest[:], s.Signature))
	if c.good[id] {
		return nil
	}
	if err := record.Verify(m.SignKey, digest, s.Signature); err != nil {
		return err
	}
	if c.good == nil {
		c.good = map[record.ID]bool{}
	}
	c.good[id] = true
	return nil
}

// compare looks, once after the hub was opened and before anything is sent,
// whether the ledger is ahead of the store: receipts of rows that this store has
// never sent. Such a store was rolled back, together with its mark file, and may
// never seal again.
func (d *Device) compare(ctx context.Context) error {
	d.mu.Lock()
	checked, from := d.checked, d.state.PackedRows
	d.mu.Unlock()
	if checked {
		return nil
	}
	list, err := retried(ctx, func() ([]record.Receipt, error) {
		return d.client.Receipts(ctx, d.id, record.KindRow, from, maxHour)
	})
	if err != nil && fault.Of(err) != fault.NotFound {
		return fmt.Errorf("compare with the ledger: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range list {
		if p := r.Pointer.Pointer; p.Index >= from && d.signedByUs(r.Pointer) {
			return errors.Join(ErrRetired, d.retire("the ledger is ahead of the store: the store was restored from a copy"))
		}
	}
	d.checked = true
	return nil
}

func (d *Device) signedByUs(s record.SignedPointer) bool {
	return s.Pointer.Device == d.id &&
		record.Verify(d.document.Key, s.Pointer.Digest(d.hub.network), s.Signature) == nil
}

// receipts fetches, verifies and stores what receipts there are.
func (d *Device) receipts(ctx context.Context, r *Report) error {
	for _, kind := range []string{record.KindRow, record.KindDay} {
		if err := d.receiptsOf(ctx, kind, r); err != nil {
			return fmt.Errorf("receipts of %ss: %w", kind, err)
		}
	}
	return nil
}

func (d *Device) receiptsOf(ctx context.Context, kind string, r *Report) error {
	awaited, from, until, err := d.awaited(kind)
	if err != nil {
		return err
	}
	if len(awaited) == 0 {
		return d.settled(kind, until)
	}
	checker := &receiptChecker{genesis: &d.hub.cfg.Genesis}
	for next := from; len(awaited) > 0 && next < until; {
		list, err := retried(ctx, func() ([]record.Receipt, error) {
			return d.client.Receipts(ctx, d.id, kind, next, until)
		})
		// A gateway that has only just heard of the device may not find it.
		if err != nil && fault.Of(err) != fault.NotFound {
			return err
		}
		if len(list) == 0 {
			break
		}
		last := next - 1
		for _, receipt := range list {
			i := receipt.Pointer.Pointer.Index
			if i <= last || i >= until {
				return fmt.Errorf("%w: index %d is out of order", ErrReceipt, i)
			}
			last = i
		}
		if err := d.keep(checker, list, awaited, r); err != nil {
			return err
		}
		if len(list) < api.MaxReceipts {
			break
		}
		next = last + 1
	}
	r.Awaited += len(awaited)
	first := until
	for i := range awaited {
		first = min(first, i)
	}
	return d.settled(kind, first)
}

// awaited lists the pointers on the ledger without a receipt, and the range of
// indices in which there may be such.
func (d *Device) awaited(kind string) (map[int64]record.SignedPointer, int64, int64, error) {
	d.mu.Lock()
	until := d.state.PackedRows
	if kind == record.KindDay {
		until = d.state.PackedDays
	}
	from, ok := d.state.ReceiptsFrom[kind]
	d.mu.Unlock()
	if !ok {
		from = d.document.FirstHour
		if kind == record.KindDay {
			from = dayOfHour(from)
		}
	}
	awaited := map[int64]record.SignedPointer{}
	for i := from; i < until; i++ {
		var p pointerRecord
		if found, err := d.vault.load(d.pointerKey(kind, i), &p); err != nil || !found {
			return nil, 0, 0, errors.Join(fmt.Errorf("%w: no pointer for %s %d", ErrDamaged, kind, i), err)
		}
		if p.Outcome == "" {
			// Not on the ledger yet, so neither is anything after it settled.
			until = i
			break
		}
		if p.Outcome == record.Refused {
			continue
		}
		has, err := d.has(d.receiptKey(kind, i))
		if err != nil {
			return nil, 0, 0, err
		}
		if !has {
			awaited[i] = p.Signed
		}
	}
	return awaited, from, until, nil
}

func (d *Device) receiptKey(kind string, index int64) []byte {
	return d.vault.key(kindReceipt, append([]byte{kind[0]}, ordered(index)...)...)
}

func (d *Device) has(key []byte) (bool, error) {
	_, closer, err := d.vault.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, closer.Close()
}

// keep verifies receipts and stores them, all of the list or none.
func (d *Device) keep(checker *receiptChecker, list []record.Receipt, awaited map[int64]record.SignedPointer, r *Report) error {
	var kept []int64
	err := d.vault.update(true, func(b *pebble.Batch) error {
		for _, receipt := range list {
			p := receipt.Pointer.Pointer
			ours, ok := awaited[p.Index]
			if !ok {
				continue
			}
			if p != ours.Pointer {
				return d.foreign(receipt.Pointer)
			}
			if err := checker.check(receipt); err != nil {
				return fmt.Errorf("%s %d: %w", p.Kind, p.Index, err)
			}
			receipt.Pointer = ours
			if err := d.vault.store(b, d.receiptKey(p.Kind, p.Index), receipt); err != nil {
				return err
			}
			kept = append(kept, p.Index)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, i := range kept {
		delete(awaited, i)
	}
	r.Receipts += len(kept)
	return nil
}

// foreign handles a receipt for a pointer that this store did not make. If our
// own key signed it, a copy of the store is in use.
func (d *Device) foreign(s record.SignedPointer) error {
	if !d.signedByUs(s) {
		return fmt.Errorf("%w: it is about another pointer than ours", ErrReceipt)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return errors.Join(ErrRetired, d.retire("the ledger has another row or day of this device: a copy of its store is in use"))
}

// settled remembers below which index no receipt is awaited, and forgets the
// bytes of rows below it: the members keep them. Rows of uploads that are still
// in the outbox stay, as they would be sent again.
func (d *Device) settled(kind string, from int64) error {
	uploads, err := d.uploads()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.state.ReceiptsFrom[kind]; ok && old >= from || d.usable() != nil {
		return nil
	}
	next := d.state
	next.ReceiptsFrom = map[string]int64{kind: from}
	for k, index := range d.state.ReceiptsFrom {
		if k != kind {
			next.ReceiptsFrom[k] = index
		}
	}
	err = d.vault.update(false, func(b *pebble.Batch) error {
		if kind == record.KindRow {
			for _, u := range uploads {
				from = min(from, u.RowsFrom)
			}
			begin := ordered(d.document.FirstHour)
			if err := b.DeleteRange(d.vault.key(kindRow, begin...), d.vault.key(kindRow, ordered(from)...), nil); err != nil {
				return err
			}
		}
		return d.vault.store(b, d.vault.key(kindState), next)
	})
	if err != nil {
		return d.fail(err)
	}
	d.state = next
	return nil
}

// Receipt returns the stored receipt of a pointer (record.KindRow or KindDay),
// and false while there is none.
func (d *Device) Receipt(kind string, index int64) (record.Receipt, bool, error) {
	var r record.Receipt
	if kind != record.KindRow && kind != record.KindDay {
		return r, false, fmt.Errorf("bridge: no pointers of kind %q", kind)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return r, false, d.failed
	}
	found, err := d.vault.load(d.receiptKey(kind, index), &r)
	return r, found, err
}
