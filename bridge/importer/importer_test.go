package importer

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/muktihari/fit/encoder"
	"github.com/muktihari/fit/profile/mesgdef"
	"github.com/muktihari/fit/profile/typedef"
	"github.com/muktihari/fit/proto"
)

// lines is what an export reads as.
func lines(t *testing.T, file string) ([]string, map[Drop]uint64, error) {
	t.Helper()
	e, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var out []string
	err = e.Read(t.Context(), func(r Reading) error {
		out = append(out, fmt.Sprintf("%s %s %s %s", r.Metric, r.Time, r.Value, r.Device))
		return nil
	})
	if done, size := e.Progress(); err == nil && done != size && size < 1<<20 && e.Formats()[0] != "Apple Health" {
		t.Errorf("%d of %d bytes are read at the end", done, size)
	}
	return out, e.Drops(), err
}

func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// zipped is an archive of files by name.
func zipped(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func expect(t *testing.T, file string, want []string, drops map[Drop]uint64) {
	t.Helper()
	got, dropped, err := lines(t, file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("read\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !maps.Equal(dropped, drops) {
		t.Errorf("left out %v, want %v", dropped, drops)
	}
}

const appleHead = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation)*)>
<!ATTLIST Record type CDATA #REQUIRED>
]>
<HealthData locale="de_AT"><ExportDate value="2026-11-30 20:00:00 +0100"/>
`

func record(kind, unit, value, start, end string) string {
	return fmt.Sprintf(`<Record type="HKQuantityTypeIdentifier%s" sourceName="Annas Uhr" unit="%s" startDate="%s" endDate="%s" value="%s"/>`+"\n", kind, unit, start, end, value)
}

func TestAppleHealthIsReadInItsUnitsAndOffsets(t *testing.T) {
	const at, later = "2026-11-30 01:00:30 +0100", "2026-11-30 03:00:31 +0100"
	text := appleHead +
		record("HeartRate", "count/min", "61", at, at) +
		record("HeartRate", "count/s", "1.5", "2026-11-29 19:00:30 -0500", "2026-11-29 19:00:30 -0500") +
		record("OxygenSaturation", "%", "0.97", at, at) +
		record("BodyTemperature", "degF", "98.6", at, at) +
		record("BodyTemperature", "degF", "98.7", at, at) +
		record("BloodGlucose", "mmol&lt;180.1558800000541&gt;/L", "5.5", at, at) +
		record("StepCount", "count", "100", at, later) +
		// left out
		record("HeartRate", "Hz", "1", at, at) +
		record("HeartRate", "count/min", "fast", at, at) +
		record("HeartRate", "count/min", "60", "yesterday", at) +
		record("HeartRate", "count/min", "60", "0001-01-01 00:00:00 +0000", "0001-01-01 00:00:00 +0000") +
		record("RespiratoryRate", "count/min", "14", at, later) +
		// a blood pressure is listed within its correlation, and once more by itself
		`<Correlation type="HKCorrelationTypeIdentifierBloodPressure">` + record("BloodPressureSystolic", "mmHg", "121", at, at) + `</Correlation>` +
		record("BloodPressureSystolic", "mmHg", "121", at, at) +
		`<Record type="HKQuantityTypeIdentifierHeartRate" sourceName="iPhone" unit="count/min" value="62" startDate="` + at + `" endDate="` + at + `"><MetadataEntry key="a" value="b"/></Record>` +
		"</HealthData>\n"
	want := []string{
		"heart_rate 1796000430 61 Annas Uhr", "heart_rate 1796000430 90 Annas Uhr", "spo2 1796000430 97 Annas Uhr",
		"body_temp 1796000430 37 Annas Uhr", "body_temp 1796000430 37.055556 Annas Uhr", "glucose 1796000430 99.0858 Annas Uhr",
		"bp_systolic 1796000430 121 Annas Uhr", "heart_rate 1796000430 62 iPhone",
	}
	at0, err := time.Parse(appleTime, at)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		want[i] = strings.Replace(w, "1796000430", fmt.Sprint(at0.Unix()), 1)
	}
	drops := map[Drop]uint64{DropUnit: 1, DropValue: 1, DropTime: 2, DropSummary: 1}
	expect(t, file(t, "export.xml", []byte(text)), want, drops)
	expect(t, file(t, "export.zip", zipped(t, "apple_health_export/Exportación.xml", text, "apple_health_export/export_cda.xml", "<ClinicalDocument/>")), want, drops)
}

// connectDB writes a database as Health Connect lays it out, as far as it is read.
func connectDB(t *testing.T, statements ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "health_connect_export.db")
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: name}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range append([]string{
		"CREATE TABLE application_info_table (row_id INTEGER PRIMARY KEY, package_name TEXT, app_name TEXT)",
		"CREATE TABLE device_info_table (row_id INTEGER PRIMARY KEY, manufacturer TEXT, model TEXT, device_type INTEGER)",
		"CREATE TABLE heart_rate_record_table (row_id INTEGER PRIMARY KEY, uuid BLOB, app_info_id INTEGER, device_info_id INTEGER, start_time INTEGER)",
		"INSERT INTO application_info_table VALUES (1, 'org.example.watch', 'Watch')",
		"INSERT INTO device_info_table VALUES (1, 'Acme', 'Band 3', 1)",
		"INSERT INTO heart_rate_record_table VALUES (7, x'00', 1, 1, 1798588800000)",
	}, statements...) {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	return name
}

func TestHealthConnectIsReadFromItsDatabase(t *testing.T) {
	name := connectDB(t,
		"CREATE TABLE heart_rate_record_series_table (parent_key INTEGER, beats_per_minute INTEGER, epoch_millis INTEGER)",
		"INSERT INTO heart_rate_record_series_table VALUES (7, 64, 1798588801250), (7, 65, 1798588860000), (7, NULL, 1798588860000), (7, 66, -5), (8, 67, 1798588920000)",
		"CREATE TABLE oxygen_saturation_record_table (row_id INTEGER PRIMARY KEY, app_info_id INTEGER, device_info_id INTEGER, time INTEGER, percentage REAL)",
		"INSERT INTO oxygen_saturation_record_table VALUES (1, 1, 0, 1798588800000, 97.3)",
		"CREATE TABLE blood_pressure_record_table (row_id INTEGER PRIMARY KEY, app_info_id INTEGER, device_info_id INTEGER, time INTEGER, systolic REAL, diastolic REAL)",
		"INSERT INTO blood_pressure_record_table VALUES (1, 1, 1, 1798588800000, 121.0, 79.5)",
		"CREATE TABLE blood_glucose_record_table (row_id INTEGER PRIMARY KEY, app_info_id INTEGER, device_info_id INTEGER, time INTEGER, level REAL)",
		"INSERT INTO blood_glucose_record_table VALUES (1, 1, 1, 1798588800000, 5.5)")
	want := []string{
		"heart_rate 1798588801.25 64 Band 3", "heart_rate 1798588860 65 Band 3", "heart_rate 1798588920 67 Health Connect",
		"spo2 1798588800 97.3 org.example.watch", "bp_systolic 1798588800 121 Band 3", "bp_diastolic 1798588800 79.5 Band 3",
		"glucose 1798588800 99.0858 Band 3",
	}
	drops := map[Drop]uint64{DropValue: 1, DropTime: 1}
	expect(t, name, want, drops)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, file(t, "Health Connect.zip", zipped(t, "health_connect_export.db", string(data))), want, drops)
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "vitalveil-import-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("the unpacked database stays behind: %v, %v", left, err)
	}
}

func TestFitbitIsReadInUTCAndWithoutFillers(t *testing.T) {
	rates := `[{"dateTime":"11/30/26 00:00:05","value":{"bpm":67,"confidence":2}},
{"dateTime":"11/30/26 00:00:20","value":{"bpm":70,"confidence":0}},
{"dateTime":"30/11/26 00:00:20","value":{"bpm":70,"confidence":1}},
{"dateTime":"11/30/26 00:01:00","value":{"bpm":68,"confidence":3},"more":true}]`
	spo2 := "\ufefftimestamp,value\n2026-11-30T00:02:00Z,96.4\n2026-11-30T00:03:00Z,\n"
	newer := "timestamp,beats per minute,data source\n2026-11-30T00:04:00Z,71,Charge 6\n"
	base := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC).Unix()
	want := []string{
		fmt.Sprintf("heart_rate %d 67 Fitbit", base+5), fmt.Sprintf("heart_rate %d 68 Fitbit", base+60),
		fmt.Sprintf("spo2 %d 96.4 Fitbit", base+120), fmt.Sprintf("heart_rate %d 71 Fitbit Charge 6", base+240),
	}
	archive := zipped(t, "Takeout/Fitbit/Global Export Data/heart_rate-2026-11-30.json", rates, "Takeout/Fitbit/readme.txt", "hello",
		"Takeout/Fitbit/Oxygen Saturation (SpO2)/Minute SpO2 - 2026-11-30.csv", spo2,
		"Takeout/Fitbit/Physical Activity_GoogleData/heart_rate_2026-11-30.csv", newer)
	expect(t, file(t, "takeout.zip", archive), want, map[Drop]uint64{DropMissing: 2, DropTime: 1})
	expect(t, file(t, "heart_rate-2026-11-30.json", []byte(rates)), want[:2], map[Drop]uint64{DropMissing: 1, DropTime: 1})
}

// fit writes messages as a watch does.
func fit(t *testing.T, messages ...proto.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	all := append([]proto.Message{mesgdef.NewFileId(nil).SetType(typedef.FileMonitoringB).SetManufacturer(typedef.ManufacturerGarmin).SetProduct(3466).ToMesg(nil)}, messages...)
	if err := encoder.New(&b).Encode(&proto.FIT{Messages: all}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFITIsReadWithItsShortTimesAndNones(t *testing.T) {
	start := time.Date(2026, 11, 30, 10, 0, 0, 0, time.UTC)
	low := uint16(start.Unix() - fitEpoch)
	data := fit(t,
		mesgdef.NewMonitoring(nil).SetTimestamp(start).SetHeartRate(60).ToMesg(nil),
		mesgdef.NewMonitoring(nil).SetTimestamp16(low+60).SetHeartRate(61).ToMesg(nil),
		mesgdef.NewMonitoring(nil).SetTimestamp16(low+30).SetHeartRate(62).ToMesg(nil), // the next turn of 18 hours
		mesgdef.NewMonitoring(nil).SetTimestamp(start).SetHeartRate(0).ToMesg(nil),
		mesgdef.NewMonitoring(nil).SetTimestamp(start).SetCycles(100).ToMesg(nil),
		mesgdef.NewRespirationRate(nil).SetTimestamp(start).SetRespirationRate(1437).ToMesg(nil),
		mesgdef.NewRespirationRate(nil).SetTimestamp(start).SetRespirationRate(-200).ToMesg(nil),
		mesgdef.NewSpo2Data(nil).SetTimestamp(start).SetReadingSpo2(97).ToMesg(nil),
		mesgdef.NewBloodPressure(nil).SetTimestamp(start).SetSystolicPressure(121).SetDiastolicPressure(79).ToMesg(nil),
		mesgdef.NewRecord(nil).SetTimestamp(start.Add(time.Second)).SetHeartRate(140).ToMesg(nil))
	s := start.Unix()
	var want []string
	for _, x := range []struct {
		metric string
		at     int64
		value  string
	}{
		{"heart_rate", s, "60"},
		{"heart_rate", s + 60, "61"},
		{"heart_rate", s + 30 + 65536, "62"},
		{"resp_rate", s, "14.37"},
		{"spo2", s, "97"},
		{"bp_systolic", s, "121"},
		{"bp_diastolic", s, "79"},
		{"heart_rate", s + 1, "140"},
	} {
		want = append(want, fmt.Sprintf("%s %d %s garmin 3466", x.metric, x.at, x.value))
	}
	drops := map[Drop]uint64{DropMissing: 2}
	expect(t, file(t, "monitor.fit", data), want, drops)
	drops[DropDamaged], drops[DropNested] = 1, 1
	archive := zipped(t, "a/monitor.fit", string(data), "a/broken.fit", string(data[:40]), "a/more.zip", string(zipped(t, "x", "y")))
	expect(t, file(t, "garmin.zip", archive), want, drops)
}

func TestWhatIsNoExportIsSaid(t *testing.T) {
	for name, data := range map[string][]byte{"holiday.jpg": {0xff, 0xd8}, "empty": nil, "letters.zip": zipped(t, "a.txt", "hello")} {
		if _, _, err := lines(t, file(t, name, data)); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory is opened")
	}
	head := appleHead + record("HeartRate", "count/min", "61", "2026-11-30 01:00:30 +0100", "2026-11-30 01:00:30 +0100")
	for name, data := range map[string][]byte{
		"export.xml": []byte(head), "heart_rate-1.json": []byte(`[{"dateTime":"11/30/26 00:00:05","value":{"bpm":67}},`),
		"cut.zip": zipped(t, "export.xml", head)[:60], "monitor.fit": fit(t)[:20],
	} {
		if _, _, err := lines(t, file(t, name, data)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s breaks off, and the error is %v", name, err)
		}
	}
}

func TestTheCallerEndsAnImport(t *testing.T) {
	one := record("HeartRate", "count/min", "61", "2026-11-30 01:00:30 +0100", "2026-11-30 01:00:30 +0100")
	e, err := Open(file(t, "export.xml", []byte(appleHead+one+one+"</HealthData>")))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	full, n := errors.New("no room"), 0
	err = e.Read(t.Context(), func(Reading) error { n++; return full })
	if !errors.Is(err, full) || errors.Is(err, ErrDamaged) || n != 1 {
		t.Errorf("%d readings, %v", n, err)
	}
}

// zeros is an endless stream of one byte.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// bomb is an archive with a member that unpacks to n bytes of blanks after the head.
func bomb(t *testing.T, name, head string, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	w, err := z.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, n))); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAttackAnArchiveThatUnpacksWithoutEnd(t *testing.T) {
	records := appleHead + strings.Repeat(`<Record type="x"/>`, 1000)
	for name, data := range map[string][]byte{
		"blanks between elements": bomb(t, "export.xml", records, 100<<20),
		"a database of blanks":    bomb(t, "export.db", "SQLite format 3\x00", 100<<20),
		"one attribute":           bomb(t, "export.xml", appleHead+`<Record type="`, 3<<20),
		"one line":                bomb(t, "Minute SpO2 - 1.csv", "timestamp,value\n2026-11-30T00:02:00Z,\"", 3<<20),
		"one sample":              bomb(t, "heart_rate-1.json", `[{"dateTime":"`, 3<<20),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := lines(t, file(t, "bomb.zip", data))
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
			t.Errorf("%s: %d bytes were allocated", name, used)
		}
	}
}

