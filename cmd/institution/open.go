package institution

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"time"

	"github.com/vitalveil/vitalveil/chaincode/state"
	gateway "github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	role "github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/institution/api"
	"github.com/vitalveil/vitalveil/network/site"
)

// Process is an institution with what it is connected to.
type Process struct {
	*role.Institution
	dir       string
	service   site.Service
	genesis   record.Genesis
	ledger    site.Ledger
	blobs     *blob.Store     // nil where blobs come through a gateway
	gateway   *gateway.Client // nil where blobs do not
	sign      *ecdsa.PrivateKey
	personKey site.Secret
	log       *slog.Logger
	ids       site.Identities
	api       *api.Server // nil: none is served
	apiListen net.Listener
}

// Open opens the institution in dir, which has this configuration, and connects it,
// without talking to anybody yet. Close it in the end.
func Open(dir string, cfg Config, log *slog.Logger) (*Process, error) {
	d, err := site.Descriptor(string(cfg.Network))
	if err != nil {
		return nil, err
	}
	vault, err := cfg.VaultKey.Path()
	if err != nil {
		return nil, err
	}
	k, err := site.LoadKeys(dir)
	if err != nil {
		return nil, err
	}
	member, err := site.MemberOf(d, k.Identity.MSP)
	if err != nil {
		return nil, err
	}
	p := &Process{sign: k.Sign, personKey: cfg.PersonKey, dir: dir, service: cfg.Service, genesis: d.Genesis, log: log, ids: site.Identities{filepath.Join(dir, site.IdentityDir): k.Identity}}
	var ids site.Identities
	if p.ledger, ids, err = cfg.Ledger.Open(d, k.Identity, log); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	maps.Copy(p.ids, ids)
	c := role.Config{
		Genesis: d.Genesis, Member: member, Identity: k.Identity, Client: p.ledger, Height: p.ledger.Height,
		Keys: k.Boxes, SignKey: k.Sign, Dir: filepath.Join(dir, StateDir), KeyFile: vault, Peers: cfg.Members, Roots: d.Roots, Log: log,
		Patience:  time.Duration(cfg.Patience) * time.Second,
		KeySocket: cfg.Ledger.KeySocket(dir, k.Identity.MSP),
	}
	if c.Blobs, err = p.openBlobs(cfg, k); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if c.Listen, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if p.Institution, err = role.New(c); err != nil {
		return nil, errors.Join(err, c.Listen.Close(), p.close())
	}
	if err := p.openAPI(cfg.API); err != nil {
		return nil, errors.Join(err, c.Listen.Close(), p.Close())
	}
	return p, nil
}

func (p *Process) openBlobs(cfg Config, k site.Keys) (role.Blobs, error) {
	if cfg.Blobs.Directory == "" {
		p.gateway = gateway.NewClient(cfg.Blobs.Gateway, p.genesis.Network, &gateway.Signer{Party: gateway.MemberParty(k.Identity.MSP), Key: k.Sign})
		return p.gateway, nil
	}
	var err error
	if p.blobs, err = blob.Open(string(cfg.Blobs.Directory)); err != nil {
		return nil, err
	}
	return p.blobs, nil
}

// Close closes everything. Run must have returned.
func (p *Process) Close() error { return errors.Join(p.Institution.Close(), p.close()) }

func (p *Process) close() error {
	err := p.ledger.Close()
	if p.blobs != nil {
		err = errors.Join(err, p.blobs.Close())
	}
	return err
}

// found records the network's genesis document unless the ledger has it. Any member
// may do it, so it does not matter who starts first; that the ledger's document is
// the one in this member's configuration is checked when the first blocks are read.
// Likewise any member moves the state to the layout of a newer chaincode.
func (p *Process) found(ctx context.Context) error {
	l, err := contracts.RegistryGetLayout.Evaluate(ctx, p.ledger, struct{}{})
	if err == nil {
		return upgrade(ctx, p.ledger, l)
	}
	if fault.Of(err) != fault.NotFound {
		return err
	}
	_, _, err = contracts.RegistryInit.Submit(ctx, p.ledger, p.genesis)
	return err
}

// upgrade has the chaincode move the state, step by step, until it is in the
// layout that the chaincode wants. Steps that others make count as well.
func upgrade(ctx context.Context, ledger network.Client, l state.Layout) error {
	var err error
	for asked := false; ; asked = true {
		if l.To == 0 && l.Version >= state.LayoutVersion {
			return nil
		}
		if l.To == 0 && asked {
			return fault.New(fault.Internal, "the ledger's chaincode has layout %d and this program layout %d: put the newer chaincode into service first",
				l.Version, state.LayoutVersion)
		}
		if l, _, err = contracts.RegistryUpgrade.Submit(ctx, ledger, struct{}{}); err != nil {
			return err
		}
	}
}
