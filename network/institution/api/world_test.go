package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/institution"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	firstHour = int64(consortium.StartHour)
	metric    = "heart_rate"
	hours     = 13
)

func must[T any](v T, err error) T { return consortium.Must(v, err) }

// world is a network of three institutions with a real ledger, of which the first serves
// its interface on loopback.
type world struct {
	*consortium.Consortium
	dir     string
	log     *consortium.Log
	members []*institution.Institution
	desk    testDesk
	ca      *network.CA
	server  *Server
	address string
	stop    func()
	issuer  *issuer
	people  []*consortium.Patient
	devices []*consortium.Device
}

// testDesk is the first institution, with what its process adds.
type testDesk struct {
	*institution.Institution
	net *consortium.Consortium
}

func (d testDesk) Schema() *privacy.Schema { return d.net.Params.Schema() }
func (d testDesk) Pieces() int             { return d.net.Params.Sharing().Pieces() }

func (d testDesk) Status(context.Context) Status {
	return Status{Member: d.MSP(), Network: d.net.Genesis.Network, Ready: true, Certificates: []Certificate{}}
}

func (d testDesk) FlagDevice(ctx context.Context, f record.FlagDevice) (record.DeviceFlag, error) {
	out, _, err := contracts.RegistryFlagDevice.Submit(ctx, d.net.Clients[d.MSP()], f)
	return out, err
}

// newWorld starts institutions and the interface of the first.
func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), log: &consortium.Log{}}
	w.Consortium = consortium.New(t, func(g *record.Genesis) {
		g.Schema, g.CapMicro, g.Gateways = privacy.V3().Digest(), 5_000_000, []string{}
	})
	blobs := &consortium.Blobs{}
	w.Blobs = blobs
	w.Seal()
	w.Consortium.Open(filepath.Join(w.dir, "ledger"))
	w.Begin()
	roots, peers := map[string][]byte{}, map[string]string{}
	var listeners []net.Listener
	for _, m := range consortium.MSPs {
		l := must(net.Listen("tcp", "127.0.0.1:0"))
		listeners, roots[m], peers[m] = append(listeners, l), consortium.Authority(m).RootPEM(), l.Addr().String()
	}
	for i, m := range consortium.MSPs {
		id := consortium.Identity(m)
		in := must(institution.New(institution.Config{
			Genesis: w.Genesis, Member: i, Identity: id, Client: w.Ledger.Client(id), Keys: w.Boxes[m], SignKey: w.Keys[m],
			Height: func(context.Context) (uint64, error) { return w.Ledger.Height(), nil },
			Dir:    filepath.Join(w.dir, m), Blobs: blobs, Listen: listeners[i], Peers: peers, Roots: roots, Patience: 10 * time.Second,
		}))
		consortium.Background(t, in.Run, in.Close)
		w.members = append(w.members, in)
	}
	w.desk = testDesk{w.members[0], w.Consortium}
	w.Tick(firstHour * 3600)
	w.serve(change...)
	return w
}

func (w *world) callersFile() string { return filepath.Join(w.dir, "callers.json") }

// table writes the callers' file, with another time than before.
func (w *world) table(callers ...Caller) {
	w.Helper()
	b := must(json.Marshal(Callers{callers}))
	w.OK(os.WriteFile(w.callersFile(), b, 0o600))
	w.OK(os.Chtimes(w.callersFile(), time.Time{}, time.Now().Add(time.Duration(tableWrites.Add(1))*time.Second)))
}

var tableWrites atomic.Int64

var callers = []Caller{
	{Name: "ana", Role: Analyst, Certificate: "ana"},
	{Name: "ben", Role: Analyst, Certificate: "ben"},
	{Name: "opa", Role: Operator, Certificate: "opa"},
	{Name: "notebook", Role: Analyst, Client: "notebook"},
	{Name: "keeper", Role: Operator, Client: "keeper"},
}

func (w *world) serve(change ...func(*Config)) {
	w.Helper()
	w.ca = must(network.NewCA(consortium.HospitalA))
	id := must(w.ca.Issue("api", "server"))
	w.issuer = newIssuer(w)
	w.table(callers...)
	cfg := Config{
		Certificate: id.Show, Roots: w.ca.RootPEM(), Callers: w.callersFile(), Hosts: []string{"127.0.0.1"}, Log: w.log.Logger(),
		Tokens: &TokenConfig{Issuer: w.issuer.url, Audience: "hospital-a", KeysURL: w.issuer.url + "/keys"},
	}
	for _, f := range change {
		f(&cfg)
	}
	w.server = must(New(cfg, w.desk))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	w.address = l.Addr().String()
	w.stop = consortium.Run(w, func(ctx context.Context) error { return w.server.Serve(ctx, l) }, func() error { return nil })
	w.Cleanup(w.stop)
}

// client is one that shows a certificate, or none.
func (w *world) client(id *network.Identity) *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.ca.RootPEM())
	cfg := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if id != nil {
		cfg.Certificates = []tls.Certificate{*must(id.Show())}
	}
	t := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	w.Cleanup(t.CloseIdleConnections)
	return &http.Client{Transport: t, Timeout: 30 * time.Second}
}

