package wearable

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// vector is one payload of testdata with what it decodes to. Source names the
// public material that it is from; without one it was worked by hand from the field
// table of the characteristic's specification.
type vector struct {
	Name, UUID, Hex, Source string
	Readings, Drops         []string
	Fields                  map[string]any
	Units                   map[string]string
	Record                  map[string]any
	Error                   string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	var all []vector
	for _, file := range []string{"testdata/gatt.json", "testdata/halden.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var list []vector
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&list); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, list...)
	}
	return all
}

func (v vector) parts(t testing.TB) (UUID, []byte) {
	t.Helper()
	uuid, err := ParseUUID(v.UUID)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := ParsePayload(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return uuid, payload
}

func TestVectors(t *testing.T) {
	var d Decoder
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			uuid, payload := v.parts(t)
			n, err := Decode(uuid, payload)
			light, lightErr := d.Decode(uuid, payload)
			if v.Error != "" {
				if !errors.Is(err, ErrPayload) || !strings.Contains(err.Error(), v.Error) || fmt.Sprint(err) != fmt.Sprint(lightErr) {
					t.Fatalf("errors %v and %v, want one that says %q", err, lightErr, v.Error)
				}
				return
			}
			if err != nil || lightErr != nil {
				t.Fatal(err, lightErr)
			}
			v.compare(t, n)
			sameButFields(t, &n, light)
			if err := roundTrip(n, payload); err != nil {
				t.Error(err)
			}
		})
	}
}

// everything returns readings and drops of a notification and what follows in it.
func everything(n *Notification) ([]string, []string) {
	readings, drops := []string{}, []string{}
	for each := range n.All() {
		for _, r := range each.Readings {
			readings = append(readings, r.Metric+" "+r.Value.String())
		}
		for _, d := range each.Drops {
			drops = append(drops, d.String())
		}
	}
	return readings, drops
}

func (v vector) compare(t *testing.T, n Notification) {
	t.Helper()
	readings, drops := everything(&n)
	if fmt.Sprint(readings) != fmt.Sprint(v.Readings) || fmt.Sprint(drops) != fmt.Sprint(v.Drops) {
		t.Errorf("readings %q, drops %q; want %q, %q", readings, drops, v.Readings, v.Drops)
	}
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Fields map[string]any
		Units  map[string]string
		Record map[string]any
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if v.Fields != nil && !reflect.DeepEqual(out.Fields, v.Fields) {
		t.Errorf("fields %v, want %v", out.Fields, v.Fields)
	}
	if v.Units != nil && !reflect.DeepEqual(out.Units, v.Units) {
		t.Errorf("units %v, want %v", out.Units, v.Units)
	}
	if v.Record != nil && !reflect.DeepEqual(out.Record, v.Record) {
		t.Errorf("record %v, want %v", out.Record, v.Record)
	}
}

// sameButFields compares what a bridge gets with what a person is shown.
func sameButFields(t testing.TB, full, light *Notification) {
	t.Helper()
	a, b := slices.Collect(full.All()), slices.Collect(light.All())
	if len(a) != len(b) {
		t.Fatalf("%d measurements and %d", len(a), len(b))
	}
	for i := range a {
		if fmt.Sprint(a[i].Readings, a[i].Drops, a[i].Record, a[i].Flags) != fmt.Sprint(b[i].Readings, b[i].Drops, b[i].Record, b[i].Flags) {
			t.Fatalf("in full %v, without fields %v", a[i], b[i])
		}
		if len(b[i].Fields) != 0 {
			t.Fatalf("fields %v", b[i].Fields)
		}
	}
}

// roundTrip checks that a payload of which nothing was lost is written again, byte
// for byte.
func roundTrip(n Notification, payload []byte) error {
	for each := range n.All() {
		for _, d := range each.Drops {
			lost := d.Reason == Cut || d.Reason == NoSuchTime || d.Reason == Surplus
			if lost || d.Reason == UnknownForm && d.Part != "value" && d.Part != "rest" {
				return nil
			}
		}
	}
	again, err := Encode(n)
	if err != nil || !bytes.Equal(again, payload) {
		return fmt.Errorf("%x is written again as %x, %w", payload, again, err)
	}
	return nil
}

