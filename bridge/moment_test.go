package bridge

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/wearable"
)

// fed is a link whose values the test sends itself, as a radio would hand them over.
type fed struct {
	has     []radio.Characteristic
	values  map[wearable.UUID][]byte // that can be read
	refuses wearable.UUID            // to be subscribed to
	wrote   [][]byte

	once  sync.Once
	done  chan struct{}
	takes map[wearable.UUID]func([]byte) error
}

func newFed(uuids ...wearable.UUID) *fed {
	f := &fed{done: make(chan struct{}), values: map[wearable.UUID][]byte{}, takes: map[wearable.UUID]func([]byte) error{}}
	for _, u := range uuids {
		f.has = append(f.has, radio.Characteristic{
			UUID: u, Place: string(u), Sends: u != wearable.UUIDDateTime && u != wearable.UUIDBattery, Indicates: u == wearable.UUIDBloodPressure,
			Readable: u == wearable.UUIDDateTime || u == wearable.UUIDBattery, Writable: u == wearable.UUIDRecordAccess,
		})
	}
	return f
}

func (f *fed) Characteristics(context.Context) ([]radio.Characteristic, error) { return f.has, nil }

func (f *fed) Subscribe(_ context.Context, c radio.Characteristic, take func([]byte) error) error {
	if c.UUID == f.refuses {
		return radio.ErrPairing
	}
	f.takes[c.UUID] = take
	return nil
}

func (f *fed) Read(_ context.Context, c radio.Characteristic) ([]byte, error) {
	return f.values[c.UUID], nil
}

func (f *fed) Write(_ context.Context, _ radio.Characteristic, value []byte) error {
	f.wrote = append(f.wrote, value)
	return nil
}
func (f *fed) Done() <-chan struct{} { return f.done }
func (f *fed) Err() error            { return nil }
func (f *fed) Close() error          { f.once.Do(func() { close(f.done) }); return nil }

// stampBytes is a GATT date and time.
func stampBytes(t time.Time) []byte {
	y := t.Year()
	return []byte{byte(y), byte(y >> 8), byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second())}
}

// cuff is a blood pressure with the cuff's time, and a user's number where that is not
// negative.
func cuff(systolic byte, at time.Time, user int) []byte {
	p := append([]byte{0x02, systolic, 0, 80, 0, 90, 0}, stampBytes(at)...)
	if user >= 0 {
		p[0] |= 0x08
		p = append(p, byte(user))
	}
	return p
}

// cuffWorld is a device that has sealed nothing, a day and a half after its first hour.
func cuffWorld(t *testing.T, metrics ...string) (*world, *Device, string, time.Time) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	d := w.enrolled(w.hub(dir), metrics...)
	now := time.Unix(epochStart+36*3600, 0).UTC()
	w.at(now.Unix())
	return w, d, dir, now
}

