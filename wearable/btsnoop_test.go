package wearable

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// capture builds a btsnoop file packet by packet.
type capture struct {
	file   []byte
	micros int64
}

func newCapture() *capture {
	file := append([]byte(snoopMagic), 0, 0, 0, snoopV1)
	return &capture{file: binary.BigEndian.AppendUint32(file, snoopH4), micros: 1700000000000000}
}

// record adds one H4 packet, 1/4 second after the one before.
func (c *capture) record(received bool, packet []byte) {
	flags := uint32(0)
	if received {
		flags = 1
	}
	for _, word := range []uint32{uint32(len(packet)), uint32(len(packet)), flags, 0} {
		c.file = binary.BigEndian.AppendUint32(c.file, word)
	}
	c.file = binary.BigEndian.AppendUint64(c.file, uint64(c.micros))
	c.file = append(c.file, packet...)
	c.micros += 250_000
}

// att adds one ATT packet on a connection, cut into ACL fragments of at most
// size bytes, given in hexadecimal.
func (c *capture) att(handle uint16, received bool, size int, text string) {
	body, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	whole := binary.LittleEndian.AppendUint16(nil, uint16(len(body)))
	whole = binary.LittleEndian.AppendUint16(whole, channelATT)
	whole = append(whole, body...)
	for boundary := uint16(2); len(whole) > 0; boundary = 1 {
		part := whole[:min(size, len(whole))]
		whole = whole[len(part):]
		packet := binary.LittleEndian.AppendUint16([]byte{h4ACL}, handle|boundary<<12)
		packet = binary.LittleEndian.AppendUint16(packet, uint16(len(part)))
		c.record(received, append(packet, part...))
	}
}

// connected adds an LE Connection Complete event with a peer.
func (c *capture) connected(handle uint16, peer byte) {
	c.record(true, []byte{h4Event, eventLEMeta, 19, leConnected, 0, byte(handle), byte(handle >> 8), 0, 1, peer, 0, 0, 0, 0, 0xc0, 0x18, 0, 0, 0, 0x48, 0, 0})
}

func (c *capture) disconnected(handle uint16) {
	c.record(true, []byte{h4Event, eventDisconnected, 4, 0, byte(handle), byte(handle >> 8), 0x13})
}

// discovered adds the discovery of one characteristic: request and response.
func (c *capture) discovered(handle, value uint16, uuid UUID) {
	c.att(handle, false, 99, "080100ffff0328")
	le := func(n uint16) string { return fmt.Sprintf("%02x%02x", byte(n), byte(n>>8)) }
	c.att(handle, true, 99, "0907"+le(value-1)+"10"+le(value)+string(uuid[2:]+uuid[:2]))
}

func (c *capture) csv(t testing.TB) (string, error) {
	t.Helper()
	var out strings.Builder
	err := WriteBTSnoopCSV(bytes.NewReader(c.file), &out)
	return strings.TrimPrefix(out.String(), "t_seconds,uuid,metric,value,unit\n"), err
}

func TestACaptureYieldsItsReadings(t *testing.T) {
	c := newCapture()
	c.connected(0x40, 1)
	c.discovered(0x40, 16, UUIDHeartRate)
	c.att(0x40, true, 99, "1b1000063c")
	c.att(0x40, true, 99, "1b100006ff")
	got, err := c.csv(t)
	if want := "0.75,2a37,heart_rate,60,/min\n1,2a37,heart_rate,255,/min\n"; err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

func TestDiscoveryIsFollowedInAllItsForms(t *testing.T) {
	value := "1d1000" + "0078005000ff07"
	const want = "2a35,bp_systolic,120,mm[Hg]"
	for name, discover := range map[string]func(*capture){
		"16-bit declaration": func(c *capture) { c.discovered(0x40, 16, UUIDBloodPressure) },
		"128-bit declaration": func(c *capture) {
			c.att(0x40, false, 99, "080100ffff0328")
			c.att(0x40, true, 99, "09150f00201000"+"fb349b5f80000080001000"+"00352a0000")
		},
		"information, 16 bits":    func(c *capture) { c.att(0x40, true, 99, "05011000352a") },
		"information, 128 bits":   func(c *capture) { c.att(0x40, true, 99, "05021000"+"fb349b5f80000080001000"+"00352a0000") },
		"in fragments of 5 bytes": func(c *capture) { c.att(0x40, false, 5, "080100ffff0328"); c.att(0x40, true, 5, "09070f00201000352a") },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCapture()
			discover(c)
			c.att(0x40, true, 99, value)
			c.att(0x40, false, 99, "1e")
			if got, err := c.csv(t); err != nil || !strings.Contains(got, want) {
				t.Fatalf("got %q, %v; want %q in it", got, err, want)
			}
		})
	}
}

