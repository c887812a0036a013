package wearable

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// vector is one line of testdata/gatt.json.
type vector struct {
	Name, UUID, Hex string
	Readings, Drops []string
	Fields          map[string]any
	Units           map[string]string
	Error           string
}

func vectors(t testing.TB) []vector {
	t.Helper()
	text, err := os.ReadFile("testdata/gatt.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []vector
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			uuid, err := ParseUUID(v.UUID)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := ParsePayload(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			n, err := Decode(uuid, payload)
			if v.Error != "" {
				if !errors.Is(err, ErrPayload) || !strings.Contains(err.Error(), v.Error) {
					t.Fatalf("error %v, want one that says %q", err, v.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v.compare(t, n)
			readings, drops, err := AppendReadings(nil, uuid, payload)
			if err != nil || drops != len(n.Drops) || fmt.Sprint(readings) != fmt.Sprint(n.Readings) {
				t.Fatalf("AppendReadings gives %v and %d drops, %v", readings, drops, err)
			}
		})
	}
}

func (v vector) compare(t *testing.T, n Notification) {
	t.Helper()
	readings, drops := []string{}, []string{}
	for _, r := range n.Readings {
		readings = append(readings, r.Metric+" "+r.Value.String())
	}
	for _, d := range n.Drops {
		drops = append(drops, d.Metric+" "+d.Reason)
	}
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
}

// Every true prefix and every extension of a valid payload must be refused,
// except that a heart rate may have any number of RR-intervals.
func TestLengthsAreExact(t *testing.T) {
	for _, v := range vectors(t) {
		uuid, _ := ParseUUID(v.UUID)
		payload, _ := hex.DecodeString(v.Hex)
		if v.Error != "" || uuid == UUIDHeartRate && payload[0]&0x10 != 0 {
			continue
		}
		for cut := range payload {
			if _, err := Decode(uuid, payload[:cut]); !errors.Is(err, ErrPayload) {
				t.Errorf("%s: %d of %d bytes: %v", v.Name, cut, len(payload), err)
			}
		}
		if _, err := Decode(uuid, append(bytes.Clone(payload), 0)); !errors.Is(err, ErrPayload) {
			t.Errorf("%s: one byte too many: %v", v.Name, err)
		}
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
			payload, err := Encode(uuid, Reading{m.Key, v})
			if can != (err == nil) || err != nil && !errors.Is(err, ErrInexact) {
				t.Errorf("%s %s: CanCarry %v, Encode %v", m.Key, s, can, err)
			}
			if err != nil {
				continue
			}
			readings, _, err := AppendReadings(nil, uuid, payload)
			if err != nil || len(readings) != 1 || readings[0] != (Reading{m.Key, v}) {
				t.Errorf("%s %s arrives as %v, %v", m.Key, s, readings, err)
			}
		}
	}
	if CanCarry("heart_rate", dec(t, "60.5")) || !CanCarry("spo2", dec(t, "97.5")) || !CanCarry("body_temp", dec(t, "36.65")) {
		t.Error("CanCarry is wrong about plain cases")
	}
}

func TestEncodeRefusesMixedReadings(t *testing.T) {
	sixty := Int(60)
	for name, readings := range map[string][]Reading{
		"none": nil, "foreign": {{"spo2", sixty}}, "twice": {{"heart_rate", sixty}, {"heart_rate", sixty}},
	} {
		if _, err := Encode(UUIDHeartRate, readings...); err == nil {
			t.Errorf("%s was encoded", name)
		}
	}
	if _, err := Encode(UUIDGlucose, Reading{"glucose", sixty}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("glucose: %v", err)
	}
	if _, err := EncodeHeartRate(sixty, make([]uint16, 9)); err == nil {
		t.Error("nine RR-intervals were encoded")
	}
	payload, err := EncodeHeartRate(Int(300), []uint16{700, 720})
	if err != nil || hex.EncodeToString(payload) != "172c01bc02d002" {
		t.Errorf("heart rate with RR-intervals is %x, %v", payload, err)
	}
}

func TestUUIDsHaveThreeForms(t *testing.T) {
	for _, s := range []string{"2a37", "2A37", "0x2A37", "0X2a37", "00002a37-0000-1000-8000-00805f9b34fb", "00002A37-0000-1000-8000-00805F9B34FB"} {
		if uuid, err := ParseUUID(s); err != nil || uuid != UUIDHeartRate {
			t.Errorf("%q is %04x, %v", s, uuid, err)
		}
	}
	for _, s := range []string{
		"", "2a3", "2a377", "zz37", "0x", "10002a37-0000-1000-8000-00805f9b34fb", "00002a37-0000-1000-8000-00805f9b34fc",
		"0x002a37-0000-1000-8000-00805f9b34fb", "6e400001-b5a3-f393-e0a9-e50e24dcca9e", strings.Repeat("2a37", 1000),
	} {
		if uuid, err := ParseUUID(s); err == nil {
			t.Errorf("%q was read as %04x", s, uuid)
		}
	}
}

func TestPayloadsAreHexadecimal(t *testing.T) {
	for _, s := range []string{"06ff", "0x06FF", "06 ff", "06:FF", "06-ff"} {
		if raw, err := ParsePayload(s); err != nil || !bytes.Equal(raw, []byte{6, 0xff}) {
			t.Errorf("%q is %x, %v", s, raw, err)
		}
	}
	for _, s := range []string{"0", "06f", "0g", "06  ff", " 06", "06 ", "0 6", strings.Repeat("00", MaxPayload+1), strings.Repeat("00", 1<<20)} {
		if _, err := ParsePayload(s); err == nil {
			t.Errorf("%.20q was read", s)
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
	for _, bad := range [][2]string{{"2a19", "64"}, {"2a37", ""}, {"heart", "003c"}, {"2a37", "xx"}} {
		if out, err := DecodeJSON(bad[0], bad[1]); err == nil {
			t.Errorf("%v was decoded: %s", bad, out)
		}
	}
}

func TestAnUnknownCharacteristicIsNotAPayloadError(t *testing.T) {
	if _, err := Decode(0x2A19, []byte{100}); !errors.Is(err, ErrUnsupported) || errors.Is(err, ErrPayload) {
		t.Fatal(err)
	}
	if _, err := Decode(UUIDHeartRate, make([]byte, MaxPayload+1)); !errors.Is(err, ErrPayload) {
		t.Fatal(err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		uuid, _ := ParseUUID(v.UUID)
		payload, _ := hex.DecodeString(v.Hex)
		f.Add(uuid, payload)
	}
	f.Fuzz(func(t *testing.T, uuid uint16, payload []byte) {
		n, err := Decode(uuid, payload)
		readings, drops, fastErr := AppendReadings(nil, uuid, payload)
		if (err == nil) != (fastErr == nil) {
			t.Fatalf("%v, but %v", err, fastErr)
		}
		if err != nil {
			return
		}
		if fmt.Sprint(readings) != fmt.Sprint(n.Readings) || drops != len(n.Drops) {
			t.Fatalf("%v and %v", readings, n.Readings)
		}
		text, err := json.Marshal(n)
		if err != nil || !json.Valid(text) {
			t.Fatalf("%s: %v", text, err)
		}
		for _, r := range n.Readings {
			if _, known := ByKey(r.Metric); !known {
				t.Fatalf("reading of %q", r.Metric)
			}
		}
	})
}

func FuzzTexts(f *testing.F) {
	f.Add("0x2a37", "06 ff")
	f.Add("00002a37-0000-1000-8000-00805f9b34fb", "0x003c")
	f.Fuzz(func(_ *testing.T, uuid, payload string) {
		if out, err := DecodeJSON(uuid, payload); err == nil && !json.Valid(out) {
			panic("not JSON")
		}
	})
}

func BenchmarkAppendReadings(b *testing.B) {
	payload := binary.LittleEndian.AppendUint32([]byte{0}, 0x005d0061)
	var dst []Reading
	for b.Loop() {
		var err error
		if dst, _, err = AppendReadings(dst[:0], UUIDContinuousOximetry, payload); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCharacteristicsAreThoseThatDecode(t *testing.T) {
	for _, uuid := range Characteristics() {
		if _, err := Decode(uuid, nil); !Decodes(uuid) || errors.Is(err, ErrUnsupported) {
			t.Errorf("%04x: %v", uuid, err)
		}
	}
	if len(Characteristics()) != 7 || Decodes(0) {
		t.Errorf("characteristics are %04x", Characteristics())
	}
}
