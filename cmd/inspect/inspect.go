// Package inspect is the commands that look into things without a network: metrics,
// circuits, sealing profiles, consents, payloads of wearables, the program's version.
package inspect

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/wearable/capture"
	"github.com/vitalveil/vitalveil/zk"
)

// Metrics lists the metrics: what a minute may be, and for metrics of people where the
// means of their days lie, the clinical limits and how many minutes make a day.
type Metrics struct {
	JSON bool `help:"Print JSON."`
}

// Run prints them.
func (c Metrics) Run() error {
	if c.JSON {
		b, err := wearable.MetricsJSON()
		if err != nil {
			return err
		}
		_, err = fmt.Printf("%s\n", b)
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "METRIC\tSLOT\tUNIT\tRANGE\tRESOLUTION\tPERSONS\tLIMITS\tLEAST\tLOINC\tMDC")
	for _, m := range wearable.Metrics() {
		persons, limits, least := "-", "-", "-"
		if p, ok := m.Person(); ok {
			persons = fmt.Sprintf("%s..%s", m.Value(p.Low), m.Value(p.High))
			limits = fmt.Sprintf("%s..%s", m.Value(p.LimitLow), m.Value(p.LimitHigh))
			least = strconv.Itoa(p.Least)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s..%s\t%s\t%s\t%s\t%s\t%s\t%d\n", m.Key, m.Slot, m.UCUM, m.Min, m.Max, m.Resolution, persons, limits, least, m.LOINC, m.MDC)
	}
	return w.Flush()
}

// Circuits describes every class of circuit: what its keys are, where they are there, and
// what they would measure.
type Circuits struct {
	JSON bool     `help:"Print JSON."`
	Keys string   `help:"Directory of the keys. Default: the user's cache." type:"path"`
	Make []string `help:"Classes whose keys are made where they are missing, in a development setup: day takes seconds, week half a minute." default:"day"`
}

// Run prints them.
func (c Circuits) Run() error {
	dir := c.Keys
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("no cache directory (%w); name one with --keys", err)
		}
		dir = filepath.Join(cache, "vitalveil", "keys")
	}
	infos, err := zk.Infos(dir, c.Make, func(s string) { fmt.Fprintln(os.Stderr, s) })
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(infos)
	}
	for _, i := range infos {
		fmt.Printf("%s: %d constraints, proof %d bytes, proving key %d bytes, verifying key %d bytes\n", i.Class, i.Constraints, i.ProofBytes, i.ProvingKeyBytes, i.VerifyingKeyBytes)
		if i.Setup == zk.SetupNone {
			fmt.Printf("  no keys in %s; --make %s makes them\n", dir, i.Class)
			continue
		}
		fmt.Printf("  verifying key SHA-256 %s\n  setup: %s\n", i.VerifyingKeyHash, i.Setup)
	}
	return nil
}

// Profiles shows the sealing profiles.
type Profiles struct {
	JSON bool `help:"Print JSON."`
}

// Run prints them.
func (c Profiles) Run() error { return he.WriteProfiles(os.Stdout, c.JSON) }

// Wearable looks into what wearables send.
type Wearable struct {
	Decode decodeCommand `cmd:"" help:"Decode one GATT payload as JSON, or a whole capture as CSV."`
}

type decodeCommand struct {
	UUID    string   `arg:"" optional:"" help:"Characteristic, such as 2a37, or a vendor's full UUID."`
	Payload []string `arg:"" optional:"" help:"Payload in hexadecimal, as tools print it: 0648, 06-48, 0x06 0x48, '(0x) 06-48', 'handle value: 06 48'; or bytes in decimal: '[6, 72]'."`
	Capture string   `name:"capture" aliases:"btsnoop" help:"Decode every reading of this capture as CSV: btsnoop (1001, 1002, 2001), PacketLogger, pcap or pcapng (link types 187, 201, 251, 254, 256, 272). What was left out, and why, goes to standard error." type:"existingfile"`
}

func (c decodeCommand) Run() error {
	if c.Capture != "" {
		if c.UUID != "" {
			return fmt.Errorf("give either UUID and payload or --capture, not both")
		}
		return decodeCapture(c.Capture)
	}
	if c.UUID == "" || len(c.Payload) == 0 {
		return fmt.Errorf("want UUID and payload, as in \"vitalveil wearable decode 2a37 0648\", or --capture FILE")
	}
	b, err := wearable.DecodeJSON(c.UUID, strings.Join(c.Payload, " "))
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n", b)
	return err
}

func decodeCapture(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	summary, err := capture.WriteCSV(f, os.Stdout)
	if summary.Records > 0 {
		fmt.Fprintln(os.Stderr, summary)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// Version prints which build this is.
type Version struct{}

// Run prints it.
func (Version) Run() error {
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
