// Package bluez is the radio of Linux's bluetoothd, asked over D-Bus.
//
// Entry point: Open. It needs no privilege beyond what the bus grants: on Debian that is
// root, or the group bluetooth.
//
// bluetoothd pairs and keeps bonds, so a sensor that is paired is connected by its address
// for good, also one whose address changes. It confirms indications by itself: what it
// handed over to a bridge that died before the minute was written is lost, unless the sensor
// keeps records.
package bluez

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/godbus/dbus/v5"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
)

const (
	service        = "org.bluez"
	adapterKind    = "org.bluez.Adapter1"
	deviceKind     = "org.bluez.Device1"
	valueKind      = "org.bluez.GattCharacteristic1"
	batteryKind    = "org.bluez.Battery1"
	objectsKind    = "org.freedesktop.DBus.ObjectManager"
	propertiesKind = "org.freedesktop.DBus.Properties"
)

// objects are what bluetoothd has: properties by interface, by path.
type objects map[dbus.ObjectPath]map[string]map[string]dbus.Variant

// Radio is an adapter of bluetoothd.
type Radio struct {
	address string // of the bus
	conn    *dbus.Conn
	adapter dbus.ObjectPath
	agents  atomic.Int64
}

// Open takes an adapter, such as "hci0", or with no name the first. bus is the address of the
// bus; empty stands for the system's.
func Open(ctx context.Context, bus, adapter string) (*Radio, error) {
	r := &Radio{address: bus}
	var err error
	if r.conn, err = connect(bus); err != nil {
		return nil, fmt.Errorf("%w: the system bus does not answer (D-Bus has to run): %w", radio.ErrNoRadio, err)
	}
	err = r.find(ctx, adapter)
	if err != nil {
		return nil, errors.Join(err, r.conn.Close())
	}
	return r, nil
}

// connect opens a connection to the bus of its own: signals come in order.
func connect(bus string) (*dbus.Conn, error) {
	ordered := dbus.WithSignalHandler(dbus.NewSequentialSignalHandler())
	if bus == "" {
		return dbus.ConnectSystemBus(ordered)
	}
	return dbus.Connect(bus, ordered)
}

func (r *Radio) find(ctx context.Context, name string) error {
	all, err := r.objects(ctx)
	if err != nil {
		return err
	}
	for _, path := range sorted(all) {
		props, ok := all[path][adapterKind]
		if !ok || name != "" && !strings.HasSuffix(string(path), "/"+name) {
			continue
		}
		r.adapter = path
		if powered, _ := props["Powered"].Value().(bool); powered {
			return nil
		}
		err := r.object(path).CallWithContext(ctx, propertiesKind+".Set", 0, adapterKind, "Powered", dbus.MakeVariant(true)).Err
		return explained(err)
	}
	if name == "" {
		return fmt.Errorf("%w: bluetoothd has no adapter", radio.ErrNoRadio)
	}
	return fmt.Errorf("%w: bluetoothd has no adapter %s", radio.ErrNoRadio, name)
}

