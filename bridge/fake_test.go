package bridge

import (
	"crypto/ecdsa"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// member is one institution of the test network, with its private keys.
type member struct {
	record.Member
	sign  *ecdsa.PrivateKey
	boxes *he.MemberKeys
}

// world is a network as a bridge sees it: a gateway over HTTP that keeps the
// ledger's rules for pointers, checks every signature, and whose members sign
// what they find well formed. The ledger proper is tested where it lives.
type world struct {
	t       testing.TB
	genesis record.Genesis
	members []member
	params  *he.Params
	patient *ecdsa.PrivateKey
	server  *httptest.Server

	mu       sync.Mutex
	time     int64 // ledger time
	devices  map[record.ID]record.EnrolDevice
	seeds    map[record.ID][]byte
	ready    bool
	blobs    map[record.ID][]byte
	pointers map[ledgerName]*anchored
	batches  map[record.ID]*batch
	requests []record.PredicateState
	proofs   map[string][]byte
	uploads  map[record.ID]*apiv1.Operation // by body: the same upload gets the same answer
	calls    int
	before   func(r *http.Request) error // may refuse a request
	after    func(r *http.Request)       // runs before the answer is sent
	mangle   func(*record.Receipt)       // may spoil a receipt
}

type ledgerName struct {
	device record.ID
	kind   string
	index  int64
	number uint8
}

type anchored struct {
	signed record.SignedPointer
	batch  record.ID
	leaf   int
}

type batch struct {
	leaves []record.ID
	names  []ledgerName
	posts  []record.SignedAvailable
}

func newKey(testing.TB) *ecdsa.PrivateKey { return consortium.NewKey() }

var (
	testParams = sync.OnceValue(func() *he.Params { return paramsOf(privacy.V2()) })
	dayParams  = sync.OnceValue(func() *he.Params { return paramsOf(privacy.V3()) })
)

func paramsOf(s *privacy.Schema) *he.Params {
	return consortium.Must(he.New(he.DefaultProfile(), s, consortium.Must(he.NewSharing(3, 2))))
}

// epochStart is 2025-01-01, a Unix time at which ledger time begins.
const epochStart = consortium.Start

func newWorld(t testing.TB) *world {
	t.Helper()
	return worldOf(t, testParams())
}

// newDayWorld is a network with day rows.
func newDayWorld(t testing.TB) *world {
	t.Helper()
	return worldOf(t, dayParams())
}

func worldOf(t testing.TB, params *he.Params) *world {
	t.Helper()
	w := &world{
		t: t, params: params, time: epochStart, patient: newKey(t), ready: true,
		devices: map[record.ID]record.EnrolDevice{}, seeds: map[record.ID][]byte{}, blobs: map[record.ID][]byte{},
		pointers: map[ledgerName]*anchored{}, batches: map[record.ID]*batch{}, proofs: map[string][]byte{},
		uploads: map[record.ID]*apiv1.Operation{},
	}
	c := consortium.New(t, func(g *record.Genesis) {
		g.Network, g.Gateways, g.Exact = "bridge-test", nil, false
		g.Schema, g.PredicateSlot = params.Schema().Digest(), 60
	})
	w.genesis = c.Genesis
	for _, m := range c.Genesis.Members {
		w.members = append(w.members, member{Member: m, sign: c.Keys[m.MSP], boxes: c.Boxes[m.MSP]})
	}
	w.server = httptest.NewServer(w)
	t.Cleanup(w.server.Close)
	return w
}

// ServeHTTP plays the gateway.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, api.MaxUpload+1))
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls++
	if w.before != nil {
		if err := w.before(r); err != nil {
			problem(out, err)
			return
		}
	}
	answer, err := w.route(r, body)
	if w.after != nil {
		w.after(r)
	}
	if err != nil {
		problem(out, err)
		return
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(answer)
	if err != nil {
		w.t.Errorf("marshal: %v", err)
	}
	out.Header().Set("Content-Type", "application/json")
	_, _ = out.Write(data)
}

func problem(out http.ResponseWriter, err error) {
	code := fault.Of(err)
	out.Header().Set("Content-Type", "application/problem+json")
	out.WriteHeader(fault.Codes[code].HTTP)
	_, _ = out.Write([]byte(`{"type":"about:blank","title":"` + string(code) + `","status":` +
		strconv.Itoa(fault.Codes[code].HTTP) + `,"detail":` + strconv.Quote(err.Error()) + `,"code":"` + string(code) + `"}`))
}

func (w *world) route(r *http.Request, body []byte) (proto.Message, error) {
	mux := http.NewServeMux()
	var answer proto.Message
	var err error
	on := func(pattern string, f func(r *http.Request) (proto.Message, error)) {
		mux.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) { answer, err = f(r) })
	}
	on("GET /v1/network", func(*http.Request) (proto.Message, error) {
		genesis, err := apiv1.GenesisOf(w.genesis)
		return &apiv1.GetNetworkResponse{Genesis: genesis, LedgerTime: w.time}, err
	})
	on("POST /v1/devices", func(*http.Request) (proto.Message, error) { return w.enrol(body) })
	on("GET /v1/devices/{id}", w.device)
	on("POST /v1/devices/{id}/uploads", func(r *http.Request) (proto.Message, error) { return w.upload(r, body) })
	on("GET /v1/devices/{id}/receipts", w.receipts)
	on("GET /v1/devices/{id}/requests", w.open)
	on("POST /v1/requests/{id}/proof", func(r *http.Request) (proto.Message, error) { return w.attest(r, body) })
	err = fault.New(fault.NotFound, "no route %s %s", r.Method, r.URL.Path)
	mux.ServeHTTP(httptest.NewRecorder(), r)
	return answer, err
}

