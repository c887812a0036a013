package bridge_test

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/bridge/radio"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/virtual"
)

const (
	day0  = consortium.StartDay
	start = consortium.Start
)

// whole is the whole network but the bridge: real ledger, contracts, gateway and
// institutions in this process.
type whole struct {
	*consortium.Consortium
	url   string
	blobs *blob.Store
}

func must[T any](v T, err error) T { return consortium.Must(v, err) }

func newWhole(t *testing.T, circuits ...record.Circuit) *whole {
	t.Helper()
	c := &whole{Consortium: consortium.New(t, func(g *record.Genesis) {
		g.Network, g.Exact, g.CapMicro, g.Circuits, g.PredicateSlot, g.Schema = "vitals", false, 3_000_000, circuits, 60, privacy.V3().Digest()
	})}
	dir, roots := t.TempDir(), map[string][]byte{}
	c.Seal()
	c.Open(filepath.Join(dir, "ledger"))
	c.blobs = must(blob.Open(filepath.Join(dir, "blobs")))
	t.Cleanup(func() { c.OK(c.blobs.Close()) })
	c.Begin()
	for _, msp := range consortium.MSPs {
		roots[msp] = consortium.Authority(msp).RootPEM()
	}
	var index gateway.Index
	for i, msp := range consortium.MSPs {
		in := must(institution.New(institution.Config{
			Genesis: c.Genesis, Member: i, Identity: consortium.Identity(msp), Client: c.Clients[msp], Keys: c.Boxes[msp], SignKey: c.Keys[msp],
			Height: func(context.Context) (uint64, error) { return c.Ledger.Height(), nil },
			Dir:    filepath.Join(dir, msp), Blobs: c.blobs, Roots: roots, Peers: map[string]string{},
		}))
		index = in.Index()
		consortium.Background(c, in.Run, in.Close)
	}
	gw := must(gateway.New(gateway.Config{
		Genesis: c.Genesis, Client: c.Clients[consortium.Association], Blobs: c.blobs, Dir: filepath.Join(dir, "gateway"), Index: index,
	}))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	c.url = "http://" + l.Addr().String()
	consortium.Background(c, func(ctx context.Context) error { return gw.Serve(ctx, l) }, gw.Close)
	return c
}

// eventually polls, as institutions work on their own.
func (c *whole) eventually(what string, cond func() bool) {
	c.Helper()
	consortium.Eventually(c, 30*time.Second, what, cond)
}

// person is a patient, enrolled through the gateway.
func (c *whole) person() *consortium.Patient {
	c.Helper()
	p := c.NewPatient()
	client := api.NewClient(c.url, c.Genesis.Network, nil)
	defer client.Close()
	_, err := client.Wait(c.Context(), must(client.EnrolPatient(c.Context(), p.Enrolment, p.Boxes)))
	c.OK(err)
	return p
}

func (c *whole) hub() *bridge.Hub {
	c.Helper()
	h := must(bridge.Open(bridge.Config{
		Dir: filepath.Join(c.TempDir(), "hub"), Genesis: c.Genesis, Params: c.Params, GatewayURL: c.url,
		Clock: func() time.Time { return time.Unix(start+30, 0) },
	}))
	c.Cleanup(func() { c.OK(h.Close()) })
	return h
}

// device enrols a bridge for the person and waits until it counts.
func (c *whole) device(h *bridge.Hub, p *consortium.Patient, metrics ...string) *bridge.Device {
	c.Helper()
	d, e, err := h.NewDevice(p.ID, metrics, start/3600)
	c.OK(err)
	c.OK(d.Enrol(c.Context(), must(record.Sign(p.Key, record.Digest(record.DomainDevice, c.Genesis.Network, e.Document.Device))), nil))
	c.eventually("all holders acknowledge the seeds", func() bool { return must(d.Ready(c.Context())) })
	return d
}

