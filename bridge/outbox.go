package bridge

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	// rowsPerUpload and daysPerUpload bound one upload: twenty days, and one
	// batch on the ledger.
	rowsPerUpload = 480
	daysPerUpload = record.MaxBatch - rowsPerUpload
	// atOnce is how many devices talk to the gateway at the same time.
	atOnce = 8
	// operationTime bounds the wait for one operation; it goes on without us.
	operationTime = 2 * time.Minute
)

// uploadRecord is one upload of the outbox: the rows of hours [RowsFrom,
// RowsUntil) and the corrections [LateFrom, LateUntil), by sequence number, in one
// blob, and the roots of days [DaysFrom, DaysUntil). Its pointers are in their own
// records. It shrinks by what is all on the ledger, and is deleted when nothing is
// left.
type uploadRecord struct {
	RowsFrom, RowsUntil int64
	DaysFrom, DaysUntil int64
	LateFrom, LateUntil int64
}

// pointerRecord is a signed pointer and what became of it.
type pointerRecord struct {
	Signed  record.SignedPointer
	Outcome string // of record.AnchorItem, as a gateway told it; "" while it is not known
	Code    string
	Detail  string
	// How often it was refused, and from which time of the hub's clock on it is offered
	// again.
	Refusals int
	Again    int64
}

// open reports whether the pointer is not on the ledger.
func (p pointerRecord) open() bool { return p.Outcome == "" || p.Outcome == record.Refused }

// A pointer that was refused is offered again, at first to each of the other gateways
// and then after waits that double: that the ledger refused it is a gateway's word,
// which nobody signed.
const (
	againFirst = 60        // seconds
	againMost  = 24 * 3600 // seconds
)

// refused notes a refusal at a time, in a hub with so many gateways.
func (p *pointerRecord) refused(item record.AnchorItem, now int64, gateways int) {
	p.Outcome, p.Code, p.Detail = record.Refused, item.Code, clip(item.Detail)
	p.Refusals++
	p.Again = now
	if waits := p.Refusals - gateways; waits >= 0 {
		p.Again += min(int64(againFirst)<<min(waits, 20), againMost)
	}
}

// Refusal is a pointer that the ledger does not take, by the word of a gateway. It is
// kept and offered again, elsewhere too if the hub knows more gateways.
type Refusal struct {
	Device     record.ID
	Kind       string
	Index      int64
	Correction uint8
	Code       fault.Code
	Detail     string
}

// Report says what one Sync did and what is left.
type Report struct {
	Anchored int       // pointers that reached the ledger, or were found there
	Receipts int       // receipts verified and stored
	Awaited  int       // pointers on the ledger whose receipt is still to come
	Waiting  int       // pointers that the ledger does not take yet; Sync again later
	Refused  []Refusal // by this Sync, to be offered again; Device.Refused lists all
	Retired  []record.ID
	// ClockAhead is by how much the hub's clock is ahead of ledger time, if it is more
	// than both may differ: see ErrClockAhead.
	ClockAhead time.Duration
}

func (r *Report) add(o Report) {
	r.Anchored += o.Anchored
	r.Receipts += o.Receipts
	r.Awaited += o.Awaited
	r.Waiting += o.Waiting
	r.Refused = append(r.Refused, o.Refused...)
	r.Retired = append(r.Retired, o.Retired...)
}

