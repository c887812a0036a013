package chaincode_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
)

const (
	hospitalA   = "HospitalA"
	hospitalB   = "HospitalB"
	association = "PatientsAssociation"
	gatewayMSP  = "Gateway"
	outsider    = "Outsider"

	// start is 2025-01-01 00:00 UTC, in seconds, hours and days.
	startDay  = 20089
	startHour = startDay * 24
	start     = startDay * 86400
)

// world is a network with three members, a gateway and an outsider on the
// embedded ledger.
type world struct {
	testing.TB
	details *detailstest.Keys
	genesis record.Genesis
	keys    map[string]*ecdsa.PrivateKey // members' signing keys
	boxes   map[string]*he.MemberKeys
	clients map[string]network.Client
	ledger  *embedded.Ledger
	counts  map[record.ID]int // pointers in each batch
}

// authority is made once: certificates say nothing about a single test.
var authority = sync.OnceValues(func() (map[string]*network.CA, error) {
	cas := map[string]*network.CA{}
	for _, msp := range []string{hospitalA, hospitalB, association, gatewayMSP, outsider} {
		ca, err := network.NewCA(msp)
		if err != nil {
			return nil, err
		}
		cas[msp] = ca
	}
	return cas, nil
})

// newWorld starts a network on a simulated clock at start; change may alter the
// genesis before it is recorded.
func newWorld(t testing.TB, change ...func(*record.Genesis)) *world {
	t.Helper()
	w := emptyWorld(t)
	for _, f := range change {
		f(&w.genesis)
	}
	w.must(hospitalA, "Registry:Init", w.genesis, nil)
	if w.genesis.Clock == record.ClockSimulated {
		w.tick(start)
	}
	return w
}

