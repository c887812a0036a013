package up

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network/site"
)

// Command is "vitalveil up".
type Command struct {
	Dir    string `help:"Where everything is kept. It is made, or resumed." type:"path" required:"" placeholder:"DIR"`
	Stop   bool   `help:"End the network that runs in DIR, and wait for it."`
	Status bool   `help:"Show the processes of the network that runs in DIR."`
	Name   string `help:"The network's name, when it is made." default:"pilot"`
	Listen string `help:"Where the gateway serves: IP:port. Another free port is taken where this one is not." default:"127.0.0.1:8080"`
	Clock  string `help:"wall, or simulated for trials: time is what members post." enum:"wall,simulated" default:"wall"`
	Exact  bool   `help:"Allow studies without privacy noise: for trials with made-up data only."`
}

// Help says what one gets.
func (Command) Help() string {
	return `Makes a network of three members with a ledger and a gateway on this machine, or resumes
it, and runs it until it is interrupted or "up --stop" is said. A process that dies is
started again, at most three times a minute; the log of each is in DIR/log.

It is for a pilot at one site: whoever has DIR has the keys of all members.`
}

// configFile is written last: a directory with it is whole.
const configFile = "up.json"

// lockFile is held by the supervisor as long as it runs.
const lockFile = "up.lock"

// layout is DIR/up.json.
type layout struct {
	Network string   `json:"network"`
	Clock   string   `json:"clock"`   // as in the network's document
	Ledger  string   `json:"ledger"`  // host:port
	Gateway string   `json:"gateway"` // host:port
	Members []member `json:"members"` // the last one runs ledger and gateway, and vouches for patients
}

// member is one of the three.
type member struct {
	Dir    string `json:"dir"` // below DIR
	MSP    string `json:"msp"`
	Name   string `json:"name"`
	Listen string `json:"listen"`
}

func (l *layout) registrar() member { return l.Members[len(l.Members)-1] }

// Check implements what site.Load asks for.
func (l *layout) Check() error {
	if len(l.Members) == 0 || slices.ContainsFunc(l.Members, func(m member) bool { return !filepath.IsLocal(m.Dir) }) {
		return errors.New("members are needed, each with a directory below this one")
	}
	return nil
}

func (c Command) control() site.Control { return site.Control{Role: "up", Dir: c.Dir} }

