package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	role "github.com/vitalveil/vitalveil/gateway"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index"
	"github.com/vitalveil/vitalveil/network/index/follow"
	"github.com/vitalveil/vitalveil/network/institution/store"
	"github.com/vitalveil/vitalveil/network/site"
)

// Process is a gateway with what it is connected to.
type Process struct {
	*role.Gateway
	ledger   *follow.Follower
	dir      string
	service  site.Service
	network  string
	client   site.Ledger
	blobs    *blob.Store
	store    *store.Store
	keys     *Keys
	ids      site.Identities
	listen   []net.Listener
	log      *slog.Logger
	closings []func() error // the last one first
}

// Open opens the gateway in dir and connects it, without talking to anybody yet. Close
// it in the end.
func Open(dir string, cfg Config, log *slog.Logger) (*Process, error) {
	p := &Process{dir: dir, service: cfg.Service, log: log}
	if err := p.open(cfg); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// opened notes how to close what was opened, unless that failed.
func opened[T interface{ Close() error }](p *Process, v T, err error) (T, error) {
	if err == nil {
		p.closings = append(p.closings, v.Close)
	}
	return v, err
}

func (p *Process) open(cfg Config) error {
	d, err := site.Descriptor(string(cfg.Network))
	if err != nil {
		return err
	}
	p.network = d.Genesis.Network
	id, err := network.FollowIdentity(string(cfg.Identity))
	if err != nil {
		return err
	}
	p.ids = site.Identities{string(cfg.Identity): id}
	client, ids, err := cfg.Ledger.Open(d, id, p.log)
	if p.client, err = opened(p, client, err); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	maps.Copy(p.ids, ids)
	if err := p.openBlobs(cfg); err != nil {
		return err
	}
	key, err := cfg.VaultKey.Path()
	if err != nil {
		return err
	}
	s, err := store.Open(filepath.Join(string(cfg.State), "index"), key)
	if p.store, err = opened(p, s, err); err != nil {
		return err
	}
	ix := index.New()
	if cfg.Institution != "" || cfg.Ledger.Fabric != "" {
		p.keys = NewKeys(p.network, details.NewClient(cfg.Ledger.KeySocket(string(cfg.Institution), id.MSP)))
		ix.OpenWith(p.keys)
	}
	p.ledger, err = follow.New(follow.Config{
		Genesis: d.Genesis, Client: p.client, Height: p.client.Height, Index: ix, Role: "gateway",
		Store: p.store, Dir: filepath.Join(string(cfg.State), "index"), Log: p.log,
	})
	if err != nil {
		return err
	}
	gw, err := role.New(role.Config{Genesis: d.Genesis, Client: p.client, Blobs: p.blobs, Dir: string(cfg.State), Index: ix, Log: p.log})
	if p.Gateway, err = opened(p, gw, err); err != nil {
		return err
	}
	for _, address := range cfg.Listen {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		p.listen = append(p.listen, l)
	}
	return nil
}

// maxKeys bounds the file with the keys of a bucket, in bytes.
const maxKeys = 4 << 10

func (p *Process) openBlobs(cfg Config) error {
	var keys []byte
	if cfg.BlobKeys != "" {
		var err error
		if keys, err = cfg.BlobKeys.Read(maxKeys); err != nil {
			return fmt.Errorf("blob_keys: %w", err)
		}
	}
	b, err := blob.OpenURL(cfg.Blobs, keys)
	p.blobs, err = opened(p, b, err)
	return err
}

// Close closes everything. Run must have returned.
func (p *Process) Close() error {
	var all []error
	for i := range p.closings {
		all = append(all, p.closings[len(p.closings)-1-i]())
	}
	for _, l := range p.listen {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// Run follows the ledger and serves the gateway and its control socket until ctx ends.
func (p *Process) Run(ctx context.Context) error {
	control, err := dirFlag{p.dir}.control().Listen()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.ledger.Run(ctx) })
	if p.keys != nil {
		g.Go(func() error { return p.keys.Run(ctx, p.ledger.Index(), p.ledger.Hurry) })
	}
	for _, l := range p.listen {
		g.Go(func() error { return p.Serve(ctx, l) })
	}
	g.Go(func() error { return p.commands().Serve(ctx, control) })
	g.Go(func() error { return p.service.Observe(ctx, p.metrics(), p.ready) })
	g.Go(func() error { return p.ids.Warn(ctx, p.log) })
	p.log.Info("running", "network", p.network, "dir", p.dir)
	return g.Wait()
}

// Status is what a gateway says about itself.
type Status struct {
	Network string   `json:"network"`
	Listen  []string `json:"listen"`
	Time    int64    `json:"ledger_time"` // Unix seconds; 0 before there is one
	Height  uint64   `json:"ledger_height"`
	Read    uint64   `json:"blocks_read"`
	Problem string   `json:"problem,omitempty"`
	Ready   bool     `json:"ready"` // it takes writes, and has read the whole ledger
	// Certificates says until when those in use serve, and warns from 60 days on.
	Certificates []site.Certificate `json:"certificates"`
}

func (p *Process) status(ctx context.Context) Status {
	s := Status{Network: p.network, Time: p.ledger.Index().Time(), Read: p.ledger.Index().Height(), Certificates: p.ids.Certificates()}
	for _, l := range p.listen {
		s.Listen = append(s.Listen, l.Addr().String())
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var err error
	s.Height, err = p.client.Height(ctx)
	if err == nil {
		err = p.Ready(ctx)
	}
	if failed := p.ledger.Failure(); failed != nil {
		err = failed
	}
	if err != nil {
		s.Problem = err.Error()
	}
	s.Ready = err == nil && s.Read >= s.Height
	return s
}

func (p *Process) ready(ctx context.Context) error {
	if s := p.status(ctx); !s.Ready {
		return fault.New(fault.Unavailable, "%d of %d blocks read %s", s.Read, s.Height, s.Problem)
	}
	return nil
}

// metrics tell nothing about one patient.
func (p *Process) metrics() *prometheus.Registry {
	r := site.NewRegistry()
	gauge := func(name, help string, value func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "vitalveil", Subsystem: "gateway", Name: name, Help: help}, value))
	}
	gauge("blocks_read", "Blocks of the ledger that were read.", func() float64 { return float64(p.ledger.Index().Height()) })
	gauge("ledger_time_seconds", "Ledger time, Unix seconds.", func() float64 { return float64(p.ledger.Index().Time()) })
	gauge("details_missing", "Versions of consents whose details are not here.", func() float64 { return float64(len(p.ledger.Index().Missing())) })
	gauge("stopped", "1 where the ledger cannot be followed.", func() float64 {
		if p.ledger.Failure() != nil {
			return 1
		}
		return 0
	})
	return r
}

// commands are what an operator may say to a running gateway.
func (p *Process) commands() site.Commands {
	return site.Commands{
		"status": site.Handle(func(ctx context.Context, _ *struct{}) (Status, error) { return p.status(ctx), nil }),
		"newest": site.Handle(func(ctx context.Context, _ *struct{}) (follow.Block, error) { return p.ledger.Newest(ctx) }),
		"accept-ledger": site.Handle(func(ctx context.Context, b *follow.Block) (struct{}, error) {
			return struct{}{}, p.ledger.AcceptLedger(ctx, *b)
		}),
	}
}
