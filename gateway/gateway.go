package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/web"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
)

// Config is what a gateway is made of.
type Config struct {
	Genesis record.Genesis // of the network served
	Client  network.Client // an identity of an MSP in Genesis.Gateways, or a member's
	Blobs   *blob.Store    // not closed by the gateway
	Dir     string         // the journal is kept in Dir/journal
	Index   Index
	Page    http.Handler // served at /, nil for a plain one
	Log     *slog.Logger // nil: nothing is logged

	patience patience // zero: defaultPatience
}

// Index is the gateway's reading of the ledger, kept up by whoever owns it;
// index.Index is one.
type Index interface {
	Answers
	Progress
	Erasures
}

// Answers is what an index says about devices and patients.
type Answers interface {
	// Receipts returns receipts of available pointers with indices in [from,
	// until), in order, at most 500.
	Receipts(device record.ID, kind string, from, until int64) ([]record.Receipt, error)
	// History returns what happened to a patient's data, oldest first.
	History(patient record.ID) ([]index.Entry, error)
	// Reputation is what the ledger shows of how a device behaves.
	Reputation(device record.ID) (index.Reputation, error)
}

// Progress is how far an index, the enrolment of a device and the members of the
// network have come.
type Progress interface {
	Height() uint64
	// Device returns a device, who holds its seeds, whether all do, and whether there
	// is such a device.
	Device(id record.ID) (record.DeviceState, []string, bool, bool)
	// Roster returns the epochs that live, and with them the members' keys.
	Roster() record.Roster
}

