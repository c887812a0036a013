package institution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	role "github.com/vitalveil/vitalveil/network/institution"
	"github.com/vitalveil/vitalveil/network/site"
)

// Command is "vitalveil institution".
type Command struct {
	Init    initCommand        `cmd:"" help:"Make an institution's keys, configuration and the document that the others need of it."`
	Network networkCommand     `cmd:"" help:"Make the network's document of all members' documents; every member gets the same."`
	Run     runCommand         `cmd:"" help:"Run the institution: follow the ledger, hold seeds, vouch for rows, answer agreed queries."`
	Study   studyCommand       `cmd:"" help:"Register a study of the running institution."`
	Ask     askCommand         `cmd:"" help:"Ask a statistics query within a study and print the answer with its intervals."`
	Plan    planCommand        `cmd:"" help:"Say before asking what answers about people are worth, and what they need."`
	Fetch   fetchCommand       `cmd:"" help:"Get the answer to a query of the past again, or what became of it."`
	Abandon abandonCommand     `cmd:"" help:"End a query of this institution's, or vote that another's be ended."`
	Confirm confirmCommand     `cmd:"" help:"Confirm or dispute a released answer by this institution's own shares."`
	Vote    quarantineCommand  `cmd:"" name:"quarantine" help:"Vote that a device be put into quarantine, or come out of it."`
	Flag    flagCommand        `cmd:"" help:"Say on the ledger what this institution has seen of a device."`
	Enrol   enrolCommand       `cmd:"" help:"Vouch for a person who wants to be a patient, and enrol the patient."`
	Claim   claimCommand       `cmd:"" help:"Ask for a proof of a claim about one patient."`
	Claimed claimedCommand     `cmd:"" help:"Show what became of a claim that was asked."`
	Caller  callerCommand      `cmd:"" help:"Let somebody call the institution's own interface, or no more."`
	Epoch   epochCommand       `cmd:"" help:"Vote about which members share secrets from now on."`
	Call    callCommand        `cmd:"" help:"Submit a document to a contract as this institution."`
	Status  statusCommand      `cmd:"" help:"Show how far the running institution is."`
	Cert    certificateCommand `cmd:"" name:"certificate" help:"Renew the certificates of the institution, and of a ledger that its organisation runs, without a stop."`
	Tick    tickCommand        `cmd:"" help:"Post a time, in a network whose clock is simulated."`

	AcceptClock  acceptClockCommand  `cmd:"" help:"Post this machine's clock although ledger time is far before it."`
	ClockReset   clockResetCommand   `cmd:"" help:"Vote that ledger time goes back; says what that gives up."`
	AcceptLedger acceptLedgerCommand `cmd:"" help:"Work with a ledger that lacks what the institution has read; says what that gives up."`
}

// Help explains the order of things.
func (Command) Help() string {
	return `Each organisation runs "init" and hands member.json to the others; one puts them
together with "network" and gives network.json to all. Then "vitalveil ledger" (or
"vitalveil network up" for Fabric) and "run" at each institution, in any order.
"study" and "ask" talk to the institution that runs in --dir.`
}

type dirFlag struct {
	Dir string `help:"The institution's directory: keys, configuration, state." type:"path" required:"" placeholder:"DIR"`
}

func (f dirFlag) control() site.Control { return site.Control{Role: "institution", Dir: f.Dir} }

// call asks the institution that runs in the directory.
func (f dirFlag) call(ctx context.Context, what string, request, result any) error {
	return f.control().Call(ctx, what, request, result)
}

type initCommand struct {
	dirFlag
	MSP      string            `name:"msp" help:"The organisation's identifier, such as HospitalA." required:""`
	Name     string            `help:"The organisation's name, for people. Default: the identifier."`
	Network  string            `help:"Where the network's document will be." type:"path" default:"network.json"`
	CA       string            `name:"ca" help:"Where to keep the organisation's authority, which makes and renews certificates: not on the machine that runs the institution. Default: DIR-ca." type:"path"`
	Listen   string            `help:"Where other members get shares: host:port on loopback." required:""`
	Members  map[string]string `name:"member" help:"Where another member listens, as MSP=host:port; repeat it."`
	Ledger   string            `help:"Where \"vitalveil ledger\" listens; with --operator." xor:"ledger" required:""`
	Operator string            `help:"The organisation that runs the ledger."`
	Fabric   string            `help:"The directory of \"vitalveil network up\" instead." xor:"ledger" required:"" type:"path"`
	Blobs    string            `help:"Directory with sealed rows and seeds, or a gateway's URL." required:""`
}