func done(kind string, body []byte) *apiv1.Operation {
	return &apiv1.Operation{Id: record.SumID(append([]byte(kind), body...)).String(), Kind: kind, Done: true}
}

func (w *world) enrol(body []byte) (proto.Message, error) {
	m := &apiv1.DeviceEnrolment{}
	if err := protojson.Unmarshal(body, m); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	e, err := m.Document.Record()
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	id := record.DeviceID(w.genesis.Network, e.Device.Key)
	digest := record.Digest(record.DomainDevice, w.genesis.Network, e.Device)
	if record.Verify(e.Device.Key, digest, e.DeviceSignature) != nil ||
		record.Verify(record.PublicKeyBytes(&w.patient.PublicKey), digest, e.PatientSignature) != nil {
		return nil, fault.New(fault.BadSignature, "enrolment")
	}
	if record.SumID(m.SeedBlob) != e.Device.SeedBlob {
		return nil, fault.New(fault.Invalid, "seed blob")
	}
	if _, ok := w.devices[id]; ok {
		return nil, fault.New(fault.Conflict, "a device with this key is enrolled already")
	}
	w.devices[id], w.seeds[id] = e, m.SeedBlob
	return done("enrol_device", body), nil
}

func (w *world) device(r *http.Request) (proto.Message, error) {
	id, err := record.ParseID(r.PathValue("id"))
	e, ok := w.devices[id]
	if err != nil || !ok {
		return nil, fault.New(fault.NotFound, "no device")
	}
	state, err := apiv1.DeviceStateOf(record.DeviceState{ID: id, Device: e.Device})
	return &apiv1.GetDeviceResponse{State: state, Ready: w.ready}, err
}

// signed checks that the device in the path signed the request.
func (w *world) signed(r *http.Request, body []byte) (record.ID, error) {
	s, err := api.ReadSignature(r, w.genesis.Network)
	if err != nil {
		return record.ID{}, err
	}
	sum, stated, err := api.ContentDigest(r.Header)
	if err != nil || stated && sum != record.SumID(body) || !stated && len(body) > 0 {
		return record.ID{}, fault.New(fault.BadSignature, "body")
	}
	id, err := record.ParseID(s.Party.Name)
	e, ok := w.devices[id]
	if err != nil || !ok || s.Party.Kind != api.PartyDevice {
		return id, fault.New(fault.NotFound, "no device %s", s.Party.Name)
	}
	if s.Verify(e.Device.Key) != nil {
		return id, fault.New(fault.BadSignature, "request")
	}
	return id, nil
}

