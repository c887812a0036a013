package chaos

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/details/detailstest"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

func TestMain(m *testing.M) { launchtest.Main(m) }

const (
	hospitalA   = "HospitalA"
	hospitalB   = "HospitalB"
	association = "PatientsAssociation"
	channel     = "vitalveil"

	firstHour = int64(20000 * 24)
	hour      = int64(3600)
)

var msps = []string{hospitalA, hospitalB, association}

// world is a ledger of three members with the real contracts.
type world struct {
	testing.TB
	details *detailstest.Keys // what the contracts get keys from
	genesis record.Genesis
	signing map[string]*ecdsa.PrivateKey
	clients map[string]network.Client
	fabric  *launch.Network // nil on the embedded ledger
	profile fabric.Profile
	dir     string // of the ledger
}

func soaking() bool { return os.Getenv("VITALVEIL_SOAK") != "" }

// size is small, or large where tests may take long.
func size(small, large int) int {
	if soaking() {
		return large
	}
	return small
}

// onFabric starts a Fabric network that ends with the test.
func onFabric(t testing.TB, orderers string) *world {
	t.Helper()
	launchtest.Build(t)
	w := newWorld(t, nil)
	dir, err := os.MkdirTemp("", "vv") // sockets have short names
	w.ok(err)
	t.Cleanup(func() { w.ok(os.RemoveAll(dir)) })
	w.dir = filepath.Join(dir, "network")
	w.fabric = launchtest.Up(t, launch.Options{Dir: w.dir, Orderers: orderers, Chaincode: launchtest.Serves(t, launchtest.Contracts)})
	w.details = new(detailstest.Keys)
	for _, msp := range msps {
		detailstest.Serve(t, w.details, fabric.KeySocket(w.dir, msp))
	}
	w.profile, err = w.fabric.Profile()
	w.ok(err)
	for _, msp := range msps {
		w.clients[msp] = w.connect(msp)
	}
	w.begin()
	return w
}

// connect makes a client of a member that is closed with the test.
func (w *world) connect(msp string, opts ...fabric.Option) *fabric.Client {
	w.Helper()
	org, err := w.profile.Org(msp)
	w.ok(err)
	id, err := network.LoadIdentity(org.IdentityDir)
	w.ok(err)
	c, err := fabric.Connect(w.profile, id, opts...)
	w.ok(err)
	w.Cleanup(func() { w.ok(c.Close()) })
	return c
}

// onEmbedded opens an embedded ledger, with synced writes.
func onEmbedded(t testing.TB) *world {
	t.Helper()
	keys := new(detailstest.Keys)
	cc, err := chaincode.New(keys)
	w := newWorld(t, err)
	w.details = keys
	roots, ids := map[string][]byte{}, map[string]network.Identity{}
	for _, msp := range msps {
		ca, err := network.NewCA(msp)
		w.ok(err)
		roots[msp] = ca.RootPEM()
		ids[msp], err = ca.Issue("client", "client")
		w.ok(err)
	}
	w.dir = t.TempDir()
	l, err := embedded.Open(embedded.Config{Dir: w.dir, Channel: channel, Roots: roots, Chaincode: cc})
	w.ok(err)
	t.Cleanup(func() { w.ok(l.Close()) })
	for msp, id := range ids {
		w.clients[msp] = l.Client(id)
	}
	w.begin()
	return w
}

func newWorld(t testing.TB, err error) *world {
	w := &world{TB: t, signing: map[string]*ecdsa.PrivateKey{}, clients: map[string]network.Client{}}
	w.ok(err)
	w.genesis = record.Genesis{
		Network: channel, Clock: record.ClockSimulated, Threshold: 2, Registrar: association, MinCohort: 11, Exact: true,
		Profile: "n8192-q212-t128", Schema: privacy.V1().Digest(), CapMicro: 3_000_000, PredicateSlot: 60, PredicateLife: 600,
		Gateways: []string{}, Circuits: []record.Circuit{},
	}
	for _, msp := range msps {
		key := newKey(w)
		boxes, err := he.NewMemberKeys()
		w.ok(err)
		w.signing[msp] = key
		w.genesis.Members = append(w.genesis.Members, boxes.Enter(record.Member{
			MSP: msp, Name: msp, SignKey: record.PublicKeyBytes(&key.PublicKey),
		}))
	}
	return w
}

// begin records the genesis and starts the clock at the first hour.
func (w *world) begin() {
	w.Helper()
	w.submit(hospitalA, "Registry:Init", w.genesis)
	w.tick(firstHour * hour)
}

func (w *world) tick(unix int64) {
	w.Helper()
	for _, msp := range msps {
		w.submit(msp, "Clock:Tick", record.Tick{Time: unix})
	}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) self() string {
	self, err := os.Executable()
	w.ok(err)
	return self
}

// submit makes a transaction that must succeed.
func (w *world) submit(msp, function string, doc any) network.Result {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	res, err := network.SubmitRetry(ctx, w.clients[msp], w.call(function, doc))
	if err != nil {
		w.Errorf("%s calls %s: %v", msp, function, err)
		w.FailNow()
	}
	return res
}