// Run makes the directory.
func (c initCommand) Run() error {
	cfg := Config{Network: site.Path(c.Network), Listen: c.Listen, Members: c.Members, Ledger: site.LedgerConfig{Fabric: site.Path(c.Fabric), Address: c.Ledger, Operator: c.Operator}}
	if isURL(c.Blobs) {
		cfg.Blobs.Gateway = c.Blobs
	} else {
		path, err := filepath.Abs(c.Blobs)
		if err != nil {
			return err
		}
		cfg.Blobs.Directory = site.Path(path)
	}
	if cfg.Members == nil {
		cfg.Members = map[string]string{}
	}
	ca := authorityOf(c.CA, c.Dir)
	if err := errors.Join(cfg.Check(), c.control().Check(), checkApart(ca, c.Dir)); err != nil {
		return err
	}
	if c.Name == "" {
		c.Name = c.MSP
	}
	if _, err := site.MakeKeys(c.Dir, ca, c.MSP, c.Name); err != nil {
		return err
	}
	if err := errors.Join(makePersonKey(c.Dir), site.Save(filepath.Join(c.Dir, ConfigFile), cfg)); err != nil {
		return err
	}
	_, err := fmt.Printf("keys and %s are in %s; give %s to the other members\nthe organisation's authority is in %s: move it to where no server runs, it is needed to renew certificates only\n",
		ConfigFile, c.Dir, filepath.Join(c.Dir, site.MemberFile), ca)
	return err
}

func isURL(s string) bool {
	return len(s) > 8 && (s[:7] == "http://" || s[:8] == "https://")
}

// gcPercent is how much garbage may gather, in per cent of what lives: mostly the
// index of the ledger, which grows for ever, so half as much as usual.
const gcPercent = 50

type runCommand struct {
	dirFlag
	CheckConfig bool `help:"Read and check the configuration, say what would run, and end."`
	Verbose     bool `help:"Log more."`
}

// Run runs the institution until it is interrupted.
func (c runCommand) Run(ctx context.Context) error {
	debug.SetGCPercent(gcPercent)
	cfg, err := Load(c.Dir)
	if err != nil {
		return err
	}
	if c.CheckConfig {
		return explain(c.Dir, cfg)
	}
	p, err := Open(c.Dir, cfg, cfg.Logger(c.Verbose))
	if err != nil {
		return err
	}
	return errors.Join(p.Run(ctx), p.Close())
}

// explain says what a configuration means, and opens nothing.
func explain(dir string, cfg Config) error {
	d, err := site.Descriptor(string(cfg.Network))
	if err != nil {
		return err
	}
	k, err := site.LoadKeys(dir)
	if err != nil {
		return err
	}
	if _, err := site.MemberOf(d, k.Identity.MSP); err != nil {
		return err
	}
	_, err = fmt.Printf("%s in network %q, for other members on %s; blobs in %s%s, state in %s\n",
		k.Identity.MSP, d.Genesis.Network, cfg.Listen, cfg.Blobs.Directory, cfg.Blobs.Gateway, filepath.Join(dir, StateDir))
	return err
}

type studyCommand struct {
	dirFlag
	ID      string   `arg:"" help:"The study's identifier: a-z, 0-9 and hyphens."`
	Title   string   `help:"What patients read." required:""`
	Purpose string   `help:"HL7 v3 purpose of use." default:"HRESCH"`
	Metrics []string `help:"Metrics, as in \"vitalveil metrics\"." required:""`
	From    int64    `help:"First Unix hour." required:""`
	Until   int64    `help:"Unix hour after the last." required:""`
	Minimum int      `help:"Smallest cohort." default:"11"`
	Budget  rho      `help:"Privacy loss in all, rho (zCDP)." default:"2.5"`
	Exact   bool     `help:"Ask without privacy noise, where the network allows it."`
}

// Run registers the study.
func (c studyCommand) Run(ctx context.Context) error {
	s := record.Study{ID: c.ID, Title: c.Title, Purpose: c.Purpose, Metrics: c.Metrics, From: c.From, Until: c.Until, MinCohort: c.Minimum, Exact: c.Exact}
	if !c.Exact {
		s.Budget = uint64(c.Budget)
	}
	if err := c.call(ctx, "study", s, nil); err != nil {
		return err
	}
	_, err := fmt.Printf("study %s is registered\n", c.ID)
	return err
}

type askCommand struct {
	dirFlag
	Study  string `arg:"" help:"The study's identifier."`
	Metric string `arg:"" help:"The metric."`
	Want   string `help:"Ask about people's days, and for these figures: mean, spread, within, limits, range, distribution, separated by commas. Without it minutes are asked." placeholder:"FIGURES"`
	From   int64  `help:"First Unix hour; of people's days a multiple of 24." required:""`
	Until  int64  `help:"Unix hour after the last." required:""`
	Rho    rho    `help:"Privacy loss (zCDP) of this query; 0 in an exact study." default:"0"`
	JSON   bool   `help:"Print JSON."`
}

// Help says what is paid for.
func (askCommand) Help() string {
	return `What is wanted is what is paid for: each figure about people's days takes its part of rho,
and with it of the exactness of the others. "institution plan" says beforehand what an
answer will be worth. An exact study wants all figures.`
}

