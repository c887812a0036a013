package bridge_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

const (
	day0  = 20089 // 2025-01-01
	start = day0 * 86400
)

var msps = []string{"HospitalA", "HospitalB", "PatientsAssociation"}

// consortium is the whole network but the bridge: real ledger, contracts,
// gateway and institutions in this process.
type consortium struct {
	*testing.T
	details *detailstest.Keys
	genesis record.Genesis
	clients []network.Client
	signing []*ecdsa.PrivateKey
	params  *he.Params
	url     string
	blobs   *blob.Store
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newKey() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

func newConsortium(t *testing.T, circuits ...record.Circuit) *consortium {
	t.Helper()
	c := &consortium{T: t, details: &detailstest.Keys{}}
	sharing := must(he.NewSharing(3, 2))
	c.params = must(he.New(he.DefaultProfile(), privacy.V1(), sharing))
	c.genesis = record.Genesis{
		Network: "vitals", Clock: record.ClockSimulated, Threshold: 2, Registrar: msps[2], Gateways: []string{msps[2]},
		MinCohort: state.MinCohort, Profile: c.params.Profile().Name, Schema: privacy.V1().Digest(), CapMicro: 3_000_000,
		Circuits: circuits, PredicateSlot: 60, PredicateLife: 3600,
	}
	roots, cas, boxes := map[string][]byte{}, []*network.CA{}, []*he.MemberKeys{}
	for _, msp := range msps {
		ca := must(network.NewCA(msp))
		cas, roots[msp] = append(cas, ca), ca.RootPEM()
		c.signing, boxes = append(c.signing, newKey()), append(boxes, must(he.NewMemberKeys()))
		i := len(boxes) - 1
		c.genesis.Members = append(c.genesis.Members, boxes[i].Enter(record.Member{
			MSP: msp, Name: msp, SignKey: record.PublicKeyBytes(&c.signing[i].PublicKey),
		}))
	}
	dir := t.TempDir()
	ledger := must(embedded.Open(embedded.Config{
		Dir: filepath.Join(dir, "ledger"), Channel: c.genesis.Network, Roots: roots, Chaincode: must(chaincode.New(c.details)),
	}))
	t.Cleanup(func() { c.ok(ledger.Close()) })
	c.blobs = must(blob.Open(filepath.Join(dir, "blobs")))
	t.Cleanup(func() { c.ok(c.blobs.Close()) })
	var ids []network.Identity
	for _, ca := range cas {
		id := must(ca.Issue("client", "client"))
		ids, c.clients = append(ids, id), append(c.clients, ledger.Client(id))
	}
	c.submit(0, contracts.RegistryInit, c.genesis)
	c.tick(start)
	var index gateway.Index
	for i := range msps {
		in := must(institution.New(institution.Config{
			Genesis: c.genesis, Member: i, Identity: ids[i], Client: c.clients[i], Keys: boxes[i], SignKey: c.signing[i],
			Height: func(context.Context) (uint64, error) { return ledger.Height(), nil },
			Dir:    filepath.Join(dir, msps[i]), Blobs: c.blobs, Roots: roots, Peers: map[string]string{},
		}))
		index = in.Index()
		c.background(in.Run, in.Close)
	}
	gw := must(gateway.New(gateway.Config{Genesis: c.genesis, Client: c.clients[2], Blobs: c.blobs, Dir: filepath.Join(dir, "gateway"), Index: index}))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	c.url = "http://" + l.Addr().String()
	c.background(func(ctx context.Context) error { return gw.Serve(ctx, l) }, gw.Close)
	return c
}

// background runs a part until the test ends.
func (c *consortium) background(run func(context.Context) error, end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	c.Cleanup(func() {
		cancel()
		c.ok(<-done)
		c.ok(end())
	})
}

func (c *consortium) ok(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *consortium) submit(member int, m contracts.Method, doc any) network.Result {
	c.Helper()
	arg := must(json.Marshal(doc))
	res, err := network.SubmitRetry(context.Background(), c.clients[member], network.Call{Function: m.Name(), Args: []string{string(arg)}})
	c.ok(err)
	return res
}

// predicate is a request as the first member sees it, which made it.
func (c *consortium) predicate(id string) record.PredicateState {
	c.Helper()
	return must(contracts.PredicateGet.Evaluate(context.Background(), c.clients[0], id))
}

func (c *consortium) tick(unix int64) {
	c.Helper()
	for i := range msps {
		c.submit(i, contracts.ClockTick, record.Tick{Time: unix})
	}
}

// eventually polls, as institutions work on their own.
func (c *consortium) eventually(what string, cond func() bool) {
	c.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Fatalf("timed out: %s", what)
		}
	}
}

