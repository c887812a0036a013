package bridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// lateDays is for how many days after its own an hour takes late data; on the
// day after that its corrections are still due on the ledger.
const lateDays = record.CorrectionDays - 1

// countedRecord says what rows of a sealed hour count, minute by minute: a late
// reading of one metric makes a pair with an earlier one of another. It is kept
// while the hour takes late data; without it the hour takes none.
type countedRecord struct {
	Codes       map[int][wearable.MinutesPerHour]uint16 // by slot; 0: not counted
	Corrections uint8
}

func newCounted() countedRecord {
	return countedRecord{Codes: map[int][wearable.MinutesPerHour]uint16{}}
}

func (c *countedRecord) add(slot int, codes [wearable.MinutesPerHour]uint16) {
	all := c.Codes[slot]
	for i, code := range codes {
		all[i] = max(all[i], code) // one of them is 0
	}
	c.Codes[slot] = all
}

// sealed is a copy, in the form that a further row needs.
func (c *countedRecord) sealed() map[int][]uint16 {
	out := map[int][]uint16{}
	for slot, codes := range c.Codes {
		out[slot] = codes[:]
	}
	return out
}

func (g *grid) countedKey(hour int64) []byte { return g.vault.key(kindCounted, ordered(hour)...) }

// takesLate tells whether there may be another correction of an hour: now is the
// hour at hand.
func takesLate(hour, now int64) bool { return dayOfHour(now)-dayOfHour(hour) <= lateDays }

// hourAtHand is the hour that is open. The bridge may have been off since it
// sealed the last one, and the ledger's time goes on.
func (d *Device) hourAtHand() int64 {
	if !d.hub.clock.wall {
		return d.state.SealedUntil
	}
	now := d.hub.clock.hub().Add(-d.hub.clock.ahead()) // a clock that is ahead makes nothing late
	return max(d.state.SealedUntil, wearable.HourOf(now.Unix()))
}

// takeLate grids a sample of a sealed hour. A minute that a row counts is never
// counted again: the sample is dropped, though it would have changed the mean.
func (d *Device) takeLate(s sample) error {
	hour := hourOfMinute(s.minute)
	var counted countedRecord
	found, err := d.vault.load(d.grid.countedKey(hour), &counted)
	if err != nil {
		return err
	}
	switch {
	case !found || counted.Corrections >= record.MaxCorrection || !takesLate(hour, d.hourAtHand()):
		d.state.Counts.Late++
	case counted.Codes[s.metric.Slot][s.minute-hour*wearable.MinutesPerHour] != 0:
		d.state.Counts.Counted++
	default:
		return d.add(s)
	}
	d.changed = true
	return nil
}

// SealLate seals what has come late so far as corrections, for a source that has
// delivered all that it had. Otherwise Advance does so when a day ends: an hour
// has record.MaxCorrection corrections, and the last is kept for the last day on
// which late data are taken. It is durable on return.
func (d *Device) SealLate(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	defer d.sealer.forget()
	if err := d.flush(true); err != nil {
		return err
	}
	return d.seal(func(w *sealing) error {
		if err := w.correct(w.lateDay(), func(int64, uint8) bool { return true }); err != nil {
			return err
		}
		return w.store()
	})
}

// correctUntil returns when it is time for the next correction of an hour that
// has had so many, as everything before the hour until is being sealed: at once,
// but that the last waits as long as it can.
func (w *sealing) correctUntil(until int64) func(int64, uint8) bool {
	ends := w.state.Finished && until >= w.state.FinishAt // no day will end any more
	return func(hour int64, had uint8) bool {
		return ends || had < record.MaxCorrection-1 || !takesLate(hour, until)
	}
}

// lateDay is the day whose late data are being taken: the one at hand, or the one before
// while that has its grace.
func (w *sealing) lateDay() int64 { return dayOfHour(w.state.SealedUntil - w.device.hub.grace()) }

// correct seals, at the end of a day, the late data of every hour for which it is time,
// and forgets what comes too late for that.
func (w *sealing) correct(day int64, due func(hour int64, had uint8) bool) error {
	if w.corrected {
		return nil
	}
	w.corrected = true
	d, today := w.device, day*24
	hours, err := d.grid.lateHours(d.state.SealedUntil)
	if err != nil {
		return err
	}
	for _, hour := range hours {
		var counted countedRecord
		found, err := d.vault.load(d.grid.countedKey(hour), &counted)
		if err != nil {
			return err
		}
		switch {
		case !found || !takesLate(hour, today) || counted.Corrections >= record.MaxCorrection:
			err = w.forget(hour)
		case due(hour, counted.Corrections):
			err = w.correction(hour, counted)
		}
		if err != nil {
			return fmt.Errorf("correct hour %d: %w", hour, err)
		}
	}
	first := d.document.FirstHour
	return w.batch.DeleteRange(d.grid.countedKey(first), d.grid.countedKey(max(first, today-lateDays*24)), nil)
}

// lateHours lists the sealed hours with late data that are not sealed, in order.
func (g *grid) lateHours(sealedUntil int64) ([]int64, error) {
	var hours []int64
	for e, err := range g.vault.each(kindGrid, nil) {
		if err != nil {
			return nil, err
		}
		if len(e.Name) != 9 {
			return nil, fmt.Errorf("%w: grid key", ErrDamaged)
		}
		hour := int64(binary.BigEndian.Uint64(e.Name) ^ 1<<63)
		if hour >= sealedUntil {
			break
		}
		if n := len(hours); n == 0 || hours[n-1] != hour {
			hours = append(hours, hour)
		}
	}
	return hours, nil
}

// forget drops late data that can be sealed no more.
func (w *sealing) forget(hour int64) error {
	d := w.device
	for _, m := range d.metrics {
		_, present, err := d.grid.codes(hour, m.Slot)
		if err != nil {
			return err
		}
		if present == 0 {
			continue
		}
		w.state.Counts.Late += present
		if err := w.batch.Delete(d.grid.key(hour, m.Slot), nil); err != nil {
			return err
		}
	}
	return nil
}

// correction seals the late data of one hour as its next correction.
func (w *sealing) correction(hour int64, counted countedRecord) error {
	d := w.device
	win := he.Window{Hour: hour, Correction: counted.Corrections + 1}
	// One message per window, ever: the hour's record says which is the next, and
	// the store has no sequence number for it either.
	key := d.vault.key(kindWindow, append(ordered(hour), win.Correction)...)
	old, err := d.vault.get(key)
	if err := expect(old == nil, err, "correction %d has a row already", win.Correction); err != nil {
		return err
	}
	h, err := w.newHour(counted.sealed())
	if err != nil {
		return err
	}
	if err := w.take(hour, h, &counted); err != nil {
		return err
	}
	row, err := d.sealer.row(win, h)
	if err != nil {
		return err
	}
	counted.Corrections++
	n := w.state.Corrected
	w.state.Corrected++
	return errors.Join(
		d.vault.store(w.batch, d.outbox.lateKey(n), lateRecord{Hour: hour, Number: win.Correction, Row: row}),
		d.vault.store(w.batch, d.grid.countedKey(hour), counted),
		d.vault.store(w.batch, key, n))
}