// Members that share their bytes say more than the archive holds.
func TestAttackAnArchiveWhoseFilesOverlap(t *testing.T) {
	data := zipped(t, "export.xml", appleHead+strings.Repeat("<Me/>", 2000)+"</HealthData>", "b", "x")
	// The directory's entry of "b" is given the compressed size of all.
	entry := bytes.LastIndex(data, []byte("PK\x01\x02"))
	copy(data[entry+20:], []byte{byte(len(data)), byte(len(data) >> 8), byte(len(data) >> 16), 0})
	if _, _, err := lines(t, file(t, "overlap.zip", data)); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v", err)
	}
}

func TestAttackADatabaseWithAComputationInPlaceOfATable(t *testing.T) {
	name := connectDB(t, `CREATE VIEW heart_rate_record_series_table AS
		WITH RECURSIVE n(parent_key, beats_per_minute, epoch_millis) AS (SELECT 7, 60, 1798588800000 UNION ALL SELECT 7, 60, epoch_millis FROM n) SELECT * FROM n`)
	if _, _, err := lines(t, name); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

func TestAttackElementsWithinElements(t *testing.T) {
	_, _, err := lines(t, file(t, "export.xml", []byte(appleHead+strings.Repeat("<a>", 1000))))
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

// An export of many times the memory is read in the same memory; a gigabyte with
// VITALVEIL_SOAK.
func TestAnExportIsReadInBoundedMemory(t *testing.T) {
	size := int64(24 << 20)
	if os.Getenv("VITALVEIL_SOAK") != "" {
		size = 1 << 30
	}
	name := filepath.Join(t.TempDir(), "export.xml")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(appleHead); err != nil {
		t.Fatal(err)
	}
	one := record("HeartRate", "count/min", "61", "2026-11-30 01:00:30 +0100", "2026-11-30 01:00:30 +0100")
	block := strings.Repeat(one, 1000)
	n := 0
	for written := int64(0); written < size; written += int64(len(block)) {
		if _, err := f.WriteString(block); err != nil {
			t.Fatal(err)
		}
		n += 1000
	}
	if _, err := f.WriteString("</HealthData>\n"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before, most, got := m.HeapAlloc, uint64(0), 0
	last := int64(0)
	err = e.Read(t.Context(), func(Reading) error {
		if got++; got%20_000 == 0 {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			if done, _ := e.Progress(); done < last {
				t.Error("progress goes back")
			} else {
				last = done
			}
		}
		return nil
	})
	if err != nil || got != n {
		t.Errorf("%d of %d readings, %v", got, n, err)
	}
	if most > before+16<<20 {
		t.Errorf("the heap grew by %d bytes", most-before)
	}
}

// Whatever is in a file, reading it ends, and what it hands over is of a known metric.
func FuzzImport(f *testing.F) {
	f.Add("export.xml", []byte(appleHead+record("HeartRate", "count/min", "61", "2026-11-30 01:00:30 +0100", "2026-11-30 01:00:30 +0100")+"</HealthData>"))
	f.Add("heart_rate-1.json", []byte(`[{"dateTime":"11/30/26 00:00:05","value":{"bpm":67,"confidence":2}}]`))
	f.Add("Minute SpO2 - 1.csv", []byte("timestamp,value\n2026-11-30T00:02:00Z,96.4\n"))
	f.Add("a.fit", []byte("\x0e\x20\x54\x08\x00\x00\x00\x00.FIT\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		p := part{name: name, head: data[:min(len(data), sniffing)], open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}}
		if isHealthConnect(p) { // SQLite is tested by its makers
			return
		}
		r := &reading{Export: &Export{drops: map[Drop]uint64{}}, ctx: t.Context(), take: func(r Reading) error {
			if r.Metric == "" || !r.Time.Finite() || !r.Value.Finite() || r.Time.FloorDiv(60) <= 0 || len(r.Device) > maxName {
				t.Fatalf("handed over %+v", r)
			}
			return nil
		}}
		_ = r.part(p)
	})
}