// person is a patient, enrolled through the gateway.
type person struct {
	key *ecdsa.PrivateKey
	id  record.ID
}

func (c *consortium) person() person {
	c.Helper()
	p := person{key: newKey()}
	e := record.EnrolPatient{Inception: record.Inception{
		ConsentKeys: [][]byte{record.PublicKeyBytes(&p.key.PublicKey)}, RecoveryHash: record.RandomID(), Salt: record.RandomID(),
	}}
	boxes := must(c.details.Enrol(c.genesis.Network, &e, c.genesis.Members))
	p.id = e.Inception.PatientID(c.genesis.Network)
	e.Signature = must(record.Sign(p.key, e.Digest(c.genesis.Network)))
	e.Voucher = record.Voucher{Patient: p.id, Person: record.RandomID()}
	e.Vouchers = []record.VoucherSignature{{By: msps[2], Signature: must(record.Sign(c.signing[2], record.Digest(record.DomainVoucher, c.genesis.Network, e.Voucher)))}}
	client := api.NewClient(c.url, c.genesis.Network, nil)
	defer client.Close()
	_, err := client.Wait(c.Context(), must(client.EnrolPatient(c.Context(), e, boxes)))
	c.ok(err)
	return p
}

func (c *consortium) hub() *bridge.Hub {
	c.Helper()
	h := must(bridge.Open(bridge.Config{
		Dir: filepath.Join(c.TempDir(), "hub"), Genesis: c.genesis, Params: c.params, GatewayURL: c.url,
		Clock: func() time.Time { return time.Unix(start+30, 0) },
	}))
	c.Cleanup(func() { c.ok(h.Close()) })
	return h
}

// device enrols a bridge for the person and waits until it counts.
func (c *consortium) device(h *bridge.Hub, p person, metrics ...string) *bridge.Device {
	c.Helper()
	d, e, err := h.NewDevice(p.id, metrics, start/3600)
	c.ok(err)
	c.ok(d.Enrol(c.Context(), must(record.Sign(p.key, record.Digest(record.DomainDevice, c.genesis.Network, e.Document.Device)))))
	c.eventually("all holders acknowledge the seeds", func() bool { return must(d.Ready(c.Context())) })
	return d
}

// aDay measures one day of heart rate: the first minute over Bluetooth, the
// other hours pushed.
func (c *consortium) aDay(d *bridge.Device) {
	c.Helper()
	central, peripheral := virtual.NewLink()
	strap := virtual.NewHeartRateStrap("strap")
	var served sync.WaitGroup
	served.Go(func() { c.ok(strap.Serve(peripheral)) })
	session, err := d.Connect(c.Context(), central, "strap")
	c.ok(err)
	c.ok(strap.Emit(c.Context(), wearable.Reading{Metric: "heart_rate", Value: wearable.Int(70)}))
	c.ok(session.Close())
	served.Wait()
	var readings []bridge.Reading
	for minute := int64(60); minute < 1440; minute += 2 {
		readings = append(readings, bridge.Reading{Metric: "heart_rate", Time: wearable.Int(start + minute*60), Value: wearable.Int(65)})
	}
	_, err = d.Push(c.Context(), readings)
	c.ok(err)
	c.ok(d.Finish(c.Context(), start/3600+24, start+86400))
	c.tick(start + 86400)
}

