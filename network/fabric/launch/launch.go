package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// Bounds in time, each far above what is usual on two busy cores.
const (
	startTimeout = 90 * time.Second // of one step of the start
	lockTimeout  = 5 * time.Minute  // for another launcher on the same network
	upTimeout    = 10 * time.Minute // of all steps together, without the build
)

// Network is a Fabric network on this machine.
type Network struct {
	dir       string
	topology  topology
	binaries  Binaries
	material  material
	processes *processes
	chaincode []string
	admin     string
	behind    map[int]int
	log       io.Writer
}

// Up starts the network in o.Dir and returns when its chaincode answers on every
// peer. A new network is made from nothing; of an existing one it starts what
// does not run and completes what an earlier Up left undone. If it fails, the
// processes that it started are ended and the files stay for inspection; the
// error shows the end of the log that matters.
func Up(ctx context.Context, o Options) (*Network, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	binaries, err := Build(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	n, err := prepare(o)
	if err != nil {
		return nil, err
	}
	n.binaries = binaries
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	before, err := n.runningNames()
	if err != nil {
		return nil, err
	}
	if err := n.start(ctx, o); err != nil {
		if died := n.processes.died(); died != nil {
			err = fmt.Errorf("%w\n%w", err, died)
		}
		return nil, errors.Join(err, n.processes.endSince(before))
	}
	return n, nil
}

func prepare(o Options) (*Network, error) {
	if o.Dir == "" {
		return nil, errors.New("a network needs a directory")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if len(o.Chaincode) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		o.Chaincode = []string{self, "chaincode"}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	n := newNetwork(dir, o.Attached)
	n.chaincode, n.admin, n.behind, n.log = o.Chaincode, o.Admin, o.behind, o.Log
	return n, nil
}

func newNetwork(dir string, attached bool) *Network {
	return &Network{
		dir: dir, material: newMaterial(dir),
		processes: newProcesses(dir, attached), log: io.Discard,
	}
}

// Open finds an existing network, running or not, for Status, Down and Profile.
func Open(dir string) (*Network, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t, err := loadTopology(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no network in %s: start one with \"vitalveil network up --dir %s\"", dir, dir)
	}
	if err != nil {
		return nil, err
	}
	n := newNetwork(dir, false)
	n.topology = t
	return n, nil
}

// Dir is where the network keeps everything.
func (n *Network) Dir() string { return n.dir }

// Profile tells clients how to reach the network.
func (n *Network) Profile() (fabric.Profile, error) { return n.material.profile(n.topology) }

func (n *Network) lock(ctx context.Context) (func(), error) {
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	return lockFile(ctx, filepath.Join(n.dir, "lock"), func() {
		n.say("another command is at work on this network: waiting for it")
	})
}

func (n *Network) say(format string, args ...any) { fmt.Fprintf(n.log, format+"\n", args...) }

// start makes or resumes the network. Each step looks at what is there first.
func (n *Network) start(ctx context.Context, o Options) error {
	if err := n.describe(o); err != nil {
		return err
	}
	if err := n.files(ctx); err != nil {
		return err
	}
	if err := n.startCAs(ctx); err != nil {
		return err
	}
	if err := n.startNodes(ctx); err != nil {
		return err
	}
	if err := n.joinOrderers(ctx); err != nil {
		return err
	}
	if err := n.joinPeers(ctx); err != nil {
		return err
	}
	if err := n.deploy(ctx); err != nil {
		return err
	}
	p, err := n.Profile()
	if err != nil {
		return err
	}
	if err := p.Save(n.dir); err != nil {
		return err
	}
	if len(o.Keeper) > 0 {
		if err := n.processes.start(command{keeperProcess, o.Keeper, nil, keeperMemory}); err != nil {
			return err
		}
	}
	n.say("the network is up: %s", n.dir)
	return nil
}

// describe reads the network's record or writes that of a new one.
func (n *Network) describe(o Options) error {
	t, err := loadTopology(n.dir)
	if err == nil {
		n.topology = t
		return t.matches(o)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(n.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "lock" {
			return fmt.Errorf("%s is neither empty nor a network's directory", n.dir)
		}
	}
	if t, err = newTopology(o); err != nil {
		return err
	}
	n.topology = t
	return t.save(n.dir)
}

// files makes crypto material, configuration and the genesis block.
func (n *Network) files(ctx context.Context) error {
	for _, d := range []string{"config", "data", "log", "pid"} {
		if err := os.MkdirAll(filepath.Join(n.dir, d), 0o700); err != nil {
			return err
		}
	}
	if err := makeCrypto(n.material, n.topology); err != nil {
		return err
	}
	if err := n.material.check(n.topology); err != nil {
		return err
	}
	if err := n.renewDue(); err != nil {
		return err
	}
	core, err := coreConfig(n.binaries)
	if err != nil {
		return err
	}
	orderer, err := n.binaries.sample(ordererFile)
	if err != nil {
		return err
	}
	channel, err := n.topology.channel(n.material)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{coreFile: core, ordererFile: orderer, configtxFile: channel} {
		if err := state.WriteFile(filepath.Join(n.dir, "config", name), data); err != nil {
			return err
		}
	}
	if err := n.writeAdminConfig(); err != nil {
		return err
	}
	return n.genesis(ctx)
}

func ordererProcess(o ordererNode) string { return o.Name }
func peerProcess(o peerNode) string       { return "peer-" + o.MSP }

// startNodes starts orderers and peers and waits until they listen.
func (n *Network) startNodes(ctx context.Context) error {
	var ports []int
	for _, o := range n.topology.Nodes {
		c := command{ordererProcess(o), []string{n.binaries.program("orderer")}, ordererEnvironment(n.dir, n.material, o, n.listensOn(o.Port)), ordererMemory}
		if err := n.startOn(c, n.listensOn(o.Port), o.Admin, o.Operations); err != nil {
			return err
		}
		ports = append(ports, n.listensOn(o.Port), o.Admin)
	}
	for _, o := range n.topology.Orgs {
		if err := n.dialAnew(o); err != nil {
			return fmt.Errorf("%s: %w", peerProcess(o), err)
		}
		c := command{peerProcess(o), []string{n.binaries.program("peer"), "node", "start"}, peerEnvironment(n.dir, n.material, o, n.listensOn(o.Port)), peerMemory}
		if err := n.startOn(c, n.listensOn(o.Port), o.Chaincode, o.Operations); err != nil {
			return err
		}
		ports = append(ports, n.listensOn(o.Port))
	}
	n.say("orderers (%s) and the peers of %d organisations are starting", n.topology.Orderers, len(n.topology.Orgs))
	return n.listening(ctx, ports...)
}

// listensOn is where the node listens that others reach on a port.
func (n *Network) listensOn(port int) int {
	if p, ok := n.behind[port]; ok {
		return p
	}
	return port
}

// startOn starts a process that will listen on the ports, unless it runs.
func (n *Network) startOn(c command, ports ...int) error {
	pid, err := n.processes.find(c.name)
	if err != nil || pid != 0 {
		return err
	}
	for _, p := range ports {
		if err := portFreed(p); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return n.processes.start(c)
}

// portFreed waits a little for a port: of a process that was killed, threads may
// hold it for a moment longer than its first.
func portFreed(port int) error {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(pollEvery) {
		err := portFree(port)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// listening waits until all ports accept connections.
func (n *Network) listening(ctx context.Context, ports ...int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for _, p := range ports {
		var d net.Dialer
		err := n.retry(ctx, func() error {
			c, err := d.DialContext(ctx, "tcp", address(p))
			if err != nil {
				return err
			}
			return c.Close()
		})
		if err != nil {
			return fmt.Errorf("nothing listens on port %d: %w", p, err)
		}
	}
	return nil
}

// retryEvery is the pause between attempts at a step.
const retryEvery = 100 * time.Millisecond

// retry repeats f until it succeeds, a process has died or ctx ends. f's error
// is the one reported.
func (n *Network) retry(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		var fatal fatalError
		if errors.As(err, &fatal) || n.processes.died() != nil {
			return err
		}
		if perr := network.Sleep(ctx, retryEvery); perr != nil {
			return fmt.Errorf("gave up: %w", err)
		}
	}
}

// fatalError is one that another attempt does not change.
type fatalError struct{ error }

func (e fatalError) Unwrap() error { return e.error }

// Down ends every process of the network and returns when none is left. The
// directory stays: Up resumes from it. It does not stop half way when ctx ends;
// it takes at most 15 seconds once no other command works on the network.
func (n *Network) Down(ctx context.Context) error {
	if _, err := os.Stat(n.dir); errors.Is(err, os.ErrNotExist) {
		return n.processes.endAll() // the directory was removed: nothing to find
	}
	// First, and without the lock, which it may hold: it would start things again.
	if err := n.processes.end([]string{keeperProcess}); err != nil {
		return err
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return n.processes.endAll()
}
