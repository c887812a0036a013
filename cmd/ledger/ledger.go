// Package ledger is the embedded ledger as a process, for the processes of one site.
//
// Entry point: Command is "vitalveil ledger".
//
// Trust assumption: one organisation operates it; what it could do and what it could not
// is in package embedded.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/site"
)

// Command is "vitalveil ledger".
type Command struct {
	Dir     string `help:"The ledger's directory." required:"" type:"path" placeholder:"DIR"`
	Network string `help:"The network's document." default:"network.json" type:"existingfile"`
	Org     string `help:"Directory of the institution whose organisation runs the ledger (\"vitalveil institution init\")." required:"" type:"existingdir"`
	Listen  string `help:"Where members reach it: host:port on loopback." required:""`
	Metrics string `help:"Where to serve metrics: IP:port on loopback."`
	Log     string `help:"The form of the log: text or json." enum:"text,json" default:"text"`

	CheckConfig bool `help:"Read and check what is named, say what would run, and end."`
}

// Help says what it is for.
func (Command) Help() string {
	return `One operator runs this ledger and could leave transactions out or, with its key,
write another history; nobody can forge what members sign. For trials and a single
site; "vitalveil network up" runs Hyperledger Fabric, where organisations endorse
each other's writes.`
}

// Run serves the ledger until it is interrupted.
func (c Command) Run(ctx context.Context) error {
	service := site.Service{Metrics: c.Metrics, Log: c.Log}
	if err := service.Check(); err != nil {
		return err
	}
	d, err := site.Descriptor(c.Network)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Org, site.LedgerIdentityDir)
	id, err := network.FollowIdentity(dir)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		_, err := fmt.Printf("the ledger of network %q in %s, run by %s on %s\n", d.Genesis.Network, c.Dir, id.MSP, c.Listen)
		return err
	}
	contracts, err := chaincode.New(details.NewClient(site.LedgerConfig{}.KeySocket(c.Org, id.MSP)))
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
	g.Go(func() error { return site.Identities{dir: id}.Warn(ctx, service.Logger(false)) })
	g.Go(func() error { return service.Observe(ctx, metrics(l), func(context.Context) error { return nil }) })
	return errors.Join(g.Wait(), l.Close())
}

func metrics(l *embedded.Ledger) *prometheus.Registry {
	r := site.NewRegistry()
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "vitalveil", Subsystem: "ledger", Name: "blocks", Help: "Blocks of the ledger.",
	}, func() float64 { return float64(l.Height()) }))
	return r
}