// Gateway serves one network. Its methods are safe for concurrent use. It is made of
// parts, each of which holds to something by itself (see their types): door lets requests
// in, ledger answers questions, store keeps blobs, operations and their journal what was
// accepted, and runner brings that onto the ledger.
type Gateway struct {
	*ledger
	door    *door
	store   *store
	ops     *operations
	runner  *runner
	ready   *readyCache
	handler http.Handler

	drain     chan struct{} // closed: streams end
	drainOnce sync.Once
	quit      chan struct{}   // closed: no new work is taken up
	life      context.Context // of all work
	cancel    context.CancelFunc
	work      sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// New makes a gateway and takes up the operations that its journal holds.
func New(cfg Config) (*Gateway, error) { return newGateway(cfg, time.Now) }

// newGateway is New with the wall clock to judge requests by.
func newGateway(cfg Config, now func() time.Time) (*Gateway, error) {
	if cfg.Client == nil || cfg.Blobs == nil || cfg.Index == nil || cfg.Dir == "" || cfg.Genesis.Network == "" {
		return nil, errors.New("gateway: Genesis, Client, Blobs, Dir and Index are all needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	j, err := openJournal(filepath.Join(cfg.Dir, "journal"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	drain, quit := make(chan struct{}), make(chan struct{})
	l := &ledger{genesis: cfg.Genesis, client: cfg.Client, index: cfg.Index, log: cfg.Log, quit: quit}
	keys, ops := newKeyCache(l.memberKeys, now, l.partyKeys), newOperations(j, now, cfg.Log)
	st := &store{
		ledger: l, ops: ops, now: now, blobs: cfg.Blobs,
		clean: &cleaned{patients: map[record.ID]bool{}}, quota: quota{most: maxStoredDaily, what: "blobs"},
	}
	g := &Gateway{
		ledger: l, store: st, ops: ops, drain: drain, quit: quit, life: ctx, cancel: cancel,
		door: &door{ledger: l, ops: ops, keys: keys, now: now, bounds: newBounds(), origins: pagesOf(cfg.Genesis), drain: drain, life: ctx},
		runner: &runner{
			ledger: l, ops: ops, keys: keys, store: st, now: now,
			anchors: newBatcher(l, ops, st.discardRows), patience: cmp.Or(cfg.patience, defaultPatience),
		},
	}
	g.ready = &readyCache{ask: g.readyNow}
	rest, err := newMux(g)
	if err != nil {
		cancel()
		return nil, errors.Join(err, j.close())
	}
	g.handler = g.routesOf(rest, cfg.Page)
	if err := g.start(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// start takes up what the journal holds and runs the workers.
func (g *Gateway) start() error {
	pending, err := g.ops.recover()
	if err != nil {
		return err
	}
	for range workers {
		g.work.Go(func() { g.runner.worker(g.life, g.ops.urgent) })
		g.work.Go(func() { g.runner.worker(g.life, g.ops.queue) })
	}
	g.work.Go(func() { g.runner.anchors.run(g.life) })
	g.work.Go(g.runner.janitor)
	g.work.Go(func() { g.store.eraser(g.life) })
	for _, e := range pending {
		g.runner.dispatch(e)
	}
	if len(pending) > 0 {
		g.log.Info("operations taken up again", "count", len(pending))
	}
	return nil
}

// keepDone is how long the journal remembers an operation that is done.
const keepDone = 24 * time.Hour

// janitor prunes the journal every hour.
func (rn *runner) janitor() {
	hourly := time.NewTicker(time.Hour)
	defer hourly.Stop()
	for {
		if err := rn.ops.journal.prune(rn.now().Add(-keepDone)); err != nil {
			rn.log.Error("the journal could not be pruned", "error", err)
		}
		select {
		case <-hourly.C:
		case <-rn.quit:
			return
		}
	}
}

// Ready says why the gateway cannot take writes; nil: it can.
func (g *Gateway) Ready(ctx context.Context) error {
	_, err := g.ready.get(ctx)
	return err
}

// Handler is the gateway's HTTP interface.
func (g *Gateway) Handler() http.Handler { return g.handler }

// routesOf puts pages beside the REST interface.
func (g *Gateway) routesOf(mux, page http.Handler) http.Handler {
	if page == nil {
		page = g.plainPage()
	}
	rest := g.door.front(routes, mux)
	fhir := g.door.front(fhirRoutes, http.HandlerFunc(g.serveFHIR))
	pages := g.pages(page)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		web.SetHeaders(w.Header())
		w.Header().Set("Cache-Control", "no-store")
		g.door.shareWithPages(w.Header(), r)
		if isAPI(r.URL.Path) {
			rest.ServeHTTP(w, r)
			return
		}
		if isFHIR(r.URL.Path) {
			fhir.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}

// Timeouts of the HTTP server. Streams end before the last (see streamLife).
const (
	headerTimeout   = 5 * time.Second
	readTimeout     = 30 * time.Second
	writeTimeout    = 90 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
	maxHeaderBytes  = 16 << 10
)

// Serve answers requests on a listener until ctx ends, and then lets requests
// under way finish. The listener is closed. Call it once for each listener.
func (g *Gateway) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: g.handler, ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout,
		WriteTimeout: writeTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:  slog.NewLogLogger(g.log.Handler(), slog.LevelDebug),
		ConnState: g.door.bounds.conns.state,
	}
	srv.RegisterOnShutdown(func() { g.drainOnce.Do(func() { close(g.drain) }) })
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("gateway: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = errors.Join(err, srv.Close())
	}
	<-done
	return err
}

// graceTimeout is how long Close waits for transactions under way.
const graceTimeout = 5 * time.Second

// Close ends the gateway. Transactions under way may finish; operations that are
// not done stay in the journal and are taken up by the next gateway on it.
func (g *Gateway) Close() error {
	g.closeOnce.Do(func() {
		g.drainOnce.Do(func() { close(g.drain) })
		close(g.quit)
		g.ops.urgent.close()
		g.ops.queue.close()
		grace := time.AfterFunc(graceTimeout, g.cancel)
		g.door.calls.close()
		g.work.Wait()
		grace.Stop()
		g.cancel()
		g.closeErr = g.ops.journal.close()
	})
	return g.closeErr
}