// Whatever a payload is cut to, what is read of it was in the whole: nothing is made
// up, and no measurement that stands whole is lost to what stands behind it.
func TestACutPayloadSaysNothingElse(t *testing.T) {
	for _, v := range vectors(t) {
		if v.Error != "" {
			continue
		}
		uuid, payload := v.parts(t)
		whole, _ := Decode(uuid, payload)
		for cut := range payload {
			n, err := Decode(uuid, payload[:cut])
			if err != nil {
				continue
			}
			for _, r := range n.Readings {
				if !slices.Contains(whole.Readings, r) && !slices.ContainsFunc(whole.Drops, func(d Drop) bool { return d.Metric == r.Metric }) {
					t.Errorf("%s: %d of %d bytes say %v", v.Name, cut, len(payload), r)
				}
			}
		}
	}
}

// Each characteristic has a vector that is whole, and each with optional parts one
// in which such a part is cut off and what stands before it counts.
func TestEveryCharacteristicHasVectors(t *testing.T) {
	whole := map[UUID]int{}
	for _, v := range vectors(t) {
		uuid, _ := v.parts(t)
		if v.Error == "" {
			whole[uuid]++
		}
	}
	for _, p := range Characteristics() {
		if whole[p.UUID] == 0 {
			t.Errorf("%s %s has no vector", p.UUID, p.Name)
		}
		for _, metric := range p.Metrics {
			if _, ok := ByKey(metric); !ok {
				t.Errorf("%s feeds %q, which is no metric", p.UUID, metric)
			}
		}
		if !Decodes(p.UUID) || Measures(p.UUID) != (len(p.Metrics) > 0) {
			t.Errorf("%s: Decodes %v, Measures %v", p.UUID, Decodes(p.UUID), Measures(p.UUID))
		}
		if uuid, err := ParseUUID(string(p.UUID)); err != nil || uuid != p.UUID {
			t.Errorf("%s is not canonical: %v, %v", p.UUID, uuid, err)
		}
	}
	for uuid := range whole {
		if !Decodes(uuid) {
			t.Errorf("vectors of %s, which has no decoder", uuid)
		}
	}
}

// What a characteristic says that it feeds is what its payloads feed.
func TestAPayloadFeedsOnlyWhatItsCharacteristicSays(t *testing.T) {
	for _, v := range vectors(t) {
		uuid, payload := v.parts(t)
		n, err := Decode(uuid, payload)
		if err != nil {
			continue
		}
		p, _ := CharacteristicOf(uuid)
		for each := range n.All() {
			for _, r := range each.Readings {
				if !slices.Contains(p.Metrics, r.Metric) {
					t.Errorf("%s: a reading of %s", v.Name, r.Metric)
				}
			}
			if each.Record.UserKnown && !p.User {
				t.Errorf("%s has a user number, and its characteristic says that there is none", v.Name)
			}
		}
	}
}

func TestTheChecksumIsThatOfTheSpecification(t *testing.T) {
	// Continuous Glucose Monitoring Service 1.0.1, section 3.11, as quoted in
	// NordicSemiconductor/Android-BLE-Common-Library, CRC16Test.java; the second is
	// the check value of CRC-16/MCRF4XX in catalogues of checksums.
	if got := E2ECRC([]byte{0x3E, 1, 2, 3, 4, 5, 6, 7, 8, 9}); got != 0x2F01 {
		t.Errorf("%04x", got)
	}
	if got := E2ECRC([]byte("123456789")); got != 0x6F91 {
		t.Errorf("%04x", got)
	}
}

func TestSpecialValuesAreTyped(t *testing.T) {
	for raw, want := range map[uint16]Reason{0x07FF: NotANumber, 0x0800: NotAtResolution, 0x07FE: AboveAll, 0x0802: BelowAll, 0x0801: ReservedValue} {
		n, err := Decode(UUIDContinuousOximetry, []byte{0, byte(raw), byte(raw >> 8), 60, 0})
		if err != nil || len(n.Drops) != 1 || n.Drops[0] != (Drop{Metric: "spo2", Reason: want}) {
			t.Errorf("%04x: %v, %v", raw, n.Drops, err)
		}
	}
	for _, r := range Reasons() {
		if strings.HasPrefix(r.String(), "reason ") {
			t.Errorf("reason %d has no name", uint8(r))
		}
	}
}

