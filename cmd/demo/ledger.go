package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/site"
)

// ledger is what the demo needs of a ledger, of either kind.
type ledger struct {
	of        map[string]site.Ledger  // by MSP
	keySocket func(msp string) string // where its contracts ask for details keys; nil: in this process
	describe  func() string
}

// openLedger opens the ledger that was asked for.
func (w *world) openLedger(ctx context.Context, o Options) (*ledger, error) {
	if o.Ledger == LedgerFabric {
		return w.openFabric(ctx, o.Chaincode)
	}
	return w.openEmbedded()
}

// local is an organisation's access to the ledger in this process.
type local struct {
	network.Client
	ledger *embedded.Ledger
}

func (l local) Height(context.Context) (uint64, error) { return l.ledger.Height(), nil }
func (local) Close() error                             { return nil }

// openEmbedded opens the ledger that runs in this process.
func (w *world) openEmbedded() (*ledger, error) {
	cc, err := chaincode.New(&w.details)
	if err != nil {
		return nil, err
	}
	l, err := embedded.Open(embedded.Config{Dir: filepath.Join(w.dir, "ledger"), Channel: w.genesis.Network, Roots: w.roots(), Chaincode: cc})
	if l, err = opened(w, l, err); err != nil {
		return nil, err
	}
	out := &ledger{of: map[string]site.Ledger{}, describe: func() string {
		_, tip := l.Tip()
		return fmt.Sprintf("embedded, one operator; newest block %s", tip)
	}}
	for _, o := range w.orgs {
		out.of[o.msp] = local{l.Client(o.Identity), l}
	}
	return out, nil
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
	l := &ledger{of: map[string]site.Ledger{}, keySocket: func(msp string) string { return fabric.KeySocket(n.Dir(), msp) }, describe: func() string {
		return "Hyperledger Fabric " + launch.Version + ", three organisations, two of which endorse every write"
	}}
	w.closings = append(w.closings, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		return n.Down(ctx)
	})
	p, err := n.Profile()
	if err != nil {
		return nil, err
	}
	w.genesis.Network = p.Channel // a network is named like its channel
	for _, o := range w.orgs {
		c, _, err := site.LedgerConfig{Fabric: site.Path(n.Dir())}.Open(w.descriptor(), o.Identity, w.log)
		if l.of[o.msp], err = opened(w, c, err); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// lines writes what the launcher says as lines of the demo's progress.
type lines struct{ p *progress }

func (l lines) Write(b []byte) (int, error) {
	for _, s := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		l.p.line("%s", s)
	}
	return len(b), nil
}
