package embedded

import (
	"context"
	"testing"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if runChild() {
		return
	}
	goleak.VerifyTestMain(m)
}

// consortium is two organisations and a client identity of each.
type consortium struct {
	roots map[string][]byte
	ids   map[string]network.Identity
}

func newConsortium(t testing.TB) consortium {
	t.Helper()
	c := consortium{map[string][]byte{}, map[string]network.Identity{}}
	for _, msp := range []string{conformance.OrgA, conformance.OrgB} {
		ca, err := network.NewCA(msp)
		if err != nil {
			t.Fatal(err)
		}
		c.roots[msp] = ca.RootPEM()
		if c.ids[msp], err = ca.Issue("client", "client"); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// harness is an embedded ledger with the suite's chaincode.
type harness struct {
	consortium
	cfg    Config
	ledger *Ledger
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	h := &harness{consortium: newConsortium(t)}
	h.cfg = Config{Dir: t.TempDir(), Channel: "test", Roots: h.roots, Chaincode: conformance.Chaincode{}}
	h.open(t)
	t.Cleanup(func() {
		if err := h.ledger.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *harness) open(t testing.TB) {
	t.Helper()
	l, err := Open(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.ledger = l
}

func (h *harness) Client(_ *testing.T, msp string) network.Client { return h.ledger.Client(h.ids[msp]) }

// Runs: there is one endorser.
func (h *harness) Runs() int { return 1 }

func (h *harness) Restart(t *testing.T) {
	t.Helper()
	h.close(t)
	h.open(t)
}

func (h *harness) close(t testing.TB) {
	t.Helper()
	if err := h.ledger.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Harness {
		h := newHarness(t)
		t.Cleanup(func() { verifies(t, h.ledger) }) // runs before the ledger is closed
		return h
	})
}

// verifies checks that everything a ledger holds is in order.
func verifies(t testing.TB, l *Ledger) Report {
	t.Helper()
	r, err := l.Verify(context.Background()) // also runs in clean-up, after t.Context
	if err != nil {
		t.Fatal(err)
	}
	return r
}
