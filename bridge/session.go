package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/gatt"

	"github.com/vitalveil/vitalveil/wearable"
)

// characteristics are the GATT characteristics that a session subscribes to.
// Glucose measurements (0x2A18) are not among them: meters send them only on
// request through the record access procedure, as stored records under the
// meter's own clock, which has no time zone. They come through Push.
var characteristics = []wearable.UUID{
	wearable.UUIDTemperature, wearable.UUIDIntermediateTemperature, wearable.UUIDBloodPressure,
	wearable.UUIDHeartRate, wearable.UUIDSpotOximetry, wearable.UUIDContinuousOximetry,
}

const (
	setupTime = 30 * time.Second // for discovery and subscription
	wantedMTU = 247
	maxSensor = 128 // bytes of a sensor's name
	maxFound  = 64  // characteristics subscribed to on one sensor
)

// ErrNoVitals says that a sensor has no characteristic that a bridge reads.
// Another connection to it will not help.
var ErrNoVitals = errors.New("sensor offers no vital sign that this bridge reads")

// Session is a live connection to one sensor. Its readings go to the minute of
// the hub's clock in which they arrive: a sensor's own timestamps are in no
// known time zone and are not used.
type Session struct {
	device  *Device
	sensor  string
	bearer  *bearer
	handles map[uint16]wearable.UUID // of each subscribed value handle; written before the first subscription
	decoder wearable.Decoder
	minute  int64 // of the latest notification; owned by the bearer's goroutine
}

// Connect takes over a connection to a sensor: it discovers the sensor's
// characteristics, subscribes to every vital sign it knows and grids what
// arrives until Close or until the sensor goes. The sensor's name must be
// stable, such as its address: it is a source by it (see Prefer). The connection is
// closed if Connect fails.
func (d *Device) Connect(ctx context.Context, conn ble.Conn, sensor string) (*Session, error) {
	if sensor == "" || len(sensor) > maxSensor {
		conn.Close()
		return nil, fmt.Errorf("bridge: a sensor's name has 1 to %d bytes", maxSensor)
	}
	d.mu.Lock()
	err := d.usable()
	d.mu.Unlock()
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &Session{device: d, sensor: sensor, handles: map[uint16]wearable.UUID{}}
	s.bearer = newBearer(conn, s.take)
	ctx, cancel := context.WithTimeout(ctx, setupTime)
	defer cancel()
	// Requests of go-ble know no context: closing the bearer ends them.
	stop := context.AfterFunc(ctx, func() { s.bearer.shut() })
	err = s.subscribe()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		s.bearer.Close()
		if cause := s.bearer.cause(); cause != nil {
			err = errors.Join(err, cause)
		}
		if ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
		return nil, fmt.Errorf("connect to sensor %s: %w", sensor, err)
	}
	return s, nil
}

// subscribe is the only user of go-ble's client, which deadlocks when it is
// called from a notification handler.
func (s *Session) subscribe() error {
	client, err := gatt.NewClient(s.bearer)
	if err != nil {
		return err
	}
	if _, err := client.ExchangeMTU(wantedMTU); err != nil && !isATTError(err) {
		return err
	}
	profile, err := client.DiscoverProfile(true)
	if err != nil {
		return err
	}
	found := wanted(profile)
	if len(found) == 0 {
		return ErrNoVitals
	}
	s.bearer.mu.Lock()
	for _, c := range found {
		s.handles[c.ValueHandle] = short(c.UUID)
	}
	s.bearer.mu.Unlock()
	for _, c := range found {
		// The bearer takes the values; go-ble only needs to know that there is a
		// handler.
		if err := client.Subscribe(c, c.Property&ble.CharNotify == 0, func([]byte) {}); err != nil {
			return fmt.Errorf("subscribe to %s: %w", short(c.UUID), err)
		}
	}
	return nil
}

// isATTError tells whether the sensor answered, but declined.
func isATTError(err error) bool {
	var e ble.ATTError
	return errors.As(err, &e)
}

// wanted returns the characteristics to subscribe to. Intermediate temperatures
// are readings of a thermometer that has not settled: they count only where it
// has no settled ones.
func wanted(p *ble.Profile) []*ble.Characteristic {
	var found []*ble.Characteristic
	settled := false
	for _, service := range p.Services {
		for _, c := range service.Characteristics {
			uuid := short(c.UUID)
			if !slices.Contains(characteristics, uuid) || c.CCCD == nil || c.Property&(ble.CharNotify|ble.CharIndicate) == 0 {
				continue
			}
			settled = settled || uuid == wearable.UUIDTemperature
			if len(found) < maxFound {
				found = append(found, c)
			}
		}
	}
	return slices.DeleteFunc(found, func(c *ble.Characteristic) bool {
		return settled && short(c.UUID) == wearable.UUIDIntermediateTemperature
	})
}

// short returns the canonical form of a UUID.
func short(u ble.UUID) wearable.UUID { return wearable.UUIDFromBytes(u) }

// take grids one value. It runs on the bearer's goroutine, so that the next PDU
// is read, and an indication confirmed, only when it returns. An error ends the
// connection.
func (s *Session) take(handle uint16, payload []byte, indicated bool) error {
	s.bearer.mu.Lock()
	uuid, known := s.handles[handle]
	s.bearer.mu.Unlock()
	if !known {
		return nil
	}
	n, err := s.decoder.Decode(uuid, payload)
	if err != nil {
		return s.device.measured(s, nil, 0, true, indicated)
	}
	return s.device.measured(s, n.Readings, len(n.Drops), false, indicated)
}

// measured takes the readings of one notification.
func (d *Device) measured(s *Session, readings []wearable.Reading, special int, undecodable, indicated bool) error {
	minute := wearable.MinuteOf(d.hub.clock.now())
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	d.state.Counts.Special += uint64(special)
	if undecodable {
		d.state.Counts.Undecodable++
	}
	d.changed = d.changed || special > 0 || undecodable
	// The close of a minute is written with what was gridded before it.
	if minute != s.minute {
		s.minute = minute
		if err := d.flush(false); err != nil {
			return err
		}
		d.hub.flusher.nudge()
	}
	for _, r := range readings {
		if err := d.fromSensor(r, minute, s.sensor); err != nil {
			return d.fail(err)
		}
	}
	if !indicated {
		return nil
	}
	return d.flush(true)
}

// fromSensor grids one reading.
func (d *Device) fromSensor(r wearable.Reading, minute int64, sensor string) error {
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
	return d.take(sample{metric: m, minute: minute, value: r.Value, source: d.state.source(sensor)})
}

// Done is closed when the connection has ended.
func (s *Session) Done() <-chan struct{} { return s.bearer.closing }

// Err returns why the connection ended by itself, or nil.
func (s *Session) Err() error { return s.bearer.cause() }

// Close ends the connection and waits until no more readings arrive. It may be
// repeated.
func (s *Session) Close() error { return s.bearer.Close() }