// Run makes the network where there is none, and runs it.
func (c Command) Run(ctx context.Context) error {
	if c.Stop {
		return c.stop(ctx)
	}
	if c.Status {
		return c.status(ctx)
	}
	if c.control().Running() {
		return fault.New(fault.Conflict, "the network in %s runs already; \"vitalveil up --dir %s --stop\" ends it", c.Dir, c.Dir)
	}
	if err := c.control().Check(); err != nil {
		return err
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	l, err := c.load(ctx)
	if err != nil {
		return err
	}
	s, err := newSupervisor(c.Dir, l)
	if err != nil {
		return err
	}
	return s.run(ctx, c.control())
}

// stopTime is how long the end of all processes may take.
const stopTime = time.Minute

func (c Command) stop(ctx context.Context) error {
	if !c.control().Running() {
		return fault.New(fault.NotFound, "no network runs in %s", c.Dir)
	}
	if err := c.control().Call(ctx, "stop", struct{}{}, nil); err != nil {
		return err
	}
	_, err := site.Await(ctx, stopTime, func(context.Context) (struct{}, error) {
		if c.control().Running() {
			return struct{}{}, fault.New(fault.Unavailable, "the network in %s has not ended within %s", c.Dir, stopTime)
		}
		return struct{}{}, nil
	})
	return err
}

func (c Command) status(ctx context.Context) error {
	if !c.control().Running() {
		return fault.New(fault.NotFound, "no network runs in %s", c.Dir)
	}
	var all []Status
	if err := c.control().Call(ctx, "status", struct{}{}, &all); err != nil {
		return err
	}
	for _, s := range all {
		fmt.Printf("%-12s pid %d, started again %d times\n", s.Name, s.PID, s.Restarts)
	}
	return nil
}

// names are those of what is in the directory; none where there is no directory.
func (c Command) names() ([]string, error) {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// lock takes the directory, unless it is of something else, for one supervisor, from
// before there are keys on: two would each make some, or start the same processes, and
// only one could be told to stop.
func (c Command) lock() (io.Closer, error) {
	names, err := c.names()
	if err != nil {
		return nil, err
	}
	if len(names) > 0 && !slices.Contains(names, configFile) && !slices.Contains(names, lockFile) {
		return nil, fmt.Errorf("%s is not empty and holds no network: name another directory", c.Dir)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := vfs.Default.Lock(filepath.Join(c.Dir, lockFile))
	if err != nil {
		return nil, fault.New(fault.Conflict, "another \"up\" is at work in %s: %w", c.Dir, err)
	}
	return lock, nil
}

// load reads what is there, or makes it.
func (c Command) load(ctx context.Context) (*layout, error) {
	l := &layout{}
	err := site.Load(filepath.Join(c.Dir, configFile), l)
	if !errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	if names, err := c.names(); err != nil || !slices.Equal(names, []string{lockFile}) {
		return nil, errors.Join(err, fmt.Errorf("%s is not empty and holds no whole network: name another directory, or delete it if an earlier \"up\" was interrupted while it made keys", c.Dir))
	}
	if l, err = c.plan(); err != nil {
		return nil, err
	}
	return l, c.make(ctx, l)
}

// plan chooses addresses.
func (c Command) plan() (*layout, error) {
	l := &layout{Network: c.Name, Clock: c.Clock, Members: []member{
		{Dir: "hospital-a", MSP: "HospitalA", Name: "Hospital A"},
		{Dir: "hospital-b", MSP: "HospitalB", Name: "Hospital B"},
		{Dir: "association", MSP: "Patients", Name: "Patients' Association"},
	}}
	places := []*string{&l.Ledger, &l.Gateway}
	wanted := []string{"127.0.0.1:7500", c.Listen}
	for i := range l.Members {
		places = append(places, &l.Members[i].Listen)
		wanted = append(wanted, fmt.Sprintf("127.0.0.1:%d", 7501+i))
	}
	for i, place := range places {
		free, err := listen(wanted[i])
		if err != nil {
			return nil, err
		}
		defer free.Close()
		*place = free.Addr().String()
	}
	return l, nil
}

// listen takes an address, or another port of it where somebody has that.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// make makes everybody's keys and files with the commands that a site of three
// organisations would use.
func (c Command) make(ctx context.Context, l *layout) error {
	document := filepath.Join(c.Dir, "network.json")
	registrar := l.registrar()
	together := []string{"institution", "network", "--name", l.Network, "--registrar", registrar.MSP, "--clock", c.Clock, "--out", document}
	if c.Exact {
		together = append(together, "--exact")
	}
	for _, m := range l.Members {
		dir := filepath.Join(c.Dir, m.Dir)
		args := []string{
			"institution", "init", "--dir", dir, "--msp", m.MSP, "--name", m.Name, "--network", document, "--listen", m.Listen,
			"--ledger", l.Ledger, "--operator", registrar.MSP, "--blobs", "http://" + l.Gateway,
		}
		for _, other := range l.Members {
			if other != m {
				args = append(args, "--member", other.MSP+"="+other.Listen)
			}
		}
		if err := self(ctx, args...); err != nil {
			return err
		}
		together = append(together, filepath.Join(dir, site.MemberFile))
	}
	if err := self(ctx, together...); err != nil {
		return err
	}
	org := filepath.Join(c.Dir, registrar.Dir)
	err := self(ctx, "gateway", "init", "--dir", filepath.Join(c.Dir, "gateway"), "--ca", org+"-ca", "--network", document,
		"--listen", l.Gateway, "--ledger", l.Ledger, "--operator", registrar.MSP, "--institution", org)
	if err != nil {
		return err
	}
	return site.Save(filepath.Join(c.Dir, configFile), l)
}

// self runs a command of this program to its end.
func self(ctx context.Context, args ...string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, exe, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("vitalveil %s %s: %w\n%s", args[0], args[1], err, out)
	}
	return nil
}
