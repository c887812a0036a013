package institution

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hospitalA   = 0
	hospitalB   = 1
	association = 2
	networkName = "test-net"
	metricKey   = "heart_rate"
	firstHour   = int64(consortium.StartHour)
	rowHours    = 13 // that are measured; one patient misses one of them
	dayHours    = 24 // that are asked
)

var (
	msps      = consortium.MSPs
	newKey    = consortium.NewKey
	wantFault = consortium.WantFault
)

// world is a network of three institutions in this process: a real ledger with
// the real contracts, mutual TLS on loopback, and devices that seal with package
// he.
type world struct {
	*consortium.Consortium
	dir   string
	ids   []network.Identity
	roots map[string][]byte
	blobs *consortium.Blobs
	peers map[string]string

	log     *consortium.Log
	members [3]*running

	metrics  []string // that devices are designated and consents given for
	hours    int64    // that devices measure
	patience time.Duration
	patients []*person
	truth    privacy.HourStats // of all readings, for exact answers
	// hour is what the device of patient i seals for the h-th hour.
	hour  func(i int, h int64) privacy.Hour
	daily bool // day rows are anchored, and asked about
}

// running is an institution and how to stop it.
type running struct {
	*Institution
	stop func()
}

// person is a patient with one device, and what hospital A may.
type person struct {
	*consortium.Patient
	device  *consortium.Device
	consent consent.Document
}

func must[T any](v T, err error) T { return consortium.Must(v, err) }

// newWorld starts the network with the clock at the first hour.
func newWorld(t testing.TB, change ...func(*record.Genesis)) *world {
	t.Helper()
	defaults := func(g *record.Genesis) {
		g.Network, g.CapMicro, g.PredicateSlot, g.PredicateLife, g.Gateways = networkName, 3_000_000, 60, 600, []string{}
	}
	w := &world{
		Consortium: consortium.New(t, append([]func(*record.Genesis){defaults}, change...)...),
		dir:        t.TempDir(), roots: map[string][]byte{}, blobs: &consortium.Blobs{}, peers: map[string]string{}, log: &consortium.Log{},
		metrics: []string{metricKey}, hours: rowHours, patience: 20 * time.Second, hour: consortium.HeartRates,
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.log.String())
		}
	})
	w.Blobs = w.blobs
	w.Seal()
	w.Open(filepath.Join(w.dir, "ledger"))
	t.Cleanup(func() {
		for i := range w.members {
			w.down(i)
		}
	})
	w.submit(hospitalA, contracts.RegistryInit, w.Genesis)
	var listeners []net.Listener
	for _, msp := range msps {
		w.ids, w.roots[msp] = append(w.ids, consortium.Identity(msp)), consortium.Authority(msp).RootPEM()
		l := w.listen("127.0.0.1:0")
		w.peers[msp] = l.Addr().String()
		listeners = append(listeners, l)
	}
	for i, l := range listeners {
		w.up(i, func(c *Config) { c.Listen = l })
	}
	if w.Genesis.Clock == record.ClockSimulated {
		w.Tick(firstHour * 3600)
	}
	return w
}

// submit calls a contract as a member.
func (w *world) submit(member int, m contracts.Method, doc any) network.Result {
	w.Helper()
	return w.Must(msps[member], m, doc)
}

func (w *world) config(i int) Config {
	return Config{
		Genesis: w.Genesis, Member: i, Identity: w.ids[i], Client: w.Ledger.Client(w.ids[i]),
		Height: func(context.Context) (uint64, error) { return w.Ledger.Height(), nil },
		Keys:   w.Boxes[msps[i]], SignKey: w.Keys[msps[i]], Dir: filepath.Join(w.dir, strconv.Itoa(i)), Blobs: w.blobs,
		Peers: w.peers, Roots: w.roots, Patience: 5 * time.Second, Log: w.log.Logger(),
	}
}

