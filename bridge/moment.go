package bridge

import (
	"hash/fnv"
	"math/big"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/wearable"
)

// When a value was measured. A sensor's stamp is what its own clock showed, which is in no
// known time zone and may be wrong by years; its offset is what to add for Unix time:
//
//   - A stamp with a zone is believed, unless the sensor says that its clock was never set.
//   - A sensor that lets its clock be read tells the offset at each connection.
//   - Otherwise the offset is the least by which a value came after its stamp: nothing comes
//     before it was measured, and what was measured while connected comes at once. What
//     seems to be of the last ten minutes is of now, and tells how clocks drift. Until there
//     is an offset, values wait (held), and the newest of them is taken for new.
//   - What has no stamp is of now, unless it comes from the sensor's memory.
//
// A record goes to its own minute, late or not, and once: sensors send their memory at every
// connection.
const (
	// settleSeconds is for how long values wait for newer ones that tell the offset.
	settleSeconds = 5
	maxHeld       = 1024
	liveSeconds   = 600
	// maxRecords is how many records of a source are known again.
	maxRecords = 2048
)

// stamps is what a session knows of a sensor's clock.
type stamps struct {
	known   bool
	offset  int64 // seconds to add to a stamp for Unix time
	session bool  // of minutes since a monitor's session began
	start   int64 // of it, in Unix seconds
}

// read learns from a clock that was just read.
func (c *stamps) read(uuid wearable.UUID, r wearable.Record, now int64) {
	at, ok := r.Local()
	if !ok || r.ClockUnset {
		return
	}
	if uuid == wearable.UUIDSessionStart {
		if t, ok := r.Instant(); ok {
			c.session, c.start = true, t.Unix()
		} else if c.known {
			c.session, c.start = true, at.Unix()+c.offset
		}
		return
	}
	c.known, c.offset = true, now-at.Unix()
}

// held is a value whose time is not known yet.
type held struct {
	Source  byte
	Stamp   int64 // Unix seconds, if the sensor's clock showed UTC
	Arrival int64 // Unix seconds of the hub
	Metric  string
	Value   string // exact: a numeral or a fraction
	Record  uint64 // its digest
}

// stampOf is the sensor's own time of a record, in seconds of a clock of its own, and false
// where it has none.
func stampOf(r wearable.Record) (int64, bool) {
	if r.SinceSession {
		return int64(r.Minutes) * 60, true
	}
	at, ok := r.Local()
	return at.Unix(), ok && !r.ClockUnset
}

// placed takes the readings of one measurement to their minute, or says why not.
func (s *Session) placed(n *wearable.Notification, now int64) error {
	d := s.device
	number := d.state.source(s.sensor)
	src := &d.state.Sources[number]
	r := n.Record
	if r.UserKnown != src.UserSet || r.User != src.User {
		d.state.Counts.OtherUser += uint64(len(n.Readings))
		d.changed = true
		return nil
	}
	stamp, stamped := stampOf(r)
	if !stamped {
		if r.Stored {
			d.state.Counts.NoTime += uint64(len(n.Readings))
			d.changed = true
			return nil
		}
		return d.each(n.Readings, wearable.MinuteOf(now-int64(r.Age)*60), number, 0)
	}
	digest := recordDigest(r, stamp)
	known, err := d.records.known(number, digest)
	if err != nil {
		return err
	}
	if known {
		d.state.Counts.Repeated += uint64(len(n.Readings))
		d.changed = true
		return nil
	}
	at, placed := s.clock.at(r, stamp)
	if !placed && src.OffsetKnown && !r.SinceSession {
		if now-stamp-src.Offset < liveSeconds {
			src.Offset = now - stamp
		}
		at, placed = stamp+src.Offset, true
	}
	if !placed {
		return s.hold(n, number, stamp, now, digest)
	}
	if r.Numbered {
		src.Sequence = max(src.Sequence, r.Sequence)
	}
	d.records.note(number, digest)
	return d.each(n.Readings, wearable.MinuteOf(at), number, digest)
}

// at is when a stamp was, by what the sensor or the record itself says.
func (c *stamps) at(r wearable.Record, stamp int64) (int64, bool) {
	if t, ok := r.Instant(); ok && !r.SinceSession {
		return t.Unix(), true
	}
	if r.SinceSession {
		return c.start + stamp, c.session
	}
	return stamp + c.offset, c.known
}

func (d *Device) each(readings []wearable.Reading, minute int64, source byte, digest uint64) error {
	for _, r := range readings {
		if err := d.fromSensor(r, minute, source, digest); err != nil {
			return err
		}
	}
	return nil
}

// recordDigest is what a record of a source is known by.
func recordDigest(r wearable.Record, stamp int64) uint64 {
	h := fnv.New64a()
	h.Write(strconv.AppendInt(strconv.AppendInt(strconv.AppendBool(nil, r.Numbered), int64(r.Sequence), 10), stamp, 32))
	return max(h.Sum64(), 1)
}

// hold keeps values until their offset is known. They are part of the state, and so are
// written with what is confirmed to the sensor.
func (s *Session) hold(n *wearable.Notification, source byte, stamp, now int64, digest uint64) error {
	d := s.device
	d.changed = true
	for _, r := range n.Readings {
		if len(d.state.Held) == maxHeld {
			if err := d.waiting().all(); err != nil {
				return err
			}
		}
		d.state.Held = append(d.state.Held, held{source, stamp, now, r.Metric, r.Value.String(), digest})
	}
	return nil
}