// aDay measures one day of heart rate: the first minute over Bluetooth, the
// other hours pushed.
func (c *whole) aDay(d *bridge.Device) {
	c.Helper()
	central, peripheral := virtual.NewLink()
	strap := virtual.NewHeartRateStrap("strap")
	var served sync.WaitGroup
	served.Go(func() { c.OK(strap.Serve(peripheral)) })
	link, err := radio.OverATT(c.Context(), central)
	c.OK(err)
	session, err := d.Connect(c.Context(), link, "strap")
	c.OK(err)
	c.OK(strap.Emit(c.Context(), wearable.Reading{Metric: "heart_rate", Value: wearable.Int(70)}))
	c.OK(session.Close())
	served.Wait()
	var readings []bridge.Reading
	for minute := int64(60); minute < 1440; minute += 2 {
		readings = append(readings, bridge.Reading{Metric: "heart_rate", Time: wearable.Int(start + minute*60), Value: wearable.Int(65)})
	}
	_, err = d.Push(c.Context(), readings)
	c.OK(err)
	c.OK(d.Finish(c.Context(), start/3600+24, start+86400))
	c.Tick(start + 86400)
}

// settle syncs until every pointer of a day has its receipt: of 24 hours, its row and its
// root.
func (c *whole) settle(h *bridge.Hub) {
	c.Helper()
	got := 0
	c.eventually("a receipt for every pointer", func() bool {
		r, err := h.Sync(c.Context())
		c.OK(err)
		if len(r.Refused) > 0 || r.Waiting > 0 {
			c.Fatalf("%+v", r)
		}
		got += r.Receipts
		return got == 24+2
	})
}

func TestReadingsTravelToReceiptsOverTheRealNetwork(t *testing.T) {
	c := newWhole(t)
	h := c.hub()
	d := c.device(h, c.person(), "heart_rate", "spo2")
	c.aDay(d)
	c.settle(h)
	for hour := int64(start / 3600); hour < start/3600+24; hour++ {
		r, ok, err := d.Receipt(record.KindRow, hour)
		if err != nil || !ok || bridge.VerifyReceipt(&c.Genesis, r) != nil {
			t.Fatalf("hour %d: receipt %t, %v", hour, ok, err)
		}
		device, rows, err := record.DecodeRows(must(c.blobs.Get(t.Context(), r.Pointer.Pointer.Blob)))
		if err != nil || device != d.ID() || len(rows) != 25 {
			t.Fatalf("hour %d: %d rows in its blob, %v", hour, len(rows), err)
		}
	}
}

func TestPredicateIsAttestedOverTheRealNetwork(t *testing.T) {
	keys := bridge.DayKeys(t)
	c := newWhole(t, keys.Circuit())
	h, p := c.hub(), c.person()
	h.SetProver(keys)
	d := c.device(h, p, "heart_rate")
	m, _ := wearable.ByKey("heart_rate")
	code := func(units int64) uint32 { n, _ := m.Code(units); return uint32(n) }
	doc := p.Document(consortium.HospitalA, func(d *consent.Document) {
		d.Operations, d.Expires, d.Claims = []string{consent.OpPredicate}, start+100*86400, 5
		d.CapMicro, d.DataUntil = 0, start/3600+100
		d.Predicates = []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(code(50), code(90))}}
	})
	client := api.NewClient(c.url, c.Genesis.Network, nil)
	defer client.Close()
	_, err := client.Wait(t.Context(), must(client.PutConsent(t.Context(), p.Sign(doc))))
	c.OK(err)
	c.OK(d.SetConsent(doc))
	c.aDay(d)
	c.settle(h)
	ask := func(lo, hi int64) record.PredicateState {
		q := p.Question()
		q.Bounds.Lo, q.Bounds.Hi, q.Bounds.K, q.Bounds.MinCount = code(lo), code(hi), 600, 600
		return c.Ask(consortium.HospitalA, q)
	}
	holds, fails := ask(60, 80), ask(80, 90)
	a, err := h.Answer(t.Context())
	c.OK(err)
	if len(a.Pending) != 1 || len(a.Silent) != 1 || len(a.Ignored) != 0 {
		t.Fatalf("before the slot: %+v", a)
	}
	c.Tick(holds.AnswerFrom)
	a, err = h.Answer(t.Context())
	c.OK(err)
	if len(a.Proven) != 1 || a.Proven[0] != holds.ID {
		t.Fatalf("in the slot: %+v", a)
	}
	for id, want := range map[string]string{holds.ID: record.PredicateAttested, fails.ID: record.PredicateAsked} {
		s := c.Predicate(consortium.HospitalA, id)
		if s.Status != want {
			t.Errorf("request %s is %s, want %s", id[:8], s.Status, want)
		}
	}
}