// up starts a member, on the address that it had before if it had one.
func (w *world) up(i int, change ...func(*Config)) *Institution {
	w.Helper()
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
	w.Helper()
	in, err := New(cfg)
	w.OK(err)
	return &running{in, consortium.Run(w, in.Run, in.Close)}
}

// listen takes an address, again after a moment if some connection has its port.
func (w *world) listen(address string) (l net.Listener) {
	w.Helper()
	consortium.Eventually(w, 5*time.Second, "the port is free", func() bool {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	return l
}

func (w *world) down(i int) {
	if w.members[i] != nil {
		w.members[i].stop()
		w.members[i] = nil
	}
}

// wait waits until cond holds.
func (w *world) wait(what string, cond func() bool) {
	w.Helper()
	consortium.Eventually(w, w.patience, what, cond)
}

// everywhere waits until cond holds for every member that is up.
func (w *world) everywhere(what string, cond func(in *Institution) bool) {
	w.Helper()
	w.wait(what, func() bool {
		return !slices.ContainsFunc(w.members[:], func(m *running) bool { return m != nil && !cond(m.Institution) })
	})
}

// put stores a blob.
func (w *world) put(data []byte) record.ID { return must(w.blobs.Put(context.Background(), data)) }

// newPerson is a patient whose details key is sealed to the members of the current
// epoch.
func (w *world) newPerson() *person {
	w.Helper()
	return &person{Patient: w.Patient()}
}

// enrol makes n patients with a device each, and consents for both hospitals.
func (w *world) enrol(n int) { w.enrolAtOnce(n, 1) }

// enrolAtOnce is enrol, of so many at once.
func (w *world) enrolAtOnce(n, atOnce int) {
	w.Helper()
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
	w.Helper()
	p := w.newPerson()
	w.enrolDevice(p)
	for _, hospital := range []int{hospitalB, hospitalA} {
		p.consent = p.Document(msps[hospital], func(d *consent.Document) {
			d.Metrics, d.DataFrom, d.DataUntil, d.NotBefore, d.Expires = w.metrics, firstHour, firstHour+1000, 0, (firstHour+1000)*3600
			d.CapMicro, d.BeyondShare, d.Exact = 3_000_000, true, true
		})
		w.putConsent(p, p.consent)
	}
	return p
}

func (w *world) putConsent(p *person, d consent.Document) network.Result {
	w.Helper()
	return w.submit(hospitalB, contracts.ConsentPut, p.Sign(d))
}

// revoke ends a patient's consent for hospital A, submitted by hospital B.
func (w *world) revoke(p *person) network.Result {
	w.Helper()
	return w.putConsent(p, p.Revoked(p.consent))
}

func (w *world) enrolDevice(p *person) {
	w.Helper()
	w.submit(hospitalA, contracts.RegistryEnrolDevice, w.enrolment(p))
}

// enrolment makes a person's device, with its seeds where members find them.
func (w *world) enrolment(p *person) record.EnrolDevice {
	p.device = p.NewDevice(firstHour, w.metrics...)
	w.put(p.device.Seeds)
	return p.device.Enrolment
}

// measure seals and anchors an hour's row after the other for everybody, except hour 1 of the
// second patient, and waits until they count.
func (w *world) measure() {
	w.Helper()
	w.Tick((firstHour + max(w.hours, dayHours)) * 3600)
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
	var rows []record.BlobRow
	before := p.device.Stats
	for h := range w.hours {
		if i != 1 || h != 1 {
			rows = append(rows, p.device.Measure(firstHour+h, w.hour(i, h)))
		}
	}
	w.truth = consortium.Add(w.truth, consortium.Add(p.device.Stats, before, -1), 1)
	return p.device.Upload(rows...)
}

// study registers a study of hospital A.
func (w *world) study(id string, exact bool) {
	w.Helper()
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
	w.Helper()
	w.WantExact(a.Release, truth)
}
