package bridge

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muktihari/fit/encoder"
	"github.com/muktihari/fit/profile/mesgdef"
	"github.com/muktihari/fit/profile/typedef"
	"github.com/muktihari/fit/proto"

	"github.com/vitalveil/vitalveil/bridge/importer"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

// rates is a day of heart rates, some minutes missing.
func rates() []Reading {
	var list []Reading
	for minute := range int64(1440) {
		if minute%17 != 3 {
			list = append(list, Reading{Metric: "heart_rate", Time: wearable.Int(epochStart + minute*60 + minute%60), Value: wearable.Int(55 + (minute*7)%90)})
		}
	}
	return list
}

// exports writes the day as each format has it, and returns the files.
func exports(t *testing.T, day []Reading) map[string]string {
	t.Helper()
	dir := t.TempDir()
	var apple, fitbit strings.Builder
	apple.WriteString("<HealthData>\n")
	var watch []proto.Message
	watch = append(watch, mesgdef.NewFileId(nil).SetType(typedef.FileMonitoringB).ToMesg(nil))
	name := filepath.Join(dir, "health_connect.db")
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: name}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("CREATE TABLE heart_rate_record_series_table (parent_key INTEGER, beats_per_minute INTEGER, epoch_millis INTEGER)"); err != nil {
		t.Fatal(err)
	}
	for i, r := range day {
		at := time.Unix(r.Time.FloorDiv(1), 0)
		east := at.In(time.FixedZone("", 2*3600)).Format("2006-01-02 15:04:05 -0700")
		fmt.Fprintf(&apple, `<Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Uhr" unit="count/min" value="%s" startDate="%s" endDate="%s"/>`+"\n", r.Value, east, east)
		separator := ","
		if i == 0 {
			separator = "["
		}
		fmt.Fprintf(&fitbit, `%s{"dateTime":"%s","value":{"bpm":%s,"confidence":3}}`, separator, at.UTC().Format("01/02/06 15:04:05"), r.Value)
		watch = append(watch, mesgdef.NewMonitoring(nil).SetTimestamp(at).SetHeartRate(uint8(r.Value.FloorDiv(1))).ToMesg(nil))
		if _, err := tx.Exec("INSERT INTO heart_rate_record_series_table VALUES (1, ?, ?)", r.Value.FloorDiv(1), at.UnixMilli()); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	apple.WriteString("</HealthData>")
	fitbit.WriteString("]")
	var garmin bytes.Buffer
	if err := encoder.New(&garmin).Encode(&proto.FIT{Messages: watch}); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"Health Connect": name}
	for kind, f := range map[string]struct{ name, data string }{
		"Apple Health": {"export.xml", apple.String()}, "Fitbit": {"heart_rate-1.json", fitbit.String()}, "Garmin FIT": {"a.fit", garmin.String()},
	} {
		files[kind] = filepath.Join(dir, f.name)
		if err := os.WriteFile(files[kind], []byte(f.data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// imported pushes an export, as "vitalveil bridge import" does.
func imported(t *testing.T, d *Device, file string) {
	t.Helper()
	e, err := importer.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var list []Reading
	err = e.Read(t.Context(), func(r importer.Reading) error {
		list = append(list, Reading{Metric: r.Metric, Time: r.Time, Value: r.Value, Source: r.Device})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(list, 400) {
		push(t, d, part...)
	}
}

// The duplicates of others had a random key. Here a day is the same day, whatever brought it,
// how often, and through how many sources at once.
func TestComplaintADayThroughEverySourceIsTheSameGrid(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	day := rates()
	files := exports(t, day)
	grid := func(d *Device) []byte {
		t.Helper()
		if err := d.Advance(t.Context(), epochStart+86400*2); err != nil {
			t.Fatal(err)
		}
		one := dayOf(t, d, epochDay)
		b, err := one.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pushed := w.enrolled(h, "heart_rate")
	all := w.enrolled(h, "heart_rate")
	strapped := w.enrolled(h, "heart_rate")
	single := map[string]*Device{}
	for kind := range files {
		single[kind] = w.enrolled(h, "heart_rate")
	}
	strap := virtual.NewHeartRateStrap("strap")
	wear(t, strapped, strap, "strap")
	for _, r := range day {
		w.at(r.Time.FloorDiv(1))
		if err := strap.Emit(t.Context(), wearable.Reading{Metric: r.Metric, Value: r.Value}); err != nil {
			t.Fatal(err)
		}
	}
	w.at(epochStart + 86400*2)
	push(t, pushed, day...)
	want := grid(pushed)
	if got := grid(strapped); !bytes.Equal(got, want) {
		t.Error("over Bluetooth it is another grid")
	}
	for kind, file := range files {
		imported(t, single[kind], file)
		imported(t, all, file)
		imported(t, all, file)
		if got := grid(single[kind]); !bytes.Equal(got, want) {
			t.Errorf("%s: another grid", kind)
		}
	}
	push(t, all, day...)
	if got := grid(all); !bytes.Equal(got, want) {
		t.Error("all sources together are another grid")
	}
}

// load is what one virtual sensor emits: so many values a second, or one in so many.
type load struct {
	sensor  *virtual.Sensor
	device  *Device
	rate    int // a second
	every   int64
	metrics []string
	sent    map[string]map[int64]*wearable.Accumulator
}

func (l *load) second(ctx context.Context, at int64) error {
	if (at-epochStart)%l.every != 0 {
		return nil
	}
	for i := range l.rate {
		var list []wearable.Reading
		for _, key := range l.metrics {
			m, _ := wearable.ByKey(key)
			v := m.Value(m.MinUnits() + (at*31+int64(i)*17)%(m.MaxUnits()-m.MinUnits()))
			if key == "bp_diastolic" || key == "spo2" || key == "pulse_rate" || key == "bp_systolic" {
				v = wearable.Int(60 + (at+int64(i))%40)
			}
			minute := wearable.MinuteOf(at)
			if l.sent[key][minute] == nil {
				l.sent[key][minute], _ = wearable.NewAccumulator(key)
			}
			l.sent[key][minute].Add(v)
			list = append(list, wearable.Reading{Metric: key, Value: v})
		}
		if err := l.sensor.Emit(ctx, list...); err != nil {
			return fmt.Errorf("%s: %w", l.sensor.Name(), err)
		}
	}
	return nil
}

// Mixed sensors at up to 50 values a second for ten minutes: every value counts once. Twenty
// sensors, or two hundred with VITALVEIL_SOAK.
func TestNothingIsLostOrDoubledUnderTheLoadOfManySensors(t *testing.T) {
	people, seconds := int64(5), int64(600)
	if os.Getenv("VITALVEIL_SOAK") != "" {
		people = 50
	} else if testing.Short() {
		seconds = 120
	}
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	var loads []*load
	for i := range people {
		d := w.enrolled(h, "heart_rate", "spo2", "pulse_rate", "body_temp", "bp_systolic", "bp_diastolic")
		for _, l := range []*load{
			{sensor: virtual.NewHeartRateStrap("strap"), rate: int(50 - i%5*10), every: 1, metrics: []string{"heart_rate"}},
			{sensor: virtual.NewPulseOximeter("oximeter"), rate: 1, every: 1, metrics: []string{"spo2", "pulse_rate"}},
			{sensor: virtual.NewThermometer("thermometer"), rate: 1, every: 60, metrics: []string{"body_temp"}},
			{sensor: virtual.NewBloodPressureCuff("cuff"), rate: 1, every: 120, metrics: []string{"bp_systolic", "bp_diastolic"}},
		} {
			l.device, l.sent = d, map[string]map[int64]*wearable.Accumulator{}
			for _, m := range l.metrics {
				l.sent[m] = map[int64]*wearable.Accumulator{}
			}
			wear(t, d, l.sensor, l.sensor.Name())
			loads = append(loads, l)
		}
	}
	for at := int64(epochStart); at < epochStart+seconds; at++ {
		w.at(at)
		errs := make([]error, len(loads))
		var g sync.WaitGroup
		for i, l := range loads {
			g.Go(func() { errs[i] = l.second(t.Context(), at) })
		}
		g.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	until := int64(epochStart + 2*86400)
	w.at(until)
	total := map[*Device]uint64{}
	for _, l := range loads {
		for key, minutes := range l.sent {
			for minute, want := range minutes {
				total[l.device] += uint64(want.Count())
				code, _ := want.Code()
				if got := codeAt(t, l.device, key, time.Unix(minute*60, 0)); got != code {
					t.Errorf("%s of minute %d has code %d, want %d", key, minute, got, code)
				}
			}
		}
	}
	for d, n := range total {
		if c := d.Counts(); c.Gridded != n || c != (Counts{Gridded: n}) {
			t.Errorf("%d values were sent; counts %+v", n, c)
		}
	}
	if os.Getenv(memoryChild) == "" {
		return
	}
	if err := h.Advance(t.Context(), until); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM:") {
			fmt.Print(line)
		}
	}
}

// memoryChild is set where a test runs as a process of its own and says what it took.
const memoryChild = "VITALVEIL_BRIDGE_MEMORY"

// maxResident bounds what a hub with twenty sensors takes while nothing is proven, in kB:
// the sensors' own simulation and the gateway's are within it.
const maxResident = 80 << 10

func TestAHubWithTwentySensorsTakesLittleMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: memory is measured on Linux only")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestNothingIsLostOrDoubledUnderTheLoadOfManySensors$", "-test.short")
	cmd.Env = append(os.Environ(), memoryChild+"=1", "VITALVEIL_SOAK=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, rest, found := strings.Cut(string(out), "VmHWM:")
	var kB int
	if _, err := fmt.Sscan(rest, &kB); err != nil || !found {
		t.Fatalf("%v in %s", err, out)
	}
	if kB > maxResident {
		t.Errorf("%d kB were resident, at most %d are allowed", kB, maxResident)
	}
	t.Logf("%d kB resident at most", kB)
}