func emptyWorld(t testing.TB) *world {
	t.Helper()
	cas, err := authority()
	if err != nil {
		t.Fatal(err)
	}
	keys := new(detailstest.Keys)
	cc, err := chaincode.New(keys)
	if err != nil {
		t.Fatal(err)
	}
	roots := map[string][]byte{}
	for msp, ca := range cas {
		roots[msp] = ca.RootPEM()
	}
	l, err := embedded.Open(embedded.Config{Dir: t.TempDir(), Channel: "vitalveil-test", Roots: roots, Chaincode: aging{cc}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{TB: t, details: keys, counts: map[record.ID]int{}, keys: map[string]*ecdsa.PrivateKey{}, boxes: map[string]*he.MemberKeys{}, clients: map[string]network.Client{}, ledger: l}
	for msp, ca := range cas {
		id, err := ca.Issue("client", "client")
		if err != nil {
			t.Fatal(err)
		}
		w.clients[msp] = l.Client(id)
	}
	w.genesis = w.newGenesis()
	return w
}

func (w *world) newGenesis() record.Genesis {
	w.Helper()
	g := record.Genesis{
		Network: "vitalveil-test", Clock: record.ClockSimulated, Threshold: 2,
		Registrar: association, Gateways: []string{gatewayMSP}, MinCohort: 11, Exact: true,
		Profile: "n8192-q212-t128", Schema: privacy.V1().Digest(), CapMicro: 5_000_000,
		Circuits: []record.Circuit{fixtureCircuit(w)}, PredicateSlot: 300, PredicateLife: 3600,
	}
	for _, msp := range []string{hospitalA, hospitalB, association} {
		key := newKey(w)
		w.keys[msp] = key
		g.Members = append(g.Members, w.newBoxes(msp).Enter(record.Member{
			MSP: msp, Name: msp, SignKey: record.PublicKeyBytes(&key.PublicKey),
		}))
	}
	return g
}

// newBoxes makes a member's HPKE keys.
func (w *world) newBoxes(msp string) *he.MemberKeys {
	w.Helper()
	k, err := he.NewMemberKeys()
	if err != nil {
		w.Fatal(err)
	}
	w.boxes[msp] = k
	return k
}

// pieceKey is a piece's key as a member posts it; change may spoil it before it is
// signed.
func (w *world) pieceKey(e record.Epoch, msp string, piece, round int, change ...func(*record.PieceKey)) record.PostedKey {
	w.Helper()
	sharing, err := he.NewSharing(len(e.Members), e.Threshold)
	if err != nil {
		w.Fatal(err)
	}
	var others []record.Member
	for _, m := range sharing.Holders(piece) {
		if e.Members[m].MSP != msp {
			others = append(others, e.Members[m])
		}
	}
	p := record.PostedKey{By: msp}
	p.Key, err = he.SealPieceKey(he.Context{Network: w.genesis.Network, Epoch: e.Number}, piece, round, he.NewPieceKey(), msp, others)
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range change {
		f(&p.Key)
	}
	p.Signature = sign(w, w.keys[msp], p.Key.Digest(w.genesis.Network))
	return p
}

// fixture is the proof and verifying key that package zk keeps for tests.
type fixture struct {
	VerifyingKey []byte `json:"verifying_key"`
	Proof        []byte `json:"proof"`
}

func loadFixture(t testing.TB) fixture {
	t.Helper()
	data, err := os.ReadFile("../zk/verifier/testdata/day.json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func fixtureCircuit(t testing.TB) record.Circuit {
	t.Helper()
	vk := loadFixture(t).VerifyingKey
	return record.Circuit{Class: "day", VerifyingKey: vk, Hash: record.SumID(vk), Setup: "development"}
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

// argument is a document's JSON; text goes as it is.
func argument(t testing.TB, v any) string {
	t.Helper()
	if s, ok := v.(string); ok {
		return s
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// quoted is text as a JSON string.
func quoted(t testing.TB, s string) string {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// call puts a document into a call: a consent beside the chain, with what is
// public of it in the argument.
func (w *world) call(function string, arg any) network.Call {
	w.Helper()
	switch a := arg.(type) {
	case consent.Signed:
		return w.privately(consent.Details{Signed: a, Salt: record.RandomID()})
	case record.AskPredicate:
		q := record.Question{Ask: a, Salt: record.RandomID()}
		text, transient, err := state.RequestArguments(w.genesis.Network, q)
		if err != nil {
			w.Fatal(err)
		}
		return network.Call{Function: function, Args: []string{text}, Transient: transient}
	case record.Attest:
		return network.Call{
			Function: function, Args: []string{argument(w, record.NamePredicate{Request: a.Request})},
			Transient: map[string][]byte{state.TransientProof: a.Proof},
		}
	}
	return network.Call{Function: function, Args: []string{argument(w, arg)}}
}

// asks makes a request as a member and returns what that sees of it.
func (w *world) asks(msp string, a record.AskPredicate) record.PredicateState {
	w.Helper()
	var e record.PredicateEntry
	w.must(msp, "Predicate:Request", a, &e)
	return w.predicate(msp, e.ID)
}

func (w *world) predicate(msp, id string) record.PredicateState {
	w.Helper()
	var p record.PredicateState
	w.read(msp, "Predicate:Get", id, &p)
	return p
}

func (w *world) privately(d consent.Details) network.Call {
	w.Helper()
	return network.Call{
		Function: "Consent:Put", Args: []string{argument(w, d.Entry(w.genesis.Network))},
		Transient: map[string][]byte{state.TransientDetails: []byte(argument(w, d))},
	}
}

// submit makes a transaction and reads its result into out, unless nil.
func (w *world) submit(msp, function string, arg, out any) (network.Result, error) {
	w.Helper()
	call := w.call(function, arg)
	res, err := network.SubmitRetry(context.Background(), w.clients[msp], call)
	if err == nil && out != nil {
		w.decode(res.Payload, out)
	}
	return res, err
}

func (w *world) decode(raw []byte, out any) {
	w.Helper()
	if err := record.DecodeJSON(raw, 1<<20, out); err != nil {
		w.Fatalf("result %s: %v", raw, err)
	}
}

func (w *world) must(msp, function string, arg, out any) network.Result {
	w.Helper()
	res, err := w.submit(msp, function, arg, out)
	if err != nil {
		w.Fatalf("%s calls %s: %v", msp, function, err)
	}
	return res
}

func (w *world) read(msp, function string, arg, out any) {
	w.Helper()
	raw, err := w.clients[msp].Evaluate(context.Background(), network.Call{Function: function, Args: []string{argument(w, arg)}})
	if err != nil {
		w.Fatalf("%s reads %s: %v", msp, function, err)
	}
	w.decode(raw, out)
}

// refuses expects a fault of this code whose detail has these words, and that
// nothing was written.
func (w *world) refuses(code fault.Code, words, msp, function string, arg any) {
	w.Helper()
	before := w.ledger.Height()
	_, err := w.submit(msp, function, arg, nil)
	if err == nil {
		w.Errorf("%s calls %s: accepted, want %s", msp, function, code)
		return
	}
	if fault.Of(err) != code || !strings.Contains(err.Error(), words) {
		w.Errorf("%s calls %s: %v, want %s with %q", msp, function, err, code, words)
	}
	if w.ledger.Height() != before {
		w.Errorf("%s calls %s: refused and yet recorded", msp, function)
	}
}

// tick moves ledger time: two of three members are enough for a median.
func (w *world) tick(seconds int64) {
	w.Helper()
	for _, m := range w.genesis.Members {
		w.must(m.MSP, "Clock:Tick", record.Tick{Time: seconds}, nil)
	}
}

// person is a patient with a consent key and one device.
type person struct {
	w       *world
	key     *ecdsa.PrivateKey
	code    record.RecoveryCode
	enrol   record.EnrolPatient
	id      record.ID
	devices []*device
}

type device struct {
	key   *ecdsa.PrivateKey
	enrol record.EnrolDevice
	id    record.ID
}

func (w *world) newPerson() *person {
	w.Helper()
	p := &person{w: w, key: newKey(w), code: record.NewRecoveryCode()}
	p.enrol.Inception = record.Inception{
		ConsentKeys:  [][]byte{record.PublicKeyBytes(&p.key.PublicKey)},
		RecoveryHash: w.recoveryHash(p.code), Salt: record.RandomID(),
	}
	if _, err := w.details.Enrol(w.genesis.Network, &p.enrol, w.genesis.Members); err != nil {
		w.Fatal(err)
	}
	p.id = p.enrol.Inception.PatientID(w.genesis.Network)
	p.enrol.Signature = sign(w, p.key, p.enrol.Digest(w.genesis.Network))
	p.vouch(record.RandomID(), association)
	return p
}

// vouch has members vouch for the patient as this person.
func (p *person) vouch(who record.ID, by ...string) {
	p.w.Helper()
	p.enrol.Voucher, p.enrol.Vouchers = record.Voucher{Patient: p.id, Person: who}, nil
	digest := record.Digest(record.DomainVoucher, p.w.genesis.Network, p.enrol.Voucher)
	for _, m := range by {
		p.enrol.Vouchers = append(p.enrol.Vouchers, record.VoucherSignature{By: m, Signature: sign(p.w, p.w.keys[m], digest)})
	}
}

// newDevice makes a device of the patient that is not enrolled yet.
func (p *person) newDevice(firstHour int64, metrics ...string) *device {
	p.w.Helper()
	d := &device{key: newKey(p.w)}
	slices.Sort(metrics)
	d.enrol.Device = record.Device{
		Key: record.PublicKeyBytes(&d.key.PublicKey), Patient: p.id, FirstHour: firstHour,
		Profile: p.w.genesis.Profile, Metrics: metrics,
		SeedHashes: []record.ID{record.RandomID(), record.RandomID(), record.RandomID()}, SeedBlob: record.RandomID(),
	}
	d.sign(p)
	return d
}

func (d *device) sign(p *person) {
	p.w.Helper()
	digest := record.Digest(record.DomainDevice, p.w.genesis.Network, d.enrol.Device)
	d.enrol.DeviceSignature = sign(p.w, d.key, digest)
	d.enrol.PatientSignature = sign(p.w, p.key, digest)
	d.id = record.DeviceID(p.w.genesis.Network, d.enrol.Device.Key)
}

// enrolled is a patient on the ledger with one device for heart rate and SpO2.
func (w *world) enrolled() *person {
	w.Helper()
	p := w.newPerson()
	w.must(gatewayMSP, "Registry:EnrolPatient", p.enrol, nil)
	p.addDevice(startHour, "heart_rate", "spo2")
	return p
}

func (p *person) addDevice(firstHour int64, metrics ...string) *device {
	p.w.Helper()
	d := p.newDevice(firstHour, metrics...)
	p.w.must(gatewayMSP, "Registry:EnrolDevice", d.enrol, nil)
	p.devices = append(p.devices, d)
	return d
}

// document is a consent for statistics and predicates on heart rate.
func (p *person) document(grantee string) consent.Document {
	return consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: grantee, Purpose: "HRESCH",
		Status: consent.StatusActive, Effect: consent.EffectPermit,
		Operations: []string{consent.OpAggregate, consent.OpPredicate}, Metrics: []string{"heart_rate"},
		DataFrom: startHour, DataUntil: startHour + 24*30, NotBefore: start, Expires: start + 86400*60,
		CapMicro:   1_000_000,
		Predicates: []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(31, 71)}}, Claims: 2,
	}
}

func (p *person) sign(d consent.Document) consent.Signed {
	p.w.Helper()
	return consent.Signed{
		Document: d, Key: record.PublicKeyBytes(&p.key.PublicKey),
		Signature: sign(p.w, p.key, d.Digest(p.w.genesis.Network)),
	}
}

func (p *person) consents(grantee string) consent.Document {
	p.w.Helper()
	d := p.document(grantee)
	p.w.must(gatewayMSP, "Consent:Put", p.sign(d), nil)
	return d
}

// next is the version after d, with a change.
func (p *person) next(d consent.Document, change func(*consent.Document)) consent.Document {
	n := d
	n.Version, n.Previous = d.Version+1, d.Digest(p.w.genesis.Network)
	change(&n)
	return n
}

func (p *person) revoke(d consent.Document) consent.Document {
	p.w.Helper()
	n := p.next(d, func(n *consent.Document) { n.Status = consent.StatusRevoked })
	p.w.must(gatewayMSP, "Consent:Put", p.sign(n), nil)
	return n
}

// row and day make signed pointers of the device.
func (d *device) row(w *world, hour int64) record.SignedPointer {
	return d.pointer(w, record.Pointer{Device: d.id, Kind: record.KindRow, Index: hour, Blob: record.RandomID(), Commitment: record.RandomID()})
}

func (d *device) day(w *world, day int64) record.SignedPointer {
	root := record.RandomID()
	root[0] = 0 // canonical: below the order of the field
	return d.pointer(w, record.Pointer{Device: d.id, Kind: record.KindDay, Index: day, Commitment: root})
}

func (d *device) pointer(w *world, p record.Pointer) record.SignedPointer {
	w.Helper()
	return record.SignedPointer{Pointer: p, Signature: sign(w, d.key, p.Digest(w.genesis.Network))}
}

func (w *world) anchor(ps ...record.SignedPointer) record.AnchorResult {
	w.Helper()
	var r record.AnchorResult
	w.must(gatewayMSP, "Pointer:Anchor", record.Anchor{Pointers: ps}, &r)
	for _, item := range r.Items {
		if item.Outcome == record.Anchored {
			w.counts[r.Batch]++
		}
	}
	return r
}

// refusesPointer expects one pointer to be refused with this code.
func (w *world) refusesPointer(code fault.Code, p record.SignedPointer) {
	w.Helper()
	r := w.anchor(p)
	if r.Items[0].Outcome != record.Refused || r.Items[0].Code != string(code) || !r.Batch.IsZero() {
		w.Errorf("outcome is %+v, want refused with %s", r.Items[0], code)
	}
}

// availability is a member's signed post for a batch.
func (w *world) availability(msp string, batch record.ID, bitmap ...byte) record.SignedAvailable {
	w.Helper()
	post := record.AvailablePost{Batch: batch, Count: w.counts[batch], Bitmap: bitmap}
	return record.SignedAvailable{Post: post, Member: msp, Signature: sign(w, w.keys[msp], post.Digest(w.genesis.Network))}
}

// study is registered by hospital A: heart rate of the first day.
func (w *world) study(change ...func(*record.Study)) record.Study {
	w.Helper()
	s := record.Study{
		ID: "resting", Title: "Resting heart rate", Purpose: "HRESCH", Metrics: []string{"heart_rate"},
		From: startHour, Until: startHour + 24*30, MinCohort: 11, Budget: 2_000_000,
	}
	for _, f := range change {
		f(&s)
	}
	w.must(hospitalA, "Study:Create", s, nil)
	return s
}

// query asks about the first day, within the study "resting".
func (w *world) query() record.QueryState {
	w.Helper()
	var q record.QueryState
	w.must(hospitalA, "Query:Ask", record.Ask{
		Study: "resting", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 500_000,
	}, &q)
	return q
}

func (w *world) getQuery(id string) record.QueryState {
	w.Helper()
	var q record.QueryState
	w.read(hospitalB, "Query:Get", id, &q)
	return q
}

func equalJSON(t testing.TB, a, b any) bool {
	t.Helper()
	return bytes.Equal([]byte(argument(t, a)), []byte(argument(t, b)))
}