// All floats of both forms that a decoder can give are written again as they were.
func TestFloatsAreWrittenAsTheyWere(t *testing.T) {
	for raw := range uint32(1 << 16) {
		if again, ok := DecodeSFLOAT(uint16(raw)).raw(2); !ok || again != raw {
			t.Fatalf("SFLOAT %04x becomes %04x", raw, again)
		}
		long := raw * 0x9E3779B1 // spread over all 32 bits
		if again, ok := DecodeFLOAT(long).raw(4); !ok || again != long {
			t.Fatalf("FLOAT %08x becomes %08x", long, again)
		}
	}
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	field := func(name string, value any) Field { return Field{Name: name, Value: value} }
	for name, n := range map[string]Notification{
		"nothing":          {UUID: UUIDHeartRate},
		"text for number":  {UUID: UUIDHeartRate, Fields: []Field{field("heart_rate", "60")}},
		"too large":        {UUID: UUIDHeartRate, Fields: []Field{field("heart_rate", int64(256))}},
		"negative":         {UUID: UUIDHeartRate, Fields: []Field{field("heart_rate", int64(-1))}},
		"number for float": {UUID: UUIDTemperature, Fields: []Field{field("temperature", int64(37))}},
		"float too long":   {UUID: UUIDContinuousOximetry, Fields: []Field{field("spo2", Float{Mantissa: 1 << 14})}},
		"between steps":    {UUID: UUIDWeight, Fields: []Field{field("weight", Decimal{coef: 1, scale: 3})}},
		"too long":         {UUID: UUIDManufacturer, Fields: []Field{field("manufacturer", strings.Repeat("a", MaxPayload+1))}},
		"unknown":          {UUID: "ffff"},
	} {
		if payload, err := Encode(n); err == nil {
			t.Errorf("%s was written as %x", name, payload)
		}
	}
}