func TestFragmentsAreReassembledPerConnectionAndDirection(t *testing.T) {
	c := newCapture()
	c.discovered(0x40, 16, UUIDHeartRate)
	c.discovered(0x41, 16, UUIDContinuousOximetry)
	one, two := newCapture(), newCapture()
	one.att(0x40, true, 4, "1b1000063c")
	two.att(0x41, true, 4, "1b10000061005d00")
	// Interleave the fragments of both, and a packet in the other direction.
	a, b := one.packets(), two.packets()
	for len(a) > 0 || len(b) > 0 {
		if len(a) > 0 {
			c.record(true, a[0])
			a = a[1:]
		}
		c.att(0x40, false, 2, "0a0300")
		if len(b) > 0 {
			c.record(true, b[0])
			b = b[1:]
		}
	}
	got, err := c.csv(t)
	for _, want := range []string{"heart_rate,60", "spo2,97", "pulse_rate,93"} {
		if err != nil || !strings.Contains(got, want) {
			t.Fatalf("got %q, %v; want %q in it", got, err, want)
		}
	}
}

// packets takes a capture apart.
func (c *capture) packets() [][]byte {
	var list [][]byte
	for rest := c.file[snoopHead:]; len(rest) > 0; {
		n := int(binary.BigEndian.Uint32(rest))
		list = append(list, rest[snoopRecord:snoopRecord+n])
		rest = rest[snoopRecord+n:]
	}
	return list
}

func TestAReusedHandleIsAnotherSensor(t *testing.T) {
	c := newCapture()
	c.connected(0x40, 1)
	c.discovered(0x40, 16, UUIDHeartRate)
	c.disconnected(0x40)
	c.connected(0x40, 2)
	c.att(0x40, true, 99, "1b1000063c")
	if got, err := c.csv(t); err != nil || got != "" {
		t.Fatalf("another sensor's value was taken for a heart rate: %q, %v", got, err)
	}
	// The first sensor comes back, and the phone remembers its attributes.
	c.disconnected(0x40)
	c.connected(0x41, 1)
	c.att(0x41, true, 99, "1b1000063c")
	if got, err := c.csv(t); err != nil || !strings.Contains(got, "heart_rate,60") {
		t.Fatalf("the known sensor's value is lost: %q, %v", got, err)
	}
}

