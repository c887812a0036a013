package institution

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/cmd/ledger"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
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
	firstHour = int64(20000 * 24)
	// askedHours are what queries are about, of which devices measure some.
	askedHours = 24
)

var msps = []string{"HospitalA", "HospitalB", "PatientsAssociation"}

// world is three institutions and a ledger, each a process of its own, and devices
// that seal with package he.
type world struct {
	t       testing.TB
	dir     string
	hours   int64
	network record.Descriptor
	params  *he.Params
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
	broken      bool // its device sends junk in the place of rows
	key, device *ecdsa.PrivateKey
	id          record.ID
	deviceID    record.ID
	sealing     *he.DeviceKey
	seedBlob    []byte
	stats       privacy.HourStats
	consents    map[int]consent.Document // by hospital
}

// child is a process that this test started.
type child struct {
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func newWorld(t testing.TB, hours int64) *world {
	t.Helper()
	dir := must(os.MkdirTemp("", "vv")) // short: sockets have short names
	w := &world{t: t, dir: dir, hours: hours, blobs: must(blob.Open(filepath.Join(dir, "blobs")))}
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
	w.params = must(he.New(must(profile(g.Profile)), privacy.V1(), must(he.NewSharing(len(g.Members), g.Threshold))))
	for i := range msps {
		w.clients = append(w.clients, must(embedded.Connect(embedded.RemoteConfig{
			Address: w.listen[3], Operator: msps[patients], Channel: netName, Identity: w.keys[i].Identity, Roots: w.network.Roots,
		})))
	}
}

func profile(name string) (he.Profile, error) {
	p, ok := he.ProfileByName(name)
	if !ok {
		return p, fmt.Errorf("no profile %s", name)
	}
	return p, nil
}

func (w *world) member(i int) string { return filepath.Join(w.dir, fmt.Sprint(i)) }

// call asks a member's process.
func (w *world) call(ctx context.Context, i int, what string, request, result any) error {
	return dirFlag{w.member(i)}.call(ctx, what, request, result)
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) start(args ...string) *child {
	c := &child{cmd: exec.Command(os.Args[0], args...), log: &lockedBuffer{}, done: make(chan struct{})}
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
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	_, err := statusCommand{dirFlag: dirFlag{w.member(i)}, Wait: 170 * time.Second}.status(ctx)
	w.check(err)
}

// startAll starts every process, members first.
func (w *world) startAll() {
	w.t.Helper()
	for i := range w.members {
		w.up(i)
	}
	w.startLedger()
	for i := range w.members {
		w.ready(i)
	}
	w.tick(firstHour * 3600)
}

func (w *world) close() {
	for i, c := range w.members {
		c.kill()
		if w.t.Failed() && c != nil {
			w.t.Logf("%s:\n%s", msps[i], tail(c.log.String()))
		}
	}
	w.ledger.kill()
	if w.t.Failed() && w.ledger != nil {
		w.t.Logf("ledger:\n%s", tail(w.ledger.log.String()))
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
	arg, err := json.Marshal(doc)
	if err != nil {
		return network.Result{}, err
	}
	r, err := network.SubmitRetry(context.Background(), w.clients[member], network.Call{Function: m.Name(), Args: []string{string(arg)}})
	if err != nil {
		err = fmt.Errorf("%s: %w", m, err)
	}
	return r, err
}

func (w *world) tick(unix int64) {
	w.t.Helper()
	for i := range msps {
		_, err := w.submit(i, contracts.ClockTick, record.Tick{Time: unix})
		w.check(err)
	}
}

// each does something for many, some at a time.
func (w *world) each(n int, f func(i int) error) {
	w.t.Helper()
	var g errgroup.Group
	g.SetLimit(16 * runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error { return f(i) })
	}
	w.check(g.Wait())
}

// wait waits until every member's counts are as wanted.
func (w *world) wait(what string, most time.Duration, cond func(Status) bool) {
	w.t.Helper()
	for i := range msps {
		for deadline := time.Now().Add(most); ; time.Sleep(20 * time.Millisecond) {
			var s Status
			err := w.call(context.Background(), i, "status", struct{}{}, &s)
			if err == nil && cond(s) {
				break
			}
			if time.Now().After(deadline) {
				w.t.Fatalf("timed out: %s at %s: %+v, %v", what, msps[i], s.Counts, err)
			}
		}
	}
}

// enrol makes n patients with a device each, who consent to both hospitals.
func (w *world) enrol(n int) {
	w.t.Helper()
	w.people = make([]*person, n)
	w.each(n, func(i int) error {
		p := &person{key: newKey(), device: newKey()}
		w.people[i] = p
		if err := w.enrolPatient(p); err != nil {
			return err
		}
		if err := w.enrolDevice(p); err != nil {
			return err
		}
		for _, hospital := range []int{hospitalA, hospitalB} {
			if err := w.consent(p, hospital); err != nil {
				return err
			}
		}
		return nil
	})
	w.wait("seeds acknowledged", 2*time.Minute+time.Duration(n)*20*time.Millisecond, func(s Status) bool { return s.Counts.Ready == n })
}

func (w *world) enrolPatient(p *person) error {
	e := record.EnrolPatient{Inception: record.Inception{ConsentKeys: [][]byte{record.PublicKeyBytes(&p.key.PublicKey)}, RecoveryHash: record.RandomID(), Salt: record.RandomID()}}
	secret := details.NewKey()
	e.Inception.DetailsKey = secret.Digest(netName)
	p.id = e.Inception.PatientID(netName)
	var err error
	if e.DetailsBlob, err = w.blobs.Put(context.Background(), must(details.SealBoxes(netName, p.id, secret, w.network.Genesis.Members))); err != nil {
		return err
	}
	e.Signature = must(record.Sign(p.key, e.Digest(netName)))
	e.Voucher = record.Voucher{Patient: p.id, Person: record.RandomID()}
	digest := record.Digest(record.DomainVoucher, netName, e.Voucher)
	e.Vouchers = []record.VoucherSignature{{By: msps[patients], Signature: must(record.Sign(w.keys[patients].Sign, digest))}}
	_, err = w.submit(patients, contracts.RegistryEnrolPatient, e)
	return err
}

func (w *world) consent(p *person, hospital int) error {
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: msps[hospital], Purpose: "HRESCH", Status: consent.StatusActive,
		Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate}, Metrics: []string{metricKey}, DataFrom: firstHour,
		DataUntil: firstHour + 1000, Expires: (firstHour + 1000) * 3600, CapMicro: 3_000_000, BeyondShare: true, Exact: true, Predicates: []consent.Terms{},
	}
	if p.consents == nil {
		p.consents = map[int]consent.Document{}
	}
	p.consents[hospital] = d
	return w.put(d, p.key)
}

