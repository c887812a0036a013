package institution

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/cmd/ledger"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/site"
	"github.com/vitalveil/vitalveil/wearable"
)

// childVariable makes the test's binary run a command instead of the tests.
const childVariable = "VITALVEIL_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	var c struct {
		Institution Command        `cmd:""`
		Ledger      ledger.Command `cmd:""`
		Forging     forgingCommand `cmd:""`
	}
	ctx, stop := signalContext()
	defer stop()
	k := kong.Parse(&c, kong.BindTo(ctx, (*context.Context)(nil)))
	k.FatalIfErrorf(k.Run())
}

const (
	hospitalA = 0
	hospitalB = 1
	patients  = 2
	netName   = "processes"
	metricKey = "heart_rate"
	firstHour = int64(consortium.StartHour)
	// askedHours are what queries are about, of which devices measure some.
	askedHours = 24
)

var msps = consortium.MSPs

// world is three institutions and a ledger, each a process of its own, and devices
// that seal with package he.
type world struct {
	*consortium.Consortium
	dir     string
	hours   int64 // that devices measure, or
	days    int64 // whose day rows alone are anchored, and asked about
	network record.Descriptor
	keys    []site.Keys
	clients []*embedded.Remote
	blobs   *blob.Store
	listen  []string // of members, then of the ledger
	members [3]*child
	ledger  *child

	forging bool // the ledger records consents that nobody has signed
	people  []*person
	mu      sync.Mutex
	truth   privacy.HourStats
}

// person is a patient with one device.
type person struct {
	*consortium.Patient
	device   *consortium.Device
	broken   bool                     // its device sends junk in the place of rows
	consents map[int]consent.Document // by hospital
}

// child is a process that this test started.
type child struct {
	cmd  *exec.Cmd
	log  *consortium.Log
	done chan struct{}
}

func must[T any](v T, err error) T { return consortium.Must(v, err) }

func newWorld(t testing.TB, hours int64) *world { return newWorldOf(t, hours, 0) }

func newWorldOf(t testing.TB, hours, days int64) *world {
	t.Helper()
	dir := must(os.MkdirTemp("", "vv")) // short: sockets have short names
	w := &world{Consortium: &consortium.Consortium{TB: t}, dir: dir, hours: hours, days: days, blobs: must(blob.Open(filepath.Join(dir, "blobs")))}
	t.Cleanup(w.close)
	for range 4 {
		l := must(net.Listen("tcp", "127.0.0.1:0"))
		w.listen = append(w.listen, l.Addr().String())
		defer l.Close()
	}
	w.found()
	return w
}

// found makes keys, configurations and the network's document with the commands.
func (w *world) found() {
	path := filepath.Join(w.dir, "network.json")
	c := networkCommand{
		Name: netName, Out: path, Threshold: 2, Registrar: msps[patients], Minimum: 11, Cap: 3_000_000, Exact: true,
		Clock: record.ClockSimulated, Slot: 60, Life: 600,
	}
	if w.days > 0 {
		c.Schema = privacy.V3().Name
	}
	for i, msp := range msps {
		peers := map[string]string{}
		for j, other := range msps {
			if j != i {
				peers[other] = w.listen[j]
			}
		}
		init := initCommand{
			dirFlag: dirFlag{w.member(i)}, MSP: msp, Network: path, Listen: w.listen[i], Members: peers,
			Ledger: w.listen[3], Operator: msps[patients], Blobs: filepath.Join(w.dir, "blobs"),
		}
		w.check(init.Run())
		c.Members = append(c.Members, filepath.Join(w.member(i), site.MemberFile))
		w.keys = append(w.keys, must(site.LoadKeys(w.member(i))))
	}
	w.check(c.Run())
	w.network = must(site.Descriptor(path))
	g := w.network.Genesis
	signing := map[string]*ecdsa.PrivateKey{}
	for i, msp := range msps {
		signing[msp] = w.keys[i].Sign
	}
	w.Consortium = consortium.Of(w.TB, g, signing)
	w.Blobs = w.blobs
	w.Seal()
	for i := range msps {
		w.clients = append(w.clients, must(embedded.Connect(embedded.RemoteConfig{
			Address: w.listen[3], Operator: msps[patients], Channel: netName, Identity: w.keys[i].Identity, Roots: w.network.Roots,
		})))
		w.Clients[msps[i]] = w.clients[i]
	}
}