// known is a client with a certificate of the API's authority.
func (w *world) known(name string) *http.Client {
	id := must(w.ca.Issue(name, "caller"))
	return w.client(&id)
}

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   []byte
}

func (a answered) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

// code is a problem's.
func (a answered) code(t testing.TB) string {
	t.Helper()
	var p Problem
	if a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("status %d is no problem: %q", a.status, a.body)
	}
	a.into(t, &p)
	if p.Status != a.status || p.Type != problemType+p.Code || p.Title == "" || p.Detail == "" {
		t.Errorf("problem %+v of status %d", p, a.status)
	}
	return p.Code
}

// request makes one; a body that is not text is written as JSON.
func (w *world) request(method, path string, body any) *http.Request {
	w.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = bytes.NewReader([]byte(b))
	default:
		r = bytes.NewReader(must(json.Marshal(b)))
	}
	req := must(http.NewRequestWithContext(w.Context(), method, "https://"+w.address+path, r))
	if r != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

// do sends a request, and notes what was exchanged where somebody holds it against the
// document.
func (w *world) do(c *http.Client, req *http.Request) answered {
	w.Helper()
	var sent []byte
	if req.GetBody != nil {
		sent = must(io.ReadAll(must(req.GetBody())))
	}
	resp, err := c.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	a := answered{resp.StatusCode, resp.Header, must(io.ReadAll(resp.Body))}
	w.note(req, sent, a)
	return a
}

// exchange is what module peers reads.
type exchange struct {
	Method, Path      string
	Request, Response http.Header
	Body, Back        []byte
	Status            int
}

var exchanges atomic.Int64

func (w *world) note(req *http.Request, sent []byte, a answered) {
	dir := os.Getenv("VITALVEIL_EXCHANGES")
	if dir == "" {
		return
	}
	b := must(json.Marshal(exchange{req.Method, req.URL.RequestURI(), req.Header, a.header, sent, a.body, a.status}))
	w.OK(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d-%s.json", exchanges.Add(1), record.RandomID().Short())), b, 0o600))
}

func (w *world) get(c *http.Client, path string) answered {
	w.Helper()
	return w.do(c, w.request(http.MethodGet, path, nil))
}

func (w *world) post(c *http.Client, path string, body any) answered {
	w.Helper()
	return w.do(c, w.request(http.MethodPost, path, body))
}

// populate enrols people with a device each, and has them measure.
func (w *world) populate(n int) {
	w.Helper()
	for range n {
		p := w.Patient()
		d := p.NewDevice(firstHour, metric).Enrol()
		w.people, w.devices = append(w.people, p), append(w.devices, d)
		doc := p.Document(consortium.HospitalA)
		doc.Metrics, doc.DataFrom, doc.DataUntil, doc.NotBefore, doc.Expires = []string{metric}, firstHour, firstHour+1000, 0, (firstHour+1000)*3600
		doc.CapMicro, doc.BeyondShare, doc.Exact = 5_000_000, true, true
		p.Put(doc)
	}
	w.everywhere("seeds", func(in *institution.Institution) bool { return in.Index().Counts().Ready == n })
	w.Tick((firstHour + 24) * 3600)
	var pointers []record.SignedPointer
	for i, d := range w.devices {
		var rows []record.BlobRow
		for h := range int64(hours) {
			rows = append(rows, d.Measure(firstHour+h, consortium.HeartRates(i, h)))
		}
		pointers = append(pointers, d.Upload(rows...)...)
	}
	w.Anchor(pointers...)
	w.everywhere("rows", func(in *institution.Institution) bool { return in.Index().Counts().Available == len(pointers) })
}

func (w *world) everywhere(what string, cond func(in *institution.Institution) bool) {
	w.Helper()
	for _, in := range w.members {
		consortium.Eventually(w, 20*time.Second, what, func() bool { return cond(in) })
	}
}

func heart() Study {
	return Study{ID: "heart", Title: "Hearts", Purpose: "HRESCH", Questions: []string{metric}, From: hour(firstHour), Until: hour(firstHour + 240), MinimumCohort: 11, Budget: 4}
}

func question(rho float64) Question {
	return Question{Study: "heart", Question: metric, From: hour(firstHour), Until: hour(firstHour + 24), Rho: rho}
}

// askAs asks under a key.
func (w *world) askAs(c *http.Client, key string, q Question) answered {
	w.Helper()
	req := w.request(http.MethodPost, "/v1/queries", q)
	req.Header.Set("Idempotency-Key", key)
	return w.do(c, req)
}

// settled waits until the answer to a query is no longer awaited.
func (w *world) settled(c *http.Client, location string) answered {
	w.Helper()
	var a answered
	consortium.Eventually(w, 20*time.Second, "the answer", func() bool {
		a = w.get(c, location+"/answer")
		return a.status != http.StatusTooEarly
	})
	return a
}