// put records a consent that a key has signed.
func (w *world) put(d consent.Document, key *ecdsa.PrivateKey) error {
	said := consent.Details{Salt: record.RandomID(), Signed: consent.Signed{
		Document: d, Key: record.PublicKeyBytes(&key.PublicKey), Signature: must(record.Sign(key, d.Digest(netName))),
	}}
	_, _, err := contracts.ConsentPut.Submit(context.Background(), w.clients[patients], contracts.Consent{Network: netName, Details: said})
	return err
}

func (w *world) enrolDevice(p *person) error {
	return w.enrolSealed(p, func(_ record.ID, blob []byte) []byte { return blob })
}

// enrolSealed enrols a person's device with what change makes of its sealed seeds.
func (w *world) enrolSealed(p *person, change func(id record.ID, blob []byte) []byte) error {
	key := record.PublicKeyBytes(&p.device.PublicKey)
	p.deviceID = record.DeviceID(netName, key)
	c := he.Context{Network: netName}
	d := record.Device{Key: key, Patient: p.id, FirstHour: firstHour, Profile: w.network.Genesis.Profile, Metrics: []string{metricKey}}
	var seeds []he.Seed
	for piece := range w.params.Sharing().Pieces() {
		seeds = append(seeds, he.NewSeed())
		d.SeedHashes = append(d.SeedHashes, w.params.SeedHash(c, p.deviceID, piece, seeds[piece]))
	}
	var err error
	blob := change(p.deviceID, must(w.params.SealSeeds(c, p.deviceID, seeds, w.network.Genesis.Members)))
	if d.SeedBlob, err = w.blobs.Put(context.Background(), blob); err != nil {
		return err
	}
	p.seedBlob = blob
	p.sealing = must(w.params.NewDeviceKey(c, p.deviceID, seeds))
	digest := record.Digest(record.DomainDevice, netName, d)
	_, err = w.submit(patients, contracts.RegistryEnrolDevice, record.EnrolDevice{
		Device: d, DeviceSignature: must(record.Sign(p.device, digest)), PatientSignature: must(record.Sign(p.key, digest)),
	})
	return err
}

