// Command vitalveil is a privacy-preserving exchange for healthcare device data:
// bridges seal vitals, a ledger keeps consent and pointers, institutions answer
// together what none of them could answer alone.
//
// "vitalveil demo" runs the whole system on loopback; README.md says what to
// look at.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/vitalveil/vitalveil/cmd/bridge"
	"github.com/vitalveil/vitalveil/cmd/ceremony"
	"github.com/vitalveil/vitalveil/cmd/demo"
	"github.com/vitalveil/vitalveil/cmd/fabric"
	"github.com/vitalveil/vitalveil/cmd/gateway"
	"github.com/vitalveil/vitalveil/cmd/inspect"
	"github.com/vitalveil/vitalveil/cmd/institution"
	"github.com/vitalveil/vitalveil/cmd/ledger"
	"github.com/vitalveil/vitalveil/cmd/patient"
	"github.com/vitalveil/vitalveil/cmd/up"
	"github.com/vitalveil/vitalveil/cmd/verify"
	"github.com/vitalveil/vitalveil/network/site"
)

type commands struct {
	Demo        demo.Command        `cmd:"" help:"Run the whole system in one process on loopback and show what each party saw."`
	Up          up.Command          `cmd:"" help:"Run a durable network of one site, each role a process: for a pilot."`
	Verify      verify.Command      `cmd:"" help:"Re-check a state directory offline: blocks, signatures, pointers, Merkle roots, receipts, proofs."`
	Proof       verify.ProofCommand `cmd:"" name:"verify-proof" help:"Verify proofs of claims offline, and say in words what they prove."`
	Institution institution.Command `cmd:"" help:"An institution as a process of its own: make its keys, run it, ask."`
	Bridge      bridge.Command      `cmd:"" help:"A hub at a patient's home or of a ward: takes readings, seals them, sends them, answers claims."`
	Patient     patient.Command     `cmd:"" help:"A patient's own tool: keys, consents, history, erasure."`
	Gateway     gateway.Command     `cmd:"" help:"A gateway as a process of its own: what patients, hubs and institutions send reaches the ledger through it."`
	Ledger      ledger.Command      `cmd:"" help:"Serve the embedded ledger to the institutions of one site."`
	Network     fabric.Network      `cmd:"" help:"Run a Hyperledger Fabric network of native processes on this machine."`
	Chaincode   fabric.Chaincode    `cmd:"" help:"Serve the contracts to a Fabric peer; \"network up\" does it for you."`
	Metrics     inspect.Metrics     `cmd:"" help:"List the metrics: units, ranges, what makes a person's day, codes."`
	Circuits    inspect.Circuits    `cmd:"" help:"List the predicate circuits: constraints, sizes, key hashes, how the keys were made."`
	Ceremony    ceremony.Command    `cmd:"" help:"Make the keys of a circuit together, so that no single party could forge proofs."`
	Profiles    inspect.Profiles    `cmd:"" help:"Show the sealing profiles with their computed safety: margins, security level, sizes."`
	Wearable    inspect.Wearable    `cmd:"" help:"Look into what wearables send."`
	Consent     inspect.Consent     `cmd:"" help:"Look into consent documents, and turn them to FHIR and back."`
	Version     inspect.Version     `cmd:"" help:"Print the version."`
}

const description = `Statistics and proofs over patients' vitals, without anyone holding the readings.

Start with "vitalveil demo --once": it needs nothing else and ends by itself.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second interrupt ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "vitalveil:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var c commands
	p, err := kong.New(&c, kong.Name("vitalveil"), kong.Description(description), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(site.Supervised(ctx), (*context.Context)(nil)))
	if err != nil {
		return err
	}
	k, err := p.Parse(args)
	if err != nil {
		return fmt.Errorf("%w\nrun \"vitalveil --help\" to see the commands", err)
	}
	return k.Run()
}