// call makes a call; a consent's document goes beside the chain.
func (w *world) call(function string, doc any) network.Call {
	if signed, ok := doc.(consent.Signed); ok {
		arg, transient, err := state.PutArguments(channel, consent.Details{Salt: record.RandomID(), Signed: signed})
		if err != nil {
			w.Error(err)
		}
		return network.Call{Function: function, Args: []string{arg}, Transient: transient}
	}
	arg, err := json.Marshal(doc)
	if err != nil {
		w.Error(err)
	}
	return network.Call{Function: function, Args: []string{string(arg)}}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) sign(key *ecdsa.PrivateKey, digest record.ID) []byte {
	sig, err := record.Sign(key, digest)
	if err != nil {
		w.Error(err)
	}
	return sig
}

// person is a patient with one device.
type person struct {
	key, deviceKey *ecdsa.PrivateKey
	id, device     record.ID
}

// enrol makes n patients with a device each, several at once.
func (w *world) enrol(n int) []*person {
	w.Helper()
	people := make([]*person, n)
	var g errgroup.Group
	g.SetLimit(32)
	var mu sync.Mutex
	for i := range people {
		g.Go(func() error {
			p, err := w.enrolOne()
			mu.Lock()
			defer mu.Unlock()
			people[i] = p
			return err
		})
	}
	w.ok(g.Wait())
	return people
}

func (w *world) enrolOne() (*person, error) {
	p := &person{key: newKey(w), deviceKey: newKey(w)}
	e := record.EnrolPatient{Inception: record.Inception{ConsentKeys: [][]byte{record.PublicKeyBytes(&p.key.PublicKey)}, RecoveryHash: record.RandomID(), Salt: record.RandomID()}}
	if _, err := w.details.Enrol(channel, &e, w.genesis.Members); err != nil {
		return nil, err
	}
	p.id = e.Inception.PatientID(channel)
	e.Signature = w.sign(p.key, e.Digest(channel))
	e.Voucher = record.Voucher{Patient: p.id, Person: record.RandomID()}
	e.Vouchers = []record.VoucherSignature{{
		By: association, Signature: w.sign(w.signing[association], record.Digest(record.DomainVoucher, channel, e.Voucher)),
	}}
	ctx := context.Background()
	_, err := network.SubmitRetry(ctx, w.clients[association], w.call("Registry:EnrolPatient", e))
	if err != nil {
		return nil, err
	}
	d := record.Device{
		Key: record.PublicKeyBytes(&p.deviceKey.PublicKey), Patient: p.id, FirstHour: firstHour, Profile: w.genesis.Profile,
		Metrics: []string{"heart_rate"}, SeedBlob: record.RandomID(),
		SeedHashes: []record.ID{record.RandomID(), record.RandomID(), record.RandomID()},
	}
	p.device = record.DeviceID(channel, d.Key)
	digest := record.Digest(record.DomainDevice, channel, d)
	_, err = network.SubmitRetry(ctx, w.clients[association], w.call("Registry:EnrolDevice", record.EnrolDevice{
		Device: d, DeviceSignature: w.sign(p.deviceKey, digest), PatientSignature: w.sign(p.key, digest),
	}))
	return p, err
}

// row is a signed pointer of the person's device for an hour; every call makes
// another commitment.
func (w *world) row(p *person, hour int64) record.SignedPointer {
	ptr := record.Pointer{Device: p.device, Kind: record.KindRow, Index: hour, Blob: record.RandomID(), Commitment: record.RandomID()}
	return record.SignedPointer{Pointer: ptr, Signature: w.sign(p.deviceKey, ptr.Digest(channel))}
}

// batches makes n full batches of new pointers, each over all people, from an
// hour on; it returns the first hour that is free.
func (w *world) batches(people []*person, from int64, n int) ([]record.Anchor, int64) {
	out := make([]record.Anchor, n)
	next := 0
	for i := range out {
		for range record.MaxBatch {
			out[i].Pointers = append(out[i].Pointers, w.row(people[next%len(people)], from+int64(next/len(people))))
			next++
		}
	}
	return out, from + int64((next+len(people)-1)/len(people))
}

// consent is version 1 of a person's consent for a hospital.
func (w *world) consent(p *person, grantee string) consent.Document {
	return consent.Document{
		ID: record.RandomID(), Version: 1, Patient: p.id, Grantee: grantee, Purpose: "HRESCH", Status: consent.StatusActive,
		Effect: consent.EffectPermit, Operations: []string{consent.OpAggregate}, Metrics: []string{"heart_rate"},
		DataFrom: firstHour, DataUntil: firstHour + 1000, Expires: (firstHour + 1000) * hour, CapMicro: 3_000_000,
		Predicates: []consent.Terms{},
	}
}

func (w *world) signed(p *person, d consent.Document) consent.Signed {
	return consent.Signed{Document: d, Key: record.PublicKeyBytes(&p.key.PublicKey), Signature: w.sign(p.key, d.Digest(channel))}
}