// measure seals and anchors every hour of everybody and waits until the rows count.
func (w *world) measure() {
	w.t.Helper()
	w.tick((firstHour + askedHours) * 3600)
	perBatch := max(1, record.MaxBatch/int(w.hours))
	batches := (len(w.people) + perBatch - 1) / perBatch
	w.each(batches, func(b int) error {
		var pointers []record.SignedPointer
		for i := b * perBatch; i < min((b+1)*perBatch, len(w.people)); i++ {
			got, err := w.upload(i, w.people[i])
			if err != nil {
				return err
			}
			pointers = append(pointers, got...)
		}
		_, err := w.submit(patients, contracts.PointerAnchor, record.Anchor{Pointers: pointers})
		return err
	})
	rows := len(w.people) * int(w.hours)
	w.wait("rows available", time.Minute+time.Duration(rows)*10*time.Millisecond, func(s Status) bool { return s.Counts.Available == rows })
}

func (w *world) upload(i int, p *person) ([]record.SignedPointer, error) {
	m, _ := wearable.ByKey(metricKey)
	schema := w.params.Schema()
	var rows []record.BlobRow
	for h := range w.hours {
		codes := make([]uint16, 60)
		for minute := range codes {
			if (minute+i)%7 != 0 {
				codes[minute] = uint16(30 + (i*13+minute+int(h)*5)%120)
			}
		}
		stats := must(schema.Stats(m, codes))
		p.stats = add(p.stats, stats)
		row, err := w.params.Seal(he.Context{Network: netName}, p.sealing, he.Window{Hour: firstHour + h}, must(schema.Row(map[int]privacy.HourStats{m.Slot: stats})))
		if err != nil {
			return nil, err
		}
		if p.broken {
			row = consortium.Junk(w.params, uint64(h))
		}
		rows = append(rows, record.BlobRow{Hour: firstHour + h, Row: row})
	}
	w.mu.Lock()
	w.truth = add(w.truth, p.stats)
	w.mu.Unlock()
	id, err := w.blobs.Put(context.Background(), must(record.EncodeRows(p.deviceID, rows)))
	if err != nil {
		return nil, err
	}
	var out []record.SignedPointer
	for _, r := range rows {
		ptr := record.Pointer{Device: p.deviceID, Kind: record.KindRow, Index: r.Hour, Blob: id, Commitment: record.SumID(r.Row)}
		out = append(out, record.SignedPointer{Pointer: ptr, Signature: must(record.Sign(p.device, ptr.Digest(netName)))})
	}
	return out, nil
}

func add(a, b privacy.HourStats) privacy.HourStats {
	a.N, a.Sum, a.SumSq = a.N+b.N, a.Sum+b.Sum, a.SumSq+b.SumSq
	for i := range a.Buckets {
		a.Buckets[i] += b.Buckets[i]
	}
	return a
}

// study registers a study of a hospital, through its process.
func (w *world) study(member int, id string, exact bool) {
	w.t.Helper()
	s := record.Study{ID: id, Title: "A study", Purpose: "HRESCH", Metrics: []string{metricKey}, From: firstHour, Until: firstHour + 1000, MinCohort: 11, Exact: exact}
	if !exact {
		s.Budget = 10_000_000
	}
	w.check(w.call(context.Background(), member, "study", s, nil))
}

func (w *world) ask(study string, rho uint64) record.Ask {
	return record.Ask{Study: study, Metric: metricKey, From: firstHour, Until: firstHour + askedHours, Rho: rho}
}

// want compares an exact release with the readings.
func (w *world) want(r privacy.Release) {
	w.t.Helper()
	m, _ := wearable.ByKey(metricKey)
	center := w.params.Schema().Center(m.Slot)
	sum := w.truth.Sum + center*w.truth.N
	if r.N != w.truth.N || r.Sum != sum || !slices.Equal(r.Counts[:len(w.truth.Buckets)], w.truth.Buckets[:]) {
		w.t.Errorf("released n %d, sum %d; the readings have %d, %d", r.N, r.Sum, w.truth.N, sum)
	}
}

// stop and cont halt a process and let it go on.
func (c *child) stop() { c.cmd.Process.Signal(syscall.SIGSTOP) }
func (c *child) cont() { c.cmd.Process.Signal(syscall.SIGCONT) }
