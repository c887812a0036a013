package virtual

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/gatt"

	"github.com/vitalveil/vitalveil/wearable"
)

// collector gathers what a meter sends, until the answer of its control point.
type collector struct {
	t       testing.TB
	values  []wearable.Notification
	answers chan wearable.Notification
}

func newCollector(t testing.TB) *collector {
	return &collector{t: t, answers: make(chan wearable.Notification, 4)}
}

func (c *collector) take(uuid wearable.UUID, payload []byte) {
	n, err := wearable.Decode(uuid, payload)
	if err != nil {
		c.t.Error(err)
		return
	}
	if uuid == wearable.UUIDRecordAccess {
		c.answers <- n
		return
	}
	c.values = append(c.values, n)
}

// ask writes a request and waits for its answer.
func (c *client) ask(t testing.TB, request []byte, answers <-chan wearable.Notification) (bool, string) {
	t.Helper()
	if err := c.client.WriteCharacteristic(c.point(t), request, false); err != nil {
		t.Fatal(err)
	}
	select {
	case answer := <-answers:
		return wearable.RecordsDone(&answer, request[0])
	case <-time.After(time.Minute):
		t.Fatal("no answer for a minute")
		return false, ""
	}
}

func (c *client) point(t testing.TB) *ble.Characteristic {
	t.Helper()
	point := c.client.Profile().FindCharacteristic(ble.NewCharacteristic(attribute(wearable.UUIDRecordAccess)))
	if point == nil {
		t.Fatal("no control point")
	}
	return point
}

// meter is a glucose meter with records 1 to n, an hour apart.
func meter(t testing.TB, n int) *Sensor {
	t.Helper()
	s := New(GlucoseMeter, "meter")
	for i := 1; i <= n; i++ {
		r, err := Glucose(uint16(i), wearable.Timestamp{Year: 2024, Month: 3, Day: 4, Hour: 8}, int16(60*i), int64(100+i))
		if err != nil {
			t.Fatal(err)
		}
		s.Remember(r)
	}
	return s
}

func sequences(values []wearable.Notification) []uint32 {
	all := []uint32{}
	for _, n := range values {
		all = append(all, n.Record.Sequence)
	}
	return all
}

func TestAMeterGivesItsRecordsOnRequest(t *testing.T) {
	got := newCollector(t)
	c := connect(t, meter(t, 3), got.take)
	if done, failure := c.ask(t, wearable.ReportAll(), got.answers); !done || failure != "" {
		t.Fatalf("done %v, %q", done, failure)
	}
	if len(got.values) != 3 {
		t.Fatalf("%d records came", len(got.values))
	}
	for i, n := range got.values {
		at, _ := n.Record.Local()
		if want := fmt.Sprintf("2024-03-04T%02d:00", 9+i); at.Format("2006-01-02T15:04") != want || !n.Record.Stored {
			t.Errorf("record %d is of %v, want %s", i+1, at, want)
		}
		if want := fmt.Sprintf("[{glucose %d}]", 101+i); fmt.Sprint(n.Readings) != want {
			t.Errorf("record %d says %v, want %s", i+1, n.Readings, want)
		}
	}
}

func TestAControlPointDoesWhatItIsAsked(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		records string
		done    bool
		failure string
		left    int
	}{
		"from the third": {"0103010300", "[3 4 5]", true, "", 5}, "up to the second": {"0102010200", "[1 2]", true, "", 5},
		"within": {"010401 0200 0400", "[2 3 4]", true, "", 5}, "the first": {"0105", "[1]", true, "", 5}, "the last": {"0106", "[5]", true, "", 5},
		"none there": {"0103010900", "[]", true, "", 5}, "count": {"0401", "[]", true, "", 5},
		"delete": {"0202010200", "[]", true, "", 3}, "delete all": {"0201", "[]", true, "", 0},
		"no operator": {"0100", "[]", true, "invalid operator", 5}, "unknown operator": {"0109", "[]", true, "operator not supported", 5},
		"operand missing": {"010301", "[]", true, "invalid operand", 5}, "unknown opcode": {"0901", "[]", true, "opcode not supported", 5},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := wearable.ParsePayload(c.request)
			if err != nil {
				t.Fatal(err)
			}
			s, got := meter(t, 5), newCollector(t)
			done, failure := connect(t, s, got.take).ask(t, request, got.answers)
			if done != c.done || failure != c.failure || fmt.Sprint(sequences(got.values)) != c.records || len(s.Memory()) != c.left {
				t.Fatalf("done %v, %q, records %v, %d left", done, failure, sequences(got.values), len(s.Memory()))
			}
		})
	}
}

