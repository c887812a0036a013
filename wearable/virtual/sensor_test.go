package virtual

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/gatt"
	"github.com/vitalveil/vitalveil/wearable"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a plain GATT client of go-ble that subscribes to everything which
// the package wearable can decode.
type client struct {
	conn   *Central
	client *gatt.Client
}

// connect serves the sensor and subscribes; handle gets every value.
func connect(t testing.TB, s *Sensor, handle func(uuid wearable.UUID, payload []byte)) *client {
	t.Helper()
	central, peripheral := NewLink()
	served := make(chan error, 1)
	go func() { served <- s.Serve(peripheral) }()
	t.Cleanup(func() {
		if err := errors.Join(central.Close(), <-served); err != nil {
			t.Errorf("serve %s: %v", s.Name(), err)
		}
	})
	c, err := gatt.NewClient(central)
	if err != nil {
		t.Fatal(err)
	}
	profile, err := c.DiscoverProfile(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range profile.Services {
		for _, ch := range service.Characteristics {
			uuid := wearable.UUIDFromBytes(ch.UUID)
			if !wearable.Decodes(uuid) || ch.Property&(ble.CharIndicate|ble.CharNotify) == 0 {
				continue
			}
			indicate := ch.Property&ble.CharIndicate != 0
			err := c.Subscribe(ch, indicate, func(payload []byte) {
				handle(uuid, payload)
				central.Taken()
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return &client{central, c}
}

func dec(s string) wearable.Decimal {
	d, err := wearable.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

func reading(metric, value string) wearable.Reading {
	return wearable.Reading{Metric: metric, Value: dec(value)}
}

func TestEachKindDeliversItsReadings(t *testing.T) {
	kinds := []struct {
		sensor   *Sensor
		readings []wearable.Reading
	}{
		{NewHeartRateStrap("strap"), []wearable.Reading{reading("heart_rate", "71")}},
		{NewHeartRateStrap("strap"), []wearable.Reading{reading("heart_rate", "300")}},
		{NewPulseOximeter("oximeter"), []wearable.Reading{reading("spo2", "97.5"), reading("pulse_rate", "72")}},
		{NewPulseOximeter("oximeter"), []wearable.Reading{reading("pulse_rate", "72")}},
		{NewThermometer("thermometer"), []wearable.Reading{reading("body_temp", "-17.8")}},
		{NewBloodPressureCuff("cuff"), []wearable.Reading{reading("bp_systolic", "121"), reading("bp_diastolic", "79")}},
		{NewBloodPressureCuff("cuff"), []wearable.Reading{reading("bp_diastolic", "79")}},
	}
	for _, k := range kinds {
		t.Run(k.sensor.Name(), func(t *testing.T) {
			var got []wearable.Reading
			connect(t, k.sensor, func(uuid wearable.UUID, payload []byte) {
				n, err := wearable.Decode(uuid, payload)
				if err != nil {
					t.Error(err)
				}
				got = append(got, n.Readings...)
			})
			if err := k.sensor.Emit(t.Context(), k.readings...); err != nil {
				t.Fatal(err)
			}
			// Emit has returned, so the handler has: no lock is needed.
			if fmt.Sprint(got) != fmt.Sprint(k.readings) {
				t.Fatalf("sent %v, got %v", k.readings, got)
			}
		})
	}
}

func TestAClientSeesNameServiceAndConstants(t *testing.T) {
	s := NewPulseOximeter("Oxy 12")
	c := connect(t, s, func(wearable.UUID, []byte) {})
	profile := c.client.Profile()
	for uuid, want := range map[uint16]string{0x2A00: "Oxy 12", 0x2A01: "\x41\x0c", 0x2A60: "\x00\x00"} {
		ch := profile.FindCharacteristic(ble.NewCharacteristic(ble.UUID16(uuid)))
		if ch == nil {
			t.Fatalf("characteristic %04x is missing", uuid)
		}
		value, err := c.client.ReadCharacteristic(ch)
		if err != nil || string(value) != want {
			t.Fatalf("characteristic %04x is %q, %v; want %q", uuid, value, err, want)
		}
	}
}

func TestAThermometerAlsoNotifiesIntermediateValues(t *testing.T) {
	s := NewThermometer("thermometer")
	var uuids []wearable.UUID
	connect(t, s, func(uuid wearable.UUID, _ []byte) { uuids = append(uuids, uuid) })
	payload, err := wearable.EncodeReadings(wearable.UUIDIntermediateTemperature, reading("body_temp", "36.9"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EmitPayload(t.Context(), wearable.UUIDIntermediateTemperature, payload); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit(t.Context(), reading("body_temp", "36.9")); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(uuids) != fmt.Sprint([]wearable.UUID{wearable.UUIDIntermediateTemperature, wearable.UUIDTemperature}) {
		t.Fatalf("got %v", uuids)
	}
}

func TestNothingIsLostToASlowClient(t *testing.T) {
	for _, s := range []*Sensor{NewHeartRateStrap("notified"), NewBloodPressureCuff("indicated")} {
		t.Run(s.Name(), func(t *testing.T) {
			got := 0
			connect(t, s, func(uuid wearable.UUID, payload []byte) {
				if payload[1] != byte(got) {
					t.Errorf("value %d arrives as number %d", payload[1], got)
				}
				got++
				if got%8 == 0 {
					time.Sleep(2 * time.Millisecond)
				}
			})
			const many = 200
			for i := range many {
				metric := s.Metrics()[0]
				if err := s.Emit(t.Context(), wearable.Reading{Metric: metric, Value: wearable.Int(int64(i))}); err != nil {
					t.Fatal(err)
				}
			}
			if got != many {
				t.Fatalf("%d of %d values arrived", got, many)
			}
		})
	}
}

func TestConcurrentEmittersTakeTurns(t *testing.T) {
	s := NewHeartRateStrap("strap")
	seen := map[byte]int{}
	connect(t, s, func(_ wearable.UUID, payload []byte) { seen[payload[1]]++ })
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for range 50 {
				if err := s.Emit(t.Context(), wearable.Reading{Metric: "heart_rate", Value: wearable.Int(int64(worker))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for worker := range byte(8) {
		if seen[worker] != 50 {
			t.Errorf("worker %d: %d of 50 arrived", worker, seen[worker])
		}
	}
}

func TestEmitWaitsForASubscriber(t *testing.T) {
	s := NewHeartRateStrap("strap")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Emit(ctx, reading("heart_rate", "60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("without a client: %v", err)
	}
	emitted := make(chan error, 1)
	go func() { emitted <- s.Emit(t.Context(), reading("heart_rate", "61")) }()
	var got atomic.Int32
	connect(t, s, func(_ wearable.UUID, payload []byte) { got.Store(int32(payload[1])) })
	if err := <-emitted; err != nil || got.Load() != 61 {
		t.Fatalf("got %d, %v", got.Load(), err)
	}
}

func TestEmitFailsWhenTheLinkIsLostAndWorksOnTheNext(t *testing.T) {
	s := NewBloodPressureCuff("cuff")
	arrived := make(chan struct{})
	hold := make(chan struct{})
	c := connect(t, s, func(wearable.UUID, []byte) { close(arrived); <-hold })
	emitted := make(chan error, 1)
	go func() { emitted <- s.Emit(t.Context(), reading("bp_systolic", "120")) }()
	<-arrived
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-emitted; !errors.Is(err, ErrLinkLost) {
		t.Fatalf("after the link was lost: %v", err)
	}
	close(hold)
	reconnected := false
	for !reconnected { // until the first Serve has noticed
		s.mu.Lock()
		reconnected = s.session == nil
		s.mu.Unlock()
		runtime.Gosched()
	}
	got := 0
	connect(t, s, func(wearable.UUID, []byte) { got++ })
	if err := s.Emit(t.Context(), reading("bp_systolic", "121")); err != nil || got != 1 {
		t.Fatalf("on the next link: %d values, %v", got, err)
	}
}

func TestAnImpatientCallerLosesNothing(t *testing.T) {
	s := NewHeartRateStrap("strap")
	hold := make(chan struct{})
	var got []byte
	connect(t, s, func(_ wearable.UUID, payload []byte) {
		if len(got) == 0 {
			<-hold
		}
		got = append(got, payload[1])
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Emit(ctx, reading("heart_rate", "60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("while the client is busy: %v", err)
	}
	close(hold)
	if err := s.Emit(t.Context(), reading("heart_rate", "61")); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[60 61]" {
		t.Fatalf("got %v", got)
	}
}

func TestASensorRefusesWhatItCannotSend(t *testing.T) {
	s := NewHeartRateStrap("strap")
	if err := s.Emit(t.Context(), reading("heart_rate", "60.5")); !errors.Is(err, wearable.ErrInexact) {
		t.Errorf("half a beat: %v", err)
	}
	if err := s.Emit(t.Context(), reading("spo2", "97")); err == nil {
		t.Error("a strap sent oxygen saturation")
	}
	if err := s.EmitPayload(t.Context(), wearable.UUIDGlucose, []byte{0}); !errors.Is(err, ErrForeign) {
		t.Errorf("a strap sent glucose: %v", err)
	}
	connect(t, s, func(wearable.UUID, []byte) {})
	if err := s.EmitPayload(t.Context(), wearable.UUIDHeartRate, make([]byte, 21)); err == nil {
		t.Error("a value longer than a packet was sent")
	}
	if s.CanCarry("heart_rate", dec("60.5")) || s.CanCarry("spo2", dec("97")) || !s.CanCarry("heart_rate", dec("60")) {
		t.Error("CanCarry disagrees with Emit")
	}
}

func TestASensorServesOneClientAtATime(t *testing.T) {
	s := NewHeartRateStrap("strap")
	connect(t, s, func(wearable.UUID, []byte) {})
	central, peripheral := NewLink()
	defer central.Close()
	if err := s.Serve(peripheral); err == nil {
		t.Fatal("a second client was served")
	}
}

// A whole ward: what 500 patients with three sensors each cost. The number is
// for the record; the test fails only where values are lost.
func TestAWardOfSensors(t *testing.T) {
	sensors := 150
	if n, err := strconv.Atoi(os.Getenv("VITALVEIL_SENSORS")); err == nil {
		sensors = n
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	var got atomic.Int64
	ward := make([]*Sensor, sensors)
	start := time.Now()
	for i := range ward {
		ward[i] = NewHeartRateStrap(fmt.Sprintf("strap %d", i))
		connect(t, ward[i], func(wearable.UUID, []byte) { got.Add(1) })
	}
	connected := time.Since(start)
	runtime.GC()
	runtime.ReadMemStats(&after)
	perSensor := (after.HeapInuse + after.StackInuse - before.HeapInuse - before.StackInuse) / uint64(sensors)
	each := float64(runtime.NumGoroutine()-goroutines) / float64(sensors)
	const values = 40
	start = time.Now()
	var wg sync.WaitGroup
	for _, s := range ward {
		wg.Go(func() {
			for range values {
				if err := s.Emit(t.Context(), reading("heart_rate", "60")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	if got.Load() != int64(sensors*values) {
		t.Fatalf("%d of %d values arrived", got.Load(), sensors*values)
	}
	t.Logf("%d sensors: connected in %v, %.1f goroutines and %d bytes each, %.0f values/s",
		sensors, connected, each, perSensor, float64(got.Load())/took.Seconds())
}

func BenchmarkEmit(b *testing.B) {
	for _, s := range []*Sensor{NewHeartRateStrap("notified"), NewThermometer("indicated")} {
		b.Run(s.Name(), func(b *testing.B) {
			connect(b, s, func(wearable.UUID, []byte) {})
			r := wearable.Reading{Metric: s.Metrics()[0], Value: wearable.Int(60)}
			for b.Loop() {
				if err := s.Emit(context.Background(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