func (w *world) upload(r *http.Request, body []byte) (proto.Message, error) {
	id, err := w.signed(r, body)
	if err != nil {
		return nil, err
	}
	m := &apiv1.Upload{}
	if err := proto.Unmarshal(body, m); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	for _, b := range m.Blobs {
		w.blobs[record.SumID(b)] = b
	}
	if op := w.uploads[record.SumID(body)]; op != nil {
		return op, nil
	}
	op := done("upload", body)
	w.uploads[record.SumID(body)] = op
	b := &batch{}
	for _, pm := range m.Pointers {
		s, err := pm.Record()
		if err != nil {
			return nil, fault.New(fault.Invalid, "%w", err)
		}
		op.Items = append(op.Items, w.anchor(id, s, b))
	}
	root := record.Root(b.leaves)
	for i, name := range b.names {
		w.pointers[name].batch, w.pointers[name].leaf = root, i
	}
	if len(b.leaves) > 0 {
		w.batches[root] = b
	}
	return op, nil
}

// anchor applies the ledger's rules to one pointer.
func (w *world) anchor(id record.ID, s record.SignedPointer, b *batch) *apiv1.AnchorItem {
	p := s.Pointer
	name := ledgerName{p.Device, p.Kind, p.Index, p.Correction}
	refuse := func(c fault.Code) *apiv1.AnchorItem {
		return &apiv1.AnchorItem{Outcome: record.Refused, Code: string(c), Detail: "by the test ledger"}
	}
	length := int64(3600)
	if p.Daily() {
		length = 86400
	}
	switch old := w.pointers[name]; {
	case old != nil && old.signed.Pointer == p:
		return &apiv1.AnchorItem{Outcome: record.Repeated}
	case old != nil:
		item := refuse(fault.Conflict)
		item.Recorded = apiv1.SignedPointerOf(old.signed)
		return item
	case p.Device != id || record.Verify(w.devices[id].Device.Key, p.Digest(w.genesis.Network), s.Signature) != nil:
		return refuse(fault.BadSignature)
	case (p.Index+1)*length > w.time+600:
		return refuse(fault.TooEarly)
	case p.Daily() && w.time > (p.Index+8)*length:
		return refuse(fault.Expired)
	case p.Correction > record.MaxCorrection || p.Correction > 0 && p.Daily() || p.Kind == record.KindPersonDay && w.params.Day() == nil:
		return refuse(fault.Invalid)
	case p.Correction > 0 && w.time > (dayOfHour(p.Index)+8)*86400:
		return refuse(fault.Expired)
	case p.Correction > 0 && w.pointers[ledgerName{p.Device, p.Kind, p.Index, p.Correction - 1}] == nil:
		return refuse(fault.TooEarly)
	}
	w.pointers[name] = &anchored{signed: s}
	b.leaves = append(b.leaves, p.Digest(w.genesis.Network))
	b.names = append(b.names, name)
	return &apiv1.AnchorItem{Outcome: record.Anchored, Leaf: uint32(len(b.leaves) - 1)}
}

// findAvailable lets the first n members check and sign every batch.
func (w *world) findAvailable(n int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for root, b := range w.batches {
		b.posts = nil
		for _, m := range w.members[:n] {
			post := record.AvailablePost{Batch: root, Count: len(b.names), Bitmap: make([]byte, (len(b.names)+7)/8)}
			for i, name := range b.names {
				if w.wellFormed(w.pointers[name].signed.Pointer) {
					post.Bitmap[i/8] |= 1 << (i % 8)
				} else {
					w.t.Errorf("%s %d is not well formed", name.kind, name.index)
				}
			}
			sig, err := record.Sign(m.sign, post.Digest(w.genesis.Network))
			if err != nil {
				w.t.Error(err)
			}
			b.posts = append(b.posts, record.SignedAvailable{Post: post, Member: m.MSP, Signature: sig})
		}
	}
}

func (w *world) wellFormed(p record.Pointer) bool {
	if p.Kind == record.KindDay {
		return p.Blob.IsZero()
	}
	row, params := w.row(p), w.params
	if p.Kind == record.KindPersonDay {
		params = params.Day()
	}
	return row != nil && params.CheckRow(row) == nil
}

