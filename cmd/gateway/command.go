package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index/follow"
	"github.com/vitalveil/vitalveil/network/site"
)

// Command is "vitalveil gateway".
type Command struct {
	Init         initCommand         `cmd:"" help:"Make a gateway's identity and configuration, with the authority of its organisation."`
	Run          runCommand          `cmd:"" help:"Run the gateway: take what patients, devices and institutions send, bring it to the ledger, keep sealed rows."`
	Status       statusCommand       `cmd:"" help:"Show how far the running gateway is."`
	AcceptLedger acceptLedgerCommand `cmd:"" help:"Work with a ledger that lacks what the gateway has read."`
}

// Help explains the order of things.
func (Command) Help() string {
	return `An organisation that the network's document lists among its gateways runs "init" once
and "run" from then on. Patients' and hubs' programs get the URL. The gateway cannot read
what it keeps, nor forge what it passes on; it can be slow, or refuse.`
}

type dirFlag struct {
	Dir string `help:"The gateway's directory: identity, configuration, state." type:"path" required:"" placeholder:"DIR"`
}

func (f dirFlag) control() site.Control { return site.Control{Role: "gateway", Dir: f.Dir} }

type initCommand struct {
	dirFlag
	CA          string   `name:"ca" help:"Directory of the organisation's authority, that \"vitalveil institution init\" made." type:"existingdir" required:""`
	Network     string   `help:"The network's document." type:"path" default:"network.json"`
	Listen      []string `help:"Where to serve the REST interface: IP:port; repeat it." required:""`
	Ledger      string   `help:"Where \"vitalveil ledger\" listens; with --operator." xor:"ledger" required:""`
	Operator    string   `help:"The organisation that runs the ledger."`
	Fabric      string   `help:"The directory of \"vitalveil network up\" instead." xor:"ledger" required:"" type:"path"`
	Institution string   `help:"Directory of the organisation's institution on this machine, whose process gives the keys of what consents say." type:"path"`
	Blobs       string   `help:"Where sealed rows are kept: a directory, or s3://BUCKET?region=R&endpoint=https://HOST. Default: DIR/blobs."`
	BlobKeys    string   `help:"File with the keys of the bucket, or credential:NAME for one that systemd hands over."`
	Metrics     string   `help:"Where to serve metrics: IP:port on loopback."`
}

// Run makes the directory.
func (c initCommand) Run() error {
	path := filepath.Join(c.Dir, ConfigFile)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already; change it by hand", path)
	}
	cfg := Config{
		Service: site.Service{Metrics: c.Metrics}, Network: site.Path(c.Network), Listen: c.Listen, Institution: site.Path(c.Institution),
		Ledger: site.LedgerConfig{Fabric: site.Path(c.Fabric), Address: c.Ledger, Operator: c.Operator}, BlobKeys: site.Secret(c.BlobKeys),
	}
	if cfg.Blobs = c.Blobs; c.Blobs != "" && !strings.Contains(c.Blobs, "://") {
		dir, err := filepath.Abs(c.Blobs)
		if err != nil {
			return err
		}
		cfg.Blobs = fileURL(dir)
	}
	if err := errors.Join(cfg.Check(), c.control().Check()); err != nil {
		return err
	}
	ca, err := network.LoadCA(c.CA)
	if err != nil {
		return err
	}
	id, err := ca.Issue("gateway", "client")
	if err != nil {
		return err
	}
	if err := id.Save(filepath.Join(c.Dir, site.IdentityDir)); err != nil {
		return err
	}
	if err := site.Save(path, cfg); err != nil {
		return err
	}
	_, err = fmt.Printf("a gateway of %s is in %s; \"vitalveil gateway run\" starts it, \"vitalveil institution certificate --dir %s --ca %s\" renews its certificate\n", id.MSP, c.Dir, c.Dir, c.CA)
	return err
}

type runCommand struct {
	dirFlag
	CheckConfig bool `help:"Read and check the configuration, say what would run, and end."`
	Verbose     bool `help:"Log more."`
}

// Run runs the gateway until it is interrupted.
func (c runCommand) Run(ctx context.Context) error {
	cfg, err := Load(c.Dir)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		return explain(cfg)
	}
	p, err := Open(c.Dir, cfg, cfg.Logger(c.Verbose))
	if err != nil {
		return err
	}
	return errors.Join(p.Run(ctx), p.Close())
}

// explain says what a configuration means, and opens nothing.
func explain(cfg Config) error {
	d, err := site.Descriptor(string(cfg.Network))
	if err != nil {
		return err
	}
	id, err := network.LoadIdentity(string(cfg.Identity))
	if err != nil {
		return err
	}
	_, err = fmt.Printf("a gateway of %s in network %q on %s; blobs in %s, state in %s\n",
		id.MSP, d.Genesis.Network, strings.Join(cfg.Listen, ", "), cfg.Blobs, cfg.State)
	return err
}

type statusCommand struct {
	dirFlag
	JSON bool          `help:"Print JSON."`
	Wait time.Duration `help:"Wait so long for the gateway to be ready."`
}

// Run prints the status.
func (c statusCommand) Run(ctx context.Context) error {
	s, err := site.Await(ctx, c.Wait, func(ctx context.Context) (Status, error) {
		var s Status
		err := c.control().Call(ctx, "status", struct{}{}, &s)
		if err == nil && !s.Ready && c.Wait > 0 {
			err = fault.New(fault.Unavailable, "the gateway is not ready: %d of %d blocks read %s", s.Read, s.Height, s.Problem)
		}
		return s, err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	fmt.Printf("gateway of network %s on %s: %d of %d blocks read, ledger time %s\n",
		s.Network, strings.Join(s.Listen, ", "), s.Read, s.Height, time.Unix(s.Time, 0).UTC().Format(time.RFC3339))
	if s.Problem != "" {
		fmt.Printf("problem: %s\n", s.Problem)
	}
	for _, c := range s.Certificates {
		fmt.Printf("certificate %s: until %s %s\n", c.Of, time.Unix(c.Until, 0).UTC().Format(time.DateOnly), c.Problem)
	}
	return nil
}

type acceptLedgerCommand struct {
	dirFlag
	Block uint64 `help:"Number of a block of the ledger that you accept; without --hash the newest is shown."`
	Hash  string `help:"Hash of that block, 64 hexadecimal digits, as the members and the ledger's operator have confirmed it to you."`
}

// Help says when it is needed.
func (acceptLedgerCommand) Help() string {
	return `A gateway is not ready while the ledger does not contain the newest block that it has
read. Find out why the ledger is another one before you accept it: patients whose
revocations and erasures only the other one had are not protected by them any more.`
}

// Run names the block, or shows the newest one.
func (c acceptLedgerCommand) Run(ctx context.Context) error {
	if c.Hash == "" {
		var b follow.Block
		if err := c.control().Call(ctx, "newest", struct{}{}, &b); err != nil {
			return err
		}
		return fault.New(fault.Invalid, "to accept the ledger at hand, name its newest block: --block %d --hash %s", b.Number, b.Hash)
	}
	hash, err := record.ParseID(c.Hash)
	if err != nil {
		return fault.New(fault.Invalid, "--hash: %w", err)
	}
	return c.control().Call(ctx, "accept-ledger", follow.Block{Number: c.Block, Hash: hash}, nil)
}
