package gateway

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/opening"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/index"
)

const (
	hospitalA   = "HospitalA"
	hospitalB   = "HospitalB"
	association = "PatientsAssociation"

	startDay  = 20089 // 2025-01-01
	startHour = startDay * 24
	start     = startDay * 86400
)

// world is a gateway on a real listener in front of the real contracts on the
// embedded ledger.
type world struct {
	testing.TB
	dir      string
	genesis  record.Genesis
	signers  map[string]*ecdsa.PrivateKey
	members  map[string]network.Client
	ledger   *embedded.Ledger
	index    *index.Index
	blobs    *blob.Store
	client   *faulty
	logged   *syncBuffer
	clock    atomic.Int64  // offset of the gateway's wall clock in seconds
	patience patience      // of the next gateway to start
	waits    time.Duration // for an operation

	gw      *Gateway
	url     string
	details *detailstest.Keys
	stop    func()
}

// newWorld starts a network on a simulated clock and a gateway on it.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, (*world).openEmbedded)
}

// newWorldOn is newWorld on a ledger that open connects the members to; it returns
// the channel's name.
func newWorldOn(t testing.TB, open func(*world) string) *world {
	t.Helper()
	w := &world{
		TB: t, dir: t.TempDir(), signers: map[string]*ecdsa.PrivateKey{},
		members: map[string]network.Client{}, logged: &syncBuffer{}, waits: 20 * time.Second, details: &detailstest.Keys{},
	}
	w.found(open(w))
	w.startGateway()
	t.Cleanup(func() { w.stop() })
	return w
}

// openEmbedded opens an embedded ledger in the world's directory.
func (w *world) openEmbedded() string {
	const channel = "vitalveil-test"
	w.Helper()
	roots := map[string][]byte{}
	cas := map[string]*network.CA{}
	for _, msp := range []string{hospitalA, hospitalB, association} {
		ca, err := network.NewCA(msp)
		w.ok(err)
		cas[msp], roots[msp] = ca, ca.RootPEM()
	}
	cc, err := chaincode.New(w.details)
	w.ok(err)
	w.ledger, err = embedded.Open(embedded.Config{
		Dir: filepath.Join(w.dir, "ledger"), Channel: channel, Roots: roots, Chaincode: cc,
	})
	w.ok(err)
	w.Cleanup(func() { w.ok(w.ledger.Close()) })
	for msp, ca := range cas {
		id, err := ca.Issue("client", "client")
		w.ok(err)
		w.members[msp] = w.ledger.Client(id)
	}
	return channel
}

// found makes the network on the channel, and keeps an index of it.
func (w *world) found(channel string) {
	w.Helper()
	w.genesis = record.Genesis{
		Network: channel, Clock: record.ClockSimulated, Threshold: 2,
		Registrar: association, Gateways: []string{association}, MinCohort: state.MinCohort,
		Profile: "n8192-q212-t128", Schema: privacy.V1().Digest(), CapMicro: 5_000_000,
		Circuits: []record.Circuit{dayCircuit(w)}, PredicateSlot: 300, PredicateLife: 3600,
		RelyingParties: []record.RelyingParty{{ID: "example.org", Origins: []string{portal, nativeApp}}},
	}
	for _, msp := range []string{hospitalA, hospitalB, association} {
		key := newKey(w)
		boxes, err := he.NewMemberKeys()
		w.ok(err)
		w.signers[msp] = key
		w.genesis.Members = append(w.genesis.Members, boxes.Enter(record.Member{
			MSP: msp, Name: msp, SignKey: record.PublicKeyBytes(&key.PublicKey),
		}))
	}
	w.submit(hospitalA, "Registry:Init", w.genesis)
	for msp := range w.members {
		w.submit(msp, "Clock:Tick", record.Tick{Time: start})
	}
	w.client = &faulty{Client: w.members[association]}
	w.index = index.New()
	w.index.OpenWith(w.details)
	w.follow()
}

