package demo

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"
	"github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/wearable/recording"
	"github.com/vitalveil/vitalveil/zk"
)

// networkName is bound into everything that a demo network signs.
const networkName = "vitalveil-demo"

// Predicates of the demo are answered after slotSeconds and within lifeSeconds
// of ledger time.
const (
	slotSeconds = 5 * 60
	lifeSeconds = 30 * 60
)

// org is one organisation of the consortium with everything it keeps secret.
type org struct {
	msp, name string
	ca        *network.CA
	identity  network.Identity
	boxes     *he.MemberKeys
	signKey   *ecdsa.PrivateKey
	inst      *institution.Institution
}

// world is a running network: ledger, gateway, institutions and one hub with
// every patient's device, all in this process and on loopback.
type world struct {
	dir       string
	progress  *progress
	firstHour int64 // of the network's data, Unix
	untilHour int64
	refuser   *recording.Person
	revoker   *recording.Person
	stored    bool // Options.Stored
	daily     bool // statistics are about people's days
	people    []*person

	genesis         record.Genesis
	params          *he.Params
	said            []said // claims that the demo was told to ask
	circuits        []record.Circuit
	keysDir         string
	orgs            []*org
	asker           *org
	registrar       *org
	registrarSecret []byte

	ledger  *ledger
	blobs   *blob.Store
	index   *index.Index // the gateway's own
	gw      *gateway.Gateway
	url     string
	hub     *bridge.Hub
	details lateKeys     // of the registrar, who runs gateway and embedded ledger
	now     atomic.Int64 // simulated Unix seconds, for the hub

	log       *slog.Logger // of the services, to the file log.jsonl
	logFile   *os.File
	services  *errgroup.Group
	stop      context.CancelFunc
	mu        sync.Mutex
	enrolment int // bytes of the largest enrolment
}

// noteEnrolment remembers the largest seed blob.
func (w *world) noteEnrolment(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enrolment = max(w.enrolment, n)
}