func TestARecordKnowsItsTime(t *testing.T) {
	date := Timestamp{2024, 3, 4, 23, 50, 0}
	at := func(r Record) string {
		local, ok := r.Local()
		instant, known := r.Instant()
		return fmt.Sprint(local.Format("2006-01-02T15:04"), ok, " ", instant.Format("2006-01-02T15:04"), known)
	}
	for name, c := range map[string]struct {
		record Record
		want   string
	}{
		"moved clock":   {Record{Time: date, Minutes: 15}, "2024-03-05T00:05true 2024-03-05T00:05false"},
		"zone":          {Record{Time: date, Zone: 60, ZoneKnown: true}, "2024-03-04T23:50true 2024-03-04T22:50true"},
		"never set":     {Record{Time: date, ZoneKnown: true, ClockUnset: true}, "2024-03-04T23:50true 2024-03-04T23:50false"},
		"year unknown":  {Record{Time: Timestamp{0, 3, 4, 1, 2, 3}, ZoneKnown: true}, "0001-01-01T00:00false 0001-01-01T00:00false"},
		"no such month": {Record{Time: Timestamp{2024, 13, 4, 1, 2, 3}}, "0001-01-01T00:00false 0001-01-01T00:00false"},
	} {
		if got := at(c.record); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestRequestsForRecordsAreReadAsMeant(t *testing.T) {
	for name, c := range map[string]struct {
		request []byte
		want    string
	}{
		"all": {ReportAll(), "report stored records, all records"}, "from": {ReportFrom(0x0105), "report stored records, from 261"},
		"count": {CountRecords(), "report number of stored records, all records"}, "delete": {DeleteRecords(7), "delete stored records, up to 7"},
		"abort": {AbortRecords(), "abort operation, null"},
	} {
		n, err := Decode(UUIDRecordAccess, c.request)
		if err != nil || len(n.Drops) > 0 {
			t.Fatalf("%s: %v, %v", name, n.Drops, err)
		}
		got := n.Fields[0].Value.(Enum).Name + ", " + n.Fields[1].Value.(Enum).Name
		for _, bound := range []string{"from", "to"} {
			if i, ok := n.Int(bound); ok {
				got += fmt.Sprint(" ", i)
			}
		}
		if got != c.want {
			t.Errorf("%s is %q", name, got)
		}
	}
}

func TestAnAnswerEndsItsOwnRequestAlone(t *testing.T) {
	const report, remove, count = 1, 2, 4
	for name, c := range map[string]struct {
		answer  string
		request byte
		done    bool
		failure string
	}{
		"success": {"06000101", report, true, ""}, "no records": {"06000106", report, true, ""},
		"another's": {"06000201", report, false, ""}, "busy": {"0600010a", report, true, "server busy"},
		"refused delete": {"06000202", remove, true, "opcode not supported"}, "number": {"05000300", count, true, ""},
		"number unasked": {"05000300", report, false, ""}, "a request": {"0101", report, false, ""},
	} {
		raw, _ := hex.DecodeString(c.answer)
		n, err := Decode(UUIDRecordAccess, raw)
		if err != nil {
			t.Fatal(err)
		}
		if done, failure := RecordsDone(&n, c.request); done != c.done || failure != c.failure {
			t.Errorf("%s: done %v, %q", name, done, failure)
		}
	}
}

func TestSegmentsAreJoined(t *testing.T) {
	var s Segments
	add := func(text string) ([]byte, error) {
		raw, _ := hex.DecodeString(text)
		return s.Add(raw)
	}
	// The saturation of the vectors in three segments, counters 62, 63, 0.
	whole := []byte(nil)
	for _, part := range []string{"f9010c000100", "fcb84b0200", "02200262000000"} {
		joined, err := add(part)
		if err != nil {
			t.Fatal(err)
		}
		whole = joined
	}
	n, err := Decode(UUIDLiveObservations, whole)
	if err != nil || fmt.Sprint(n.Readings) != "[{spo2 98}]" {
		t.Fatalf("%x: %v, %v", whole, n.Readings, err)
	}
	for name, parts := range map[string][]string{
		"without a first": {"0601"}, "one lost": {"0101", "0a02"}, "doubled": {"0101", "0401", "0401"}, "empty": {"0101", ""},
	} {
		s = Segments{}
		var err error
		for _, part := range parts {
			_, err = add(part)
		}
		if !errors.Is(err, ErrSegment) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttackSegmentsCannotPileUp(t *testing.T) {
	var s Segments
	segment := append([]byte{1}, make([]byte, 500)...)
	var err error
	for i := range 20 {
		if i > 0 {
			segment[0] = byte(i) << 2
		}
		if _, err = s.Add(segment); err != nil {
			break
		}
		if len(s.whole) > maxObservation {
			t.Fatalf("%d bytes are kept", len(s.whole))
		}
	}
	if !errors.Is(err, ErrSegment) {
		t.Errorf("20 segments of 500 bytes: %v", err)
	}
}

func TestFloatsKeepTheirPrecision(t *testing.T) {
	long := map[uint32]string{
		0x00000002: "2", 0xFF000014: "2.0", 0xFE0000C8: "2.00", 0x01000002: "20", 0x02000002: "200", 0x000000C8: "200",
		0x000004D2: "1234", 0x00FFFB2E: "-1234", 0x007FFFFF: "NaN", 0x00800000: "NRes", 0x007FFFFE: "+INF", 0x00800002: "-INF", 0x00800001: "reserved",
		0x7FFFFFFF: "-1e127", 0xFF7FFFFF: "838860.7", 0x02000000: "0",
	}
	for raw, want := range long {
		if got := DecodeFLOAT(raw).String(); got != want {
			t.Errorf("FLOAT %08x is %s, want %s", raw, got, want)
		}
	}
	short := map[uint16]string{
		0x0002: "2", 0xF014: "2.0", 0xE0C8: "2.00", 0x1002: "20", 0x2002: "200", 0x00C8: "200", 0x04D2: "1234", 0x0B2E: "-1234",
		0x07FF: "NaN", 0x0800: "NRes", 0x07FE: "+INF", 0x0802: "-INF", 0x0801: "reserved", 0xF16C: "36.4", 0xE16C: "3.64", 0x016C: "364", 0x7001: "10000000",
	}
	for raw, want := range short {
		if got := DecodeSFLOAT(raw).String(); got != want {
			t.Errorf("SFLOAT %04x is %s, want %s", raw, got, want)
		}
	}
}

// All 65,536 short floats: what can be encoded again is the same number, and
// only the mantissas of special values cannot.
func TestShortFloatsSurviveARoundTrip(t *testing.T) {
	for raw := range 1 << 16 {
		f := DecodeSFLOAT(uint16(raw))
		d, ok := f.Decimal()
		if ok != (f.Kind == Number) {
			t.Fatalf("%04x: %v has a value: %v", raw, f, ok)
		}
		if !ok {
			continue
		}
		again, ok := EncodeSFLOAT(d)
		if !ok {
			if specialMantissa(f.Mantissa, sfloatMantissaBits) == Number {
				t.Fatalf("%04x: %v cannot be encoded", raw, f)
			}
			continue
		}
		if back, _ := DecodeSFLOAT(again).Decimal(); back != d {
			t.Fatalf("%04x: %v became %v", raw, d, back)
		}
	}
}

func TestCanCarryAgreesWithEncode(t *testing.T) {
	values := []string{
		"0", "60", "60.5", "255", "256", "65535", "65536", "-1", "97.5", "97.55", "2045", "2046", "2047", "2050", "36.65", "8388605", "8388606", "-17.8",
		"204.7", "0.00000001", "0.000000001", "123456789",
	}
	for _, m := range Metrics() {
		uuid, carried := Carrier(m.Key)
		for _, s := range values {
			v := dec(t, s)
			can := CanCarry(m.Key, v)
			if !carried {
				if can {
					t.Errorf("%s has no carrier but carries %s", m.Key, s)
				}
				continue
			}
			payload, err := EncodeReadings(uuid, Reading{m.Key, v})
			if can != (err == nil) || err != nil && !errors.Is(err, ErrInexact) {
				t.Errorf("%s %s: CanCarry %v, Encode %v", m.Key, s, can, err)
			}
			if err != nil {
				continue
			}
			n, err := Decode(uuid, payload)
			if err != nil || len(n.Readings) != 1 || n.Readings[0] != (Reading{m.Key, v}) {
				t.Errorf("%s %s arrives as %v, %v", m.Key, s, n.Readings, err)
			}
		}
	}
	if CanCarry("heart_rate", dec(t, "60.5")) || !CanCarry("spo2", dec(t, "97.5")) || !CanCarry("body_temp", dec(t, "36.65")) {
		t.Error("CanCarry is wrong about plain cases")
	}
}

func TestEncodeReadingsRefusesMixtures(t *testing.T) {
	sixty := Int(60)
	for name, readings := range map[string][]Reading{
		"none": nil, "foreign": {{"spo2", sixty}}, "twice": {{"heart_rate", sixty}, {"heart_rate", sixty}},
	} {
		if _, err := EncodeReadings(UUIDHeartRate, readings...); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
	if _, err := EncodeReadings(UUIDGlucose, Reading{"glucose", sixty}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("glucose: %v", err)
	}
}

func TestUUIDsHaveOneForm(t *testing.T) {
	for _, s := range []string{"2a37", "2A37", "0x2A37", "0X2a37", "00002a37", "00002a37-0000-1000-8000-00805f9b34fb", "00002A37-0000-1000-8000-00805F9B34FB", "00002a3700001000800000805f9b34fb"} {
		if uuid, err := ParseUUID(s); err != nil || uuid != UUIDHeartRate {
			t.Errorf("%q is %s, %v", s, uuid, err)
		}
	}
	for _, s := range []string{
		"", "2a3", "2a377", "zz37", "0x", "0x002a37-0000-1000-8000-00805f9b34fb", "00002a37-0000-1000-8000-00805f9b34f-", "----------------2a37----------------", strings.Repeat("2a37", 1000),
	} {
		if uuid, err := ParseUUID(s); err == nil {
			t.Errorf("%q was read as %s", s, uuid)
		}
	}
}

func TestAVendorsUUIDKeepsItsForm(t *testing.T) {
	for s, want := range map[string]UUID{
		"6E400001-B5A3-F393-E0A9-E50E24DCCA9E": "6e400001-b5a3-f393-e0a9-e50e24dcca9e", "10002a37-0000-1000-8000-00805f9b34fb": "10002a37-0000-1000-8000-00805f9b34fb",
	} {
		uuid, err := ParseUUID(s)
		raw, _ := hex.DecodeString(strings.ReplaceAll(string(want), "-", ""))
		slices.Reverse(raw)
		if err != nil || uuid != want || UUIDFromBytes(raw) != want {
			t.Errorf("%q is %s, %v", s, uuid, err)
		}
	}
	for _, raw := range [][]byte{{0x37, 0x2a}, {0x37, 0x2a, 0, 0}} {
		if uuid := UUIDFromBytes(raw); uuid != UUIDHeartRate {
			t.Errorf("%x is %s", raw, uuid)
		}
	}
	if uuid := UUIDFromBytes([]byte{1, 2, 3}); uuid != "" {
		t.Errorf("three bytes are %s", uuid)
	}
}

func TestPayloadsAreReadAsToolsPrintThem(t *testing.T) {
	for _, s := range []string{
		"06ff", "0x06FF", "06 ff", "06:FF", "06-ff", "0x06 0xff", "0x06, 0xFF", "(0x) 06-FF", "[6, 255]", "[0x06, 0xff]", "{06 ff}", " 06  ff\n",
		"handle value: 06 ff", "Characteristic value: 06 ff", "Notification handle = 0x0010 value: 06 ff", "value: (0x) 06-FF", "\"06ff\"",
	} {
		if raw, err := ParsePayload(s); err != nil || !bytes.Equal(raw, []byte{6, 0xff}) {
			t.Errorf("%q is %x, %v", s, raw, err)
		}
	}
	for _, s := range []string{
		"0", "06f", "0g", "0 6", "[6, 256]", "[6, -1]", "[06, 7]", "value: zz", "0x", strings.Repeat("00", maxObservation+1), strings.Repeat("00", 1<<20),
	} {
		if _, err := ParsePayload(s); err == nil {
			t.Errorf("%.20q was read", s)
		}
	}
}

func TestWhatIsOutOfRangeIsMarked(t *testing.T) {
	for payload, marked := range map[string]bool{"0048": false, "0000": true, "01ff01": true, "00dc": false} {
		text, err := DecodeJSON("2a37", payload)
		if err != nil || strings.Contains(string(text), `"out_of_range": true`) != marked {
			t.Errorf("%s: %s, %v", payload, text, err)
		}
	}
}

func TestDecodeJSONHasTheStableForm(t *testing.T) {
	got, err := DecodeJSON("0x2A1C", "01db0300ff")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "uuid": "2a1c",
  "name": "Temperature Measurement",
  "fields": {
    "temperature": 98.7
  },
  "units": {
    "temperature": "[degF]"
  },
  "readings": [
    {
      "metric": "body_temp",
      "value": 37.055555555556,
      "unit": "Cel",
      "exact": "667/18"
    }
  ]
}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	for _, bad := range [][2]string{{"2a63", "64"}, {"2a37", ""}, {"heart", "003c"}, {"2a37", "xx"}} {
		if out, err := DecodeJSON(bad[0], bad[1]); err == nil {
			t.Errorf("%v was decoded: %s", bad, out)
		}
	}
}

func TestAnUnknownCharacteristicIsNotAPayloadError(t *testing.T) {
	if _, err := Decode("2a63", []byte{100}); !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrPayload) {
		t.Fatal(err)
	}
	if _, err := Decode(UUIDHeartRate, make([]byte, MaxPayload+1)); !errors.Is(err, ErrPayload) {
		t.Fatal(err)
	}
}

// fuzzCodec feeds the decoder of one characteristic.
func fuzzCodec(f *testing.F, uuids ...UUID) {
	for _, v := range vectors(f) {
		if uuid, payload := v.parts(f); slices.Contains(uuids, uuid) {
			f.Add(payload)
		}
	}
	var d Decoder
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, uuid := range uuids {
			n, err := Decode(uuid, payload)
			light, lightErr := d.Decode(uuid, payload)
			if (err == nil) != (lightErr == nil) {
				t.Fatalf("%v, but %v", err, lightErr)
			}
			if err != nil {
				continue
			}
			sameButFields(t, &n, light)
			if err := roundTrip(n, payload); err != nil {
				t.Fatal(err)
			}
			if text, err := json.Marshal(n); err != nil || !json.Valid(text) {
				t.Fatalf("%s: %v", text, err)
			}
		}
	})
}

func FuzzHeartRate(f *testing.F)        { fuzzCodec(f, UUIDHeartRate) }
func FuzzTemperature(f *testing.F)      { fuzzCodec(f, UUIDTemperature, UUIDIntermediateTemperature) }
func FuzzBloodPressure(f *testing.F)    { fuzzCodec(f, UUIDBloodPressure) }
func FuzzCuffPressure(f *testing.F)     { fuzzCodec(f, UUIDCuffPressure) }
func FuzzSpotOximetry(f *testing.F)     { fuzzCodec(f, UUIDSpotOximetry) }
func FuzzOximetry(f *testing.F)         { fuzzCodec(f, UUIDContinuousOximetry) }
func FuzzOximeterFeatures(f *testing.F) { fuzzCodec(f, UUIDOximeterFeatures) }
func FuzzGlucose(f *testing.F)          { fuzzCodec(f, UUIDGlucose) }
func FuzzGlucoseContext(f *testing.F)   { fuzzCodec(f, UUIDGlucoseContext) }
func FuzzRecordAccess(f *testing.F)     { fuzzCodec(f, UUIDRecordAccess) }
func FuzzGlucoseMonitor(f *testing.F)   { fuzzCodec(f, UUIDGlucoseMonitor) }
func FuzzMonitorFeatures(f *testing.F)  { fuzzCodec(f, UUIDGlucoseMonitorFeatures) }
func FuzzMonitorState(f *testing.F)     { fuzzCodec(f, UUIDGlucoseMonitorStatus) }
func FuzzSession(f *testing.F)          { fuzzCodec(f, UUIDSessionStart, UUIDSessionRunTime) }
func FuzzWeight(f *testing.F)           { fuzzCodec(f, UUIDWeight) }
func FuzzBodyComposition(f *testing.F)  { fuzzCodec(f, UUIDBodyComposition) }
func FuzzObservation(f *testing.F)      { fuzzCodec(f, UUIDLiveObservations) }
func FuzzStoredObservation(f *testing.F) {
	fuzzCodec(f, UUIDStoredObservations)
}

func FuzzDeviceInformation(f *testing.F) {
	fuzzCodec(f, UUIDBattery, UUIDManufacturer, UUIDModel, UUIDSerial, UUIDHardware, UUIDFirmware, UUIDSoftware, UUIDSystemID, UUIDPnPID)
}
func FuzzClocks(f *testing.F)     { fuzzCodec(f, UUIDCurrentTime, UUIDLocalTime, UUIDDateTime) }
func FuzzHaldenRing(f *testing.F) { fuzzCodec(f, halden.UUID) }

func FuzzSegments(f *testing.F) {
	f.Add([]byte{1, 1, 2, 2, 6, 3})
	f.Fuzz(func(t *testing.T, stream []byte) {
		var s Segments
		for len(stream) > 0 {
			n := min(1+int(stream[0])%64, len(stream))
			whole, _ := s.Add(stream[:n])
			if len(whole) > maxObservation {
				t.Fatalf("%d bytes", len(whole))
			}
			if whole != nil {
				_, _ = Decode(UUIDLiveObservations, whole)
			}
			stream = stream[n:]
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("0x2a37", "06 ff")
	f.Add("00002a37-0000-1000-8000-00805f9b34fb", "handle value: (0x) 00-3c")
	f.Add("2a37", "[6, 72]")
	f.Fuzz(func(_ *testing.T, uuid, payload string) {
		if out, err := DecodeJSON(uuid, payload); err == nil && !json.Valid(out) {
			panic("not JSON")
		}
	})
}

// BenchmarkDecode is what a bridge does with each characteristic that feeds a
// metric, and in full what `wearable decode` does.
func BenchmarkDecode(b *testing.B) {
	seen := map[UUID]bool{}
	for _, v := range vectors(b) {
		uuid, payload := v.parts(b)
		if seen[uuid] || v.Error != "" || !Measures(uuid) {
			continue
		}
		seen[uuid] = true
		b.Run(characteristicOf(uuid).Name, func(b *testing.B) {
			b.ReportAllocs()
			var d Decoder
			for b.Loop() {
				if _, err := d.Decode(uuid, payload); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("in full", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Decode(UUIDContinuousOximetry, []byte{0, 97, 0, 93, 0}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A bridge's decoding allocates nothing in the long run.
func TestDecodingDoesNotAllocate(t *testing.T) {
	var d Decoder
	for uuid, payload := range map[UUID][]byte{
		UUIDHeartRate: {0x16, 72, 0x54, 1, 0xec, 2}, UUIDContinuousOximetry: {0, 97, 0, 93, 0}, UUIDTemperature: {0, 0x6c, 1, 0, 0xff},
		UUIDBloodPressure: {0, 120, 0, 80, 0, 93, 0},
	} {
		if n := testing.AllocsPerRun(100, func() { _, _ = d.Decode(uuid, payload) }); n > 0 {
			t.Errorf("%s: %v allocations", uuid, n)
		}
	}
}
