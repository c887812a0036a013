package institution

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/wearable"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hospitalA   = 0
	hospitalB   = 1
	association = 2
	networkName = "test-net"
	metricKey   = "heart_rate"
	firstHour   = int64(20000 * 24)
	rowHours    = 13 // that are measured; one patient misses one of them
	dayHours    = 24 // that are asked
)

var msps = []string{"HospitalA", "HospitalB", "PatientsAssociation"}

// world is a network of three institutions in this process: a real ledger with
// the real contracts, mutual TLS on loopback, and devices that seal with package
// he.
type world struct {
	t       testing.TB
	dir     string
	genesis record.Genesis
	params  *he.Params
	ledger  *embedded.Ledger
	ids     []network.Identity
	roots   map[string][]byte
	signing []*ecdsa.PrivateKey
	boxes   []*he.MemberKeys
	blobs   *memoryBlobs
	details *detailstest.Keys
	peers   map[string]string

	log     *logBuffer
	members [3]*running

	metrics  []string // that devices are designated and consents given for
	hours    int64    // that devices measure
	patience time.Duration
	patients []*person
	epoch    record.Epoch      // that devices enrol in
	truth    privacy.HourStats // of all readings, for exact answers
	// hour is what the device of patient i seals for the h-th hour.
	hour func(i int, h int64) privacy.Hour
}

// running is an institution and how to stop it.
type running struct {
	*Institution
	stop func()
}

