// Command admin does what an organisation's administrator does on a Fabric
// channel: its peers join, chaincode is installed, approved and committed. It
// uses fabric-sdk-go and works on any network that a connection profile in the
// SDK's form describes; "vitalveil network up" writes one for its own networks
// (config/admin.json in the network's directory).
//
//	admin --config admin.json --org HospitalA query --channel vitalveil --name vitalveil
//
// It is a program of its own because the SDK's protocol buffers and those of the
// newer Fabric libraries register the same names: linked into one binary they
// end it at start. So nothing of this module that talks to Fabric is imported
// here and nothing imports this.
//
// Trust: it acts with the administrator's key that the profile names, and
// believes the peers and orderers that the profile names under the TLS roots
// given there. Enroll registers a client with the organisation's fabric-ca, which
// the profile names, with the registrar's secret; other certificates are those that
// the profile names.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Config string `required:"" type:"existingfile" help:"Connection profile in the form of fabric-sdk-go, JSON."`
	Org    string `required:"" help:"Organisation whose administrator acts, as the profile names it."`
	User   string `default:"admin" help:"The administrator, as the profile names it."`

	Join    joinCommand    `cmd:"" help:"Make the organisation's peers members of a channel."`
	Install installCommand `cmd:"" help:"Install a chaincode package on the organisation's peers."`
	Approve approveCommand `cmd:"" help:"Approve a chaincode definition for the organisation."`
	Commit  commitCommand  `cmd:"" help:"Commit a chaincode definition that enough organisations have approved."`
	Enroll  enrollCommand  `cmd:"" help:"Register a client with the organisation's fabric-ca and store its certificate and key."`
	Query   queryCommand   `cmd:"" help:"Show channels, installed packages and the committed definition, as JSON."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "admin:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c commands
	p, err := kong.New(&c, kong.Name("admin"), kong.Description("Administer a Fabric channel through fabric-sdk-go."))
	if err != nil {
		return err
	}
	k, err := p.Parse(args)
	if err != nil {
		return fmt.Errorf("%w\nrun \"admin --help\" to see the commands", err)
	}
	s, err := open(ctx, c.Config, c.Org, c.User)
	if err != nil {
		return err
	}
	defer s.close()
	return k.Run(s)
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
