package bridge

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-ble/ble"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// connect opens a session over a connection that carries the attribute protocol.
func connect(ctx context.Context, d *Device, conn ble.Conn, name string) (*Session, error) {
	link, err := radio.OverATT(ctx, conn)
	if err != nil {
		return nil, err
	}
	return d.Connect(ctx, link, name)
}

// wear connects a sensor to a device over a link in memory.
func wear(t testing.TB, d *Device, s *virtual.Sensor, name string) *Session {
	t.Helper()
	central, peripheral := virtual.NewLink()
	var served sync.WaitGroup
	served.Go(func() {
		if err := s.Serve(peripheral); err != nil {
			t.Error(err)
		}
	})
	session, err := connect(t.Context(), d, central, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
		served.Wait()
	})
	return session
}

func emit(t testing.TB, s *virtual.Sensor, metric, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Emit(ctx, wearable.Reading{Metric: metric, Value: decimal(t, value)}); err != nil {
		t.Fatal(err)
	}
}

func TestSensorsOverGATTFillTheGrid(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate", "pulse_rate", "spo2", "body_temp", "bp_systolic", "bp_diastolic")
	strap, oximeter := virtual.NewHeartRateStrap("strap"), virtual.NewPulseOximeter("oximeter")
	thermometer, cuff := virtual.NewThermometer("thermometer"), virtual.NewBloodPressureCuff("cuff")
	for _, s := range []*virtual.Sensor{strap, oximeter, thermometer, cuff} {
		wear(t, d, s, s.Name())
	}
	for i, rate := range []string{"60", "61", "63", "66"} { // two minutes: 60.5 and 64.5
		w.at(epochStart + int64(i)*30)
		emit(t, strap, "heart_rate", rate)
	}
	ctx := t.Context()
	for _, err := range []error{
		oximeter.Emit(ctx, wearable.Reading{Metric: "spo2", Value: decimal(t, "97.5")}, wearable.Reading{Metric: "pulse_rate", Value: decimal(t, "64")}),
		thermometer.Emit(ctx, wearable.Reading{Metric: "body_temp", Value: decimal(t, "36.65")}),
		cuff.Emit(ctx, wearable.Reading{Metric: "bp_systolic", Value: decimal(t, "121")}, wearable.Reading{Metric: "bp_diastolic", Value: decimal(t, "79")}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.at(epochStart + 86400)
	if err := d.Advance(ctx, epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, epochDay)
	want := map[string]map[int]int64{
		"heart_rate": {0: 61, 1: 65}, "spo2": {1: 975}, "pulse_rate": {1: 64}, "body_temp": {1: 367},
		"bp_systolic": {1: 121}, "bp_diastolic": {1: 79},
	}
	for key, minutes := range want {
		m, _ := wearable.ByKey(key)
		for minute := range 3 {
			code, units := day.Codes(m.Slot)[minute], minutes[minute]
			if units == 0 && code != 0 || units != 0 && m.Units(code) != units {
				t.Errorf("%s minute %d: code %d, want the code of %d", key, minute, code, units)
			}
		}
	}
	if c := d.Counts(); c != (Counts{Gridded: 9}) {
		t.Errorf("counts %+v", c)
	}
}

func TestEveryNotificationOfABurstIsTaken(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	strap := virtual.NewHeartRateStrap("strap")
	wear(t, d, strap, "strap")
	const n = 500 // go-ble's own queue holds 16
	for range n {
		emit(t, strap, "heart_rate", "60")
	}
	if c := d.Counts(); c.Gridded != n {
		t.Errorf("%d of %d were gridded", c.Gridded, n)
	}
}

func TestTheSensorThatThePatientPrefersCountsInEveryMinute(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "heart_rate")
	first, second := virtual.NewHeartRateStrap("first"), virtual.NewHeartRateStrap("second")
	wear(t, d, first, "first")
	wear(t, d, second, "second")
	emit(t, first, "heart_rate", "60")
	emit(t, second, "heart_rate", "100")
	if c := d.Counts(); c.Gridded != 1 || c.NotDesignated != 1 || d.Sensors().Sources("heart_rate")[0].Name != "first" {
		t.Errorf("counts %+v, sources %v", c, d.Sensors().Sources("heart_rate"))
	}
	if err := d.Sensors().Prefer("heart_rate", "second"); err != nil {
		t.Fatal(err)
	}
	emit(t, second, "heart_rate", "100") // takes the place of the first
	emit(t, first, "heart_rate", "60")
	if c := d.Counts(); c.Gridded != 2 || c.NotDesignated != 3 {
		t.Errorf("counts %+v", c)
	}
	again, _ := w.hub(crashed(t, dir)).Device(d.ID())
	if s := again.Sensors().Sources("heart_rate"); len(s) != 2 || s[0].Name != "second" || s[1].Name != "first" || s[0].Last != epochStart/60 {
		t.Errorf("sources %v after a crash", s)
	}
	w.at(epochStart + 86400)
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, d, epochDay)
	if got := day.Codes(0)[0]; got != 100-20+1 {
		t.Errorf("the minute counts code %d", got)
	}
}