// newWorld makes the organisations and their network, and starts every part.
// page is what the gateway shows at /.
func newWorld(ctx context.Context, w *world, o Options, listener net.Listener, page http.Handler) error {
	sharing, err := he.NewSharing(3, 2)
	if err != nil {
		return err
	}
	schema, err := schemaOf(o)
	if err != nil {
		return err
	}
	if w.params, err = he.New(he.DefaultProfile(), schema, sharing); err != nil {
		return err
	}
	if w.logFile, err = os.OpenFile(filepath.Join(w.dir, "log.jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	w.log = slog.New(slog.NewJSONHandler(w.logFile, nil))
	if err := w.makeOrgs(); err != nil {
		return err
	}
	w.makeGenesis(o.Exact)
	if w.ledger, err = w.openLedger(ctx, o); err != nil {
		return err
	}
	if err := w.writeDescriptor(); err != nil {
		return err
	}
	ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
	w.services, ctx = errgroup.WithContext(ctx)
	if err := w.startLedger(ctx); err != nil {
		return err
	}
	if err := w.startGateway(ctx, listener, page); err != nil {
		return err
	}
	if err := w.startInstitutions(ctx); err != nil {
		return err
	}
	return w.openHub()
}

func (w *world) makeOrgs() error {
	for _, o := range []*org{
		{msp: "HospitalA", name: "Hospital A"},
		{msp: "HospitalB", name: "Hospital B"},
		{msp: "PatientsAssociation", name: "Patients' Association"},
	} {
		var err error
		if o.ca, err = network.NewCA(o.msp); err != nil {
			return err
		}
		if o.identity, err = o.ca.Issue("institution", "peer"); err != nil {
			return err
		}
		if o.boxes, err = he.NewMemberKeys(); err != nil {
			return err
		}
		if o.signKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		w.orgs = append(w.orgs, o)
	}
	w.asker, w.registrar = w.orgs[0], w.orgs[2]
	w.registrarSecret = make([]byte, 32)
	rand.Read(w.registrarSecret)
	return nil
}

func (w *world) makeGenesis(exact bool) {
	w.genesis = record.Genesis{
		Network: networkName, Clock: record.ClockSimulated, Threshold: 2,
		Registrar: w.registrar.msp, Gateways: []string{w.registrar.msp},
		MinCohort: state.MinCohort, Exact: exact,
		Profile: w.params.Profile().Name, Schema: w.params.Schema().Digest(),
		CapMicro: patientCap, Circuits: w.circuits,
		PredicateSlot: slotSeconds, PredicateLife: lifeSeconds,
	}
	for _, o := range w.orgs {
		w.genesis.Members = append(w.genesis.Members, o.boxes.Enter(record.Member{
			MSP: o.msp, Name: o.name, SignKey: record.PublicKeyBytes(&o.signKey.PublicKey),
		}))
	}
}

func (w *world) roots() map[string][]byte {
	roots := map[string][]byte{}
	for _, o := range w.orgs {
		roots[o.msp] = o.ca.RootPEM()
	}
	return roots
}

func (w *world) writeDescriptor() error {
	b, err := json.MarshalIndent(record.Descriptor{Genesis: w.genesis, Roots: w.roots()}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "network.json"), b, 0o644)
}

// startLedger records the genesis on the opened ledger and follows its blocks.
func (w *world) startLedger(ctx context.Context) error {
	if _, _, err := contracts.RegistryInit.Submit(ctx, w.client(w.asker), w.genesis); err != nil {
		return err
	}
	w.index = index.New()
	w.index.OpenWith(&w.details)
	f, err := follow.New(follow.Config{
		Genesis: w.genesis, Client: w.ledger.gateway, Index: w.index, Role: "gateway", Log: w.log.With("part", "gateway"),
		Height: func(ctx context.Context) (uint64, error) { return w.ledger.height(ctx, w.registrar.msp) },
	})
	if err != nil {
		return err
	}
	w.services.Go(func() error { return f.Run(ctx) })
	return nil
}

func (w *world) client(o *org) network.Client { return w.ledger.clients[o.msp] }

func (w *world) startGateway(ctx context.Context, l net.Listener, page http.Handler) error {
	dir := filepath.Join(w.dir, "gateway")
	var err error
	if w.blobs, err = blob.Open(filepath.Join(dir, "blobs")); err != nil {
		return err
	}
	w.gw, err = gateway.New(gateway.Config{
		Genesis: w.genesis, Client: w.ledger.gateway, Blobs: w.blobs, Dir: dir, Index: w.index, Page: page, Log: w.log.With("part", "gateway"),
	})
	if err != nil {
		return err
	}
	w.url = "http://" + l.Addr().String()
	w.services.Go(func() error { return w.gw.Serve(ctx, l) })
	return nil
}

func (w *world) startInstitutions(ctx context.Context) error {
	peers := map[string]string{}
	listeners := map[string]net.Listener{}
	for _, o := range w.orgs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		peers[o.msp], listeners[o.msp] = l.Addr().String(), l
	}
	for i, o := range w.orgs {
		blobs := api.NewClient(w.url, w.genesis.Network, &api.Signer{Party: api.MemberParty(o.msp), Key: o.signKey})
		var err error
		cfg := institution.Config{
			Genesis: w.genesis, Member: i, Identity: o.identity, Client: w.client(o),
			Height: func(ctx context.Context) (uint64, error) { return w.ledger.height(ctx, o.msp) },
			Keys:   o.boxes, SignKey: o.signKey, Dir: filepath.Join(w.dir, "institutions", o.msp),
			Blobs: blobs, Peers: peers, Roots: w.roots(), Listen: listeners[o.msp],
			Log: w.log.With("part", "institution"),
		}
		if w.ledger.keySocket != nil {
			cfg.KeySocket = w.ledger.keySocket(o.msp)
		}
		if o.inst, err = institution.New(cfg); err != nil {
			return err
		}
		if o == w.registrar {
			w.details.from.Store(o.inst)
		}
		w.services.Go(func() error { return o.inst.Run(ctx) })
	}
	return nil
}

func (w *world) openHub() error {
	var err error
	w.hub, err = bridge.Open(bridge.Config{
		Dir: filepath.Join(w.dir, "hub"), Genesis: w.genesis, Params: w.params, Prover: zk.NewProver(w.keysDir, w.circuits), GatewayURL: w.url,
		Clock: func() time.Time { return time.Unix(w.now.Load(), 0) },
	})
	return err
}

// tick lets every institution say that it is the given time.
func (w *world) tick(ctx context.Context, unix int64) error {
	w.now.Store(unix)
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range w.orgs {
		g.Go(func() error { return o.inst.Tick(ctx, unix) })
	}
	return g.Wait()
}

// close ends every part in the order of who needs whom, and reports the first
// failure of a service.
func (w *world) close() error {
	var errs []error
	if w.hub != nil {
		errs = append(errs, w.hub.Close())
	}
	if w.stop != nil {
		w.stop()
		if err := w.services.Wait(); !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	for _, o := range w.orgs {
		if o.inst != nil {
			errs = append(errs, o.inst.Close())
		}
	}
	if w.gw != nil {
		errs = append(errs, w.gw.Close())
	}
	if w.blobs != nil {
		errs = append(errs, w.blobs.Close())
	}
	if w.ledger != nil {
		errs = append(errs, w.ledger.close())
	}
	if w.logFile != nil {
		errs = append(errs, w.logFile.Close())
	}
	return errors.Join(errs...)
}
