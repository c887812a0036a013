package bridge

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// chunkHours is how many hours are sealed by one synced commit.
const chunkHours = 240

// Advance seals every hour that is over at now (Unix seconds) and commits every
// day that is over, empty ones too; where the network has day rows, two hours after it is
// over (Config.HeldDays). It is durable on return; an error leaves
// what was done before it, and Advance may be called again.
//
// On a network whose clock is the wall's an hour is over when ledger time says so too:
// what goes beyond stays open (ErrClockAhead). A gateway is asked if need be.
func (d *Device) Advance(ctx context.Context, now int64) error {
	return d.advance(ctx, now, func(*deviceState, int64) error { return nil })
}

// roundHours is how many hours Hub.Advance seals on all devices before it goes
// on. What is public about a window is expensive to expand and kept for the
// windows used last, so devices should pass through the same hours together.
const roundHours = 72

// Advance is Device.Advance for every device that is not retired, on all
// processors. The error joins those of all devices.
func (h *Hub) Advance(ctx context.Context, now int64) error {
	now, ahead := h.clock.sealable(ctx, now)
	if ahead != nil && !errors.Is(ahead, ErrClockAhead) {
		return ahead
	}
	return errors.Join(h.advance(ctx, now), ahead)
}

func (h *Hub) advance(ctx context.Context, now int64) error {
	for {
		devices, until := h.behind(now)
		errs := make([]error, len(devices))
		var g errgroup.Group
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i, d := range devices {
			g.Go(func() error {
				if err := d.Advance(ctx, until); err != nil {
					errs[i] = fmt.Errorf("device %s: %w", d.id.Short(), err)
				}
				return nil
			})
		}
		_ = g.Wait() // errors are gathered above
		if err := errors.Join(errs...); err != nil || until == now {
			return err
		}
	}
}

// behind returns the usable devices and the time to which the next round seals.
func (h *Hub) behind(now int64) ([]*Device, int64) {
	var devices []*Device
	until := now
	for _, d := range h.Devices() {
		d.mu.Lock()
		if d.usable() == nil {
			devices = append(devices, d)
			if !d.state.Finished || d.state.SealedUntil < d.state.FinishAt {
				until = min(until, (d.state.SealedUntil+roundHours)*3600)
			}
		}
		d.mu.Unlock()
	}
	return devices, until
}

// Finish is for data that ends, such as a replay: hours before untilHour are
// sealed and none after it ever, whatever is pushed later; SealLate seals what
// comes late for the hours before. The last day is
// committed by a later Advance (or Finish) once it is over by now.
func (d *Device) Finish(ctx context.Context, untilHour, now int64) error {
	return d.advance(ctx, now, func(s *deviceState, now int64) error {
		switch {
		case s.Finished && s.FinishAt != untilHour:
			return fmt.Errorf("bridge: device %s finished at hour %d already", d.id.Short(), s.FinishAt)
		case untilHour < s.SealedUntil:
			return fmt.Errorf("bridge: hours before %d are sealed already", s.SealedUntil)
		case untilHour > wearable.HourOf(now):
			return fmt.Errorf("bridge: hour %d is not over yet", untilHour-1)
		}
		s.Finished, s.FinishAt = true, untilHour
		return nil
	})
}

func (d *Device) advance(ctx context.Context, now int64, prepare func(*deviceState, int64) error) error {
	if d.hub.clock.wall && now > d.hub.clock.now()+skewSeconds {
		return fmt.Errorf("bridge: %d is a time still to come", now)
	}
	if now < -maxHour*3600 || now > maxHour*3600 {
		return fmt.Errorf("bridge: %d is not a time within the years 1 to 9999", now)
	}
	now, ahead := d.hub.clock.sealable(ctx, now)
	if ahead != nil && !errors.Is(ahead, ErrClockAhead) {
		return ahead
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if err := prepare(&d.state, now); err != nil {
		return errors.Join(err, ahead)
	}
	return errors.Join(d.sealUntil(ctx, now), ahead)
}

// sealUntil is called with mu held.
func (d *Device) sealUntil(ctx context.Context, now int64) error {
	defer d.sealer.forget()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := d.step(now)
		if err != nil || !more {
			return err
		}
	}
}

// step seals up to chunkHours and commits the days that they complete, in one
// synced commit, and tells whether there is more to do.
func (d *Device) step(now int64) (bool, error) {
	end := wearable.HourOf(now)
	if d.state.Finished {
		end = min(end, d.state.FinishAt)
	}
	until := min(end, d.state.SealedUntil+chunkHours)
	// Open minutes first, so that what is in memory is also in the store.
	if err := d.flush(true); err != nil {
		return false, err
	}
	err := d.seal(func(w *sealing) error { return w.run(until, wearable.DayOf(now)) })
	return until < end, err
}

// seal does some sealing in one synced commit.
func (d *Device) seal(work func(*sealing) error) error {
	w := &sealing{device: d, state: d.state, days: map[int64]*openDay{}}
	err := d.vault.Update(true, func(b *pebble.Batch) error {
		w.batch = b
		return work(w)
	})
	if err != nil {
		return d.fail(err)
	}
	d.state = w.state
	d.grid.forget(d.state.SealedUntil)
	return nil
}