// Sync brings everything that is sealed and committed to the ledger, records
// what became of each pointer, and fetches and verifies receipts. It may be
// interrupted at any point and repeated at any time. Devices that are not
// enrolled or are retired are passed over.
//
// The error joins those of all devices; the report counts what worked.
func (h *Hub) Sync(ctx context.Context) (Report, error) {
	var devices []*Device
	marked := map[record.ID]mark{}
	for _, d := range h.Devices() {
		d.mu.Lock()
		if d.usable() == nil && d.rec.Enrolled {
			devices = append(devices, d)
			marked[d.id] = mark{d.state.SealedUntil, d.state.Corrected}
		}
		d.mu.Unlock()
	}
	// Nothing leaves before the mark covers it.
	if err := h.raiseMarks(marked); err != nil {
		return Report{}, err
	}
	var total Report
	err := forEach(devices, func(d *Device) (Report, error) { return d.syncUntil(ctx, marked[d.id]) }, total.add)
	if h.wall() {
		err = errors.Join(err, h.askTime(ctx, h.cfg.Clock().Unix()))
	}
	total.ClockAhead = h.ClockAhead()
	return total, err
}

// forEach runs work for devices, some at once, and adds up what it returns, also
// beside an error. It returns all errors, with their devices.
func forEach[R any](devices []*Device, work func(*Device) (R, error), add func(R)) error {
	var errs []error
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, d := range devices {
		g.Go(func() error {
			r, err := work(d)
			mu.Lock()
			defer mu.Unlock()
			add(r)
			if err != nil {
				errs = append(errs, fmt.Errorf("device %s: %w", d.id.Short(), err))
			}
			return nil
		})
	}
	_ = g.Wait() // errors are gathered above
	return errors.Join(errs...)
}

// syncUntil is Sync for one device, with what the mark covers.
func (d *Device) syncUntil(ctx context.Context, marked mark) (Report, error) {
	d.sync.Lock()
	defer d.sync.Unlock()
	defer d.closeClients()
	var r Report
	d.mu.Lock()
	err := d.usable()
	d.mu.Unlock()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return r, err
	}
	if err := d.compare(ctx); err != nil {
		err = errors.Join(err, d.enrolAgain(ctx, err))
		d.elsewhere()
		return d.retiredIn(r), err
	}
	if err := d.pack(marked); err != nil {
		return r, err
	}
	var errs []error
	uploads, err := d.uploads()
	if err != nil {
		return r, err
	}
	for _, u := range uploads {
		if err := d.upload(ctx, u, &r); err != nil {
			errs = append(errs, err)
			break
		}
	}
	if err := d.receipts(ctx, &r); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		errs = append(errs, d.enrolAgain(ctx, errors.Join(errs...)))
	}
	if len(errs)+len(r.Refused) > 0 {
		d.elsewhere()
	}
	return d.retiredIn(r), errors.Join(errs...)
}

func (d *Device) retiredIn(r Report) Report {
	if d.Retired() != "" {
		r.Retired = append(r.Retired, d.id)
	}
	return r
}

// pack makes uploads of what is sealed and committed. From here on it is fixed
// which rows share a blob and what is signed: a retry sends the same bytes.
func (d *Device) pack(marked mark) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	for d.state.PackedRows < marked.Hour || d.state.PackedLate < marked.Corrected || d.state.PackedDays < d.state.DaysUntil {
		next := d.state
		u := uploadRecord{RowsFrom: next.PackedRows, DaysFrom: next.PackedDays, LateFrom: next.PackedLate}
		u.RowsUntil = min(marked.Hour, u.RowsFrom+rowsPerUpload)
		// Corrections follow the rows of their hours.
		u.LateUntil = min(marked.Corrected, u.LateFrom+rowsPerUpload-(u.RowsUntil-u.RowsFrom))
		u.DaysUntil = min(next.DaysUntil, u.DaysFrom+daysPerUpload)
		next.PackedRows, next.PackedDays, next.PackedLate, next.Marked = u.RowsUntil, u.DaysUntil, u.LateUntil, true
		next.NextUpload++
		err := d.vault.Update(true, func(b *pebble.Batch) error {
			if err := d.sign(b, u); err != nil {
				return err
			}
			return errors.Join(
				d.vault.store(b, d.uploadKey(d.state.NextUpload), u),
				d.vault.store(b, d.vault.key(kindState), next))
		})
		if err != nil {
			return d.fail(err)
		}
		d.state = next
	}
	return nil
}

