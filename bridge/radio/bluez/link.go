package bluez

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
)

// pulse is how often bluetoothd is asked whether a connection stands, and how long it may
// take to answer: an end that it does not tell of is noticed within both.
const pulse = 12 * time.Second

// maxValue bounds what a sensor sends at once, as the attribute protocol does.
const maxValue = 512

// link is a connection that bluetoothd holds.
type link struct {
	radio   *Radio
	path    dbus.ObjectPath
	stop    func() error // listening
	closing chan struct{}
	once    sync.Once
	running sync.WaitGroup

	mu    sync.Mutex
	takes map[dbus.ObjectPath]func([]byte) error
	err   error
}

// Connect implements radio.Radio.
func (r *Radio) Connect(ctx context.Context, address string) (radio.Link, error) {
	path, err := r.device(ctx, address)
	if err != nil {
		return nil, err
	}
	signals, stop, err := r.listen(dbus.WithMatchPathNamespace(path), dbus.WithMatchInterface(propertiesKind))
	if err != nil {
		return nil, err
	}
	l := &link{radio: r, path: path, stop: stop, closing: make(chan struct{}), takes: map[dbus.ObjectPath]func([]byte) error{}}
	resolved := make(chan struct{})
	l.running.Go(func() { l.run(signals, resolved) })
	err = r.object(path).CallWithContext(ctx, deviceKind+".Connect", 0).Err
	if err == nil {
		err = l.resolve(ctx, resolved)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to %s: %w", address, explained(err)), l.Close())
	}
	l.running.Go(l.watch)
	return l, nil
}

// resolve waits until bluetoothd knows what the sensor has.
func (l *link) resolve(ctx context.Context, resolved <-chan struct{}) error {
	if is, err := l.is(ctx, "ServicesResolved"); err != nil || is {
		return err
	}
	select {
	case <-resolved:
		return nil
	case <-l.closing:
		return errors.Join(errors.New("the connection ended while the sensor was looked at"), l.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *link) is(ctx context.Context, property string) (bool, error) {
	var v dbus.Variant
	err := l.radio.object(l.path).CallWithContext(ctx, propertiesKind+".Get", 0, deviceKind, property).Store(&v)
	is, _ := v.Value().(bool)
	return is, err
}

// run takes signals until the connection ends.
func (l *link) run(signals <-chan *dbus.Signal, resolved chan struct{}) {
	for {
		select {
		case <-l.closing:
			return
		case s, ok := <-signals:
			if !ok {
				l.end(fmt.Errorf("%w: the bus has ended", radio.ErrNoRadio))
				return
			}
			if strings.HasSuffix(s.Name, ".NameOwnerChanged") {
				l.end(fmt.Errorf("%w: bluetoothd was restarted", radio.ErrNoRadio))
				return
			}
			done := l.signal(s, resolved)
			if done != nil {
				l.end(done)
				return
			}
		}
	}
}

// signal is about the device, or about one of its values.
func (l *link) signal(s *dbus.Signal, resolved chan struct{}) error {
	if s.Name != propertiesKind+".PropertiesChanged" || len(s.Body) < 2 {
		return nil
	}
	kind, _ := s.Body[0].(string)
	changed, _ := s.Body[1].(map[string]dbus.Variant)
	switch {
	case kind == deviceKind && s.Path == l.path:
		if is, ok := changed["Connected"].Value().(bool); ok && !is {
			return errors.New("the sensor disconnected")
		}
		if is, ok := changed["ServicesResolved"].Value().(bool); ok && is {
			select {
			case <-resolved:
			default:
				close(resolved)
			}
		}
	case kind == valueKind:
		value, ok := changed["Value"].Value().([]byte)
		l.mu.Lock()
		take := l.takes[s.Path]
		l.mu.Unlock()
		if !ok || take == nil {
			return nil
		}
		if len(value) > maxValue {
			return fmt.Errorf("%w: a value of %d bytes", radio.ErrSensor, len(value))
		}
		return take(value)
	}
	return nil
}

// watch asks whether the connection stands.
func (l *link) watch() {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for {
		select {
		case <-l.closing:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), pulse)
		is, err := l.is(ctx, "Connected")
		cancel()
		switch {
		case err != nil:
			l.end(fmt.Errorf("%w: bluetoothd does not answer: %w", radio.ErrSilent, err))
		case !is:
			l.end(radio.ErrSilent)
		}
	}
}

// Characteristics implements radio.Link.
func (l *link) Characteristics(ctx context.Context) ([]radio.Characteristic, error) {
	all, err := l.radio.objects(ctx)
	if err != nil {
		return nil, err
	}
	var list []radio.Characteristic
	if _, ok := all[l.path][batteryKind]; ok { // bluetoothd keeps the battery's service to itself
		list = append(list, radio.Characteristic{UUID: wearable.UUIDBattery, Place: string(l.path), Readable: true})
	}
	for _, path := range sorted(all) {
		props, ok := all[path][valueKind]
		if !ok || !strings.HasPrefix(string(path), string(l.path)+"/") {
			continue
		}
		text, _ := props["UUID"].Value().(string)
		uuid, err := wearable.ParseUUID(text)
		if err != nil {
			continue
		}
		flags, _ := props["Flags"].Value().([]string)
		has := func(f string) bool { return slices.Contains(flags, f) }
		list = append(list, radio.Characteristic{
			UUID: uuid, Place: string(path), Sends: has("notify") || has("indicate"), Indicates: has("indicate") && !has("notify"),
			Readable: has("read"), Writable: has("write"),
		})
	}
	return list, nil
}

// Subscribe implements radio.Link.
func (l *link) Subscribe(ctx context.Context, c radio.Characteristic, take func([]byte) error) error {
	path := dbus.ObjectPath(c.Place)
	l.mu.Lock()
	l.takes[path] = take
	l.mu.Unlock()
	return explained(l.radio.object(path).CallWithContext(ctx, valueKind+".StartNotify", 0).Err)
}

// Read implements radio.Link.
func (l *link) Read(ctx context.Context, c radio.Characteristic) ([]byte, error) {
	o := l.radio.object(dbus.ObjectPath(c.Place))
	if c.Place == string(l.path) {
		var v dbus.Variant
		err := o.CallWithContext(ctx, propertiesKind+".Get", 0, batteryKind, "Percentage").Store(&v)
		percent, _ := v.Value().(byte)
		return []byte{percent}, explained(err)
	}
	var value []byte
	err := o.CallWithContext(ctx, valueKind+".ReadValue", 0, map[string]dbus.Variant{}).Store(&value)
	return value, explained(err)
}

// Write implements radio.Link.
func (l *link) Write(ctx context.Context, c radio.Characteristic, value []byte) error {
	options := map[string]dbus.Variant{"type": dbus.MakeVariant("request")}
	return explained(l.radio.object(dbus.ObjectPath(c.Place)).CallWithContext(ctx, valueKind+".WriteValue", 0, value, options).Err)
}

// end ends the connection from within, once.
func (l *link) end(err error) {
	l.once.Do(func() {
		l.mu.Lock()
		l.err = err
		l.mu.Unlock()
		close(l.closing)
	})
}

// Done implements radio.Link.
func (l *link) Done() <-chan struct{} { return l.closing }

// Err implements radio.Link.
func (l *link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements radio.Link.
func (l *link) Close() error {
	l.end(nil)
	l.running.Wait()
	err := l.stop()
	// An answer is not waited for: bluetoothd may be gone.
	l.radio.object(l.path).Call(deviceKind+".Disconnect", dbus.FlagNoReplyExpected)
	return err
}
