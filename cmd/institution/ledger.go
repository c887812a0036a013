package institution

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
)

// LedgerCommand is "vitalveil ledger": the embedded ledger for the processes of
// one site.
type LedgerCommand struct {
	Dir     string `help:"The ledger's directory." required:"" type:"path" placeholder:"DIR"`
	Network string `help:"The network's document." default:"network.json" type:"existingfile"`
	Org     string `help:"Directory of the institution whose organisation runs the ledger (\"vitalveil institution init\")." required:"" type:"existingdir"`
	Listen  string `help:"Where members reach it: host:port on loopback." required:""`
}

// Help says what it is for.
func (LedgerCommand) Help() string {
	return `One operator runs this ledger and could leave transactions out or, with its key,
write another history; nobody can forge what members sign. For trials and a single
site; "vitalveil network up" runs Hyperledger Fabric, where organisations endorse
each other's writes.`
}

// Run serves the ledger until it is interrupted.
func (c LedgerCommand) Run(ctx context.Context) error {
	d, err := loadNetwork(c.Network)
	if err != nil {
		return err
	}
	id, err := network.FollowIdentity(filepath.Join(c.Org, ledgerDir))
	if err != nil {
		return err
	}
	contracts, err := chaincode.New(details.NewClient(filepath.Join(c.Org, keysSocket)))
	if err != nil {
		return err
	}
	l, err := embedded.Open(embedded.Config{Dir: c.Dir, Channel: d.Genesis.Network, Roots: d.Roots, Chaincode: contracts})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	fmt.Fprintf(os.Stderr, "ledger of network %s, %d blocks, run by %s on %s\n", d.Genesis.Network, l.Height(), id.MSP, listener.Addr())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.Serve(ctx, listener, id) })
	g.Go(func() error {
		return warnOf(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)), func() []Certificate {
			return []Certificate{certificateOf(filepath.Join(c.Org, ledgerDir), id, time.Now())}
		})
	})
	return errors.Join(g.Wait(), l.Close())
}