// row finds a row in its blob; nil where it is not there as committed.
func (w *world) row(p record.Pointer) []byte {
	device, rows, err := record.DecodeRows(w.blobs[p.Blob])
	if err != nil || device != p.Device {
		return nil
	}
	hour, correction := p.Place()
	i := slices.IndexFunc(rows, func(r record.BlobRow) bool { return r.Hour == hour && r.Correction == correction })
	if i < 0 || record.SumID(rows[i].Row) != p.Commitment {
		return nil
	}
	return rows[i].Row
}

func (w *world) receipts(r *http.Request) (proto.Message, error) {
	id, err := w.signed(r, nil)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	from, _ := strconv.ParseInt(q.Get("from"), 10, 64)
	until, _ := strconv.ParseInt(q.Get("until"), 10, 64)
	out := &apiv1.ListReceiptsResponse{}
	var found []*anchored
	for name, p := range w.pointers {
		if name.device == id && name.kind == q.Get("kind") && name.index >= from && name.index < until &&
			len(w.batches[p.batch].posts) >= w.genesis.Threshold {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *anchored) int { return placeOf(a.signed.Pointer).compare(placeOf(b.signed.Pointer)) })
	n := min(len(found), api.MaxReceipts)
	for n < len(found) && found[n].signed.Pointer.Index == found[n-1].signed.Pointer.Index {
		n--
	}
	for _, p := range found[:n] {
		b := w.batches[p.batch]
		receipt := record.Receipt{
			Pointer: p.signed, Batch: p.batch, Leaf: p.leaf, Count: len(b.leaves),
			Path: record.Path(b.leaves, p.leaf), Posts: slices.Clone(b.posts),
		}
		if w.mangle != nil {
			w.mangle(&receipt)
		}
		m, err := apiv1.ReceiptOf(receipt)
		if err != nil {
			return nil, err
		}
		out.Receipts = append(out.Receipts, m)
	}
	return out, nil
}

func (w *world) open(r *http.Request) (proto.Message, error) {
	id, err := w.signed(r, nil)
	if err != nil {
		return nil, err
	}
	out := &apiv1.ListRequestsResponse{}
	for _, q := range w.requests {
		if q.Status == "hidden" || id.IsZero() {
			continue
		}
		out.Requests = append(out.Requests, apiv1.PredicateStateOf(q))
	}
	return out, nil
}

func (w *world) attest(r *http.Request, body []byte) (proto.Message, error) {
	if _, err := w.signed(r, body); err != nil {
		return nil, err
	}
	m := &apiv1.Attest{}
	if err := protojson.Unmarshal(body, m); err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	i := slices.IndexFunc(w.requests, func(q record.PredicateState) bool { return q.ID == m.Request })
	switch {
	case i < 0 || m.Request != r.PathValue("id"):
		return nil, fault.New(fault.NotFound, "no request")
	case w.time < w.requests[i].AnswerFrom:
		return nil, fault.New(fault.TooEarly, "not yet")
	case w.time >= w.requests[i].Expires:
		return nil, fault.New(fault.Expired, "too late")
	case w.proofs[m.Request] != nil:
		return nil, fault.New(fault.Conflict, "attested already")
	}
	w.proofs[m.Request] = m.Proof
	return done("prove", body), nil
}

// at sets ledger time.
func (w *world) at(unix int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.time = unix
}

// config is the configuration of a hub in this world; its clock is ledger time.
func (w *world) config(dir string) Config {
	return Config{
		Dir: dir, Genesis: w.genesis, Params: w.params, GatewayURL: w.server.URL,
		Clock: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Unix(w.time, 0)
		},
	}
}

// hub opens a hub and closes it with the test.
func (w *world) hub(dir string) *Hub {
	w.t.Helper()
	h, err := Open(w.config(dir))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return h
}

var testPatient = record.SumID([]byte("patient"))

// enrolled makes a device whose first hour is ledger time's.
func (w *world) enrolled(h *Hub, metrics ...string) *Device {
	w.t.Helper()
	w.mu.Lock()
	first := wearable.HourOf(w.time)
	w.mu.Unlock()
	d, e, err := h.NewDevice(testPatient, metrics, first)
	if err != nil {
		w.t.Fatal(err)
	}
	sig, err := record.Sign(w.patient, record.Digest(record.DomainDevice, w.genesis.Network, e.Document.Device))
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.Enrol(w.t.Context(), sig, nil); err != nil {
		w.t.Fatal(err)
	}
	return d
}