func session(t *testing.T, d *Device, f *fed, name string) *Session {
	t.Helper()
	s, err := d.Connect(t.Context(), f, name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// codeAt is the code of a metric in the open minute at a time.
func codeAt(t *testing.T, d *Device, metric string, at time.Time) uint16 {
	t.Helper()
	m, _ := wearable.ByKey(metric)
	minute := at.Unix() / 60
	codes, _, err := d.grid.codes(hourOfMinute(minute), m.Slot)
	if err != nil {
		t.Fatal(err)
	}
	return codes[minute%60]
}

func send(t *testing.T, f *fed, uuid wearable.UUID, value []byte) {
	t.Helper()
	if err := f.takes[uuid](value); err != nil {
		t.Fatal(err)
	}
}

// A cuff sends its memory when it connects: every record goes to its own minute.
func TestStoredRecordsGoToTheirOwnMinute(t *testing.T) {
	for name, clock := range map[string]time.Duration{"a clock that is right": 0, "local time": 2 * time.Hour, "years behind": -7 * 365 * 24 * time.Hour} {
		for _, readable := range []bool{true, false} {
			_, d, _, now := cuffWorld(t, "bp_systolic")
			f := newFed(wearable.UUIDBloodPressure, wearable.UUIDDateTime)
			if readable {
				f.values[wearable.UUIDDateTime] = stampBytes(now.Add(clock))
			}
			s := session(t, d, f, "cuff")
			ages := []time.Duration{30 * time.Hour, 3 * time.Hour, 26 * time.Minute, 0}
			for i, age := range ages {
				send(t, f, wearable.UUIDBloodPressure, cuff(byte(110+i), now.Add(clock-age), -1))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for i, age := range ages {
				if got := codeAt(t, d, "bp_systolic", now.Add(-age)); got != uint16(110+i-30+1) {
					t.Errorf("%s, readable %v: the record of %s ago has code %d", name, readable, age, got)
				}
			}
			// It sends its memory again, a little later, and a new one.
			f = newFed(wearable.UUIDBloodPressure)
			s = session(t, d, f, "cuff")
			for i, age := range ages {
				send(t, f, wearable.UUIDBloodPressure, cuff(byte(110+i), now.Add(clock-age), -1))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if c := d.Counts(); c.Gridded != 4 || c.Repeated == 0 {
				t.Errorf("%s, readable %v: counts %+v", name, readable, c)
			}
		}
	}
}

// What was confirmed to a cuff is not lost while its time is not known.
func TestARecordThatWaitsForItsTimeSurvivesACrash(t *testing.T) {
	w, d, dir, now := cuffWorld(t, "bp_systolic")
	f := newFed(wearable.UUIDBloodPressure)
	session(t, d, f, "cuff")
	at := now.Add(-9 * time.Hour) // and its clock is an hour ahead
	send(t, f, wearable.UUIDBloodPressure, cuff(120, at.Add(time.Hour), -1))
	send(t, f, wearable.UUIDBloodPressure, cuff(130, now.Add(time.Hour), -1))
	again, _ := w.hub(crashed(t, dir)).Device(d.ID())
	w.at(now.Unix() + settleSeconds)
	if err := again.Advance(t.Context(), epochStart); err != nil { // nothing is over
		t.Fatal(err)
	}
	if a, b := codeAt(t, again, "bp_systolic", at), codeAt(t, again, "bp_systolic", now); a != 120-30+1 || b != 130-30+1 {
		t.Errorf("codes %d and %d", a, b)
	}
	if n := len(again.state.Held); n != 0 {
		t.Errorf("%d values wait", n)
	}
}

func TestTheClockOfASensorMayDrift(t *testing.T) {
	w, d, _, now := cuffWorld(t, "bp_systolic")
	for week := range 20 { // half a minute a week
		at := now.Add(time.Duration(week) * 7 * 24 * time.Hour)
		w.at(at.Unix())
		f := newFed(wearable.UUIDBloodPressure)
		s := session(t, d, f, "cuff")
		send(t, f, wearable.UUIDBloodPressure, cuff(120, at.Add(-time.Duration(week)*30*time.Second), -1))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if codeAt(t, d, "bp_systolic", at) != 120-30+1 {
			t.Fatalf("week %d is not in its minute", week)
		}
	}
}

func TestOnlyThePatientsUserNumberCounts(t *testing.T) {
	_, d, _, now := cuffWorld(t, "bp_systolic")
	f := newFed(wearable.UUIDBloodPressure, wearable.UUIDDateTime)
	f.values[wearable.UUIDDateTime] = stampBytes(now)
	session(t, d, f, "cuff")
	send(t, f, wearable.UUIDBloodPressure, cuff(120, now.Add(-10*time.Minute), 1))
	if c := d.Counts(); c.OtherUser == 0 || c.Gridded != 0 {
		t.Errorf("counts %+v before the patient has a number", c)
	}
	if err := d.Sensors().SetUser("cuff", 2); err != nil {
		t.Fatal(err)
	}
	send(t, f, wearable.UUIDBloodPressure, cuff(121, now.Add(-9*time.Minute), 1))
	send(t, f, wearable.UUIDBloodPressure, cuff(122, now.Add(-8*time.Minute), 2))
	send(t, f, wearable.UUIDBloodPressure, cuff(123, now.Add(-7*time.Minute), 255)) // unknown
	if c := d.Counts(); c.Gridded != 1 || codeAt(t, d, "bp_systolic", now.Add(-8*time.Minute)) != 122-30+1 {
		t.Errorf("counts %+v", c)
	}
}

// A meter has to be asked for what it measured.
func TestAMeterIsAskedForTheRecordsThatAreNew(t *testing.T) {
	w, d, _, now := cuffWorld(t, "glucose")
	record := func(sequence byte, at time.Time, mgdl byte) []byte { // in kg/L: mgdl * 10^-5
		p := append([]byte{0x02, sequence, 0}, stampBytes(at)...)
		return append(p, mgdl, 0xb0, 0x11) // SFLOAT with exponent -5; capillary blood, finger
	}
	f := newFed(wearable.UUIDGlucose, wearable.UUIDRecordAccess, wearable.UUIDDateTime)
	f.values[wearable.UUIDDateTime] = stampBytes(now)
	s := session(t, d, f, "meter")
	if len(f.wrote) != 1 || !slices.Equal(f.wrote[0], wearable.ReportAll()) {
		t.Errorf("asked % x", f.wrote)
	}
	send(t, f, wearable.UUIDGlucose, record(7, now.Add(-5*time.Hour), 99))
	send(t, f, wearable.UUIDGlucose, record(8, now.Add(-4*time.Hour), 105))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if a, b := codeAt(t, d, "glucose", now.Add(-5*time.Hour)), codeAt(t, d, "glucose", now.Add(-4*time.Hour)); a != 99-10+1 || b != 105-10+1 {
		t.Errorf("codes %d and %d, counts %+v", a, b, d.Counts())
	}
	w.at(now.Unix() + 60)
	f = newFed(wearable.UUIDGlucose, wearable.UUIDRecordAccess)
	session(t, d, f, "meter")
	if len(f.wrote) != 1 || !slices.Equal(f.wrote[0], wearable.ReportFrom(8)) {
		t.Errorf("asked % x", f.wrote)
	}
}

func TestWhatASensorRefusesIsNamedAndTheRestIsTaken(t *testing.T) {
	_, d, _, now := cuffWorld(t, "heart_rate", "bp_systolic")
	f := newFed(wearable.UUIDHeartRate, wearable.UUIDBloodPressure, wearable.UUIDBattery)
	f.refuses, f.values[wearable.UUIDBattery] = wearable.UUIDBloodPressure, []byte{81}
	s := session(t, d, f, "both")
	if err := s.Missing(); !errors.Is(err, radio.ErrPairing) || !strings.Contains(err.Error(), "2a35") {
		t.Errorf("missing: %v", err)
	}
	send(t, f, wearable.UUIDHeartRate, []byte{0, 70})
	if codeAt(t, d, "heart_rate", now) != 70-20+1 {
		t.Error("the heart rate is not taken")
	}
	if b, ok := d.Sensors().Battery("both"); !ok || b != 81 {
		t.Errorf("battery %d, %v", b, ok)
	}
}

// Two bridges' radios hear one sensor: the last to connect has it, and nothing counts twice.
func TestComplaintTwoRadiosAtOneSensorHandOver(t *testing.T) {
	_, d, _, _ := cuffWorld(t, "heart_rate")
	first, second := newFed(wearable.UUIDHeartRate), newFed(wearable.UUIDHeartRate)
	s1 := session(t, d, first, "strap")
	send(t, first, wearable.UUIDHeartRate, []byte{0, 60})
	s2 := session(t, d, second, "strap")
	select {
	case <-s1.Done():
	default:
		t.Error("the first connection stands")
	}
	if err := first.takes[wearable.UUIDHeartRate]([]byte{0, 60}); err == nil {
		t.Error("the first connection still delivers")
	}
	if err := s1.Close(); err != nil { // its end takes nothing from the second
		t.Fatal(err)
	}
	send(t, second, wearable.UUIDHeartRate, []byte{0, 62})
	if c := d.Counts(); c.Gridded != 2 {
		t.Errorf("counts %+v", c)
	}
	if err := s2.Close(); err != nil {
		t.Fatal(err)
	}
}