func (w *world) member(i int) string { return filepath.Join(w.dir, fmt.Sprint(i)) }

// call asks a member's process.
func (w *world) call(ctx context.Context, i int, what string, request, result any) error {
	return dirFlag{w.member(i)}.call(ctx, what, request, result)
}

func (w *world) check(err error) {
	w.Helper()
	w.OK(err)
}

func (w *world) start(args ...string) *child {
	c := &child{cmd: exec.Command(os.Args[0], args...), log: &consortium.Log{}, done: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childVariable+"=1")
	c.cmd.Stderr = c.log
	w.check(c.cmd.Start())
	go func() {
		defer close(c.done)
		c.cmd.Wait()
	}()
	return c
}

// kill ends a process at once.
func (c *child) kill() {
	if c != nil {
		c.cmd.Process.Kill()
		<-c.done
	}
}

func (w *world) startLedger() {
	kind := "ledger"
	if w.forging {
		kind = "forging"
	}
	w.ledger = w.start(kind, "--dir", filepath.Join(w.dir, "ledger"), "--network", filepath.Join(w.dir, "network.json"), "--org", w.member(patients), "--listen", w.listen[3])
}

// up starts a member; ready waits for it.
func (w *world) up(i int) {
	w.members[i] = w.start("institution", "run", "--dir", w.member(i))
}

func (w *world) ready(i int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	_, err := statusCommand{dirFlag: dirFlag{w.member(i)}, Wait: 170 * time.Second}.status(ctx)
	w.check(err)
}

// startAll starts every process, members first.
func (w *world) startAll() {
	w.Helper()
	for i := range w.members {
		w.up(i)
	}
	w.startLedger()
	for i := range w.members {
		w.ready(i)
	}
	w.Tick(firstHour * 3600)
}