// sealing is the work of one step. It changes nothing outside its batch, so that
// a failed step leaves no trace.
type sealing struct {
	device *Device
	batch  *pebble.Batch
	state  deviceState
	days   map[int64]*openDay // that were needed, by number
	until  int64              // hours before it are being sealed
	// corrected says that late data were looked through: what this commit deletes
	// is still to be seen in the store until it is made.
	corrected bool
}

// run seals hours before until, and commits days before today that are sealed.
func (w *sealing) run(until, today int64) error {
	w.until = until
	if w.state.SealedUntil >= until && !w.ending(today) {
		return nil
	}
	for w.state.SealedUntil < until {
		if err := w.hour(w.state.SealedUntil); err != nil {
			return fmt.Errorf("seal hour %d: %w", w.state.SealedUntil, err)
		}
		w.state.SealedUntil++
		if err := w.turn(); err != nil {
			return err
		}
	}
	if w.ending(today) {
		if err := w.correct(w.lateDay(), w.correctUntil(until)); err != nil {
			return err
		}
	}
	for w.ending(today) {
		if err := w.commitDay(); err != nil {
			return err
		}
	}
	return w.store()
}

// store writes what a step has changed.
func (w *sealing) store() error {
	return errors.Join(w.storeDays(), w.device.vault.store(w.batch, w.device.vault.key(kindState), w.state))
}

// hour seals one hour: everything that the row schema has, absent metrics as
// zeros.
func (w *sealing) hour(hour int64) error {
	d := w.device
	rowKey := d.vault.key(kindRow, ordered(hour)...)
	// One message per window, ever: the mark says that the hour is open, and the
	// store has no row for it either.
	old, err := d.vault.get(rowKey)
	if err := expect(old == nil, err, "hour %d has a row already", hour); err != nil {
		return err
	}
	h, err := w.newHour(nil)
	if err != nil {
		return err
	}
	counted := newCounted()
	if err := w.take(hour, h, &counted); err != nil {
		return err
	}
	row, err := d.sealer.row(he.Window{Hour: hour}, h)
	if err != nil {
		return err
	}
	return errors.Join(d.vault.Set(w.batch, rowKey, row), d.vault.store(w.batch, d.grid.countedKey(hour), counted))
}

// take moves the readings of an hour from the grid into what is sealed, and into the
// hour's day if that is still open.
func (w *sealing) take(hour int64, h privacy.Hour, counted *countedRecord) error {
	d := w.device
	for _, m := range d.metrics {
		codes, present, err := d.grid.codes(hour, m.Slot)
		if err != nil {
			return err
		}
		if present == 0 {
			continue
		}
		if m.Vital() {
			h.Codes[m.Slot] = codes[:]
		}
		counted.add(m.Slot, codes)
		if !w.open(dayOfHour(hour)) {
			w.state.Counts.AfterDay += present
		} else if err := w.setDay(hour, m.Slot, codes); err != nil {
			return err
		}
		if err := w.batch.Delete(d.grid.key(hour, m.Slot), nil); err != nil {
			return err
		}
	}
	return nil
}

// newHour is an hour for the patient's stratum, without readings yet; sealed are those
// that rows of the same hour count.
func (w *sealing) newHour(sealed map[int][]uint16) (privacy.Hour, error) {
	stratum, err := stratumIn(w.device.hub.schema, w.state.Stratum)
	return privacy.Hour{Codes: map[int][]uint16{}, Sealed: sealed, Stratum: stratum}, err
}

// sealer makes rows, and holds the key for it no longer than it takes.
type sealer struct {
	hub   *Hub
	id    record.ID
	seeds [][]byte
	key   *he.DeviceKey // expanded, which is large; or nil
}

// forget drops the expanded key.
func (s *sealer) forget() {
	if s.key != nil {
		s.key.Wipe()
		s.key = nil
	}
}

// retire drops the seeds too: they must not seal again.
func (s *sealer) retire() {
	s.forget()
	s.seeds = nil
}

// row seals an hour for its window. It refuses a minute that is counted already.
func (s *sealer) row(win he.Window, h privacy.Hour) ([]byte, error) {
	payloads, err := s.hub.schema.HourRow(h)
	if err != nil {
		return nil, err
	}
	if err := s.expand(); err != nil {
		return nil, err
	}
	return s.hub.cfg.Params.Seal(s.hub.context(), s.key, win, payloads)
}

// dayRow seals a day for its window.
func (s *sealer) dayRow(day *wearable.Day, stratum int) ([]byte, error) {
	params := s.hub.cfg.Params.Day()
	payloads, err := params.Schema().DayRow(day, stratum)
	if err != nil {
		return nil, err
	}
	if err := s.expand(); err != nil {
		return nil, err
	}
	return params.Seal(s.hub.context(), s.key.ForDays(), he.DayWindow(day.Number), payloads)
}

// expand makes the key of the seeds, if it is not there.
func (s *sealer) expand() (err error) {
	if s.key != nil {
		return nil
	}
	seeds := make([]he.Seed, len(s.seeds))
	for i, seed := range s.seeds {
		if len(seed) != len(seeds[i]) {
			return fmt.Errorf("%w: seed of %d bytes", ErrDamaged, len(seed))
		}
		copy(seeds[i][:], seed)
	}
	s.key, err = s.hub.cfg.Params.NewDeviceKey(s.hub.context(), s.id, seeds)
	return err
}
