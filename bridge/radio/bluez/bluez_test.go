package bluez

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bus starts a message bus of its own, and returns its address.
func bus(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("SKIPPED: there is no dbus-daemon here, so nothing of the BlueZ radio is tested")
	}
	dir := t.TempDir()
	address := "unix:path=" + filepath.Join(dir, "bus")
	config := filepath.Join(dir, "bus.conf")
	text := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>` + address + `</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config-file="+config, "--nofork", "--print-address")
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := ready.Read(make([]byte, 256)); err != nil { // the address, once it listens
		t.Fatal(err)
	}
	return address
}

const (
	hci    = dbus.ObjectPath("/org/bluez/hci0")
	sensor = hci + "/dev_C6_00_00_00_00_01"
	rate   = sensor + "/service0010/char0011"
)

// daemon is an org.bluez with one adapter and one sensor, which is there once it is looked
// for.
type daemon struct {
	t       *testing.T
	conn    *dbus.Conn
	passkey uint32 // that the sensor shows; 0: it wants none
	denies  string // error of every method of the adapter

	mu        sync.Mutex
	found     bool
	connected bool
	paired    bool
	trusted   bool
	notifying bool
	agent     dbus.ObjectPath
	agentOf   string
	calls     map[string]int
}

func newDaemon(t *testing.T, address string) *daemon {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, conn: conn, calls: map[string]int{}}
	t.Cleanup(func() { conn.Close() })
	export := func(path dbus.ObjectPath, kind string, methods map[string]any) {
		if err := conn.ExportMethodTable(methods, path, kind); err != nil {
			t.Fatal(err)
		}
	}
	export("/", objectsKind, map[string]any{"GetManagedObjects": d.objects})
	export("/org/bluez", managerKind, map[string]any{
		"RegisterAgent": func(from dbus.Sender, path dbus.ObjectPath, _ string) *dbus.Error {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.agent, d.agentOf = path, string(from)
			return nil
		},
		"UnregisterAgent": func(dbus.ObjectPath) *dbus.Error { return nil },
	})
	export(hci, adapterKind, map[string]any{
		"SetDiscoveryFilter": func(map[string]dbus.Variant) *dbus.Error { return d.denied() },
		"StartDiscovery":     d.discover,
		"StopDiscovery":      func() *dbus.Error { return nil },
	})
	export(hci, propertiesKind, map[string]any{"Set": func(string, string, dbus.Variant) *dbus.Error { return d.denied() }})
	export(sensor, deviceKind, map[string]any{"Connect": d.connect, "Disconnect": d.disconnect, "Pair": d.pair})
	export(sensor, propertiesKind, map[string]any{"Get": d.get, "Set": func(_, name string, v dbus.Variant) *dbus.Error {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.trusted, _ = v.Value().(bool)
		return nil
	}})
	export(rate, valueKind, map[string]any{
		"StartNotify": func() *dbus.Error {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.passkey != 0 && !d.paired {
				return dbus.NewError("org.bluez.Error.AuthenticationFailed", nil)
			}
			d.notifying = true
			return nil
		},
		"ReadValue":  func(map[string]dbus.Variant) ([]byte, *dbus.Error) { return []byte{1}, nil },
		"WriteValue": func([]byte, map[string]dbus.Variant) *dbus.Error { return nil },
	})
	if reply, err := conn.RequestName(service, dbus.NameFlagDoNotQueue); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	return d
}

func (d *daemon) denied() *dbus.Error {
	if d.denies == "" {
		return nil
	}
	return dbus.NewError(d.denies, nil)
}

func (d *daemon) device() map[string]dbus.Variant {
	return map[string]dbus.Variant{
		"Address": dbus.MakeVariant("C6:00:00:00:00:01"), "Alias": dbus.MakeVariant("Strap"), "Paired": dbus.MakeVariant(d.paired),
		"RSSI": dbus.MakeVariant(int16(-60)), "UUIDs": dbus.MakeVariant([]string{"0000180d-0000-1000-8000-00805f9b34fb"}),
	}
}

