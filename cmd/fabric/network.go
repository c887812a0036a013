package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/vitalveil/vitalveil/network/fabric/launch"
)

// Network is "vitalveil network".
type Network struct {
	Up      upCommand      `cmd:"" help:"Build Fabric if needed and start a network of native processes on loopback, or resume one."`
	Status  statusCommand  `cmd:"" help:"Show the network's processes, heights and memory."`
	Keep    keepCommand    `cmd:"" help:"Start again what dies of a network and renew its certificates, until ended. \"up\" leaves one running."`
	Upgrade upgradeCommand `cmd:"" help:"Put this program's chaincode into service as the next sequence."`
	Down    downCommand    `cmd:"" help:"End the network's processes; its data stay."`
}

// Help says what there is.
func (Network) Help() string {
	return `A network of several organisations on one machine, for demonstrations, tests and one
site. Whoever owns its directory is all of them. Clients need that directory as well:
"vitalveil institution init --fabric DIR". Where "up" is not run by hand, let the service
manager run "keep", which does what "up" does for a network that "up" made once.`
}

// dirFlag names a network's directory.
type dirFlag struct {
	Dir string `help:"The network's directory. Default: network in the user's configuration directory for vitalveil." type:"path" placeholder:"DIR"`
}

// open finds the network that is there.
func (f dirFlag) open() (*launch.Network, error) {
	dir, err := f.path()
	if err != nil {
		return nil, err
	}
	return launch.Open(dir)
}

func (f dirFlag) path() (string, error) {
	if f.Dir != "" {
		return f.Dir, nil
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no directory for the network (%w); name one with --dir", err)
	}
	return filepath.Join(config, "vitalveil", "network"), nil
}

type upCommand struct {
	dirFlag
	Orderers   string `help:"Ordering service: raft1, raft3 or bft4. Default: raft1, or what the network has."`
	CA         string `help:"Who issues clients' certificates: builtin or fabric-ca. Default: builtin, or what the network has."`
	Admin      string `help:"The program of network/admin, which then administers the channel and enrols with fabric-ca." type:"existingfile"`
	Ports      int    `help:"Where the network's ports begin; 0 takes free ones." default:"0"`
	Foreground bool   `help:"Stay, start again what dies, and take the network down when interrupted."`
}

// Run runs the command.
func (c upCommand) Run(ctx context.Context) error {
	dir, err := c.path()
	if err != nil {
		return err
	}
	start := time.Now()
	o := launch.Options{Dir: dir, Orderers: c.Orderers, CA: c.CA, Admin: c.Admin, BasePort: c.Ports, Attached: c.Foreground, Log: os.Stderr}
	if !c.Foreground {
		if o.Keeper, err = keeper(dir); err != nil {
			return err
		}
	}
	n, err := launch.Up(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "started in %s\n", time.Since(start).Round(100*time.Millisecond))
	if !c.Foreground {
		return printStatus(ctx, n, false)
	}
	err = printStatus(ctx, n, false)
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, n.Down(context.WithoutCancel(ctx)))
}

type statusCommand struct {
	dirFlag
	JSON bool `help:"Print JSON."`
}

// Run runs the command.
func (c statusCommand) Run(ctx context.Context) error {
	n, err := c.open()
	if err != nil {
		return err
	}
	return printStatus(ctx, n, c.JSON)
}

func printStatus(ctx context.Context, n *launch.Network, asJSON bool) error {
	s, err := n.Status(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROCESS\tPID\tMIB\tIDENTITY UNTIL\tTLS UNTIL\t")
	for _, p := range s.Processes {
		pid := "down"
		if p.PID != 0 {
			pid = fmt.Sprint(p.PID)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", p.Name, pid, p.Memory>>20,
			until(s, p.Name, launch.IdentityCertificate), until(s, p.Name, launch.TLSCertificate), p.Detail)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if !s.LastBlock.IsZero() {
		fmt.Printf("the last block is of %s\n", s.LastBlock.Format(time.DateTime))
	}
	if s.Ordering != "" {
		fmt.Printf("NOTHING IS ORDERED since then: %s\n", s.Ordering)
	}
	for _, c := range s.Ending(time.Now()) {
		fmt.Println(warning(c))
	}
	_, err = fmt.Printf("%s, chaincode sequence %d, %d MiB in all, in %s\n", s.Orderers, s.Sequence, s.Memory()>>20, s.Dir)
	return err
}

// until is when the first certificate of a kind ends that a process shows.
func until(s launch.Status, process, kind string) string {
	var first time.Time
	for _, c := range s.Certificates {
		if c.Of == process && c.Kind == kind && !c.Ends.IsZero() && (first.IsZero() || c.Ends.Before(first)) {
			first = c.Ends
		}
	}
	if first.IsZero() {
		return "-"
	}
	return first.Format(time.DateOnly)
}

func warning(c launch.Certificate) string {
	what := fmt.Sprintf("WARNING: the %s certificate of %s ends on %s", c.Kind, c.Of, c.Ends.Format(time.DateOnly))
	if c.Kept != "" {
		return what + " and is not renewed here: " + c.Kept
	}
	return what + "; the keeper renews it, or the next \"vitalveil network up\""
}

type upgradeCommand struct{ dirFlag }

// Run runs the command.
func (c upgradeCommand) Run(ctx context.Context) error {
	n, err := c.open()
	if err != nil {
		return err
	}
	n, err = launch.Up(ctx, launch.Options{Dir: n.Dir(), Log: os.Stderr})
	if err != nil {
		return err
	}
	if err := n.Upgrade(ctx, nil); err != nil {
		return err
	}
	return printStatus(ctx, n, false)
}

type downCommand struct{ dirFlag }

// Run runs the command.
func (c downCommand) Run(ctx context.Context) error {
	n, err := c.open()
	if err != nil {
		return err
	}
	if err := n.Down(ctx); err != nil {
		return err
	}
	_, err = fmt.Printf("the network in %s is down; its data stay\n", n.Dir())
	return err
}
