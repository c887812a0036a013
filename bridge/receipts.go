package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

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
// whether the ledger is ahead of the store: receipts of rows, of corrections, or of days,
// that this store has never sent. Such a store was rolled back, together with its
// rollback guard, and may never seal again.
func (d *Device) compare(ctx context.Context) error {
	d.mu.Lock()
	checked, s := d.checked, d.state
	d.mu.Unlock()
	if checked {
		return nil
	}
	// No hour before it can have a correction that is new to us.
	err := d.notAhead(ctx, record.KindRow, s.PackedRows-(record.CorrectionDays+1)*24, &s)
	if err == nil && d.outbox.dayRows {
		err = d.notAhead(ctx, record.KindPersonDay, s.PackedDays, &s)
	}
	if err != nil {
		return fmt.Errorf("compare with the ledger: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checked = true
	return nil
}

// notAhead is compare for pointers of a kind from an index on, of a store in this state.
func (d *Device) notAhead(ctx context.Context, kind string, from int64, s *deviceState) error {
	return d.gateways.pages(ctx, d.id, kind, from, maxHour, func(list []record.Receipt) (bool, error) {
		for _, r := range list {
			ours, err := d.outbox.sent(r.Pointer.Pointer, s)
			if err != nil {
				return false, err
			}
			if !ours && d.outbox.signedByUs(r.Pointer) {
				d.mu.Lock()
				defer d.mu.Unlock()
				return false, errors.Join(ErrRetired, d.retire("the ledger is ahead of the store: the store was restored from a copy"))
			}
		}
		return true, nil
	})
}

// place is where a pointer of a kind stands.
type place struct {
	index      int64
	correction uint8
}

func placeOf(p record.Pointer) place { return place{p.Index, p.Correction} }

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.index, o.index), cmp.Compare(p.correction, o.correction))
}

// lateKind names corrections in ReceiptsFrom; on the ledger they are rows.
const lateKind = "correction"

// fetchReceipts fetches, verifies and stores what receipts there are.
func (d *Device) fetchReceipts(ctx context.Context, r *Report) error {
	for _, kind := range append([]string{record.KindRow, lateKind}, d.outbox.daily()...) {
		if err := d.receiptsOf(ctx, kind, r); err != nil {
			return fmt.Errorf("receipts of %ss: %w", kind, err)
		}
	}
	return nil
}

func (d *Device) receiptsOf(ctx context.Context, kind string, r *Report) error {
	d.mu.Lock()
	from, end := d.state.unsettled(kind, d.document.FirstHour)
	d.mu.Unlock()
	a, err := d.receipts.awaited(kind, from, end)
	if err != nil {
		return err
	}
	checker := &receiptChecker{genesis: &d.hub.cfg.Genesis}
	on := kind
	if kind == lateKind {
		on = record.KindRow
	}
	if len(a.pointers) > 0 {
		err = d.gateways.pages(ctx, d.id, on, a.from, a.until, func(list []record.Receipt) (bool, error) {
			err := d.keep(checker, list, a.pointers, r)
			return len(a.pointers) > 0, err
		})
	}
	if err != nil {
		return err
	}
	r.Awaited += len(a.pointers)
	first := min(a.end, a.open)
	for p := range a.pointers {
		first = min(first, a.positions[p])
	}
	return d.settled(kind, first)
}

// awaiting is pointers on the ledger without a receipt.
type awaiting struct {
	pointers  map[place]record.SignedPointer
	positions map[place]int64 // index, or sequence number of a correction
	end       int64           // position before which every outcome is known
	open      int64           // and before which nothing was refused
	// from and until are the indices in which they lie, if there are any.
	from, until int64
}

// unsettled returns the positions of a kind, packed and from the first on for which a
// receipt may be awaited, of a device with this first hour.
func (s *deviceState) unsettled(kind string, first int64) (int64, int64) {
	from, known := s.ReceiptsFrom[kind]
	end := s.PackedRows
	switch kind {
	case record.KindDay, record.KindPersonDay:
		end, first = s.PackedDays, dayOfHour(first)
	case lateKind:
		end, first = s.PackedLate, 0
	}
	if !known {
		from = first
	}
	return from, end
}

// receipts is what members have signed about what left: verified before it is stored.
type receipts struct {
	vault  *deviceVault
	outbox *outbox
}

