package embedded

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
)

// served is a harness whose clients go through a server on loopback.
type served struct {
	*harness
	address string
	stop    func()
	clients []*Remote
}

func newServed(t *testing.T) *served {
	s := &served{harness: newHarness(t)}
	s.serve(t)
	t.Cleanup(func() {
		s.stop()
		for _, c := range s.clients {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return s
}

func (s *served) serve(t *testing.T) {
	t.Helper()
	address := s.address
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	ledger := s.ledger
	done.Go(func() {
		if err := ledger.Serve(ctx, l, s.ids[conformance.OrgA]); err != nil {
			t.Error(err)
		}
	})
	s.stop = func() { cancel(); done.Wait() }
}

func (s *served) connect(t *testing.T, id network.Identity) *Remote {
	t.Helper()
	r, err := Connect(RemoteConfig{Address: s.address, Operator: conformance.OrgA, Channel: "test", Identity: id, Roots: s.roots})
	if err != nil {
		t.Fatal(err)
	}
	s.clients = append(s.clients, r)
	return r
}

func (s *served) Client(t *testing.T, msp string) network.Client { return s.connect(t, s.ids[msp]) }

func (s *served) Restart(t *testing.T) {
	t.Helper()
	s.stop()
	s.harness.Restart(t)
	s.serve(t)
}

func TestConformanceOfAServedLedger(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Harness { return newServed(t) })
}

func TestServedLedgerTellsItsHeight(t *testing.T) {
	s := newServed(t)
	r := s.connect(t, s.ids[conformance.OrgB])
	h, err := r.Height(t.Context())
	if err != nil || h != s.ledger.Height() {
		t.Errorf("height %d, %v", h, err)
	}
	r.cfg.Channel = "another"
	if _, err := r.Height(t.Context()); fault.Of(err) != fault.Conflict {
		t.Errorf("another channel: %v", err)
	}
}

// TestAttackStrangerAtAServedLedger: without a certificate of a member's authority
// nobody gets in, and a member cannot speak for another.
func TestAttackStrangerAtAServedLedger(t *testing.T) {
	s := newServed(t)
	other := newConsortium(t)
	stranger := s.connect(t, other.ids[conformance.OrgB])
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := stranger.Height(ctx); fault.Of(err) != fault.Unavailable {
		t.Errorf("a stranger reads: %v", err)
	}
	member := s.connect(t, s.ids[conformance.OrgB])
	before := s.ledger.Height()
	member.cfg.Identity = network.Identity{MSP: conformance.OrgA, Certificate: s.ids[conformance.OrgA].Certificate, Key: s.ids[conformance.OrgB].Key}
	if _, err := member.Submit(t.Context(), network.Call{Function: "Put", Args: []string{"k", "v"}}); fault.Of(err) != fault.BadSignature {
		t.Errorf("B signs as A: %v", err)
	}
	member.cfg.Identity = other.ids[conformance.OrgA]
	if _, err := member.Submit(t.Context(), network.Call{Function: "Put", Args: []string{"k", "v"}}); fault.Of(err) != fault.Forbidden {
		t.Errorf("B signs with a made-up A: %v", err)
	}
	if s.ledger.Height() != before {
		t.Error("something was recorded")
	}
}

func TestLedgerThatIsDownIsUnavailable(t *testing.T) {
	s := newServed(t)
	r := s.connect(t, s.ids[conformance.OrgB])
	s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	res, err := r.Submit(ctx, network.Call{Function: "Put", Args: []string{"k", "v"}})
	if fault.Of(err) != fault.Unavailable || res.TxID == "" {
		t.Errorf("got %+v, %v", res, err)
	}
	for _, err := range r.Blocks(ctx, 0) {
		if fault.Of(err) != fault.Unavailable {
			t.Errorf("blocks: %v", err)
		}
		break
	}
	s.serve(t) // for the clean-up, and to show that the client finds it again
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := r.Height(t.Context()); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
