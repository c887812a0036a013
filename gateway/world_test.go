package gateway

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
)

const (
	hospitalA   = consortium.HospitalA
	hospitalB   = consortium.HospitalB
	association = consortium.Association
	startDay    = consortium.StartDay
	startHour   = consortium.StartHour
	start       = consortium.Start
)

// world is a gateway on a real listener in front of the real contracts on the
// embedded ledger.
type world struct {
	*consortium.Consortium
	dir      string
	index    *index.Index
	answers  Index // of the next gateway to start; nil: index
	blobs    *blob.Store
	client   *faulty
	logged   *consortium.Log
	clock    atomic.Int64  // offset of the gateway's wall clock in seconds
	patience patience      // of the next gateway to start
	waits    time.Duration // for an operation

	gw   *Gateway
	url  string
	stop func()
}

// newWorld starts a network on a simulated clock and a gateway on it.
func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOn(t, "vitalveil-test", func(w *world) { w.Open(filepath.Join(w.dir, "ledger")) })
}

// newWorldOn is newWorld on a ledger that open connects the members to.
func newWorldOn(t testing.TB, channel string, open func(*world)) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), logged: &consortium.Log{}, waits: 20 * time.Second}
	w.Consortium = consortium.New(t, func(g *record.Genesis) {
		g.Network, g.Exact, g.Schema = channel, false, privacy.V3().Digest()
		g.Circuits = []record.Circuit{consortium.DayFixture("..").Circuit()}
		g.RelyingParties = consortium.Portals(nativeApp)
	})
	w.Seal()
	open(w)
	w.Begin()
	w.client = &faulty{Client: w.Clients[association]}
	w.index = index.New()
	w.index.OpenWith(w.Details)
	consortium.Background(t, w.follow, nil)
	w.startGateway()
	t.Cleanup(func() { w.stop() })
	return w
}

// follow keeps the index up with the ledger.
func (w *world) follow(ctx context.Context) error {
	for b, err := range w.Clients[association].Blocks(ctx, 0) {
		if err == nil {
			err = w.index.Apply(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// startGateway runs a gateway on what is in the directory.
func (w *world) startGateway() {
	w.Helper()
	var err error
	w.blobs, err = blob.Open(filepath.Join(w.dir, "blobs"))
	w.ok(err)
	w.gw, err = newGateway(Config{
		Genesis: w.Genesis, Client: w.client, Blobs: w.blobs, Dir: w.dir, Index: cmp.Or[Index](w.answers, w.index), patience: w.patience, Log: w.logged.Logger(),
	}, func() time.Time { return time.Now().Add(time.Duration(w.clock.Load()) * time.Second) })
	w.ok(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	w.url = "http://" + l.Addr().String()
	gw, blobs := w.gw, w.blobs
	w.stop = consortium.Run(w, func(ctx context.Context) error { return gw.Serve(ctx, l) }, func() error {
		return errors.Join(gw.Close(), blobs.Close())
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
	w.OK(err)
}

// as is a client that signs as a party; nil key: one that does not sign.
func (w *world) as(party string, key *ecdsa.PrivateKey) *api.Client {
	var s *api.Signer
	if key != nil {
		s = &api.Signer{Party: party, Key: key}
	}
	c := api.NewClient(w.url, w.Genesis.Network, s)
	w.Cleanup(c.Close)
	return c
}

func (w *world) member(msp string) *api.Client { return w.as(api.MemberParty(msp), w.Keys[msp]) }

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

// patient is a person with a consent key.
type patient struct {
	*consortium.Patient
	w *world
}

func (w *world) newPatient() *patient { return &patient{w.NewPatient(), w} }

// with is the patient as somebody signs for them who has another key.
func (p *patient) with(key *ecdsa.PrivateKey) *patient {
	other := *p.Patient
	other.Key = key
	return &patient{&other, p.w}
}

func (p *patient) client() *api.Client { return p.w.as(api.PatientParty(p.ID), p.Key) }

// enrolled is a patient whom the gateway put on the ledger.
func (w *world) enrolled() *patient {
	w.Helper()
	p := w.newPatient()
	w.done(p.post(context.Background()))
	return p
}

// post has anybody bring the enrolment to the gateway.
func (p *patient) post(ctx context.Context) (*api.Operation, error) {
	return p.w.as("", nil).EnrolPatient(ctx, p.Enrolment, p.Boxes)
}

// consent is a first version for hospital A, signed.
func (p *patient) consent(change ...func(*consent.Document)) consent.Signed {
	return p.Sign(p.Document(hospitalA, change...))
}

// device is a bridge of a patient.
type device struct {
	*consortium.Device
	w *world
}

func (p *patient) newDevice() *device { return &device{p.NewDevice(startHour, "heart_rate"), p.w} }

func (d *device) client() *api.Client { return d.w.as(api.DeviceParty(d.ID), d.Key) }

// device is an enrolled bridge of an enrolled patient.
func (w *world) device() *device {
	w.Helper()
	return w.enrolled().bridge()
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
	w.Tick(start + seconds)
}

var wantFault = consortium.WantFault

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

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
