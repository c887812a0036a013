package institution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/gateway/api"
	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/fabric"
	role "github.com/vitalveil/vitalveil/network/institution"
)

// ledger is an institution's access to its ledger.
type ledger interface {
	network.Client
	Height(context.Context) (uint64, error)
	Close() error
}

// Process is an institution with what it is connected to.
type Process struct {
	*role.Institution
	dir     string
	genesis record.Genesis
	ledger  ledger
	blobs   *blob.Store // nil where blobs come through a gateway
	log     *slog.Logger
	ids     map[string]network.Identity // in use, by directory
}

// Open opens the institution in dir and connects it, without talking to anybody
// yet. Close it in the end.
func Open(dir string, log *slog.Logger) (*Process, error) {
	cfg, err := Load(dir)
	if err != nil {
		return nil, err
	}
	d, err := loadNetwork(cfg.Network)
	if err != nil {
		return nil, err
	}
	k, err := loadKeys(dir)
	if err != nil {
		return nil, err
	}
	member, err := memberOf(d, k.identity.MSP)
	if err != nil {
		return nil, err
	}
	p := &Process{dir: dir, genesis: d.Genesis, log: log, ids: map[string]network.Identity{filepath.Join(dir, tlsDir): k.identity}}
	if err := p.openLedger(cfg, d, k); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	c := role.Config{
		Genesis: d.Genesis, Member: member, Identity: k.identity, Client: p.ledger, Height: p.ledger.Height,
		Keys: k.boxes, SignKey: k.sign, Dir: filepath.Join(dir, stateDir), KeyFile: cfg.VaultKey, Peers: cfg.Members, Roots: d.Roots, Log: log,
		Patience:  time.Duration(cfg.Patience) * time.Second,
		KeySocket: keySocket(dir, cfg, k.identity.MSP),
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
	return p, nil
}

func (p *Process) openLedger(cfg Config, d record.Descriptor, k keys) error {
	if cfg.Ledger.Fabric == "" {
		var err error
		p.ledger, err = embedded.Connect(embedded.RemoteConfig{
			Address: cfg.Ledger.Address, Operator: cfg.Ledger.Operator, Channel: d.Genesis.Network, Identity: k.identity, Roots: d.Roots,
		})
		return err
	}
	profile, err := fabric.LoadProfile(cfg.Ledger.Fabric)
	if err != nil {
		return err
	}
	if profile.Channel != d.Genesis.Network {
		return fmt.Errorf("the Fabric network's channel is %q; name the network so, not %q", profile.Channel, d.Genesis.Network)
	}
	if err := profile.Supports(d.Genesis.Threshold); err != nil {
		return err
	}
	org, err := profile.Org(k.identity.MSP)
	if err != nil {
		return err
	}
	id, err := network.FollowIdentity(org.IdentityDir)
	if err != nil {
		return err
	}
	p.ids[org.IdentityDir] = id
	p.ledger, err = fabric.Connect(profile, id, fabric.WithPeers(org.MSP), fabric.WithLog(p.log))
	return err
}

// keySocket is where the process asks for details keys that runs this member's
// contracts: the launcher's choice on Fabric, and beside the control socket for the
// ledger of a single site.
func keySocket(dir string, cfg Config, msp string) string {
	if cfg.Ledger.Fabric != "" {
		return fabric.KeySocket(cfg.Ledger.Fabric, msp)
	}
	return filepath.Join(dir, keysSocket)
}

func (p *Process) openBlobs(cfg Config, k keys) (role.Blobs, error) {
	if cfg.Blobs.Directory == "" {
		return gatewayBlobs{api.NewClient(cfg.Blobs.Gateway, p.genesis.Network, &api.Signer{Party: api.MemberParty(k.identity.MSP), Key: k.sign})}, nil
	}
	var err error
	if p.blobs, err = blob.Open(cfg.Blobs.Directory); err != nil {
		return nil, err
	}
	return p.blobs, nil
}

// gatewayBlobs fetches blobs through a gateway, which gives them to members.
type gatewayBlobs struct{ client *api.Client }

func (g gatewayBlobs) Get(ctx context.Context, id record.ID) ([]byte, error) {
	return g.client.Blob(ctx, id)
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
	raw, err := p.ledger.Evaluate(ctx, network.Call{Function: "Registry:GetLayout", Args: []string{"{}"}})
	if err == nil {
		return upgrade(ctx, p.ledger, raw)
	}
	if fault.Of(err) != fault.NotFound {
		return err
	}
	arg, err := json.Marshal(p.genesis)
	if err != nil {
		return err
	}
	_, err = network.SubmitRetry(ctx, p.ledger, network.Call{Function: "Registry:Init", Args: []string{string(arg)}})
	return err
}

// upgrade has the chaincode move the state, step by step, until it is in the
// layout that the chaincode wants. Steps that others make count as well.
func upgrade(ctx context.Context, ledger network.Client, raw []byte) error {
	for asked := false; ; asked = true {
		var l chaincode.Layout
		if err := json.Unmarshal(raw, &l); err != nil {
			return err
		}
		if l.To == 0 && l.Version >= chaincode.LayoutVersion {
			return nil
		}
		if l.To == 0 && asked {
			return fault.New(fault.Internal, "the ledger's chaincode has layout %d and this program layout %d: put the newer chaincode into service first",
				l.Version, chaincode.LayoutVersion)
		}
		res, err := network.SubmitRetry(ctx, ledger, network.Call{Function: "Registry:Upgrade", Args: []string{"{}"}})
		if err != nil {
			return err
		}
		raw = res.Payload
	}
}
