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
	d, err := site.Descriptor(c.Network)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.Org, site.LedgerIdentityDir)
	id, err := network.FollowIdentity(dir)
	if err != nil {
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
	g.Go(func() error { return site.Identities{dir: id}.Warn(ctx, site.Service{}.Logger(false)) })
	return errors.Join(g.Wait(), l.Close())
}
