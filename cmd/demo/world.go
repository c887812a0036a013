package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"
	"github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/site"
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
	site.Keys
	document site.MemberDocument
	inst     *institution.Institution
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
	services  *errgroup.Group
	stop      context.CancelFunc
	closings  []func() error
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
	file, err := os.OpenFile(filepath.Join(w.dir, "log.jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if file, err = opened(w, file, err); err != nil {
		return err
	}
	w.log = slog.New(slog.NewJSONHandler(file, nil))
	if err := w.makeOrgs(); err != nil {
		return err
	}
	w.makeGenesis(o.Exact)
	if w.ledger, err = w.openLedger(ctx, o); err != nil {
		return err
	}
	if err := site.Save(filepath.Join(w.dir, "network.json"), w.descriptor()); err != nil {
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

// makeOrgs makes everybody's keys, as organisations do that each run their own.
func (w *world) makeOrgs() error {
	for _, o := range []*org{
		{msp: "HospitalA", name: "Hospital A"},
		{msp: "HospitalB", name: "Hospital B"},
		{msp: "PatientsAssociation", name: "Patients' Association"},
	} {
		var err error
		dir := filepath.Join(w.dir, "organisations", o.msp)
		if o.document, err = site.MakeKeys(dir, dir+"-ca", o.msp, o.name); err != nil {
			return err
		}
		if o.Keys, err = site.LoadKeys(dir); err != nil {
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
		w.genesis.Members = append(w.genesis.Members, o.document.Member)
	}
}

func (w *world) roots() map[string][]byte {
	roots := map[string][]byte{}
	for _, o := range w.orgs {
		roots[o.msp] = o.document.Root
	}
	return roots
}

func (w *world) descriptor() record.Descriptor {
	return record.Descriptor{Genesis: w.genesis, Roots: w.roots()}
}

// startLedger records the genesis on the opened ledger and follows its blocks.
func (w *world) startLedger(ctx context.Context) error {
	if _, _, err := contracts.RegistryInit.Submit(ctx, w.client(w.asker), w.genesis); err != nil {
		return err
	}
	w.index = index.New()
	w.index.OpenWith(&w.details)
	f, err := follow.New(follow.Config{
		Genesis: w.genesis, Client: w.client(w.registrar), Index: w.index, Role: "gateway", Log: w.log.With("part", "gateway"),
		Height: w.client(w.registrar).Height,
	})
	if err != nil {
		return err
	}
	w.services.Go(func() error { return f.Run(ctx) })
	return nil
}

func (w *world) client(o *org) site.Ledger { return w.ledger.of[o.msp] }

func (w *world) startGateway(ctx context.Context, l net.Listener, page http.Handler) error {
	dir := filepath.Join(w.dir, "gateway")
	b, err := blob.Open(filepath.Join(dir, "blobs"))
	if w.blobs, err = opened(w, b, err); err != nil {
		return err
	}
	gw, err := gateway.New(gateway.Config{
		Genesis: w.genesis, Client: w.client(w.registrar), Blobs: w.blobs, Dir: dir, Index: w.index, Page: page, Log: w.log.With("part", "gateway"),
	})
	if w.gw, err = opened(w, gw, err); err != nil {
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
		blobs := api.NewClient(w.url, w.genesis.Network, &api.Signer{Party: api.MemberParty(o.msp), Key: o.Sign})
		var err error
		cfg := institution.Config{
			Genesis: w.genesis, Member: i, Identity: o.Identity, Client: w.client(o), Height: w.client(o).Height,
			Keys: o.Boxes, SignKey: o.Sign, Dir: filepath.Join(w.dir, "institutions", o.msp),
			Blobs: blobs, Peers: peers, Roots: w.roots(), Listen: listeners[o.msp],
			Log: w.log.With("part", "institution"),
		}
		if w.ledger.keySocket != nil {
			cfg.KeySocket = w.ledger.keySocket(o.msp)
		}
		inst, err := institution.New(cfg)
		if o.inst, err = opened(w, inst, err); err != nil {
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
	hub, err := bridge.Open(bridge.Config{
		Dir: filepath.Join(w.dir, "hub"), Genesis: w.genesis, Params: w.params, Prover: zk.NewProver(w.keysDir, w.circuits), GatewayURL: w.url,
		Clock: func() time.Time { return time.Unix(w.now.Load(), 0) },
	})
	w.hub, err = opened(w, hub, err)
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

// opened notes how to close what was opened, unless that failed.
func opened[T interface{ Close() error }](w *world, v T, err error) (T, error) {
	if err == nil {
		w.closings = append(w.closings, v.Close)
	}
	return v, err
}

// close ends services, then closes what was opened, the last one first.
func (w *world) close() error {
	var errs []error
	if w.stop != nil {
		w.stop()
		if err := w.services.Wait(); !errors.Is(err, context.Canceled) {
			errs = append(errs, err)
		}
	}
	for _, c := range slices.Backward(w.closings) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}