func (d *Device) uploadKey(n uint64) []byte {
	return d.vault.key(kindUpload, binary.BigEndian.AppendUint64(nil, n)...)
}

func (d *Device) pointerKey(kind string, index int64, correction uint8) []byte {
	return d.vault.key(kindPointer, pointerName(kind, index, correction)...)
}

// pointerName is the end of a key that names a pointer. First sealings have the
// names from before there were corrections.
func pointerName(kind string, index int64, correction uint8) []byte {
	name := append([]byte{kind[0]}, ordered(index)...)
	if correction > 0 {
		name = append(name, correction)
	}
	return name
}

// sign puts the signed pointers of an upload into the batch.
func (d *Device) sign(b *pebble.Batch, u uploadRecord) error {
	blob, rows, err := d.blob(u)
	if err != nil {
		return err
	}
	name := record.SumID(blob)
	for _, row := range rows {
		if err := d.signOne(b, record.Pointer{
			Device: d.id, Kind: record.KindRow, Index: row.Hour, Correction: row.Correction, Blob: name, Commitment: record.SumID(row.Row),
		}); err != nil {
			return err
		}
	}
	for day := u.DaysFrom; day < u.DaysUntil; day++ {
		var rec dayRecord
		found, err := d.vault.load(d.vault.key(kindOpening, ordered(day)...), &rec)
		if err := expect(found, err, "no root for committed day %d", day); err != nil {
			return err
		}
		if err := d.signOne(b, record.Pointer{Device: d.id, Kind: record.KindDay, Index: day, Commitment: rec.Root}); err != nil {
			return err
		}
	}
	return nil
}

func (d *Device) signOne(b *pebble.Batch, p record.Pointer) error {
	return d.signAnew(b, pointerRecord{Signed: record.SignedPointer{Pointer: p}})
}

// signAnew stores the record of a pointer with a fresh signature over it.
func (d *Device) signAnew(b *pebble.Batch, p pointerRecord) error {
	ptr := p.Signed.Pointer
	sig, err := record.Sign(d.signer, ptr.Digest(d.hub.network))
	if err != nil {
		return err
	}
	p.Signed.Signature = sig
	return d.vault.store(b, d.pointerKey(ptr.Kind, ptr.Index, ptr.Correction), p)
}

// blob rebuilds the rows blob of an upload from the stored rows; it is nil when
// the upload has no rows.
func (d *Device) blob(u uploadRecord) ([]byte, []record.BlobRow, error) {
	count := u.RowsUntil - u.RowsFrom + u.LateUntil - u.LateFrom
	if count == 0 {
		return nil, nil, nil
	}
	rows := make([]record.BlobRow, 0, count)
	for hour := u.RowsFrom; hour < u.RowsUntil; hour++ {
		row, err := d.vault.get(d.vault.key(kindRow, ordered(hour)...))
		if err := expect(row != nil, err, "no row for sealed hour %d", hour); err != nil {
			return nil, nil, err
		}
		rows = append(rows, record.BlobRow{Hour: hour, Row: row})
	}
	for n := u.LateFrom; n < u.LateUntil; n++ {
		late, err := d.late(n)
		if err != nil {
			return nil, nil, err
		}
		rows = append(rows, record.BlobRow{Hour: late.Hour, Correction: late.Number, Row: late.Row})
	}
	slices.SortFunc(rows, func(a, b record.BlobRow) int {
		return cmp.Or(cmp.Compare(a.Hour, b.Hour), cmp.Compare(a.Correction, b.Correction))
	})
	blob, err := record.EncodeRows(d.id, rows)
	return blob, rows, err
}

// numbered is an upload with its place in the outbox.
type numbered struct {
	uploadRecord
	n uint64
}

