// Package launchtest starts Fabric networks for tests.
//
// A test program that launches networks calls Main from its TestMain, and then serves
// chaincode itself when a network starts it again.
package launchtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/chaincode"
	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/service"
)

// The words by which a test program serves chaincode instead of running tests:
// networks under test start it once for each organisation.
const (
	Contracts   = "serve-contracts"
	Conformance = "serve-conformance"
)

// Main serves chaincode, if the program was started for that, or else runs the tests
// and sees that they leave no goroutine.
func Main(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != Contracts && os.Args[1] != Conformance {
		goleak.VerifyTestMain(m)
		return
	}
	Exit(serve(os.Args[1], os.Args[2:]))
}

// Exit ends the program; an error is printed.
func Exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func serve(which string, args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(args) != 2 || args[0] != "--config" {
		return fmt.Errorf("served with %q, want --config and a file", args)
	}
	config, err := service.Load(args[1])
	if err != nil {
		return err
	}
	var cc shim.Chaincode = conformance.Chaincode{}
	if which == Contracts {
		if cc, err = chaincode.New(details.NewClient(string(config.Details))); err != nil {
			return err
		}
	}
	return config.Serve(ctx, cc)
}

// Serves is the command by which this test program serves a chaincode.
func Serves(t testing.TB, word string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, word}
}

// Build builds Fabric once for all tests of this machine, or skips the test.
func Build(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED, NOT PASSED: -short leaves out every test on real Fabric")
	}
	_, err := launch.Build(context.Background(), Log{t})
	if errors.Is(err, launch.ErrModules) || errors.Is(err, launch.ErrNoGo) {
		t.Skipf("SKIPPED, NOT PASSED: Fabric cannot be built here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Up starts a network that ends with the test, also if the test program is killed. By
// default the chaincode is that of the suite for all ledgers.
func Up(t testing.TB, o launch.Options) *launch.Network {
	t.Helper()
	Build(t)
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "network")
	}
	if o.Chaincode == nil {
		o.Chaincode = Serves(t, Conformance)
	}
	o.Attached, o.Log = true, Log{t}
	n, err := launch.Up(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Down(t, n) })
	return n
}

// Down ends a network, if it runs, and checks that it has ended.
func Down(t testing.TB, n *launch.Network) {
	t.Helper()
	if err := n.Down(context.Background()); err != nil {
		t.Error(err)
	}
	s, err := n.Status(context.Background())
	if err != nil {
		t.Error(err)
	}
	for _, p := range s.Processes {
		if p.PID != 0 {
			t.Errorf("%s still runs", p.Name)
		}
	}
}

// Join gives each member of a consortium a client, through its own peers, and the
// network's contracts the details keys. Both end with the test.
func Join(n *launch.Network, c *consortium.Consortium) {
	c.Helper()
	p, err := n.Profile()
	c.OK(err)
	for _, m := range c.Genesis.Members {
		org, err := p.Org(m.MSP)
		c.OK(err)
		id, err := network.LoadIdentity(org.IdentityDir)
		c.OK(err)
		client, err := fabric.Connect(p, id, fabric.WithPeers(m.MSP))
		c.OK(err)
		c.Cleanup(func() { c.OK(client.Close()) })
		c.Clients[m.MSP] = client
		c.Details.Serve(c, fabric.KeySocket(n.Dir(), m.MSP))
	}
}

// Log shows the launcher's progress in the test's output.
type Log struct{ testing.TB }

func (l Log) Write(b []byte) (int, error) {
	l.Logf("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}
