package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
)

// ledger is what the demo needs of a ledger, of either kind.
type ledger struct {
	keySocket func(msp string) string   // where its contracts ask for details keys; nil: in this process
	clients   map[string]network.Client // by MSP
	gateway   network.Client
	height    func(ctx context.Context, msp string) (uint64, error)
	describe  func() string
	close     func() error
}

// openLedger opens the ledger that was asked for.
func (w *world) openLedger(ctx context.Context, o Options) (*ledger, error) {
	if o.Ledger == LedgerFabric {
		return w.openFabric(ctx, o.Chaincode)
	}
	return w.openEmbedded()
}

// openEmbedded opens the ledger that runs in this process.
func (w *world) openEmbedded() (*ledger, error) {
	cc, err := chaincode.New(&w.details)
	if err != nil {
		return nil, err
	}
	id, err := w.registrar.ca.Issue("gateway", "client")
	if err != nil {
		return nil, err
	}
	l, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger"), Channel: w.genesis.Network, Roots: w.roots(), Chaincode: cc})
	if err != nil {
		return nil, err
	}
	clients := map[string]network.Client{}
	for _, o := range w.orgs {
		clients[o.msp] = l.Client(o.identity)
	}
	return &ledger{
		clients: clients, gateway: l.Client(id), close: l.Close,
		height: func(context.Context, string) (uint64, error) { return l.Height(), nil },
		describe: func() string {
			_, tip := l.Tip()
			return fmt.Sprintf("embedded, one operator; newest block %s", tip)
		},
	}, nil
}

// openFabric starts a Fabric network of three organisations beside this process
// and connects to it. Its processes end with the demo.
func (w *world) openFabric(ctx context.Context, chaincodeCommand []string) (*ledger, error) {
	n, err := launch.Up(ctx, launch.Options{
		Dir: filepath.Join(w.dir, "fabric"), Attached: true, Chaincode: chaincodeCommand, Log: lines{w.progress},
	})
	if err != nil {
		return nil, err
	}
	l := &ledger{clients: map[string]network.Client{}, keySocket: func(msp string) string { return fabric.KeySocket(n.Dir(), msp) }, describe: func() string {
		return "Hyperledger Fabric " + launch.Version + ", three organisations, two of which endorse every write"
	}}
	var open []*fabric.Client
	l.close = func() error {
		var errs []error
		for _, c := range open {
			errs = append(errs, c.Close())
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return errors.Join(append(errs, n.Down(ctx))...)
	}
	p, err := n.Profile()
	if err != nil {
		return l, err
	}
	w.genesis.Network = p.Channel // a network is named like its channel
	if err := p.Supports(w.genesis.Threshold); err != nil {
		return l, err
	}
	connect := func(msp string) (*fabric.Client, error) {
		org, err := p.Org(msp)
		if err != nil {
			return nil, err
		}
		id, err := network.LoadIdentity(org.IdentityDir)
		if err != nil {
			return nil, err
		}
		c, err := fabric.Connect(p, id, fabric.WithPeers(msp), fabric.WithLog(w.log))
		if err == nil {
			open = append(open, c)
		}
		return c, err
	}
	own := map[string]*fabric.Client{}
	for _, o := range w.orgs {
		if own[o.msp], err = connect(o.msp); err != nil {
			return l, err
		}
		l.clients[o.msp] = own[o.msp]
	}
	l.height = func(ctx context.Context, msp string) (uint64, error) { return own[msp].Height(ctx) }
	l.gateway, err = connect(w.registrar.msp)
	return l, err
}

// lines writes what the launcher says as lines of the demo's progress.
type lines struct{ p *progress }

func (l lines) Write(b []byte) (int, error) {
	for _, s := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		l.p.line("%s", s)
	}
	return len(b), nil
}
