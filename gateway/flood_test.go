package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// floodedDevices is set, to a number, in the process whose gateway is flooded.
const floodedDevices = "VITALVEIL_TEST_FLOODED_DEVICES"

// flooded is what the flooded process says of itself.
type flooded struct {
	URL     string
	Devices map[string][]byte // identifier to private key
}

// TestFlooded is no test of its own: it is the gateway that is flooded, with its
// ledger. It lives until its input ends.
func TestFlooded(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(floodedDevices))
	if err != nil {
		t.Skip("runs only as the gateway that another test floods")
	}
	w := newWorld(t)
	f := flooded{URL: w.url, Devices: map[string][]byte{}}
	for range n {
		d := w.device()
		f.Devices[d.ID.String()], err = d.Key.Bytes()
		w.ok(err)
	}
	runtime.GC()
	line, err := json.Marshal(f)
	w.ok(err)
	fmt.Printf("flooded %s\n", line)
	io.Copy(io.Discard, os.Stdin)
}

// flood starts the process and returns what it said, and its identifier.
func flood(t *testing.T, devices int) (flooded, int) {
	t.Helper()
	victim := exec.Command(os.Args[0], "-test.run=^TestFlooded$")
	victim.Env = append(os.Environ(), floodedDevices+"="+strconv.Itoa(devices))
	in, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		victim.Wait()
	})
	var f flooded
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "flooded "); ok {
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, out)
			return f, victim.Process.Pid
		}
	}
	t.Fatalf("the flooded process did not begin: %v", victim.Wait())
	return f, 0
}

// peak is the most memory in bytes that a process has had resident since its start.
func peak(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatal("the process has no peak")
	}
	kilobytes, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// needsLinux skips a test that sends from many loopback addresses, or reads the memory of
// a process, where there is none of that.
func needsLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs the loopback addresses and the process files of Linux")
	}
}

// from sends a request from an address of its own on loopback.
func from(address string, r *http.Request) (int, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: dialer.DialContext}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// repeated is a body of about n bytes that says one thing very often.
func repeated(before, what, after string, n int) []byte {
	times := (n - len(before) - len(after)) / len(what)
	return []byte(before + strings.TrimSuffix(strings.Repeat(what, times), ",") + after)
}