// waiting is the values of a device whose time is not known yet (deviceState.Held).
type waiting struct{ device *Device }

func (d *Device) waiting() waiting { return waiting{d} }

// of places what a sensor's values wait for: the newest is taken for new.
func (w waiting) of(sensor string) error {
	d := w.device
	number := d.state.source(sensor)
	return w.settle(func(h held) bool { return h.Source == number })
}

// all places everything.
func (w waiting) all() error { return w.settle(func(held) bool { return true }) }

// due places what has waited long enough.
func (w waiting) due() error {
	d := w.device
	if len(d.state.Held) == 0 {
		return nil
	}
	newest := map[byte]int64{}
	for _, h := range d.state.Held {
		newest[h.Source] = max(newest[h.Source], h.Arrival)
	}
	now := d.hub.clock.now()
	return w.settle(func(h held) bool { return now-newest[h.Source] >= settleSeconds || now < newest[h.Source] })
}

func (w waiting) settle(due func(held) bool) error {
	d := w.device
	if d.settling { // gridding may have to write, which settles what is due
		return nil
	}
	d.settling = true
	defer func() { d.settling = false }()
	var ready, rest []held
	for _, h := range d.state.Held {
		if due(h) {
			ready = append(ready, h)
		} else {
			rest = append(rest, h)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	for _, h := range ready {
		src := &d.state.Sources[h.Source]
		offset := h.Arrival - h.Stamp
		if !src.OffsetKnown || offset < src.Offset {
			src.OffsetKnown, src.Offset = true, offset
		}
	}
	for _, h := range ready {
		d.changed = true
		known, err := d.records.known(h.Source, h.Record)
		if err != nil {
			return err
		}
		if known {
			d.state.Counts.Repeated++
			continue
		}
		at := h.Stamp + d.state.Sources[h.Source].Offset
		value, ok := new(big.Rat).SetString(h.Value)
		exact, fits := wearable.Decimal{}, false
		if ok {
			exact, fits = wearable.DecimalFromRat(value)
		}
		if err := expect(fits, nil, "a held value"); err != nil {
			return err
		}
		if err := d.fromSensor(wearable.Reading{Metric: h.Metric, Value: exact}, wearable.MinuteOf(at), h.Source, h.Record); err != nil {
			return err
		}
	}
	// What was gridded on the way is known there by its digest: until here a crash repeats.
	d.state.Held = rest
	for _, h := range ready {
		d.records.note(h.Source, h.Record)
	}
	return nil
}

// ForgetClock has the offset of a sensor's clock learnt again, after that or the hub's was
// set. It is durable on return.
func (p Sensors) ForgetClock(sensor string) error {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	d.state.Sources[d.state.source(sensor)].OffsetKnown = false
	d.changed = true
	return d.flush(true)
}

// SetUser says which number the patient has in a sensor that several people use, such as a
// household's cuff. What such a sensor measures counts only then, and only for this number.
// It is durable on return.
func (p Sensors) SetUser(sensor string, user uint8) error {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	src := &d.state.Sources[d.state.source(sensor)]
	src.User, src.UserSet = user, true
	d.changed = true
	return d.flush(true)
}

// battery notes what a sensor said of its battery.
func (p Sensors) battery(sensor string, percent uint8) {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	src := &d.state.Sources[d.state.source(sensor)]
	d.changed = d.changed || !src.BatteryKnown || src.Battery != percent
	src.Battery, src.BatteryKnown = percent, true
}

// Battery returns the percentage that a sensor told last, and false where it told none.
func (p Sensors) Battery(sensor string) (uint8, bool) {
	d := p.device
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.state.Sources {
		if s.Name == sensor {
			return s.Battery, s.BatteryKnown
		}
	}
	return 0, false
}

// records are the stamped records that were taken, by source: what is in memory is written
// with the grid.
type records struct {
	vault *deviceVault
	seen  map[byte]*seenRecords
}

type seenRecords struct {
	digests []uint64 // oldest first
	dirty   bool
}

func (r *records) key(source byte) []byte { return r.vault.key(kindRecords, source) }

func (r *records) of(source byte) (*seenRecords, error) {
	s := r.seen[source]
	if s != nil {
		return s, nil
	}
	s = &seenRecords{}
	if _, err := r.vault.load(r.key(source), &s.digests); err != nil {
		return nil, err
	}
	r.seen[source] = s
	return s, nil
}

func (r *records) known(source byte, digest uint64) (bool, error) {
	s, err := r.of(source)
	if err != nil {
		return false, err
	}
	return slices.Contains(s.digests, digest), nil
}

// note is called after known.
func (r *records) note(source byte, digest uint64) {
	s := r.seen[source]
	if slices.Contains(s.digests, digest) {
		return
	}
	if len(s.digests) == maxRecords {
		s.digests = slices.Delete(s.digests, 0, 1)
	}
	s.digests, s.dirty = append(s.digests, digest), true
}

// write puts what has changed into the batch.
func (r *records) write(b *pebble.Batch) error {
	for source, s := range r.seen {
		if !s.dirty {
			continue
		}
		if err := r.vault.store(b, r.key(source), s.digests); err != nil {
			return err
		}
		s.dirty = false
	}
	return nil
}