func TestAControlPointWantsAListener(t *testing.T) {
	s := meter(t, 1)
	central, peripheral := NewLink()
	served := make(chan error, 1)
	go func() { served <- s.Serve(peripheral) }()
	defer func() { _ = errors.Join(central.Close(), <-served) }()
	g, err := gatt.NewClient(central)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.DiscoverProfile(true); err != nil {
		t.Fatal(err)
	}
	c := &client{central, g}
	if err := g.WriteCharacteristic(c.point(t), wearable.ReportAll(), false); !errors.Is(err, errNotConfigured) {
		t.Fatal(err)
	}
}

func TestAReportCanBeAborted(t *testing.T) {
	const many = 5000
	s, got := meter(t, many), newCollector(t)
	started := make(chan struct{})
	c := connect(t, s, func(uuid wearable.UUID, payload []byte) {
		got.take(uuid, payload)
		if len(got.values) == 3 && uuid == wearable.UUIDGlucose {
			close(started)
		}
	})
	point := c.point(t)
	if err := c.client.WriteCharacteristic(point, wearable.ReportAll(), false); err != nil {
		t.Fatal(err)
	}
	<-started
	if err := c.client.WriteCharacteristic(point, wearable.ReportFrom(1), false); !errors.Is(err, errInProgress) {
		t.Errorf("a second request: %v", err)
	}
	if err := c.client.WriteCharacteristic(point, wearable.AbortRecords(), false); err != nil {
		t.Fatal(err)
	}
	answer := <-got.answers
	done, failure := wearable.RecordsDone(&answer, wearable.AbortRecords()[0])
	if !done || failure != "" || len(got.values) >= many {
		t.Fatalf("done %v, %q after %d records", done, failure, len(got.values))
	}
}

// Wherever a link breaks, the next one gives what is missing: with the sequence
// numbers that have come already, no record is lost and none counts twice.
func TestRecordsSurviveADisconnectAtAnyPacket(t *testing.T) {
	s := meter(t, 4)
	for n, whole := 1, false; !whole; n++ {
		if n > 400 {
			t.Fatal("no link lived long enough")
		}
		seen := map[uint32]int{}
		whole = report(t, s, n, seen)
		if !report(t, s, 0, seen) {
			t.Fatalf("the link after one that broke at packet %d failed", n)
		}
		for i := uint32(1); i <= 4; i++ {
			if seen[i] == 0 {
				t.Fatalf("a break at packet %d lost record %d", n, i)
			}
		}
	}
}

// report connects, asks for all records that have not come, and tells whether the
// link lived to the answer.
func report(t *testing.T, s *Sensor, breakAt int, seen map[uint32]int) bool {
	central, peripheral := NewLink()
	central.BreakAt(breakAt)
	served := make(chan error, 1)
	go func() { served <- s.Serve(peripheral) }()
	defer func() { _ = errors.Join(central.Close(), <-served) }()
	g, err := gatt.NewClient(central)
	if err != nil {
		return false
	}
	profile, err := g.DiscoverProfile(true)
	if err != nil {
		return false
	}
	done := make(chan bool, 1)
	for _, service := range profile.Services {
		for _, ch := range service.Characteristics {
			uuid := wearable.UUIDFromBytes(ch.UUID)
			if ch.Property&(ble.CharNotify|ble.CharIndicate) == 0 {
				continue
			}
			err := g.Subscribe(ch, ch.Property&ble.CharIndicate != 0, func(payload []byte) {
				if n, err := wearable.Decode(uuid, payload); err == nil && uuid == wearable.UUIDGlucose {
					seen[n.Record.Sequence]++
				} else if err == nil && uuid == wearable.UUIDRecordAccess {
					ended, failure := wearable.RecordsDone(&n, 1)
					done <- ended && failure == ""
				}
				central.Taken()
			})
			if err != nil {
				return false
			}
		}
	}
	next := uint16(1)
	for seen[uint32(next)] > 0 {
		next++
	}
	if err := g.WriteCharacteristic((&client{central, g}).point(t), wearable.ReportFrom(next), false); err != nil {
		return false
	}
	select {
	case ok := <-done:
		return ok
	case <-central.Disconnected():
		return false
	}
}