// TestAttackHostileBodiesAtOnce sends 300 bodies at once, from as many addresses, by
// strangers and by enrolled devices, each as large as it may be and made to cost as
// much as it can.
func TestAttackHostileBodiesAtOnce(t *testing.T) {
	needsLinux(t)
	const devices, bodies = 25, 300
	f, pid := flood(t, devices)
	var signers []*api.Signer
	for id, raw := range f.Devices {
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, &api.Signer{Party: "device:" + id, Key: key})
	}
	stranger := &api.Signer{Party: api.DeviceParty(record.RandomID()), Key: consortium.NewKey()}
	uploads := [][]byte{
		repeated(`{"pointers":[`, "{},", "]}", api.MaxUpload),
		repeated(`{"blobs":["`, "AAAA", `"]}`, api.MaxUpload),
		repeated(`{`, `"x":0,`, "}", api.MaxUpload),
		repeated(`{"pointers":`, "[", "", api.MaxUpload),
	}
	open := map[string][]byte{
		"/v1/patients": repeated(`{"document":{"vouchers":[`, "{},", "]}}", api.MaxBody),
		"/v1/consents": repeated(`{"document":{"predicates":[`, `{"bounds":{}},`, "]}}", api.MaxBody),
		"/v1/devices":  repeated(`{"document":{"device":{"seed_hashes":[`, `"",`, "]}}}", api.MaxBody),
	}
	var requests []*http.Request
	add := func(s *api.Signer, target string, body []byte) {
		r, err := http.NewRequest("POST", f.URL+target, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		if s != nil {
			if err := s.Sign(r, "vitalveil-test", body, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		requests = append(requests, r)
	}
	for i := 0; len(requests) < bodies; i++ {
		s := signers[i%devices]
		target := "/v1/devices/" + strings.TrimPrefix(s.Party, "device:") + "/uploads"
		add(s, target, uploads[i%len(uploads)])
		add(&api.Signer{Party: s.Party, Key: stranger.Key}, target, uploads[0])
		for path, body := range open {
			add(nil, path, body)
		}
	}
	stop, polled := make(chan struct{}), make(chan string, 1)
	go func() { polled <- poll(f.URL+"/readyz", stop) }()
	var all sync.WaitGroup
	answers := make([]int, len(requests))
	begun := time.Now()
	for i, r := range requests {
		all.Go(func() {
			status, err := from(fmt.Sprintf("127.0.%d.%d", 1+i/250, 1+i%250), r)
			if err == nil { // else it was cut off while it was sending
				answers[i] = status
			}
		})
	}
	all.Wait()
	close(stop)
	if said := <-polled; said != "" {
		t.Errorf("readiness meanwhile: %s", said)
	}
	counts := map[int]int{}
	for i, status := range answers {
		counts[status]++
		if status != 0 && status/100 != 4 {
			t.Errorf("hostile body %d was answered %d", i, status)
		}
	}
	most := peak(t, pid)
	t.Logf("%d bodies in %s, peak %d MB, answers %v", len(requests), time.Since(begun).Round(time.Millisecond), most>>20, counts)
	if most > 400_000_000 && !raced {
		t.Errorf("the gateway took %d bytes", most)
	}
}

// poll asks again and again, and returns what went wrong.
func poll(url string, stop chan struct{}) string {
	c := http.Client{Timeout: 10 * time.Second}
	defer c.CloseIdleConnections()
	for n := 0; ; n++ {
		select {
		case <-stop:
			if n == 0 {
				return "there was no time for an answer"
			}
			return ""
		default:
		}
		resp, err := c.Get(url)
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.Status
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestAttackSlowSenders: 64 senders that drip, under wrong signatures and under right
// ones of devices of their own, do not keep 32 honest devices from uploading.
func TestAttackSlowSenders(t *testing.T) {
	const honest, slow = 32, 64
	w := newWorld(t)
	var all []*device
	for range honest {
		all = append(all, w.device())
	}
	mallory := w.enrolled()
	var theirs []*device
	for range slow / 2 {
		d := mallory.newDevice()
		w.done(w.as("", nil).EnrolDevice(context.Background(), d.Enrolment, d.Seeds))
		theirs = append(theirs, d)
	}
	w.advance(100 * 3600)
	hour := int64(startHour)
	upload := func() time.Duration {
		var wg sync.WaitGroup
		var ready []func() error
		for _, d := range all {
			data, pointers := d.rows(hour, hour+4)
			ready = append(ready, func() error {
				_, err := d.client().Upload(context.Background(), d.ID, [][]byte{data}, pointers)
				return err
			})
		}
		hour += 4
		begun := time.Now()
		for _, send := range ready {
			wg.Go(func() {
				if err := send(); err != nil {
					t.Errorf("an honest upload: %v", err)
				}
			})
		}
		wg.Wait()
		return time.Since(begun)
	}
	upload() // once to warm up
	var alone, meanwhile time.Duration
	for range 5 { // what one shares the machine with is not always the same
		alone = upload()
		stop := w.drip(theirs, slow)
		meanwhile = upload()
		stop()
		t.Logf("alone %s, with slow senders %s", alone, meanwhile)
		if meanwhile <= 2*alone || t.Failed() {
			return
		}
	}
	t.Errorf("32 uploads took %s alone and %s beside slow senders", alone, meanwhile)
}

// drip begins n uploads, half of them well signed, and sends a byte of each now and
// then. The function that it returns ends them.
func (w *world) drip(devices []*device, n int) func() {
	w.Helper()
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		d := devices[i%len(devices)]
		s := &api.Signer{Party: api.DeviceParty(d.ID), Key: d.Key}
		if i%2 == 0 {
			s.Key = consortium.NewKey()
		}
		c := w.begin(s, d, 8_000_000)
		all.Go(func() {
			defer c.Close()
			for {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
					if _, err := c.Write([]byte(" ")); err != nil {
						return // cut
					}
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	return func() { close(stop); all.Wait() }
}

// begin sends the head of an upload of so many bytes that s signed.
func (w *world) begin(s *api.Signer, d *device, bytes int) net.Conn {
	w.Helper()
	target := "/v1/devices/" + d.ID.String() + "/uploads"
	r := w.signed(s, "POST", target, []byte("{"), time.Now())
	var head strings.Builder
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", target, bytes)
	w.ok(r.Header.Write(&head))
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	w.ok(err)
	w.Cleanup(func() { c.Close() })
	_, err = fmt.Fprint(c, head.String(), "\r\n") // at once, so that it is not answered meanwhile
	w.ok(err)
	return c
}

// TestAttackABodyThatDoesNotCome: neither a body that is awaited nor that of a refused
// request holds its connection for long.
func TestAttackABodyThatDoesNotCome(t *testing.T) {
	w := newWorld(t)
	w.gw.door.bounds.grace = 200 * time.Millisecond
	d := w.device()
	target := "/v1/devices/" + d.ID.String() + "/uploads"
	for what, c := range map[string]struct {
		key    *ecdsa.PrivateKey
		status int
		code   fault.Code
	}{
		"well signed":  {d.Key, http.StatusRequestTimeout, fault.Unavailable},
		"wrong signed": {consortium.NewKey(), http.StatusUnauthorized, fault.BadSignature},
	} {
		r := w.signed(&api.Signer{Party: api.DeviceParty(d.ID), Key: c.key}, "POST", target, []byte("{}"), time.Now())
		late, end := io.Pipe()
		r.Body = late
		begun := time.Now()
		resp, body := w.raw(r)
		end.Close()
		problem(t, resp, body, c.status, c.code)
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("%s: answered after %s", what, took)
		}
	}
}