// settle syncs until every pointer has its receipt.
func (c *consortium) settle(h *bridge.Hub, pointers int) {
	c.Helper()
	got := 0
	c.eventually("a receipt for every pointer", func() bool {
		r, err := h.Sync(c.Context())
		c.ok(err)
		if len(r.Refused) > 0 || r.Waiting > 0 {
			c.Fatalf("%+v", r)
		}
		got += r.Receipts
		return got == pointers
	})
}

func TestReadingsTravelToReceiptsOverTheRealNetwork(t *testing.T) {
	c := newConsortium(t)
	h := c.hub()
	d := c.device(h, c.person(), "heart_rate", "spo2")
	c.aDay(d)
	c.settle(h, 25)
	for hour := int64(start / 3600); hour < start/3600+24; hour++ {
		r, ok, err := d.Receipt(record.KindRow, hour)
		if err != nil || !ok || bridge.VerifyReceipt(&c.genesis, r) != nil {
			t.Fatalf("hour %d: receipt %t, %v", hour, ok, err)
		}
		device, rows, err := record.DecodeRows(must(c.blobs.Get(t.Context(), r.Pointer.Pointer.Blob)))
		if err != nil || device != d.ID() || len(rows) != 24 {
			t.Fatalf("hour %d: %d rows in its blob, %v", hour, len(rows), err)
		}
	}
}

func TestPredicateIsAttestedOverTheRealNetwork(t *testing.T) {
	keys := bridge.DayKeys(t)
	c := newConsortium(t, keys.Circuit())
	h, p := c.hub(), c.person()
	h.SetProver(keys)
	d := c.device(h, p, "heart_rate")
	m, _ := wearable.ByKey("heart_rate")
	code := func(units int64) uint32 { n, _ := m.Code(units); return uint32(n) }
	doc := consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: msps[0], Purpose: "HRESCH", Status: consent.StatusActive,
		Effect: consent.EffectPermit, Operations: []string{consent.OpPredicate}, Metrics: []string{"heart_rate"},
		DataFrom: start / 3600, DataUntil: start/3600 + 100, NotBefore: start, Expires: start + 100*86400,
		Predicates: []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(code(50), code(90))}}, Claims: 5,
	}
	client := api.NewClient(c.url, c.genesis.Network, nil)
	defer client.Close()
	_, err := client.Wait(t.Context(), must(client.PutConsent(t.Context(), consent.Signed{
		Document: doc, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: must(record.Sign(p.key, doc.Digest(c.genesis.Network))),
	})))
	c.ok(err)
	c.ok(d.SetConsent(doc))
	c.aDay(d)
	c.settle(h, 25)
	ask := func(lo, hi int64) record.PredicateState {
		b := verifier.Unbounded()
		b.Lo, b.Hi, b.K, b.MinCount = code(lo), code(hi), 600, 600
		e, _, err := contracts.PredicateRequest.Submit(t.Context(), c.clients[0], contracts.Question{Network: c.genesis.Network, Question: record.Question{Salt: record.RandomID(), Ask: record.AskPredicate{
			Patient: p.id, Purpose: "HRESCH", Class: "day", Metric: "heart_rate",
			FirstDay: day0, Bounds: b, Nonce: record.RandomID(),
		}}})
		c.ok(err)
		return c.predicate(e.ID)
	}
	holds, fails := ask(60, 80), ask(80, 90)
	a, err := h.Answer(t.Context())
	c.ok(err)
	if len(a.Pending) != 1 || len(a.Silent) != 1 || len(a.Ignored) != 0 {
		t.Fatalf("before the slot: %+v", a)
	}
	c.tick(holds.AnswerFrom)
	a, err = h.Answer(t.Context())
	c.ok(err)
	if len(a.Proven) != 1 || a.Proven[0] != holds.ID {
		t.Fatalf("in the slot: %+v", a)
	}
	for id, want := range map[string]string{holds.ID: record.PredicateAttested, fails.ID: record.PredicateAsked} {
		s := c.predicate(id)
		if s.Status != want {
			t.Errorf("request %s is %s, want %s", id[:8], s.Status, want)
		}
	}
}