func (d *daemon) objects() (objects, *dbus.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := objects{hci: {adapterKind: {"Powered": dbus.MakeVariant(d.denies == "")}}}
	if d.found {
		all[sensor] = map[string]map[string]dbus.Variant{deviceKind: d.device()}
	}
	if d.connected {
		all[sensor][batteryKind] = map[string]dbus.Variant{"Percentage": dbus.MakeVariant(byte(77))}
		all[rate] = map[string]map[string]dbus.Variant{valueKind: {
			"UUID": dbus.MakeVariant("00002a37-0000-1000-8000-00805f9b34fb"), "Flags": dbus.MakeVariant([]string{"notify", "read"}),
		}}
	}
	return all, nil
}

func (d *daemon) emit(path dbus.ObjectPath, name string, body ...any) {
	if err := d.conn.Emit(path, name, body...); err != nil && !errors.Is(err, dbus.ErrClosed) {
		d.t.Error(err)
	}
}

func (d *daemon) changed(path dbus.ObjectPath, kind string, props map[string]any) {
	all := map[string]dbus.Variant{}
	for k, v := range props {
		all[k] = dbus.MakeVariant(v)
	}
	d.emit(path, propertiesKind+".PropertiesChanged", kind, all, []string{})
}

func (d *daemon) discover() *dbus.Error {
	if err := d.denied(); err != nil {
		return err
	}
	d.mu.Lock()
	d.found = true
	props := d.device()
	d.mu.Unlock()
	d.emit("/", objectsKind+".InterfacesAdded", sensor, map[string]map[string]dbus.Variant{deviceKind: props})
	return nil
}

func (d *daemon) connect() *dbus.Error {
	d.mu.Lock()
	d.connected = true
	d.mu.Unlock()
	d.changed(sensor, deviceKind, map[string]any{"Connected": true})
	d.changed(sensor, deviceKind, map[string]any{"ServicesResolved": true})
	return nil
}

func (d *daemon) disconnect() *dbus.Error {
	d.mu.Lock()
	d.connected, d.notifying = false, false
	d.mu.Unlock()
	d.changed(sensor, deviceKind, map[string]any{"Connected": false})
	return nil
}

func (d *daemon) get(kind, name string) (dbus.Variant, *dbus.Error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if kind == batteryKind {
		return dbus.MakeVariant(byte(77)), nil
	}
	return dbus.MakeVariant(d.connected && name == "Connected"), nil // services resolve by signal
}