func TestASensorMayDemandPairing(t *testing.T) {
	s := New(HeartRateStrap, "strap", WithPairing())
	central, peripheral := NewLink()
	served := make(chan error, 1)
	go func() { served <- s.Serve(peripheral) }()
	g, err := gatt.NewClient(central)
	if err != nil {
		t.Fatal(err)
	}
	profile, err := g.DiscoverProfile(true)
	if err != nil {
		t.Fatal(err)
	}
	ch := profile.FindCharacteristic(ble.NewCharacteristic(attribute(wearable.UUIDHeartRate)))
	if err := g.Subscribe(ch, false, func([]byte) {}); !errors.Is(err, ble.ErrAuthentication) {
		t.Fatalf("before pairing: %v", err)
	}
	if err := errors.Join(central.Close(), <-served); err != nil {
		t.Fatal(err)
	}
	s.Pair()
	got := 0
	connect(t, s, func(wearable.UUID, []byte) { got++ })
	if err := s.Emit(t.Context(), reading("heart_rate", "60")); err != nil || got != 1 {
		t.Fatalf("%d values, %v", got, err)
	}
}

func TestPrivateAddressesResolveToTheirIdentity(t *testing.T) {
	// The sample data of the specification (volume 3, part H, appendix D.7).
	key, _ := hex.DecodeString("ec0234a357c8ad05341010a60a397d9b")
	me := Identity{[16]byte(key)}
	if got := me.hash([3]byte{0x70, 0x81, 0x94}); got != [3]byte{0x0d, 0xfb, 0xaa} {
		t.Errorf("hash %x", got)
	}
	one, two := me.Address(), me.Address()
	if one.String() == two.String() || !me.Resolves(one) || !me.Resolves(two) {
		t.Errorf("addresses %v and %v", one, two)
	}
	if (Identity{}).Resolves(one) || me.Resolves(net.HardwareAddr{0xC6, 0, 0, 0, 0, 1}) {
		t.Error("another's address resolves")
	}
	central, _ := NewLinkTo(one)
	if central.RemoteAddr().String() != one.String() {
		t.Errorf("the link is to %v", central.RemoteAddr())
	}
}

func TestASensorsClockMayBeWrong(t *testing.T) {
	years := func() time.Time { return time.Date(2019, 1, 1, 0, 5, 0, 0, time.UTC) }
	s := New(BloodPressureCuff, "cuff", WithClock(years), WithDevice(55, "Acme", "M3"))
	var got wearable.Notification
	c := connect(t, s, func(uuid wearable.UUID, payload []byte) { got, _ = wearable.Decode(uuid, payload) })
	for uuid, want := range map[wearable.UUID]string{
		wearable.UUIDCurrentTime: "2019-01-01T00:05:00", wearable.UUIDBattery: "55", wearable.UUIDManufacturer: "Acme", wearable.UUIDModel: "M3",
	} {
		raw, err := c.client.ReadCharacteristic(c.client.Profile().FindCharacteristic(ble.NewCharacteristic(attribute(uuid))))
		n, decoding := wearable.Decode(uuid, raw)
		if err != nil || decoding != nil || fmt.Sprint(n.Fields[0].Value) != want {
			t.Errorf("%s is %v, %v, %v; want %s", uuid, n.Fields, err, decoding, want)
		}
	}
	payload, err := Pressure(121, 79, s.Stamp(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EmitPayload(t.Context(), wearable.UUIDBloodPressure, payload); err != nil {
		t.Fatal(err)
	}
	if at, ok := got.Record.Local(); !ok || !at.Equal(years()) || got.Record.User != 2 || !got.Record.UserKnown {
		t.Errorf("%+v", got.Record)
	}
}

// Each kind sends each of its characteristics, whole, cut and of any length that the
// client takes.
func TestEveryKindSendsWhatItHas(t *testing.T) {
	for name, k := range map[string]Kind{
		"strap": HeartRateStrap, "oximeter": PulseOximeter, "spot": SpotOximeter, "thermometer": Thermometer, "cuff": BloodPressureCuff,
		"meter": GlucoseMeter, "monitor": GlucoseMonitor, "scale": WeightScale, "body": BodyScale, "generic": GenericSensor, "ring": HaldenRing,
	} {
		t.Run(name, func(t *testing.T) {
			s := New(k, name)
			var got []string
			c := connect(t, s, func(uuid wearable.UUID, payload []byte) { got = append(got, fmt.Sprintf("%s %x", uuid, payload)) })
			if _, err := c.client.ExchangeMTU(sensorMTU); err != nil {
				t.Fatal(err)
			}
			var want []string
			for _, v := range k.values {
				if !wearable.Decodes(v.uuid) {
					t.Errorf("%s has no decoder", v.uuid)
				}
				for _, payload := range [][]byte{{0}, make([]byte, 30), make([]byte, sensorMTU-3)} {
					if err := s.EmitPayload(t.Context(), v.uuid, payload); err != nil {
						t.Fatal(err)
					}
					want = append(want, fmt.Sprintf("%s %x", v.uuid, payload))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %.200q, want %.200q", got, want)
			}
		})
	}
}
