package fabric_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/launch"
	"github.com/vitalveil/vitalveil/network/fabric/launch/launchtest"
)

// harness is a network of two organisations with the suite's chaincode.
type harness struct {
	t       *testing.T
	options launch.Options
	network *launch.Network

	mu      sync.Mutex
	clients map[string]*fabric.Client // one of each organisation, as long as the network
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t, clients: map[string]*fabric.Client{}, options: launch.Options{
		Dir: t.TempDir(), Orgs: []string{conformance.OrgA, conformance.OrgB},
		Collections: secrets,
	}}
	h.network = launchtest.Up(t, h.options)
	return h
}

func (h *harness) Client(t *testing.T, msp string) network.Client {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.clients[msp]; c != nil {
		return caughtUp{c, h}
	}
	p, err := fabric.LoadProfile(h.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := network.LoadCA(filepath.Join(h.options.Dir, "authorities", msp, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	id, err := ca.Issue("client", "client") // the name that the suite looks for
	if err != nil {
		t.Fatal(err)
	}
	c := fabric.ConnectFor(h.t, p, id)
	h.clients[msp] = c
	return caughtUp{c, h}
}

// Runs: both organisations endorse.
func (h *harness) Runs() int { return len(h.options.Orgs) }

func (h *harness) Restart(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	old := h.clients
	h.clients = map[string]*fabric.Client{}
	h.mu.Unlock()
	for _, c := range old {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	launchtest.Down(t, h.network)
	h.network = launchtest.Up(t, h.options)
}

// caughtUp is a client whose reads come after every other client's commits: the
// suite is about one ledger, and two peers are a moment apart.
type caughtUp struct {
	*fabric.Client
	h *harness
}

func (c caughtUp) Submit(ctx context.Context, call network.Call) (network.Result, error) {
	res, err := c.Client.Submit(ctx, call)
	if err != nil {
		return res, err
	}
	c.h.mu.Lock()
	others := slices.Collect(maps.Values(c.h.clients))
	c.h.mu.Unlock()
	for _, o := range others {
		if err := o.Await(ctx, res.Block); err != nil {
			return res, err
		}
	}
	return res, nil
}

func TestConformance(t *testing.T) {
	launchtest.Build(t)
	conformance.Run(t, func(t *testing.T) conformance.Harness { return newHarness(t) })
}