// awaited lists the pointers of a kind in these positions that are on the ledger
// without a receipt.
func (r *receipts) awaited(kind string, from, end int64) (awaiting, error) {
	a := awaiting{pointers: map[place]record.SignedPointer{}, positions: map[place]int64{}, end: end, open: end, from: maxHour, until: -maxHour}
	for i := from; i < end; i++ {
		p, err := r.outbox.packed(kind, i)
		if err != nil {
			return a, err
		}
		if p.Outcome == "" {
			// Not on the ledger yet, so neither is anything after it settled.
			a.end = i
			break
		}
		ptr := p.Signed.Pointer
		has, err := r.vault.Has(r.key(ptr.Kind, ptr.Index, ptr.Correction))
		if err != nil {
			return a, err
		}
		if p.Outcome == record.Refused {
			a.open = min(a.open, i) // it may be taken yet
			continue
		}
		if has {
			continue
		}
		at := placeOf(ptr)
		a.pointers[at], a.positions[at] = p.Signed, i
		a.from, a.until = min(a.from, ptr.Index), max(a.until, ptr.Index+1)
	}
	return a, nil
}

func (r *receipts) key(kind string, index int64, correction uint8) []byte {
	return r.vault.key(kindReceipt, pointerName(kind, index, correction)...)
}

// keep verifies receipts and stores them, all of the list or none.
func (d *Device) keep(checker *receiptChecker, list []record.Receipt, awaited map[place]record.SignedPointer, r *Report) error {
	var kept []place
	err := d.vault.Update(true, func(b *pebble.Batch) error {
		for _, receipt := range list {
			p := receipt.Pointer.Pointer
			ours, ok := awaited[placeOf(p)]
			if !ok {
				continue
			}
			if p.Kind != ours.Pointer.Kind { // not what was asked for; ours it may well be
				return fmt.Errorf("%w: it is about a %s, not a %s", ErrReceipt, p.Kind, ours.Pointer.Kind)
			}
			if p != ours.Pointer {
				return d.foreign(receipt.Pointer)
			}
			if err := checker.check(receipt); err != nil {
				return fmt.Errorf("%s %d, correction %d: %w", p.Kind, p.Index, p.Correction, err)
			}
			receipt.Pointer = ours
			if err := d.vault.store(b, d.receipts.key(p.Kind, p.Index, p.Correction), receipt); err != nil {
				return err
			}
			kept = append(kept, placeOf(p))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range kept {
		delete(awaited, p)
	}
	r.Receipts += len(kept)
	if len(kept) > 0 {
		return d.proven()
	}
	return nil
}

// foreign handles a receipt for a pointer that this store did not make. If our
// own key signed it, a copy of the store is in use.
func (d *Device) foreign(s record.SignedPointer) error {
	if !d.outbox.signedByUs(s) {
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
	uploads, err := d.outbox.uploads()
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
	err = d.vault.Update(false, func(b *pebble.Batch) error {
		if err := d.outbox.forgetRows(b, kind, d.document.FirstHour, from, uploads); err != nil {
			return err
		}
		return d.vault.store(b, d.vault.key(kindState), next)
	})
	if err != nil {
		return d.fail(err)
	}
	d.state = next
	return nil
}

// forgetRows deletes rows from the hour first on, corrections, or rows of days, before
// from.
func (o *outbox) forgetRows(b *pebble.Batch, kind string, first, from int64, uploads []numbered) error {
	switch kind {
	case record.KindRow:
		for _, u := range uploads {
			if u.RowsFrom < u.RowsUntil {
				from = min(from, u.RowsFrom)
			}
		}
		return b.DeleteRange(o.vault.key(kindRow, ordered(first)...), o.vault.key(kindRow, ordered(from)...), nil)
	case lateKind:
		for _, u := range uploads {
			if u.LateFrom < u.LateUntil {
				from = min(from, u.LateFrom)
			}
		}
		return b.DeleteRange(o.lateKey(0), o.lateKey(from), nil)
	case record.KindPersonDay:
		for _, u := range uploads {
			if u.DaysFrom < u.DaysUntil {
				from = min(from, u.DaysFrom)
			}
		}
		return b.DeleteRange(o.vault.key(kindDayRow, ordered(dayOfHour(first))...), o.vault.key(kindDayRow, ordered(from)...), nil)
	}
	return nil
}

// Receipt returns the stored receipt of a pointer (record.KindRow, KindPersonDay or
// KindDay) of a first sealing, and false while there is none.
func (d *Device) Receipt(kind string, index int64) (record.Receipt, bool, error) {
	return d.receipt(kind, index, 0)
}

// CorrectionReceipt returns the stored receipt of a correction, 1 to
// record.MaxCorrection, of an hour, and false while there is none.
func (d *Device) CorrectionReceipt(hour int64, number uint8) (record.Receipt, bool, error) {
	return d.receipt(record.KindRow, hour, number)
}

func (d *Device) receipt(kind string, index int64, correction uint8) (record.Receipt, bool, error) {
	var r record.Receipt
	if kind != record.KindRow && !slices.Contains(d.outbox.daily(), kind) {
		return r, false, fmt.Errorf("bridge: no pointers of kind %q", kind)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return r, false, d.failed
	}
	found, err := d.vault.load(d.receipts.key(kind, index, correction), &r)
	return r, found, err
}