// person is a patient with one device.
type person struct {
	key     *ecdsa.PrivateKey
	in      record.Inception
	id      record.ID
	device  record.ID
	epoch   uint32
	devKey  *ecdsa.PrivateKey
	sealing *he.DeviceKey
	consent consent.Document
	stats   privacy.HourStats
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// newWorld starts the network with the clock at the first hour.
func newWorld(t testing.TB, change ...func(*record.Genesis)) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), roots: map[string][]byte{}, blobs: newMemoryBlobs(), details: &detailstest.Keys{}, peers: map[string]string{}, log: &logBuffer{},
		metrics: []string{metricKey}, hours: rowHours, patience: 20 * time.Second, hour: heartRates,
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	w.genesis = record.Genesis{
		Network: networkName, Clock: record.ClockSimulated, Threshold: 2, Registrar: msps[association], MinCohort: 11, Exact: true,
		Profile: he.DefaultProfile().Name, Schema: privacy.V1().Digest(), CapMicro: 3_000_000, PredicateSlot: 60, PredicateLife: 600,
		Gateways: []string{}, Circuits: []record.Circuit{},
	}
	for _, msp := range msps {
		ca := must(network.NewCA(msp))
		w.roots[msp] = ca.RootPEM()
		w.ids = append(w.ids, must(ca.Issue("institution", "client")))
		w.signing = append(w.signing, newKey())
		w.boxes = append(w.boxes, must(he.NewMemberKeys()))
		i := len(w.ids) - 1
		w.genesis.Members = append(w.genesis.Members, w.boxes[i].Enter(record.Member{
			MSP: msp, Name: msp, SignKey: record.PublicKeyBytes(&w.signing[i].PublicKey),
		}))
	}
	for _, f := range change {
		f(&w.genesis)
	}
	w.params, w.epoch = must(he.ForNetwork(w.genesis)), w.genesis.FirstEpoch()
	w.ledger = must(embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger"), Channel: networkName, Roots: w.roots, Chaincode: must(chaincode.New(w.details))}))
	t.Cleanup(func() {
		for i := range w.members {
			w.down(i)
		}
		if err := w.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	w.submit(hospitalA, contracts.RegistryInit, w.genesis)
	var listeners []net.Listener
	for _, msp := range msps {
		l := w.listen("127.0.0.1:0")
		w.peers[msp] = l.Addr().String()
		listeners = append(listeners, l)
	}
	for i, l := range listeners {
		w.up(i, func(c *Config) { c.Listen = l })
	}
	if w.genesis.Clock == record.ClockSimulated {
		w.tick(firstHour * 3600)
	}
	return w
}

// submit calls a contract as a member.
func (w *world) submit(member int, m contracts.Method, doc any) network.Result {
	w.t.Helper()
	return w.call(member, network.Call{Function: m.Name(), Args: []string{string(must(json.Marshal(doc)))}})
}

func (w *world) call(member int, call network.Call) network.Result {
	w.t.Helper()
	res, err := network.SubmitRetry(w.t.Context(), w.ledger.Client(w.ids[member]), call)
	if err != nil {
		w.t.Fatalf("%s: %v", call.Function, err)
	}
	return res
}

func (w *world) config(i int) Config {
	return Config{
		Genesis: w.genesis, Member: i, Identity: w.ids[i], Client: w.ledger.Client(w.ids[i]),
		Height: func(context.Context) (uint64, error) { return w.ledger.Height(), nil },
		Keys:   w.boxes[i], SignKey: w.signing[i], Dir: filepath.Join(w.dir, strconv.Itoa(i)), Blobs: w.blobs,
		Peers: w.peers, Roots: w.roots, Patience: 5 * time.Second,
		Log: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// up starts a member, on the address that it had before if it had one.
func (w *world) up(i int, change ...func(*Config)) *Institution {
	w.t.Helper()
	cfg := w.config(i)
	for _, f := range change {
		f(&cfg)
	}
	if cfg.Listen == nil {
		cfg.Listen = w.listen(w.peers[msps[i]])
	}
	w.members[i] = w.run(cfg)
	return w.members[i].Institution
}

// run starts a member's process.
func (w *world) run(cfg Config) *running {
	w.t.Helper()
	in, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := in.Run(ctx); err != nil {
			w.t.Errorf("%s: %v", in.MSP(), err)
		}
	}()
	return &running{in, func() {
		cancel()
		<-done
		if err := in.Close(); err != nil {
			w.t.Error(err)
		}
	}}
}

// listen takes an address, again after a moment if some connection has its port.
func (w *world) listen(address string) net.Listener {
	w.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
}

func (w *world) down(i int) {
	if w.members[i] != nil {
		w.members[i].stop()
		w.members[i] = nil
	}
}

// tick moves the clock of every member that is up.
func (w *world) tick(unix int64) {
	w.t.Helper()
	for i := range msps {
		w.submit(i, contracts.ClockTick, record.Tick{Time: unix})
	}
}

// wait waits until cond holds.
func (w *world) wait(what string, cond func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(w.patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("timed out: %s", what)
		}
	}
}

// everywhere waits until cond holds for every member that is up.
func (w *world) everywhere(what string, cond func(in *Institution) bool) {
	w.t.Helper()
	w.wait(what, func() bool {
		for _, m := range w.members {
			if m != nil && !cond(m.Institution) {
				return false
			}
		}
		return true
	})
}

// enrolPatient puts a patient on the ledger whose details key is sealed to the members
// of the current epoch.
func (w *world) enrolPatient(p *person) {
	w.t.Helper()
	e := record.EnrolPatient{Inception: p.in}
	w.blobs.put(must(w.details.Enrol(networkName, &e, w.epoch.Members)))
	p.in = e.Inception
	p.id = p.in.PatientID(networkName)
	e.Signature = must(record.Sign(p.key, e.Digest(networkName)))
	e.Voucher = record.Voucher{Patient: p.id, Person: record.RandomID()}
	digest := record.Digest(record.DomainVoucher, networkName, e.Voucher)
	e.Vouchers = []record.VoucherSignature{{By: msps[association], Signature: must(record.Sign(w.signing[association], digest))}}
	w.submit(association, contracts.RegistryEnrolPatient, e)
}

// enrol makes n patients with a device each, and consents for both hospitals.
func (w *world) enrol(n int) { w.enrolAtOnce(n, 1) }

// enrolAtOnce is enrol, of so many at once.
func (w *world) enrolAtOnce(n, atOnce int) {
	w.t.Helper()
	people := make([]*person, n)
	var all sync.WaitGroup
	for first := range atOnce {
		all.Go(func() {
			for i := first; i < n; i += atOnce {
				people[i] = w.enrolOne()
			}
		})
	}
	all.Wait()
	w.patients = append(w.patients, people...)
	w.everywhere("seeds acknowledged", func(in *Institution) bool { return in.Index().Counts().Ready == len(w.patients) })
}

func (w *world) enrolOne() *person {
	w.t.Helper()
	p := &person{key: newKey(), devKey: newKey()}
	p.in = record.Inception{ConsentKeys: [][]byte{record.PublicKeyBytes(&p.key.PublicKey)}, RecoveryHash: record.RandomID(), Salt: record.RandomID()}
	w.enrolPatient(p)
	w.enrolDevice(p)
	for _, hospital := range []int{hospitalA, hospitalB} {
		d := consent.Document{
			ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: msps[hospital], Purpose: "HRESCH", Status: consent.StatusActive,
			Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate}, Metrics: w.metrics, DataFrom: firstHour,
			DataUntil: firstHour + 1000, NotBefore: 0, Expires: (firstHour + 1000) * 3600, CapMicro: 3_000_000, BeyondShare: true, Exact: true, Predicates: []consent.Terms{},
		}
		w.putConsent(p, d)
		if hospital == hospitalA {
			p.consent = d
		}
	}
	return p
}

func (w *world) putConsent(p *person, d consent.Document) network.Result {
	w.t.Helper()
	details := consent.Details{Salt: record.RandomID(), Signed: consent.Signed{
		Document: d, Key: record.PublicKeyBytes(&p.key.PublicKey),
		Signature: must(record.Sign(p.key, d.Digest(networkName))),
	}}
	return w.call(hospitalB, must(contracts.ConsentPut.Call(contracts.Consent{Network: networkName, Details: details})))
}

// revoke ends a patient's consent for hospital A, submitted by hospital B.
func (w *world) revoke(p *person) network.Result {
	w.t.Helper()
	d := p.consent
	d.Version, d.Previous, d.Status = 2, p.consent.Digest(networkName), consent.StatusRevoked
	return w.putConsent(p, d)
}

func (w *world) enrolDevice(p *person) {
	w.t.Helper()
	w.submit(hospitalA, contracts.RegistryEnrolDevice, w.enrolment(p))
}

// enrolment makes a person's device, with its seeds where members find them.
func (w *world) enrolment(p *person) record.EnrolDevice {
	w.t.Helper()
	key := record.PublicKeyBytes(&p.devKey.PublicKey)
	p.device = record.DeviceID(networkName, key)
	p.epoch = w.epoch.Number
	c := p.context()
	d := record.Device{Key: key, Patient: p.id, FirstHour: firstHour, Profile: w.epoch.Profile, Epoch: p.epoch, Metrics: w.metrics}
	var seeds []he.Seed
	for piece := range w.params.Sharing().Pieces() {
		seeds = append(seeds, he.NewSeed())
		d.SeedHashes = append(d.SeedHashes, w.params.SeedHash(c, p.device, piece, seeds[piece]))
	}
	d.SeedBlob = w.blobs.put(must(w.params.SealSeeds(c, p.device, seeds, w.epoch.Members)))
	p.sealing = must(w.params.NewDeviceKey(c, p.device, seeds))
	digest := record.Digest(record.DomainDevice, networkName, d)
	return record.EnrolDevice{
		Device: d, DeviceSignature: must(record.Sign(p.devKey, digest)),
		PatientSignature: must(record.Sign(p.key, digest)),
	}
}

func (p *person) context() he.Context { return he.Context{Network: networkName, Epoch: p.epoch} }

// measure seals and anchors an hour's row after the other for everybody, except hour 1 of the
// second patient, and waits until they count.
func (w *world) measure() {
	w.t.Helper()
	w.tick((firstHour + max(w.hours, dayHours)) * 3600)
	var pointers []record.SignedPointer
	for i, p := range w.patients {
		pointers = append(pointers, w.upload(i, p)...)
	}
	for part := range slices.Chunk(pointers, record.MaxBatch) {
		w.submit(hospitalA, contracts.PointerAnchor, record.Anchor{Pointers: part})
	}
	w.everywhere("rows available", func(in *Institution) bool { return in.Index().Counts().Available == len(pointers) })
}

func (w *world) upload(i int, p *person) []record.SignedPointer {
	m, _ := wearable.ByKey(metricKey)
	schema := w.params.Schema()
	var rows []record.BlobRow
	for h := range w.hours {
		if i == 1 && h == 1 {
			continue
		}
		hour := w.hour(i, h)
		stats := must(schema.Stats(m, hour.Codes[m.Slot]))
		p.stats = add(p.stats, stats)
		w.truth = add(w.truth, stats)
		payloads := must(schema.HourRow(hour))
		row := must(w.params.Seal(p.context(), p.sealing, he.Window{Hour: firstHour + h}, payloads))
		rows = append(rows, record.BlobRow{Hour: firstHour + h, Row: row})
	}
	blob := w.blobs.put(must(record.EncodeRows(p.device, rows)))
	var out []record.SignedPointer
	for _, r := range rows {
		ptr := record.Pointer{Device: p.device, Kind: record.KindRow, Index: r.Hour, Blob: blob, Commitment: record.SumID(r.Row)}
		out = append(out, record.SignedPointer{Pointer: ptr, Signature: must(record.Sign(p.devKey, ptr.Digest(networkName)))})
	}
	return out
}

// heartRates are readings of one metric, some minutes without.
func heartRates(i int, h int64) privacy.Hour {
	codes := make([]uint16, 60)
	for minute := range codes {
		if (minute+i)%7 != 0 {
			codes[minute] = uint16(30 + (i*13+minute+int(h)*5)%120)
		}
	}
	return privacy.Hour{Codes: map[int][]uint16{0: codes}}
}

func add(a, b privacy.HourStats) privacy.HourStats {
	a.N, a.Sum, a.SumSq = a.N+b.N, a.Sum+b.Sum, a.SumSq+b.SumSq
	for i := range a.Buckets {
		a.Buckets[i] += b.Buckets[i]
	}
	return a
}

func sub(a, b privacy.HourStats) privacy.HourStats {
	a.N, a.Sum, a.SumSq = a.N-b.N, a.Sum-b.Sum, a.SumSq-b.SumSq
	for i := range a.Buckets {
		a.Buckets[i] -= b.Buckets[i]
	}
	return a
}

// study registers a study of hospital A.
func (w *world) study(id string, exact bool) {
	w.t.Helper()
	s := record.Study{ID: id, Title: "A study", Purpose: "HRESCH", Metrics: []string{metricKey, "spo2"}, From: firstHour, Until: firstHour + 1000, MinCohort: 11, Exact: exact}
	if !exact {
		s.Budget = 10_000_000
	}
	w.submit(hospitalA, contracts.StudyCreate, s)
}

func ask(study string, rho uint64) record.Ask {
	return record.Ask{Study: study, Metric: metricKey, From: firstHour, Until: firstHour + dayHours, Rho: rho}
}

// want compares an exact release with the readings.
func (w *world) want(a *Answer, truth privacy.HourStats) {
	w.t.Helper()
	m, _ := wearable.ByKey(metricKey)
	center := w.params.Schema().Center(m.Slot)
	sum := truth.Sum + center*truth.N
	sumSq := truth.SumSq + 2*center*truth.Sum + center*center*truth.N
	if r := a.Release; r.N != truth.N || r.Sum != sum || r.SumSq != sumSq {
		w.t.Errorf("released n %d, sum %d, sum of squares %d; the readings have %d, %d, %d", r.N, r.Sum, r.SumSq, truth.N, sum, sumSq)
	}
	for i, n := range truth.Buckets {
		if a.Release.Counts[i] != n {
			w.t.Errorf("bucket %d: %d, want %d", i, a.Release.Counts[i], n)
		}
	}
}

// wantFault checks the code of an error.
func wantFault(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if err == nil || fault.Of(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

// logBuffer keeps what the members log, to be shown when a test fails.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// memoryBlobs is a blob store by content.
type memoryBlobs struct {
	mu    sync.Mutex
	byID  map[record.ID][]byte
	reads map[record.ID]int
}

func newMemoryBlobs() *memoryBlobs {
	return &memoryBlobs{byID: map[record.ID][]byte{}, reads: map[record.ID]int{}}
}

func (b *memoryBlobs) put(data []byte) record.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := record.SumID(data)
	b.byID[id] = data
	return id
}

func (b *memoryBlobs) Get(_ context.Context, id record.ID) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads[id]++
	if data, ok := b.byID[id]; ok {
		return append([]byte(nil), data...), nil
	}
	return nil, fault.New(fault.NotFound, "no blob %s", id.Short())
}
