package bridge

import (
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
)

const (
	// dayGrace is for how many hours after its end a day with a day row takes what is
	// late: what a wearable measures before midnight often arrives after it, and a day
	// row is sealed once.
	dayGrace = 2
	// MaxHeldDays is the most days for which Config.HeldDays may keep a day open. The
	// ledger takes a day's root and row for a week after its end.
	MaxHeldDays = 6
)

// grace is for how many hours after its end a day takes what is late. In a network
// without day rows it is committed at once, so that claims about it can be answered.
func (h *Hub) grace() int64 {
	if h.schema.Day() == nil {
		return 0
	}
	return dayGrace
}

// dayRecord is a committed day: its root and what opens it.
type dayRecord struct {
	Root    record.ID
	Opening []byte
}

// openDay is a day that has sealed hours and is not committed.
type openDay struct {
	wearable.Day
	changed bool
}

// open reports whether a day is not committed yet.
func (w *sealing) open(day int64) bool { return day >= w.state.DaysUntil }

func (w *sealing) dayKey(day int64) []byte { return w.device.vault.key(kindDay, ordered(day)...) }

// day returns an open day, from the store when it is first needed.
func (w *sealing) day(number int64) (*openDay, error) {
	if day := w.days[number]; day != nil {
		return day, nil
	}
	day := &openDay{Day: wearable.Day{Number: number}}
	value, err := w.device.vault.get(w.dayKey(number))
	if err != nil {
		return nil, err
	}
	if value != nil {
		if err := day.UnmarshalBinary(value); err != nil {
			return nil, fmt.Errorf("%w: day %d: %v", ErrDamaged, number, err)
		}
	}
	w.days[number] = day
	return day, expect(day.Number == number, nil, "day %d is stored as day %d", number, day.Number)
}

// setDay puts the codes of an hour that are not missing into its day.
func (w *sealing) setDay(hour int64, slot int, codes [wearable.MinutesPerHour]uint16) error {
	day, err := w.day(dayOfHour(hour))
	if err != nil {
		return err
	}
	day.changed = true
	for i, code := range codes {
		if code == 0 {
			continue
		}
		if err := day.Set(slot, int(hour-day.Number*24)*60+i, code); err != nil {
			return err
		}
	}
	return nil
}

// storeDays keeps what is sealed of open days for their commitment.
func (w *sealing) storeDays() error {
	for number, day := range w.days {
		if !day.changed {
			continue
		}
		value, err := day.MarshalBinary()
		if err != nil {
			return err
		}
		if err := w.device.vault.Set(w.batch, w.dayKey(number), value); err != nil {
			return err
		}
	}
	return nil
}

// turn is called after each hour. Once a day, when the day before has had its grace,
// it seals what is late, and commits the days that were held long enough.
func (w *sealing) turn() error {
	hub := w.device.hub
	at := w.state.SealedUntil - hub.grace()
	if at != dayOfHour(at)*24 {
		return nil
	}
	ended := dayOfHour(at) - 1
	if err := w.correct(ended, w.correctUntil(w.until)); err != nil {
		return err
	}
	for w.state.DaysUntil <= ended-int64(hub.cfg.HeldDays) {
		if err := w.commitDay(); err != nil {
			return err
		}
	}
	return nil
}

// ending tells whether a day of a device that finished is over and not committed,
// though its last hours may never be sealed. It waits for nothing more.
func (w *sealing) ending(today int64) bool {
	s := &w.state
	return s.Finished && s.SealedUntil >= s.FinishAt && s.DaysUntil*24 < s.FinishAt && s.DaysUntil < today
}

// commitDay makes the root of the first open day and, where the network has such, its
// day row, which speaks of the same minutes.
func (w *sealing) commitDay() error {
	number := w.state.DaysUntil
	day, err := w.day(number)
	if err != nil {
		return err
	}
	root, opening, err := zk.CommitDay(&day.Day)
	if err != nil {
		return fmt.Errorf("commit day %d: %w", number, err)
	}
	secret, err := opening.MarshalBinary()
	if err != nil {
		return err
	}
	v := w.device.vault
	key := v.key(kindOpening, ordered(number)...)
	old, err := v.get(key)
	if err := expect(old == nil, err, "day %d is committed already", number); err != nil {
		return err
	}
	if err := w.dayRow(&day.Day); err != nil {
		return fmt.Errorf("seal day %d: %w", number, err)
	}
	w.state.DaysUntil++
	delete(w.days, number)
	return errors.Join(
		v.store(w.batch, key, dayRecord{Root: root, Opening: secret}),
		w.batch.Delete(w.dayKey(number), nil))
}

// dayRow seals a day's row, of an empty day too.
func (w *sealing) dayRow(day *wearable.Day) error {
	d, schema := w.device, w.device.hub.schema.Day()
	if schema == nil {
		return nil
	}
	// One message per window, ever: the mark says that the day is open, and neither its
	// opening, which is never deleted, nor a row of it is there.
	key := d.vault.key(kindDayRow, ordered(day.Number)...)
	old, err := d.vault.get(key)
	if err := expect(old == nil, err, "day %d has a row already", day.Number); err != nil {
		return err
	}
	stratum, err := stratumIn(schema, w.state.Stratum)
	if err != nil {
		return err
	}
	row, err := d.sealer.dayRow(day, stratum)
	if err != nil {
		return err
	}
	return d.vault.Set(w.batch, key, row)
}