// follow keeps the index up with the ledger.
func (w *world) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		for b, err := range w.members[association].Blocks(ctx, 0) {
			if err == nil {
				err = w.index.Apply(b)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	w.Cleanup(func() {
		cancel()
		w.ok(<-done)
	})
}

// startGateway runs a gateway on what is in the directory.
func (w *world) startGateway() {
	w.Helper()
	var err error
	w.blobs, err = blob.Open(filepath.Join(w.dir, "blobs"))
	w.ok(err)
	w.gw, err = newGateway(Config{
		Genesis: w.genesis, Client: w.client, Blobs: w.blobs, Dir: w.dir, Index: w.index, patience: w.patience,
		Log: slog.New(slog.NewTextHandler(w.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, func() time.Time { return time.Now().Add(time.Duration(w.clock.Load()) * time.Second) })
	w.ok(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	w.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.gw.Serve(ctx, l) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		w.ok(<-served)
		w.ok(w.gw.Close())
		w.ok(w.blobs.Close())
	})
}

// restart ends the gateway and starts another on its journal.
func (w *world) restart() {
	w.Helper()
	w.stop()
	w.startGateway()
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) submit(msp, function string, arg any) network.Result {
	w.Helper()
	b, err := json.Marshal(arg)
	w.ok(err)
	res, err := network.SubmitRetry(context.Background(), w.members[msp], network.Call{Function: function, Args: []string{string(b)}})
	w.ok(err)
	return res
}

// as is a client that signs as a party; nil key: one that does not sign.
func (w *world) as(party string, key *ecdsa.PrivateKey) *api.Client {
	var s *api.Signer
	if key != nil {
		s = &api.Signer{Party: party, Key: key}
	}
	c := api.NewClient(w.url, w.genesis.Network, s)
	w.Cleanup(c.Close)
	return c
}

func (w *world) member(msp string) *api.Client { return w.as(api.MemberParty(msp), w.signers[msp]) }

// faulty is a ledger client whose faults a test chooses.
type faulty struct {
	network.Client
	before atomic.Pointer[func(context.Context, network.Call) error] // instead of submitting
	after  atomic.Pointer[func(context.Context, network.Call) error] // the answer is lost
	calls  atomic.Int64
	deaf   atomic.Bool // answers no questions
}

func (f *faulty) Evaluate(ctx context.Context, c network.Call) ([]byte, error) {
	if f.deaf.Load() {
		return nil, fault.New(fault.Unavailable, "the ledger is away")
	}
	return f.Client.Evaluate(ctx, c)
}

func (f *faulty) Submit(ctx context.Context, c network.Call) (network.Result, error) {
	f.calls.Add(1)
	if fn := f.before.Load(); fn != nil {
		if err := (*fn)(ctx, c); err != nil {
			return network.Result{}, err
		}
	}
	res, err := f.Client.Submit(ctx, c)
	if fn := f.after.Load(); fn != nil && err == nil {
		if err := (*fn)(ctx, c); err != nil {
			return network.Result{}, err
		}
	}
	return res, err
}

func (f *faulty) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return f.Client.Blocks(ctx, from)
}

// patient is a person with a consent key.
type patient struct {
	w     *world
	id    record.ID
	key   *ecdsa.PrivateKey
	enrol record.EnrolPatient
	boxes []byte
}

func (w *world) newPatient() *patient {
	w.Helper()
	p := &patient{w: w, key: newKey(w)}
	p.enrol.Inception = record.Inception{
		ConsentKeys:  [][]byte{record.PublicKeyBytes(&p.key.PublicKey)},
		RecoveryHash: record.RandomID(), Salt: record.RandomID(),
	}
	var err error
	p.boxes, err = w.details.Enrol(w.genesis.Network, &p.enrol, w.genesis.Members)
	w.ok(err)
	p.id = p.enrol.Inception.PatientID(w.genesis.Network)
	p.enrol.Signature = sign(w, p.key, p.enrol.Digest(w.genesis.Network))
	p.enrol.Voucher = record.Voucher{Patient: p.id, Person: record.RandomID()}
	p.enrol.Vouchers = []record.VoucherSignature{{By: association, Signature: sign(w, w.signers[association], record.Digest(record.DomainVoucher, w.genesis.Network, p.enrol.Voucher))}}
	return p
}

func (p *patient) client() *api.Client { return p.w.as(api.PatientParty(p.id), p.key) }

// enrolled is a patient whom the gateway put on the ledger.
func (w *world) enrolled() *patient {
	w.Helper()
	p := w.newPatient()
	w.done(w.as("", nil).EnrolPatient(context.Background(), p.enrol, p.boxes))
	return p
}

// consent is a first version, signed.
func (p *patient) consent(change ...func(*consent.Document)) consent.Signed {
	p.w.Helper()
	d := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: hospitalA, Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate},
		Metrics: []string{"heart_rate"}, DataFrom: startHour, DataUntil: startHour + 1000,
		NotBefore: start, Expires: start + 1_000_000, CapMicro: 1_000_000,
	}
	for _, f := range change {
		f(&d)
	}
	return p.sign(d)
}

func (p *patient) sign(d consent.Document) consent.Signed {
	p.w.Helper()
	return consent.Signed{
		Document: d, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: sign(p.w, p.key, d.Digest(p.w.genesis.Network)),
	}
}

