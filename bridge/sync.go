package bridge

import (
	"context"
	"errors"
	"fmt"
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
	// atOnce is how many devices talk to the gateway at the same time.
	atOnce = 8
	// operationTime bounds the wait for one operation; it goes on without us.
	operationTime = 2 * time.Minute
)

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
			marked[d.id] = d.state.mark()
		}
		d.mu.Unlock()
	}
	// Nothing leaves before the mark covers it.
	if err := h.raiseMarks(marked); err != nil {
		return Report{}, err
	}
	var total Report
	err := forEach(devices, func(d *Device) (Report, error) { return d.syncUntil(ctx, marked[d.id]) }, total.add)
	if h.clock.wall {
		err = errors.Join(err, h.clock.ask(ctx, h.clock.now()))
	}
	total.ClockAhead = h.clock.ahead()
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
	defer d.gateways.close()
	var r Report
	d.mu.Lock()
	err := d.usable()
	d.mu.Unlock()
	if err := errors.Join(err, ctx.Err()); err != nil {
		return r, err
	}
	if err := d.compare(ctx); err != nil {
		err = errors.Join(err, d.enrolAgain(ctx, err))
		d.gateways.elsewhere()
		return d.retiredIn(r), err
	}
	if err := d.pack(marked); err != nil {
		return r, err
	}
	var errs []error
	uploads, err := d.outbox.uploads()
	if err != nil {
		return r, err
	}
	for _, u := range uploads {
		if err := d.upload(ctx, u, &r); err != nil {
			errs = append(errs, err)
			break
		}
	}
	if err := d.fetchReceipts(ctx, &r); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		errs = append(errs, d.enrolAgain(ctx, errors.Join(errs...)))
	}
	if len(errs)+len(r.Refused) > 0 {
		d.gateways.elsewhere()
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
	for d.state.PackedRows < marked.Hour || d.state.PackedLate < marked.Corrected || d.state.PackedDays < marked.Day {
		next := d.state
		u := uploadRecord{RowsFrom: next.PackedRows, DaysFrom: next.PackedDays, LateFrom: next.PackedLate}
		u.RowsUntil = min(marked.Hour, u.RowsFrom+rowsPerUpload)
		// Corrections follow the rows of their hours.
		u.LateUntil = min(marked.Corrected, u.LateFrom+rowsPerUpload-(u.RowsUntil-u.RowsFrom))
		u.DaysUntil = min(marked.Day, u.DaysFrom+daysPerUpload)
		next.PackedRows, next.PackedDays, next.PackedLate, next.Marked = u.RowsUntil, u.DaysUntil, u.LateUntil, true
		next.NextUpload++
		err := d.vault.Update(true, func(b *pebble.Batch) error {
			if err := d.outbox.sign(b, u); err != nil {
				return err
			}
			return errors.Join(
				d.vault.store(b, d.outbox.key(d.state.NextUpload), u),
				d.vault.store(b, d.vault.key(kindState), next))
		})
		if err != nil {
			return d.fail(err)
		}
		d.state = next
	}
	return nil
}

// upload sends one upload, waits for its operation and records the outcomes.
func (d *Device) upload(ctx context.Context, u numbered, r *Report) error {
	all, err := d.outbox.pointers(u.uploadRecord)
	if err != nil {
		return err
	}
	now := d.hub.clock.now()
	pointers := slices.DeleteFunc(slices.Clone(all), func(p pointerRecord) bool { return p.Again > now })
	if len(pointers) == 0 && len(all) > 0 {
		return nil // it is not time yet
	}
	if len(pointers) == 0 {
		return d.settle(u, nil, nil, all, r)
	}
	var blobs [][]byte
	if pointers[0].Signed.Pointer.Sealed() { // rows come first
		blob, _, err := d.outbox.blob(u.uploadRecord)
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
	op, err := retried(ctx, func() (*api.Operation, error) { return d.gateways.client().Upload(ctx, d.id, blobs, signed) })
	if err == nil {
		op, err = d.gateways.client().Wait(ctx, op)
	}
	if err != nil {
		return fmt.Errorf("upload hours %d to %d: %w", u.RowsFrom, u.RowsUntil, err)
	}
	if len(op.Items) != len(pointers) {
		return fmt.Errorf("the gateway answered for %d pointers, %d were sent", len(op.Items), len(pointers))
	}
	return d.settle(u, pointers, op.Items, all, r)
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
	now := d.hub.clock.now()
	err := d.vault.Update(true, func(b *pebble.Batch) error {
		for i, p := range sent {
			item := items[i].AnchorItem
			ptr := p.Signed.Pointer
			switch {
			case item.Outcome == record.Anchored || item.Outcome == record.Repeated:
				anchored++
				delete(left, ptr)
				p = pointerRecord{Signed: p.Signed, Outcome: item.Outcome}
				if err := d.vault.store(b, d.outbox.pointerKey(ptr.Kind, ptr.Index, ptr.Correction), p); err != nil {
					return err
				}
				continue
			case fault.Codes[fault.Code(item.Code)].Retry || item.Outcome != record.Refused:
				again++
			default:
				p.refused(item, now, len(d.gateways.clients))
				refused = append(refused, refusal(p))
				if p.overdue(now) {
					delete(left, ptr)
				}
				copied = copied || d.outbox.provesCopy(ptr, items[i].Recorded)
			}
			// Signed anew, or the gateway would take the next upload for this one
			// and repeat its answer. What is signed stays the same.
			if err := d.outbox.signAnew(b, p); err != nil {
				return err
			}
		}
		return d.outbox.shrink(b, u, left)
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

// Refused lists the pointers of the device that were refused and are not on the ledger.
func (d *Device) Refused() ([]Refusal, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return nil, d.failed
	}
	return d.outbox.refused()
}