// Run asks and prints the answer.
func (c askCommand) Run(ctx context.Context) error {
	ask := record.Ask{Study: c.Study, Metric: c.Metric, From: c.From, Until: c.Until, Rho: uint64(c.Rho)}
	if c.Want != "" {
		want, err := privacy.ParseWant(c.Want)
		if err != nil {
			return fault.New(fault.Invalid, "--want: %w", err)
		}
		ask.Want = want.String()
	}
	o := c.look(ctx, ask)
	if !c.JSON {
		fmt.Print(before(o))
	}
	var a role.Answer
	if err := c.call(ctx, "ask", ask, &a); err != nil {
		return err
	}
	if err := printAnswer(os.Stdout, &a, ask.Rho, c.JSON); err != nil || c.JSON || a.Persons == nil || a.Persons.Usable || o.People == 0 {
		return err
	}
	_, err := fmt.Printf("too noisy to be worth printing: %s would do\n", needs(o))
	return err
}

// look says what the answer will be worth, if that can be said.
func (c askCommand) look(ctx context.Context, ask record.Ask) role.Outlook {
	var all []role.Outlook
	if ask.Want == "" || ask.Rho == 0 {
		return role.Outlook{}
	}
	r := role.PlanRequest{Study: ask.Study, Metrics: []string{ask.Metric}, Want: ask.Want, From: ask.From, Until: ask.Until, Rho: ask.Rho}
	if err := c.call(ctx, "plan", r, &all); err != nil || len(all) != 1 {
		return role.Outlook{} // asking will say what is wrong
	}
	return all[0]
}

// delta of the epsilon that is shown beside rho.
const delta = 1e-6

func printAnswer(w io.Writer, a *role.Answer, rho uint64, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(a)
	}
	rows := "device hours"
	if a.Want != "" {
		rows = "device days"
	}
	fmt.Fprintf(w, "%s of %d patients who allow it and have rows (which do not tell whether they are empty), %d %s, query %s\n", a.Metric, a.Cohort, a.Rows, rows, a.QueryID)
	if a.Exact {
		fmt.Fprintln(w, "exact: without privacy noise")
	} else {
		fmt.Fprintf(w, "with privacy noise: rho %g, epsilon %.2f at delta %g; +- and what is in brackets are 95 %% intervals\n", float64(rho)/1e6, privacy.Epsilon(rho, delta), delta)
	}
	fmt.Fprint(w, a.Text())
	if a.Standing == record.StandingPreliminary {
		fmt.Fprintln(w, "preliminary: a share that one of those who gave it could have made up; \"institution fetch\" tells when the others have confirmed it")
		for _, u := range a.Unconfirmed {
			fmt.Fprintf(w, "unconfirmed: piece %d, of %s\n", u.Piece, strings.Join(u.From, " and "))
		}
	}
	for _, m := range a.Missing {
		fmt.Fprintf(w, "no share by %s; the others sufficed\n", m)
	}
	_, err := fmt.Fprintf(w, "answered in %s\n", a.Timing.Total.Round(time.Millisecond))
	return err
}

type statusCommand struct {
	dirFlag
	JSON bool          `help:"Print JSON."`
	Wait time.Duration `help:"Wait so long for the institution to have read its whole ledger."`
}

// status asks until the institution is ready or the wait is over.
func (c statusCommand) status(ctx context.Context) (Status, error) {
	return site.Await(ctx, c.Wait, func(ctx context.Context) (Status, error) {
		var s Status
		err := c.call(ctx, "status", struct{}{}, &s)
		if err == nil && c.Wait > 0 && !s.Ready {
			err = fault.New(fault.Unavailable, "%s is not ready after %s: %d of %d blocks read %s", s.Member, c.Wait, s.Read, s.Height, s.Problem)
		}
		return s, err
	})
}

// Run prints the status.
func (c statusCommand) Run(ctx context.Context) error {
	s, err := c.status(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	fmt.Printf("%s in network %s: %d of %d blocks read, ledger time %s\n", s.Member, s.Network, s.Read, s.Height, time.Unix(s.Time, 0).UTC().Format(time.RFC3339))
	if s.Problem != "" {
		fmt.Printf("ledger: %s\n", s.Problem)
	}
	if s.Stalled != 0 {
		fmt.Printf("nothing that is submitted has been ordered since %s: %s\n", time.Unix(s.Stalled, 0).UTC().Format(time.RFC3339), s.Stall)
	}
	for _, c := range s.Certificates {
		fmt.Printf("certificate %s: until %s%s\n", c.Of, time.Unix(c.Until, 0).UTC().Format(time.DateOnly), suffix(c.Problem))
	}
	if s.Clock != "" {
		fmt.Printf("clock: %s\n", s.Clock)
	}
	if s.Counts.Refused > 0 {
		fmt.Printf("%d records of the ledger do not follow from signatures and count for nothing; the log names them\n", s.Counts.Refused)
	}
	n := s.Counts
	_, err = fmt.Printf("%d patients, %d devices of which %d ready, %d rows and days of which %d available, %d studies\n",
		n.Patients, n.Devices, n.Ready, n.Pointers, n.Available, n.Studies)
	return err
}

func suffix(problem string) string {
	if problem == "" {
		return ""
	}
	return "; " + problem
}

type tickCommand struct {
	dirFlag
	Unix int64 `arg:"" help:"Unix seconds."`
}

// Run posts the time.
func (c tickCommand) Run(ctx context.Context) error {
	return c.call(ctx, "tick", record.Tick{Time: c.Unix}, nil)
}