// uploads lists the outbox in order.
func (d *Device) uploads() ([]numbered, error) {
	var list []numbered
	for e, err := range d.vault.each(kindUpload, nil) {
		if err != nil {
			return nil, err
		}
		if len(e.Name) != 8 {
			return nil, fmt.Errorf("%w: upload key", ErrDamaged)
		}
		u := numbered{n: binary.BigEndian.Uint64(e.Name)}
		if err := decode(e.Value, &u.uploadRecord); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, nil
}

// upload sends one upload, waits for its operation and records the outcomes.
func (d *Device) upload(ctx context.Context, u numbered, r *Report) error {
	all, err := d.pointers(u.uploadRecord)
	if err != nil {
		return err
	}
	now := d.hub.cfg.Clock().Unix()
	pointers := slices.DeleteFunc(slices.Clone(all), func(p pointerRecord) bool { return p.Again > now })
	if len(pointers) == 0 && len(all) > 0 {
		return nil // it is not time yet
	}
	if len(pointers) == 0 {
		return d.settle(u, nil, nil, all, r)
	}
	var blobs [][]byte
	if pointers[0].Signed.Pointer.Kind == record.KindRow { // rows come first
		blob, _, err := d.blob(u.uploadRecord)
		if err != nil {
			return err
		}
		blobs = [][]byte{blob}
	}
	signed := make([]record.SignedPointer, len(pointers))
	for i, p := range pointers {
		signed[i] = p.Signed
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	op, err := retried(ctx, func() (*api.Operation, error) { return d.client().Upload(ctx, d.id, blobs, signed) })
	if err == nil {
		op, err = d.client().Wait(ctx, op)
	}
	if err != nil {
		return fmt.Errorf("upload hours %d to %d: %w", u.RowsFrom, u.RowsUntil, err)
	}
	if len(op.Items) != len(pointers) {
		return fmt.Errorf("the gateway answered for %d pointers, %d were sent", len(op.Items), len(pointers))
	}
	return d.settle(u, pointers, op.Items, all, r)
}

// pointer loads the record of a pointer that was signed.
func (d *Device) pointer(kind string, index int64, correction uint8) (pointerRecord, error) {
	var p pointerRecord
	found, err := d.vault.load(d.pointerKey(kind, index, correction), &p)
	return p, expect(found, err, "no pointer for %s %d, correction %d", kind, index, correction)
}

// pointers lists the pointers of an upload that are not on the ledger: rows, then
// corrections in the order in which they were sealed, then days.
func (d *Device) pointers(u uploadRecord) ([]pointerRecord, error) {
	var list []pointerRecord
	collect := func(kind string, index int64, correction uint8) error {
		p, err := d.pointer(kind, index, correction)
		if err == nil && p.open() {
			list = append(list, p)
		}
		return err
	}
	for hour := u.RowsFrom; hour < u.RowsUntil; hour++ {
		if err := collect(record.KindRow, hour, 0); err != nil {
			return nil, err
		}
	}
	for n := u.LateFrom; n < u.LateUntil; n++ {
		late, err := d.late(n)
		if err == nil {
			err = collect(record.KindRow, late.Hour, late.Number)
		}
		if err != nil {
			return nil, err
		}
	}
	for day := u.DaysFrom; day < u.DaysUntil; day++ {
		if err := collect(record.KindDay, day, 0); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// settle records what became of pointers of an upload, and takes out of the outbox
// what is all on the ledger; open are those that were not, sent or not. A device
// retires only where its own signature shows that a copy of its store is in use.
func (d *Device) settle(u numbered, sent []pointerRecord, items []api.Item, open []pointerRecord, r *Report) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	left := map[record.Pointer]bool{}
	for _, p := range open {
		left[p.Signed.Pointer] = true
	}
	var refused []Refusal
	anchored, again, copied := 0, 0, false
	now := d.hub.cfg.Clock().Unix()
	err := d.vault.Update(true, func(b *pebble.Batch) error {
		for i, p := range sent {
			item := items[i].AnchorItem
			ptr := p.Signed.Pointer
			switch {
			case item.Outcome == record.Anchored || item.Outcome == record.Repeated:
				anchored++
				delete(left, ptr)
				p = pointerRecord{Signed: p.Signed, Outcome: item.Outcome}
				if err := d.vault.store(b, d.pointerKey(ptr.Kind, ptr.Index, ptr.Correction), p); err != nil {
					return err
				}
				continue
			case fault.Codes[fault.Code(item.Code)].Retry || item.Outcome != record.Refused:
				again++
			default:
				p.refused(item, now, len(d.clients))
				refused = append(refused, refusal(p))
				copied = copied || d.provesCopy(ptr, items[i].Recorded)
			}
			// Signed anew, or the gateway would take the next upload for this one
			// and repeat its answer. What is signed stays the same.
			if err := d.signAnew(b, p); err != nil {
				return err
			}
		}
		return d.shrink(b, u, left)
	})
	r.Anchored += anchored
	r.Waiting += again
	r.Refused = append(r.Refused, refused...)
	if err != nil {
		return d.fail(err)
	}
	if copied {
		return d.retire("the ledger has another row or day of this device: a copy of its store is in use")
	}
	return nil
}

// shrink takes out of an upload what has no pointer left, and the upload if nothing
// has: rows are kept for no longer than an upload is about them.
func (d *Device) shrink(b *pebble.Batch, u numbered, left map[record.Pointer]bool) error {
	rows, days := false, false
	for p := range left {
		rows = rows || p.Kind == record.KindRow
		days = days || p.Kind == record.KindDay
	}
	if !rows && !days {
		return b.Delete(d.uploadKey(u.n), nil)
	}
	next := u.uploadRecord
	if !rows {
		next.RowsFrom, next.LateFrom = next.RowsUntil, next.LateUntil
	}
	if !days {
		next.DaysFrom = next.DaysUntil
	}
	if next == u.uploadRecord {
		return nil
	}
	return d.vault.store(b, d.uploadKey(u.n), next)
}

// provesCopy reports whether what a gateway shows in a pointer's place is another
// pointer under this device's own signature: then it was signed twice.
func (d *Device) provesCopy(p record.Pointer, shown *record.SignedPointer) bool {
	return shown != nil && shown.Pointer != p && shown.Pointer.Kind == p.Kind &&
		placeOf(shown.Pointer) == placeOf(p) && d.signedByUs(*shown)
}

func refusal(p pointerRecord) Refusal {
	s := p.Signed.Pointer
	return Refusal{Device: s.Device, Kind: s.Kind, Index: s.Index, Correction: s.Correction, Code: fault.Code(p.Code), Detail: p.Detail}
}

// clip bounds a text of the gateway before it is stored.
func clip(s string) string { return fault.Clip(s, 512) }

// Refused lists the pointers of the device that were refused and are not on the ledger.
func (d *Device) Refused() ([]Refusal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return nil, d.failed
	}
	var list []Refusal
	for e, err := range d.vault.each(kindPointer, nil) {
		if err != nil {
			return nil, err
		}
		var p pointerRecord
		if err := decode(e.Value, &p); err != nil {
			return nil, err
		}
		if p.Outcome == record.Refused {
			list = append(list, refusal(p))
		}
	}
	return list, nil
}

// retried calls f until it succeeds, fails for good or ctx ends. It backs off
// with jitter, so that hubs do not return all at once after an outage.
func retried[T any](ctx context.Context, f func() (T, error)) (T, error) {
	const most = 5
	pause := 50 * time.Millisecond
	for try := 1; ; try++ {
		v, err := f()
		if err == nil || try == most || ctx.Err() != nil || !passing(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause *= 3
	}
}

// passing tells whether a failure may pass by itself soon.
func passing(err error) bool {
	code := fault.Of(err)
	return code == fault.Unavailable || code == fault.Contention
}
