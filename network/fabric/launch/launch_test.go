package launch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// testLog shows progress in the test's output.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Logf("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

// fabricBinaries builds Fabric once for all tests of this machine, or skips.
func fabricBinaries(t *testing.T) Binaries {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED, NOT PASSED: -short leaves out every test on real Fabric")
	}
	b, err := Build(context.Background(), os.Stderr)
	if errors.Is(err, ErrModules) || errors.Is(err, ErrNoGo) {
		t.Skipf("SKIPPED, NOT PASSED: Fabric cannot be built here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// launchNetwork starts a network that ends with the test, also if the test binary
// is killed. Options that are not set are those of a test.
func launchNetwork(t *testing.T, o Options) *Network {
	t.Helper()
	fabricBinaries(t)
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "network")
	}
	if o.Chaincode == nil {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		o.Chaincode = []string{self, serveConformance}
	}
	o.Log = testLog{t}
	n, err := Up(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { takeDown(t, n) })
	return n
}

// takeDown ends a network and checks that nothing is left of it.
func takeDown(t *testing.T, n *Network) {
	t.Helper()
	pids := map[string]int{}
	names, err := n.runningNames()
	if err != nil {
		t.Error(err)
	}
	for _, name := range names {
		pid, err := n.processes.find(name)
		if err != nil {
			t.Error(err)
		}
		if pid != 0 {
			pids[name] = pid
		}
	}
	if err := n.Down(context.Background()); err != nil {
		t.Error(err)
	}
	for name, pid := range pids {
		// Until its parent has collected it, an ended process keeps its number.
		eventually(t, "the process group of "+name+" is gone", func() bool {
			return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH)
		})
	}
}

func connectAs(t *testing.T, n *Network, msp string) *fabric.Client {
	t.Helper()
	p, err := fabric.LoadProfile(n.Dir())
	if err != nil {
		t.Fatal(err)
	}
	org, err := p.Org(msp)
	if err != nil {
		t.Fatal(err)
	}
	id, err := network.LoadIdentity(org.IdentityDir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := fabric.Connect(p, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func put(t *testing.T, c *fabric.Client, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := c.Submit(ctx, network.Call{Function: "put", Args: []string{key, value}}); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func expect(t *testing.T, c *fabric.Client, key, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	got, err := c.Evaluate(ctx, network.Call{Function: "get", Args: []string{key}})
	if err != nil || string(got) != want {
		t.Fatalf("get %s: %q, %v; want %q", key, got, err, want)
	}
}

// A network comes up from nothing, takes a transaction, goes down without a
// trace, comes back with its state, and its chaincode can be upgraded.
func TestNetworkUpDown(t *testing.T) {
	fabricBinaries(t)
	start := time.Now()
	n := launchNetwork(t, Options{Attached: true, Collections: []Collection{{Name: "secrets", MaxPeers: 2}}})
	up := time.Since(start)
	c := connectAs(t, n, "HospitalA")
	put(t, c, "patient", "one")
	t.Logf("network up after %s, first transaction after %s", up.Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	s, err := n.Status(context.Background())
	if err != nil || !s.Running() {
		t.Fatalf("status: %+v, %v", s, err)
	}
	for _, p := range s.Processes {
		t.Logf("%-34s %4d MiB  %s", p.Name, p.Memory>>20, p.Detail)
	}
	t.Logf("%d MiB in all", s.Memory()>>20)
	if s.Memory() == 0 || s.Memory() > 1<<30 {
		t.Errorf("the network takes %d MiB, want at most 1024", s.Memory()>>20)
	}
	c.Close()
	takeDown(t, n)

	start = time.Now()
	n = launchNetwork(t, Options{Dir: n.Dir(), Attached: true})
	c = connectAs(t, n, "HospitalB")
	expect(t, c, "patient", "one")
	t.Logf("restarted and read after %s", time.Since(start).Round(time.Millisecond))

	start = time.Now()
	if err := n.Upgrade(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	put(t, c, "patient", "two")
	expect(t, c, "patient", "two")
	t.Logf("chaincode upgraded after %s", time.Since(start).Round(time.Millisecond))
	if s, err := n.Status(context.Background()); err != nil || s.Sequence != 2 || !s.Running() {
		t.Fatalf("after the upgrade: %+v, %v", s, err)
	}
	if pid, err := n.processes.find(chaincodeProcess(n.topology.Orgs[0], 1)); err != nil || pid != 0 {
		t.Errorf("the old sequence's process %d still runs (%v)", pid, err)
	}
}

// The contracts answer on real Fabric.
func TestContractsOnFabric(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := launchNetwork(t, Options{Attached: true, Chaincode: []string{self, serveContracts}})
	c := connectAs(t, n, "HospitalA")
	_, err = contracts.RegistryGetGenesis.Evaluate(context.Background(), c, struct{}{})
	if fault.Of(err) != fault.NotFound {
		t.Fatalf("genesis of a new network: %v", err)
	}
}

// What one launcher has started, later ones find, leave alone, and end.
func TestLaterLauncherFindsTheNetwork(t *testing.T) {
	first := launchNetwork(t, Options{})
	before, err := first.Status(t.Context())
	if err != nil || !before.Running() {
		t.Fatalf("status: %+v, %v", before, err)
	}
	second := launchNetwork(t, Options{Dir: first.Dir()})
	after, err := second.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range before.Processes {
		if after.Processes[i].PID != p.PID {
			t.Errorf("%s was started again", p.Name)
		}
	}
	third, err := Open(first.Dir())
	if err != nil {
		t.Fatal(err)
	}
	takeDown(t, third)
	if s, err := third.Status(t.Context()); err != nil || s.Running() {
		t.Errorf("after the end: %+v, %v", s, err)
	}
}

// A start that fails says why, leaves nothing running, and can be repeated.
func TestFailedStartIsCleanAndRepeatable(t *testing.T) {
	fabricBinaries(t)
	dir := filepath.Join(t.TempDir(), "network")
	o := Options{Dir: dir, Log: testLog{t}, Chaincode: []string{"/bin/sh", "-c", "echo the contracts are broken >&2; exit 1"}}
	_, err := Up(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "the contracts are broken") {
		t.Fatalf("a network without chaincode is up, or its log is not shown: %v", err)
	}
	n, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := n.runningNames(); err != nil || len(left) > 0 {
		t.Fatalf("left running: %v, %v", left, err)
	}
	n = launchNetwork(t, Options{Dir: dir, Attached: true})
	put(t, connectAs(t, n, "HospitalA"), "patient", "one")
}