// device is a bridge of a patient.
type device struct {
	w     *world
	id    record.ID
	key   *ecdsa.PrivateKey
	enrol record.EnrolDevice
	seeds []byte
}

func (p *patient) newDevice() *device {
	p.w.Helper()
	d := &device{w: p.w, key: newKey(p.w)}
	d.id = record.DeviceID(p.w.genesis.Network, record.PublicKeyBytes(&d.key.PublicKey))
	d.seeds = p.w.sealedSeeds(d.id)
	d.enrol.Device = record.Device{
		Key: record.PublicKeyBytes(&d.key.PublicKey), Patient: p.id, FirstHour: startHour,
		Profile: p.w.genesis.Profile, Metrics: []string{"heart_rate"},
		SeedHashes: []record.ID{record.RandomID(), record.RandomID(), record.RandomID()}, SeedBlob: record.SumID(d.seeds),
	}
	d.sign(p)
	return d
}

func (d *device) sign(p *patient) {
	d.w.Helper()
	digest := record.Digest(record.DomainDevice, d.w.genesis.Network, d.enrol.Device)
	d.enrol.DeviceSignature, d.enrol.PatientSignature = sign(d.w, d.key, digest), sign(d.w, p.key, digest)
}

// sealedSeeds is the seed blob of a device.
func (w *world) sealedSeeds(id record.ID) []byte {
	w.Helper()
	var boxes [][]byte
	for piece := range w.genesis.Members { // 2 of 3: all but one member hold a piece
		for i, m := range w.genesis.Members {
			if i == piece {
				continue
			}
			box, err := opening.SeedPlace{Network: w.genesis.Network, Profile: w.genesis.Profile, Device: id, Piece: piece}.To(m).Seal(random(32))
			w.ok(err)
			boxes = append(boxes, box)
		}
	}
	return opening.Blob(id, boxes)
}

func (d *device) client() *api.Client { return d.w.as(api.DeviceParty(d.id), d.key) }

// device is an enrolled bridge of an enrolled patient.
func (w *world) device() *device {
	w.Helper()
	d := w.enrolled().newDevice()
	w.done(w.as("", nil).EnrolDevice(context.Background(), d.enrol, d.seeds))
	return d
}

func (d *device) pointer(p record.Pointer) record.SignedPointer {
	d.w.Helper()
	return record.SignedPointer{Pointer: p, Signature: sign(d.w, d.key, p.Digest(d.w.genesis.Network))}
}

// done waits for an operation that has to succeed.
func (w *world) done(op *api.Operation, err error) *api.Operation {
	w.Helper()
	w.ok(err)
	ctx, cancel := context.WithTimeout(context.Background(), w.waits)
	defer cancel()
	op, err = w.as("", nil).Wait(ctx, op)
	w.ok(err)
	return op
}

// advance moves ledger time.
func (w *world) advance(seconds int64) {
	w.Helper()
	for msp := range w.members {
		w.submit(msp, "Clock:Tick", record.Tick{Time: start + seconds})
	}
}

// wantFault insists on a coded error.
func wantFault(t testing.TB, code fault.Code, err error) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// raw sends a request as it is and returns the answer with its body.
func (w *world) raw(r *http.Request) (*http.Response, []byte) {
	w.Helper()
	t := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}
	resp, err := t.RoundTrip(r)
	w.ok(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	w.ok(err)
	return resp, b
}

func (w *world) request(method, target string, body []byte) *http.Request {
	w.Helper()
	r, err := http.NewRequest(method, w.url+target, bytes.NewReader(body))
	w.ok(err)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// problem insists that an answer is a problem document with status and code.
func problem(t testing.TB, resp *http.Response, body []byte, status int, code fault.Code) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil {
		t.Errorf("status %d is no problem document: %q", resp.StatusCode, body)
		return p
	}
	if resp.Header.Get("Content-Type") != "application/problem+json" || resp.StatusCode != status || p.Status != status || p.Code != code {
		t.Errorf("got %d %s %s (%s), want %d %s", resp.StatusCode, resp.Header.Get("Content-Type"), p.Code, p.Detail, status, code)
	}
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, key *ecdsa.PrivateKey, digest record.ID) []byte {
	t.Helper()
	sig, err := record.Sign(key, digest)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func consentMessage(w *world, s consent.Signed) *apiv1.SignedConsent {
	w.Helper()
	m := &apiv1.SignedConsent{}
	w.ok(api.ToMessage(s, m))
	return m
}

// post has anybody bring the enrolment to the gateway.
func (p *patient) post(ctx context.Context) (*api.Operation, error) {
	return p.w.as("", nil).EnrolPatient(ctx, p.enrol, p.boxes)
}