func sorted(all objects) []dbus.ObjectPath {
	var paths []dbus.ObjectPath
	for path := range all {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

func (r *Radio) object(path dbus.ObjectPath) dbus.BusObject { return r.conn.Object(service, path) }

func (r *Radio) objects(ctx context.Context) (objects, error) {
	all := objects{}
	err := r.object("/").CallWithContext(ctx, objectsKind+".GetManagedObjects", 0).Store(&all)
	return all, explained(err)
}

// explained says what a person can do about an error of the bus or of bluetoothd.
func explained(err error) error {
	var e dbus.Error
	if !errors.As(err, &e) {
		return err
	}
	switch name := e.Name; {
	case strings.HasSuffix(name, ".AccessDenied") || strings.HasSuffix(name, ".NotAuthorized") || strings.HasSuffix(name, ".NotPermitted"):
		return fmt.Errorf("%w: the bus refuses this user (add it to the group \"bluetooth\" and log in again): %w", radio.ErrPrivilege, err)
	case strings.HasSuffix(name, ".ServiceUnknown") || strings.HasSuffix(name, ".NameHasNoOwner") || strings.HasSuffix(name, ".Disconnected"):
		return fmt.Errorf("%w: bluetoothd does not run (systemctl start bluetooth): %w", radio.ErrNoRadio, err)
	case strings.HasPrefix(name, "org.bluez.Error.Authentication"), strings.HasSuffix(name, ".InsufficientAuthentication"):
		return fmt.Errorf("%w: %w", radio.ErrPairing, err)
	}
	return err
}

// Close implements radio.Radio.
func (r *Radio) Close() error { return r.conn.Close() }

// health are the services that make a sensor one of health.
var health = []string{"1808", "1809", "180d", "1810", "1822", "181b", "181d", "181f", "1840"}

// described is a device by its properties.
func described(props map[string]dbus.Variant) radio.Sensor {
	s := radio.Sensor{}
	s.Address, _ = props["Address"].Value().(string)
	s.Name, _ = props["Alias"].Value().(string)
	s.Paired, _ = props["Paired"].Value().(bool)
	if rssi, ok := props["RSSI"].Value().(int16); ok {
		s.Signal = int(rssi)
	}
	uuids, _ := props["UUIDs"].Value().([]string)
	for _, text := range uuids {
		u, err := wearable.ParseUUID(text)
		s.Health = s.Health || err == nil && slices.Contains(health, string(u))
	}
	return s
}

// Scan implements radio.Radio.
func (r *Radio) Scan(ctx context.Context, found func(radio.Sensor)) error {
	signals, stop, err := r.listen(dbus.WithMatchInterface(objectsKind), dbus.WithMatchMember("InterfacesAdded"))
	if err != nil {
		return err
	}
	defer stop()
	all, err := r.objects(ctx)
	if err != nil {
		return err
	}
	for _, path := range sorted(all) {
		if props, ok := all[path][deviceKind]; ok && r.mine(path) {
			found(described(props))
		}
	}
	filter := map[string]dbus.Variant{"Transport": dbus.MakeVariant("le")}
	a := r.object(r.adapter)
	if err := a.CallWithContext(ctx, adapterKind+".SetDiscoveryFilter", 0, filter).Err; err != nil {
		return explained(err)
	}
	if err := a.CallWithContext(ctx, adapterKind+".StartDiscovery", 0).Err; err != nil {
		return explained(err)
	}
	defer a.Call(adapterKind+".StopDiscovery", dbus.FlagNoReplyExpected)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s, ok := <-signals:
			if !ok {
				return fmt.Errorf("%w: the bus has ended", radio.ErrNoRadio)
			}
			if props, ok := added(s); ok {
				found(described(props))
			}
		}
	}
}

// added are the properties of a device that has appeared.
func added(s *dbus.Signal) (map[string]dbus.Variant, bool) {
	if s.Name != objectsKind+".InterfacesAdded" || len(s.Body) != 2 {
		return nil, false
	}
	kinds, ok := s.Body[1].(map[string]map[string]dbus.Variant)
	if !ok {
		return nil, false
	}
	props, ok := kinds[deviceKind]
	return props, ok
}

func (r *Radio) mine(path dbus.ObjectPath) bool {
	return strings.HasPrefix(string(path), string(r.adapter)+"/")
}

// listen returns signals of bluetoothd, in order, until stop, on a connection of its own:
// what is slow to take them holds up nobody else.
func (r *Radio) listen(options ...dbus.MatchOption) (<-chan *dbus.Signal, func() error, error) {
	conn, err := connect(r.address)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", radio.ErrNoRadio, err)
	}
	signals := make(chan *dbus.Signal, 16)
	conn.Signal(signals)
	for _, o := range [][]dbus.MatchOption{
		append([]dbus.MatchOption{dbus.WithMatchSender(service)}, options...),
		{dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, service)},
	} {
		if err := conn.AddMatchSignal(o...); err != nil {
			return nil, nil, errors.Join(err, conn.Close())
		}
	}
	return signals, conn.Close, nil
}

// device finds a sensor by its address; one that was never heard is waited for.
func (r *Radio) device(ctx context.Context, address string) (dbus.ObjectPath, error) {
	known := func() (dbus.ObjectPath, error) {
		all, err := r.objects(ctx)
		if err != nil {
			return "", err
		}
		for path, kinds := range all {
			if props, ok := kinds[deviceKind]; ok && r.mine(path) && strings.EqualFold(described(props).Address, address) {
				return path, nil
			}
		}
		return "", nil
	}
	if path, err := known(); err != nil || path != "" {
		return path, err
	}
	scan, cancel := context.WithCancel(ctx)
	defer cancel()
	err := r.Scan(scan, func(s radio.Sensor) {
		if strings.EqualFold(s.Address, address) {
			cancel()
		}
	})
	if err != nil {
		return "", err
	}
	path, err := known()
	if err == nil && path == "" {
		err = fmt.Errorf("sensor %s was not heard: is it on, near and awake?", address)
	}
	return path, err
}
