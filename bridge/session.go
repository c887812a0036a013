package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
)

const (
	setupTime = 30 * time.Second // for discovery and subscription
	maxSensor = 128              // bytes of a sensor's name
	maxFound  = 64               // characteristics subscribed to on one sensor
)

// ErrNoVitals says that a sensor has no characteristic that a bridge reads.
// Another connection to it will not help.
var ErrNoVitals = errors.New("sensor offers no vital sign that this bridge reads")

// Session is a live connection to one sensor. What carries a time goes to its own minute
// (see moment), and the rest to the minute of the hub's clock in which it arrives.
type Session struct {
	device  *Device
	sensor  string
	link    radio.Link
	missing []error // of characteristics that could not be subscribed to

	// Owned by the link's goroutine once it subscribes.
	decoder wearable.Decoder
	minute  int64 // of the latest notification
	clock   stamps

	first, last atomic.Int64 // Unix seconds of readings; 0: none yet
}

// Connect takes over a connection to a sensor: it discovers the sensor's
// characteristics, subscribes to every vital sign it knows, asks for stored records where
// a sensor wants to be asked, and grids what arrives until Close or until the sensor goes.
// The sensor's name must be stable, such as its address: it is a source by it (see Sensors.Prefer).
// A session with the same sensor that is still open ends first: the last to connect has it.
// The connection is closed if Connect fails.
func (d *Device) Connect(ctx context.Context, link radio.Link, sensor string) (*Session, error) {
	if sensor == "" || len(sensor) > maxSensor {
		return nil, errors.Join(fmt.Errorf("bridge: a sensor's name has 1 to %d bytes", maxSensor), link.Close())
	}
	s := &Session{device: d, sensor: sensor, link: link}
	d.mu.Lock()
	err := d.usable()
	old := d.sessions[sensor]
	if err == nil {
		d.sessions[sensor] = s
	}
	d.mu.Unlock()
	if err != nil {
		return nil, errors.Join(err, link.Close())
	}
	if old != nil {
		old.link.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	if err := s.subscribe(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to sensor %s: %w", sensor, err), link.Err(), s.Close())
	}
	return s, nil
}

// subscribe looks at what the sensor has, and keeps what can be subscribed to.
func (s *Session) subscribe(ctx context.Context) error {
	all, err := s.link.Characteristics(ctx)
	if err != nil {
		return err
	}
	found := wanted(all)
	if len(found) == 0 {
		return ErrNoVitals
	}
	s.learn(ctx, all)
	if i := slices.IndexFunc(all, isAccessPoint); i >= 0 && slices.ContainsFunc(found, onRequest) {
		// Before the records, since a sensor may refuse to be asked otherwise.
		if err := s.link.Subscribe(ctx, all[i], func([]byte) error { return nil }); err == nil {
			defer s.request(ctx, all[i])
		}
	}
	taken := 0
	for _, c := range found {
		err := s.link.Subscribe(ctx, c, func(value []byte) error { return s.take(c, value) })
		switch {
		case err == nil:
			taken++
		case ctx.Err() != nil || s.ended():
			return fmt.Errorf("subscribe to %s: %w", c.UUID, err)
		default:
			s.missing = append(s.missing, fmt.Errorf("%s is not sent: %w", c.UUID, err))
		}
	}
	if taken == 0 {
		return errors.Join(s.missing...)
	}
	return nil
}

func (s *Session) ended() bool {
	select {
	case <-s.link.Done():
		return true
	default:
		return false
	}
}

// wanted returns the characteristics to subscribe to. Intermediate temperatures
// are readings of a thermometer that has not settled: they count only where it
// has no settled ones.
func wanted(all []radio.Characteristic) []radio.Characteristic {
	var found []radio.Characteristic
	settled := false
	for _, c := range all {
		if !c.Sends || !wearable.Measures(c.UUID) || len(found) == maxFound {
			continue
		}
		settled = settled || c.UUID == wearable.UUIDTemperature
		found = append(found, c)
	}
	return slices.DeleteFunc(found, func(c radio.Characteristic) bool {
		return settled && c.UUID == wearable.UUIDIntermediateTemperature
	})
}

func isAccessPoint(c radio.Characteristic) bool {
	return c.UUID == wearable.UUIDRecordAccess && c.Sends && c.Writable
}

// onRequest tells whether a sensor sends these values when it is asked for them.
func onRequest(c radio.Characteristic) bool {
	return c.UUID == wearable.UUIDGlucose || c.UUID == wearable.UUIDGlucoseMonitor || c.UUID == wearable.UUIDStoredObservations
}

// request asks for the records from the last one on that is known; a sensor that declines
// says so in an answer, and goes on with what it measures.
func (s *Session) request(ctx context.Context, point radio.Characteristic) {
	s.device.mu.Lock()
	from := s.device.state.Sources[s.device.state.source(s.sensor)].Sequence
	s.device.mu.Unlock()
	ask := wearable.ReportAll()
	if from > 0 {
		ask = wearable.ReportFrom(uint16(from))
	}
	if err := s.link.Write(ctx, point, ask); err != nil {
		s.missing = append(s.missing, fmt.Errorf("stored records cannot be asked for: %w", err))
	}
}

// learn reads what the sensor says of itself: its clock, and its battery.
func (s *Session) learn(ctx context.Context, all []radio.Characteristic) {
	for _, c := range all {
		if !c.Readable || s.ended() {
			continue
		}
		switch c.UUID {
		case wearable.UUIDCurrentTime, wearable.UUIDDateTime, wearable.UUIDSessionStart:
			value, err := s.link.Read(ctx, c)
			if err != nil {
				continue
			}
			if n, err := wearable.Decode(c.UUID, value); err == nil {
				s.clock.read(c.UUID, n.Record, s.device.hub.clock.now())
			}
		case wearable.UUIDBattery:
			value, err := s.link.Read(ctx, c)
			if err == nil && len(value) == 1 && value[0] <= 100 {
				s.device.Sensors().battery(s.sensor, value[0])
			}
		}
	}
}

// take grids one value. It runs on the link's goroutine, so that the next value is read,
// and an indication confirmed, only when it returns. An error ends the connection.
func (s *Session) take(c radio.Characteristic, payload []byte) error {
	n, err := s.decoder.Decode(c.UUID, payload)
	return s.measured(n, err != nil, c.Indicates)
}

// measured takes the readings of one notification; n is nil where it does not decode.
func (s *Session) measured(n *wearable.Notification, undecodable, indicated bool) error {
	d := s.device
	now := d.hub.clock.now()
	minute := wearable.MinuteOf(now)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	if d.sessions[s.sensor] != s {
		return fmt.Errorf("another connection to %s took over", s.sensor)
	}
	if undecodable {
		d.state.Counts.Undecodable++
		d.changed = true
	}
	// The close of a minute is written with what was gridded before it.
	if minute != s.minute {
		s.minute = minute
		if err := d.flush(false); err != nil {
			return err
		}
		d.hub.flusher.nudge()
	}
	if n != nil {
		if err := s.notified(n, now); err != nil {
			return d.fail(err)
		}
	}
	if !indicated {
		return nil
	}
	return d.flush(true)
}

// notified takes what one notification measures.
func (s *Session) notified(n *wearable.Notification, now int64) error {
	d := s.device
	for part := range n.All() {
		d.state.Counts.Special += uint64(len(part.Drops))
		for _, drop := range part.Drops {
			d.state.dropped(drop.Reason.String())
		}
		d.changed = d.changed || len(part.Drops) > 0
		if len(part.Readings) == 0 {
			continue
		}
		s.last.Store(now)
		s.first.CompareAndSwap(0, now)
		if err := s.placed(part, now); err != nil {
			return err
		}
	}
	return nil
}

// fromSensor grids one reading. digest is 0 where it only arrived.
func (d *Device) fromSensor(r wearable.Reading, minute int64, source byte, digest uint64) error {
	m, ok := d.metrics.find(r.Metric)
	if !ok {
		d.state.Counts.NotEnrolled++
		d.changed = true
		return nil
	}
	if minute > d.latestMinute() {
		d.state.Counts.Early++
		d.changed = true
		return nil
	}
	return d.take(sample{metric: m, minute: minute, value: r.Value, source: source, digest: digest})
}

// Missing says what of the sensor could not be had, such as a characteristic that wants a
// bond. The rest is taken.
func (s *Session) Missing() error { return errors.Join(s.missing...) }

// Useful is for how long the session has brought readings.
func (s *Session) Useful() time.Duration {
	return time.Duration(s.last.Load()-s.first.Load()) * time.Second
}

// Done is closed when the connection has ended.
func (s *Session) Done() <-chan struct{} { return s.link.Done() }

// Err returns why the connection ended by itself, or nil.
func (s *Session) Err() error { return s.link.Err() }

// Close ends the connection and waits until no more readings arrive. It may be
// repeated.
func (s *Session) Close() error {
	err := s.link.Close()
	d := s.device
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sessions[s.sensor] == s {
		delete(d.sessions, s.sensor)
	}
	if d.usable() != nil {
		return err
	}
	return errors.Join(err, d.fail(d.waiting().of(s.sensor)))
}
