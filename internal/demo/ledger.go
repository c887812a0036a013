package demo

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
)

// ledger is what the demo needs of a ledger, of either kind.
type ledger struct {
	clients  map[string]network.Client // by MSP
	gateway  network.Client
	height   func(ctx context.Context, msp string) (uint64, error)
	describe func() string
	close    func() error
}

// openEmbedded opens the ledger that runs in this process.
func (w *world) openEmbedded() (*ledger, error) {
	cc, err := chaincode.New()
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
