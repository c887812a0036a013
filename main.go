// Command vitalveil is a privacy-preserving exchange for healthcare device data:
// bridges seal vitals, a ledger keeps consent and pointers, institutions answer
// together what none of them could answer alone.
//
// "vitalveil demo" runs the whole system on loopback; README.md says what to
// look at.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/demo"
	"github.com/vitalveil/vitalveil/internal/verify"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/institution/process"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
)

type commands struct {
	Demo        demo.Command          `cmd:"" help:"Run the whole system in one process on loopback and show what each party saw."`
	Verify      verify.Command        `cmd:"" help:"Re-check a state directory offline: blocks, signatures, pointers, Merkle roots, receipts, proofs."`
	Institution process.Command       `cmd:"" help:"An institution as a process of its own: make its keys, run it, ask."`
	Ledger      process.LedgerCommand `cmd:"" help:"Serve the embedded ledger to the institutions of one site."`
	Network     fabric.Command        `cmd:"" help:"Run a Hyperledger Fabric network of native processes on this machine."`
	Chaincode   fabric.ServiceCommand `cmd:"" help:"Serve the contracts to a Fabric peer; \"network up\" does it for you."`
	Metrics     metricsCommand        `cmd:"" help:"List the metrics: units, ranges, resolutions, codes."`
	Circuits    circuitsCommand       `cmd:"" help:"List the predicate circuits: constraints, sizes, key hashes, how the keys were made."`
	Profiles    profilesCommand       `cmd:"" help:"Show the sealing profiles with their computed safety: margins, security level, sizes."`
	Wearable    wearableCommand       `cmd:"" help:"Look into what wearables send."`
	Version     versionCommand        `cmd:"" help:"Print the version."`
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
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return err
	}
	k, err := p.Parse(args)
	if err != nil {
		return fmt.Errorf("%w\nrun \"vitalveil --help\" to see the commands", err)
	}
	return k.Run()
}

type metricsCommand struct {
	JSON bool `help:"Print JSON."`
}

func (c metricsCommand) Run() error {
	if c.JSON {
		b, err := wearable.MetricsJSON()
		if err != nil {
			return err
		}
		_, err = fmt.Printf("%s\n", b)
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "METRIC\tSLOT\tUNIT\tRANGE\tRESOLUTION\tLOINC\tMDC")
	for _, m := range wearable.Metrics() {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s..%s\t%s\t%s\t%d\n", m.Key, m.Slot, m.UCUM, m.Min, m.Max, m.Resolution, m.LOINC, m.MDC)
	}
	return w.Flush()
}

// circuitsCommand loads the keys of every class, making them where they are
// missing: a hash cannot be named before.
type circuitsCommand struct {
	JSON bool   `help:"Print JSON."`
	Keys string `help:"Directory of the keys; made there (a development setup) if absent. Default: the user's cache." type:"path"`
}

func (c circuitsCommand) Run() error {
	dir := c.Keys
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no cache directory (%w); name one with --keys", err)
		}
		dir = filepath.Join(cache, "vitalveil", "keys")
	}
	infos, err := zk.Infos(dir, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(infos)
	}
	for _, i := range infos {
		fmt.Printf("%s: %d constraints, proof %d bytes, proving key %d bytes, verifying key %d bytes\n  verifying key SHA-256 %s\n  setup: %s\n",
			i.Class, i.Constraints, i.ProofBytes, i.ProvingKeyBytes, i.VerifyingKeyBytes, i.VerifyingKeyHash, i.Setup)
	}
	return nil
}

type profilesCommand struct {
	JSON bool `help:"Print JSON."`
}

func (c profilesCommand) Run() error { return he.WriteProfiles(os.Stdout, c.JSON) }

type wearableCommand struct {
	Decode decodeCommand `cmd:"" help:"Decode one GATT payload as JSON, or a whole capture as CSV."`
}

type decodeCommand struct {
	UUID    string `arg:"" optional:"" help:"Characteristic, such as 2a37."`
	Hex     string `arg:"" optional:"" help:"Payload in hexadecimal."`
	BTSnoop string `name:"btsnoop" help:"Decode every reading of this btsnoop (H4) capture as CSV." type:"existingfile"`
}

func (c decodeCommand) Run() error {
	if c.BTSnoop != "" {
		if c.UUID != "" {
			return fmt.Errorf("give either UUID and HEX or --btsnoop, not both")
		}
		f, err := os.Open(c.BTSnoop)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := wearable.WriteBTSnoopCSV(f, os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", c.BTSnoop, err)
		}
		return nil
	}
	if c.UUID == "" || c.Hex == "" {
		return fmt.Errorf("want UUID and HEX, as in \"vitalveil wearable decode 2a37 0648\", or --btsnoop FILE")
	}
	b, err := wearable.DecodeJSON(c.UUID, c.Hex)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n", b)
	return err
}

type versionCommand struct{}

func (versionCommand) Run() error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("this binary carries no build information")
	}
	version, revision := info.Main.Version, ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = " " + s.Value
		}
	}
	_, err := fmt.Printf("vitalveil %s%s (%s)\n", version, revision, info.GoVersion)
	return err
}