func (w *world) close() {
	for i, c := range w.members {
		c.kill()
		if w.Failed() && c != nil {
			w.Logf("%s:\n%s", msps[i], tail(c.log.String()))
		}
	}
	w.ledger.kill()
	if w.Failed() && w.ledger != nil {
		w.Logf("ledger:\n%s", tail(w.ledger.log.String()))
	}
	for _, c := range w.clients {
		c.Close()
	}
	w.blobs.Close()
	os.RemoveAll(w.dir)
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

// submit calls a contract as a member.
func (w *world) submit(member int, m contracts.Method, doc any) (network.Result, error) {
	return w.Submit(msps[member], m, doc)
}

// each does something for many, some at a time.
func (w *world) each(n int, f func(i int) error) {
	w.Helper()
	var g errgroup.Group
	g.SetLimit(16 * runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	w.check(g.Wait())
}

// wait waits until every member's counts are as wanted.
func (w *world) wait(what string, most time.Duration, cond func(Status) bool) {
	w.Helper()
	for i := range msps {
		for deadline := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
			var s Status
			err := w.call(context.Background(), i, "status", struct{}{}, &s)
			if err == nil && cond(s) {
				break
			}
			if time.Now().After(deadline) {
				w.Fatalf("timed out: %s at %s: %+v, %v", what, msps[i], s.Counts, err)
			}
		}
	}
}

// enrol makes n patients with a device each, who consent to both hospitals.
func (w *world) enrol(n int) {
	w.Helper()
	w.people = make([]*person, n)
	w.each(n, func(i int) error {
		p := &person{Patient: w.Patient(), consents: map[int]consent.Document{}}
		p.device = p.NewDevice(firstHour, metricKey).Enrol()
		w.people[i] = p
		for _, hospital := range []int{hospitalA, hospitalB} {
			p.consents[hospital] = p.Put(w.consent(p, hospital)).Document
		}
		return nil
	})
	w.wait("seeds acknowledged", 2*time.Minute+time.Duration(n)*20*time.Millisecond, func(s Status) bool { return s.Counts.Ready == n })
}

func (w *world) consent(p *person, hospital int) consent.Document {
	return p.Document(msps[hospital], func(d *consent.Document) {
		d.DataFrom, d.DataUntil, d.NotBefore, d.Expires = firstHour, firstHour+1000, 0, (firstHour+1000)*3600
		d.CapMicro, d.BeyondShare, d.Exact = 3_000_000, true, true
	})
}

// measure seals and anchors every hour of everybody, or every day, a week at a time
// because day rows are due by then, and waits until the rows count.
func (w *world) measure() {
	w.Helper()
	const week = 6
	w.Tick((firstHour + askedHours) * 3600)
	w.anchorAll(int(w.hours), w.upload)
	for from := int64(0); from < w.days; from += week {
		until := min(from+week, w.days)
		w.Tick((firstHour + 24*until) * 3600)
		w.anchorAll(int(until-from), func(i int, p *person) []record.SignedPointer { return w.uploadDays(i, p, from, until) })
	}
	rows := len(w.people) * int(w.hours+w.days)
	w.wait("rows available", time.Minute+time.Duration(rows)*10*time.Millisecond, func(s Status) bool { return s.Counts.Available == rows })
}

// anchorAll anchors so many rows of each in batches.
func (w *world) anchorAll(rows int, upload func(i int, p *person) []record.SignedPointer) {
	w.Helper()
	if rows == 0 {
		return
	}
	perBatch := max(1, record.MaxBatch/rows)
	batches := (len(w.people) + perBatch - 1) / perBatch
	w.each(batches, func(b int) error {
		var pointers []record.SignedPointer
		for i := b * perBatch; i < min((b+1)*perBatch, len(w.people)); i++ {
			pointers = append(pointers, upload(i, w.people[i])...)
		}
		w.Anchor(pointers...)
		return nil
	})
}

func (w *world) uploadDays(i int, p *person, from, until int64) []record.SignedPointer {
	var rows []record.BlobRow
	for day := from; day < until; day++ {
		rows = append(rows, p.device.MeasureDay(steadyDay(firstHour/24+day, heartRate(i, day))))
	}
	return p.device.Upload(rows...)
}

func (w *world) upload(i int, p *person) []record.SignedPointer {
	var rows []record.BlobRow
	for h := range w.hours {
		row := p.device.Measure(firstHour+h, consortium.HeartRates(i, h))
		if p.broken {
			row.Row = consortium.Junk(w.Params, uint64(h))
		}
		rows = append(rows, row)
	}
	w.mu.Lock()
	w.truth = consortium.Add(w.truth, p.device.Stats, 1)
	w.mu.Unlock()
	return p.device.Upload(rows...)
}

// study registers a study of a hospital, through its process.
func (w *world) study(member int, id string, exact bool) {
	w.Helper()
	s := record.Study{ID: id, Title: "A study", Purpose: "HRESCH", Metrics: []string{metricKey}, From: firstHour, Until: firstHour + 1000, MinCohort: 11, Exact: exact}
	if !exact {
		s.Budget = 10_000_000
	}
	w.check(w.call(context.Background(), member, "study", s, nil))
}

func (w *world) ask(study string, rho uint64) record.Ask {
	a := record.Ask{Study: study, Metric: metricKey, From: firstHour, Until: firstHour + askedHours, Rho: rho}
	if w.days > 0 {
		a.Until, a.Want = firstHour+24*w.days, privacy.WantMean.String()
		if rho == 0 {
			a.Want = privacy.WantAll.String()
		}
	}
	return a
}

// heartRate is that of a patient on a day, in every minute that is measured.
func heartRate(i int, day int64) int64 { return 50 + int64(i)%40 + day%5 }

func steadyDay(day, rate int64) *wearable.Day {
	d := &wearable.Day{Number: day}
	m, _ := wearable.ByKey(metricKey)
	code, _ := m.Code(rate)
	for minute := range 600 {
		if err := d.Set(m.Slot, minute, code); err != nil {
			panic(err) // the table is part of the program
		}
	}
	return d
}

// want compares an exact release with the readings.
func (w *world) want(r privacy.Release) {
	w.Helper()
	w.WantExact(r, w.truth)
}

// stop and cont halt a process and let it go on.
func (c *child) stop() { c.cmd.Process.Signal(syscall.SIGSTOP) }
func (c *child) cont() { c.cmd.Process.Signal(syscall.SIGCONT) }