func TestListsOfValuesAreTakenApart(t *testing.T) {
	c := newCapture()
	c.discovered(0x40, 16, UUIDHeartRate)
	c.att(0x40, true, 99, "23"+"10000200063c"+"11000100aa"+"10000200063d")
	if got, err := c.csv(t); err != nil || strings.Count(got, "heart_rate") != 2 {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestAMalformedValueDoesNotStopTheRest(t *testing.T) {
	c := newCapture()
	c.discovered(0x40, 16, UUIDHeartRate)
	c.att(0x40, true, 99, "1b100006")
	c.att(0x40, true, 99, "1b1000063d")
	got, err := c.csv(t)
	if !errors.Is(err, ErrPayload) || !strings.Contains(err.Error(), "record 3") || !strings.Contains(got, "heart_rate,61") {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestACaptureWithoutDiscoverySaysSo(t *testing.T) {
	c := newCapture()
	c.att(0x40, true, 99, "1b1000063c")
	if _, err := c.csv(t); !errors.Is(err, ErrUndiscovered) {
		t.Fatal(err)
	}
}

func TestWhatIsNoCaptureIsRefused(t *testing.T) {
	c := newCapture()
	c.discovered(0x40, 16, UUIDHeartRate)
	with := func(at int, b byte) []byte {
		file := bytes.Clone(c.file)
		file[at] = b
		return file
	}
	for name, file := range map[string][]byte{
		"empty": {}, "half a header": c.file[:9], "other magic": with(0, 'B'), "version 2": with(11, 2), "H1 data link": with(15, 0xe9),
		"half a record header": c.file[:snoopHead+5], "half a record": c.file[:len(c.file)-1],
		"cut record": with(snoopHead+3, 200), "record of 16 MB": with(snoopHead+4, 1),
	} {
		if err := WriteBTSnoopCSV(bytes.NewReader(file), new(bytes.Buffer)); !errors.Is(err, ErrCapture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAttackCaptureCannotClaimMoreThanItHas(t *testing.T) {
	// One record that announces 128 KiB and has none must not allocate them.
	c := newCapture()
	for _, word := range []uint32{maxSnoopRecord, maxSnoopRecord, 1, 0, 0, 0} {
		c.file = binary.BigEndian.AppendUint32(c.file, word)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const runs = 100
	for range runs {
		for _, err := range DecodeBTSnoop(bytes.NewReader(c.file)) {
			if !errors.Is(err, ErrCapture) {
				t.Fatal(err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 64<<10 {
		t.Errorf("%d bytes were allocated", each)
	}
	// More connections than are followed, each with an endless packet.
	c = newCapture()
	for handle := range uint16(4 * maxLinks) {
		c.record(true, []byte{h4ACL, byte(handle), byte(handle>>8) | 0x20, 4, 0, 0xff, 0xff, 4, 0})
	}
	tracked := newTracker()
	for _, packet := range c.packets() {
		tracked.packet(packet, true)
	}
	if len(tracked.links) > maxLinks {
		t.Errorf("%d connections are followed", len(tracked.links))
	}
}

// The recorded captures come with the decoding that is expected of them.
func TestRecordedCapturesDecodeAsExpected(t *testing.T) {
	files, err := filepath.Glob("../../shared/data/ble/*.btsnoop")
	if err != nil || len(files) == 0 {
		t.Skip("SKIPPED: no recorded captures in ../shared/data/ble beside the repository; nothing was checked against recordings")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { compareRecorded(t, file) })
	}
}

func compareRecorded(t *testing.T, file string) {
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	text, err := os.ReadFile(strings.TrimSuffix(file, ".btsnoop") + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	header, rows := rows[0], rows[1:]
	columns := map[string]string{"heart_rate": "heart_rate", "spo2": "spo2", "pulse_rate": "pulse_rate", "celsius": "body_temp"}
	n := 0
	for captured, err := range DecodeBTSnoop(in) {
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(rows) {
			t.Fatalf("more than the %d values expected", len(rows))
		}
		row := rows[n]
		n++
		seconds, _ := NewDecimal(captured.Micros, 6)
		got := []string{seconds.String(), string(captured.UUID), hex.EncodeToString(captured.Payload)}
		if fmt.Sprint(got) != fmt.Sprint(row[:3]) {
			t.Fatalf("value %d is %v, want %v", n, got, row[:3])
		}
		for i, column := range header[3:] {
			if want := row[3+i]; columns[column] != "" && valueOf(captured, columns[column]) != want {
				t.Fatalf("value %d: %s is %q, want %q", n, column, valueOf(captured, columns[column]), want)
			}
			if column == "rr_1024ths" && intervalsOf(captured) != row[3+i] {
				t.Fatalf("value %d: RR-intervals are %q, want %q", n, intervalsOf(captured), row[3+i])
			}
		}
	}
	if n != len(rows) {
		t.Fatalf("%d values, want %d", n, len(rows))
	}
}

// valueOf returns the reading of a metric, "" where there is none.
func valueOf(captured Captured, metric string) string {
	for _, r := range captured.Readings {
		if r.Metric == metric {
			return r.Value.String()
		}
	}
	return ""
}

func intervalsOf(captured Captured) string {
	for _, f := range captured.Fields {
		if f.Name == "rr_intervals" {
			return strings.Trim(fmt.Sprint(f.Value), "[]")
		}
	}
	return ""
}

func FuzzBTSnoop(f *testing.F) {
	c := newCapture()
	c.connected(0x40, 1)
	c.discovered(0x40, 16, UUIDHeartRate)
	c.att(0x40, true, 4, "1b1000063c")
	c.att(0x40, true, 99, "23"+"10000200063c"+"11000100aa")
	c.disconnected(0x40)
	f.Add(c.file)
	f.Add(c.file[:len(c.file)-3])
	f.Fuzz(func(t *testing.T, file []byte) {
		var out bytes.Buffer
		_ = WriteBTSnoopCSV(bytes.NewReader(file), &out)
		rows, err := csv.NewReader(&out).ReadAll()
		if err == nil && len(rows) > 0 && len(rows[0]) != 5 {
			t.Fatalf("CSV of %d columns", len(rows[0]))
		}
		// Also without the container, so that the fuzzer reaches the packets.
		tracked := newTracker()
		for i := range 8 {
			part := file[len(file)*i/8 : len(file)*(i+1)/8]
			tracked.packet(part, i%2 == 0)
			tracked.acl(part, i%2 == 0)
			tracked.att(part, &stream{serves: attributes{}}, &stream{asked: typeCharacteristic})
		}
	})
}