func TestUndecodableAndSpecialValuesAreCounted(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	strap, thermometer := virtual.NewHeartRateStrap("strap"), virtual.NewThermometer("thermometer")
	wear(t, d, strap, "strap")
	wear(t, d, thermometer, "thermometer")
	ctx := t.Context()
	for _, err := range []error{
		strap.EmitPayload(ctx, wearable.UUIDHeartRate, []byte{0}),                               // cut off
		strap.EmitPayload(ctx, wearable.UUIDHeartRate, []byte{0, 10}),                           // 10 a minute
		thermometer.EmitPayload(ctx, wearable.UUIDTemperature, []byte{0, 0xff, 0xff, 0x7f, 0}),  // NaN
		thermometer.Emit(ctx, wearable.Reading{Metric: "body_temp", Value: decimal(t, "36.6")}), // not enrolled for
	} {
		if err != nil {
			t.Error(err)
		}
	}
	// A thermometer's readings count when they have settled.
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	err := thermometer.EmitPayload(short, wearable.UUIDIntermediateTemperature, []byte{0, 0x6f, 1, 0, 0xff})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("intermediate values are subscribed to: %v", err)
	}
	if c := d.Counts(); c != (Counts{Undecodable: 1, OutOfRange: 1, Special: 1, NotEnrolled: 1}) {
		t.Errorf("counts %+v", c)
	}
}

func TestIndicationIsConfirmedOnlyWhenDurable(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "body_temp")
	thermometer := virtual.NewThermometer("thermometer")
	wear(t, d, thermometer, "thermometer")
	emit(t, thermometer, "body_temp", "36.6")
	again, _ := w.hub(crashed(t, dir)).Device(d.ID())
	if err := again.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	day := dayOf(t, again, epochDay)
	if code := day.Codes(4)[0]; code != 366-300+1 {
		t.Errorf("code %d after a crash", code)
	}
}

func TestNotificationsOfAClosedMinuteSurviveACrash(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), "heart_rate")
	strap := virtual.NewHeartRateStrap("strap")
	wear(t, d, strap, "strap")
	emit(t, strap, "heart_rate", "60")
	w.at(epochStart + 60)
	emit(t, strap, "heart_rate", "90")                   // closes minute 0
	for deadline := time.Now().Add(5 * time.Second); ; { // the sync is in the background
		again, _ := w.hub(crashed(t, dir)).Device(d.ID())
		c := again.Counts()
		if c.Gridded == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d notifications survived, want that of the closed minute", c.Gridded)
		}
	}
}

func TestSessionEndsWithItsSensor(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	central, peripheral := virtual.NewLink()
	var served sync.WaitGroup
	served.Go(func() { _ = virtual.NewHeartRateStrap("strap").Serve(peripheral) })
	s, err := connect(t.Context(), d, central, "strap")
	if err != nil {
		t.Fatal(err)
	}
	peripheral.Close()
	select {
	case <-s.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("the session does not notice")
	}
	if err := s.Close(); err != nil || s.Err() == nil {
		t.Errorf("close %v, cause %v", err, s.Err())
	}
	served.Wait()
}

func TestConnectHonoursItsContext(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")
	central, _ := virtual.NewLink() // nobody answers
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := connect(ctx, d, central, "silent"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestSensorWithoutVitalsIsRefused(t *testing.T) {
	w := newWorld(t)
	d := w.enrolled(w.hub(filepath.Join(t.TempDir(), "hub")), "heart_rate")

	if _, err := d.Connect(t.Context(), bare{}, "lamp"); !errors.Is(err, ErrNoVitals) {
		t.Errorf("error %v", err)
	}
}

// bare is a link to something that has nothing.
type bare struct{ radio.Link }

func (bare) Characteristics(context.Context) ([]radio.Characteristic, error) { return nil, nil }
func (bare) Err() error                                                      { return nil }
func (bare) Close() error                                                    { return nil }