func (d *daemon) pair() *dbus.Error {
	d.mu.Lock()
	agent, of, want := d.agent, d.agentOf, d.passkey
	d.mu.Unlock()
	var got uint32
	if want != 0 {
		if err := d.conn.Object(of, agent).Call(agentKind+".RequestPasskey", 0, sensor).Store(&got); err != nil || got != want {
			return dbus.NewError("org.bluez.Error.AuthenticationFailed", nil)
		}
		// Another device asks at the same time, and gets nothing.
		if err := d.conn.Object(of, agent).Call(agentKind+".RequestPasskey", 0, hci+"/dev_00").Err; err == nil {
			d.t.Error("the agent answers for a sensor that nobody pairs")
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.paired = true
	return nil
}

func open(t *testing.T, address string) *Radio {
	t.Helper()
	r, err := Open(t.Context(), address, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func timed(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

const strap = "c6:00:00:00:00:01"

func connected(t *testing.T, r *Radio) radio.Link {
	t.Helper()
	l, err := r.Connect(timed(t), strap)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestASensorIsFoundConnectedReadAndSubscribedTo(t *testing.T) {
	address := bus(t)
	d := newDaemon(t, address)
	r := open(t, address)
	l := connected(t, r)
	all, err := l.Characteristics(timed(t))
	if err != nil || len(all) != 2 || all[0].UUID != wearable.UUIDBattery || all[1].UUID != wearable.UUIDHeartRate || !all[1].Sends || all[1].Indicates {
		t.Fatalf("characteristics %+v, %v", all, err)
	}
	if b, err := l.Read(timed(t), all[0]); err != nil || len(b) != 1 || b[0] != 77 {
		t.Errorf("battery % x, %v", b, err)
	}
	got := make(chan byte, 500)
	err = l.Subscribe(timed(t), all[1], func(v []byte) error {
		got <- v[1]
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 { // in order, also equal ones, and none lost
		d.changed(rate, valueKind, map[string]any{"Value": []byte{0, byte(i / 2)}})
	}
	for i := range 500 {
		select {
		case v := <-got:
			if v != byte(i/2) {
				t.Fatalf("value %d is %d", i, v)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of 500 values came", i)
		}
	}
	if err := l.Write(timed(t), all[1], []byte{1}); err != nil {
		t.Error(err)
	}
}

func TestTheEndOfAConnectionIsNoticed(t *testing.T) {
	for name, end := range map[string]func(*daemon){
		"the sensor disconnects": func(d *daemon) { d.disconnect() },
		"bluetoothd ends":        func(d *daemon) { d.conn.Close() },
	} {
		address := bus(t)
		d := newDaemon(t, address)
		l := connected(t, open(t, address))
		end(d)
		select {
		case <-l.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not noticed", name)
		}
		if l.Err() == nil {
			t.Errorf("%s: no reason", name)
		}
	}
}

func TestPairingAsksThePersonForTheNumberThatTheSensorShows(t *testing.T) {
	address := bus(t)
	d := newDaemon(t, address)
	d.passkey = 123_456
	r := open(t, address)
	l := connected(t, r)
	all, err := l.Characteristics(timed(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Subscribe(timed(t), all[1], func([]byte) error { return nil }); !errors.Is(err, radio.ErrPairing) {
		t.Errorf("subscribed without a bond: %v", err)
	}
	wrong := func(context.Context) (uint32, error) { return 1, nil }
	if err := r.Pair(timed(t), strap, wrong); !errors.Is(err, radio.ErrPairing) {
		t.Errorf("paired by a wrong number: %v", err)
	}
	nobody := func(context.Context) (uint32, error) { return 0, errors.New("nobody is there") }
	if err := r.Pair(timed(t), strap, nobody); err == nil || d.paired {
		t.Error("paired by nobody")
	}
	right := func(context.Context) (uint32, error) { return 123_456, nil }
	if err := r.Pair(timed(t), strap, right); err != nil || !d.paired || !d.trusted {
		t.Errorf("paired %v, trusted %v, %v", d.paired, d.trusted, err)
	}
	if err := l.Subscribe(timed(t), all[1], func([]byte) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestAScanNamesSensorsOfHealth(t *testing.T) {
	address := bus(t)
	newDaemon(t, address)
	r := open(t, address)
	ctx, cancel := context.WithCancel(timed(t))
	var s radio.Sensor
	err := r.Scan(ctx, func(x radio.Sensor) {
		s = x
		cancel()
	})
	if want := (radio.Sensor{Address: "C6:00:00:00:00:01", Name: "Strap", Signal: -60, Health: true}); err != nil || s != want {
		t.Errorf("found %+v, %v", s, err)
	}
}

func TestWhatIsMissingIsSaidInWordsThatHelp(t *testing.T) {
	if _, err := Open(t.Context(), "unix:path="+filepath.Join(t.TempDir(), "none"), ""); !errors.Is(err, radio.ErrNoRadio) || !strings.Contains(err.Error(), "D-Bus has to run") {
		t.Errorf("without a bus: %v", err)
	}
	address := bus(t)
	if _, err := Open(t.Context(), address, ""); !errors.Is(err, radio.ErrNoRadio) || !strings.Contains(err.Error(), "systemctl start bluetooth") {
		t.Errorf("without bluetoothd: %v", err)
	}
	d := newDaemon(t, address)
	if _, err := Open(t.Context(), address, "hci7"); !errors.Is(err, radio.ErrNoRadio) || !strings.Contains(err.Error(), "hci7") {
		t.Errorf("without the adapter: %v", err)
	}
	d.denies = "org.freedesktop.DBus.Error.AccessDenied"
	if _, err := Open(t.Context(), address, ""); !errors.Is(err, radio.ErrPrivilege) || !strings.Contains(err.Error(), `group "bluetooth"`) {
		t.Errorf("without privilege: %v", err)
	}
}

func TestAttackAValueLongerThanTheProtocolAllows(t *testing.T) {
	address := bus(t)
	d := newDaemon(t, address)
	l := connected(t, open(t, address))
	all, err := l.Characteristics(timed(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Subscribe(timed(t), all[1], func([]byte) error { return fmt.Errorf("taken") }); err != nil {
		t.Fatal(err)
	}
	d.changed(rate, valueKind, map[string]any{"Value": make([]byte, maxValue+1)})
	<-l.Done()
	if !errors.Is(l.Err(), radio.ErrSensor) {
		t.Errorf("ended by %v", l.Err())
	}
}
