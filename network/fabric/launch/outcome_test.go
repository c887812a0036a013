package launch

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// What the suite for all ledgers cannot see, on one network.
func TestClientOnFabric(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true, Collections: secrets})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	id := issue(t, n.Dir(), ownOrg, "client")
	c := connect(t, p, id)
	put(t, c, "warm", "up")
	t.Run("an unknown outcome keeps its transaction", func(t *testing.T) { unknownOutcome(t, c) })
	t.Run("large values pass and arrive whole", func(t *testing.T) { largeValue(t, c) })
	t.Run("reads come after the client's own writes at any peer", func(t *testing.T) { readsAnywhere(t, p, id, c) })
	t.Run("a peer that hangs is passed over", func(t *testing.T) { hangingPeer(t, n, c) })
	t.Run("a certificate that ends is named, on streams too", func(t *testing.T) { endingCertificate(t, n, p, id, c) })
	t.Run("since when nothing is ordered is known", func(t *testing.T) { nothingOrdered(t, n, c) })
}

// unknownOutcome ends calls at many moments, so that some end after the transaction
// was handed in and before its block arrived. Such a call names its transaction.
func unknownOutcome(t *testing.T, c *fabric.Client) {
	unknown := map[string]bool{}
	for try := range 40 { // how long endorsing takes, and ordering after it, depends on the machine
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(4+3*try)*time.Millisecond)
		res, err := c.Submit(ctx, network.Call{Function: "put", Args: []string{"late", "1"}})
		cancel()
		if err != nil && fault.Of(err) != fault.Unavailable {
			t.Fatalf("got %+v, %v", res, err)
		}
		if err != nil && res.TxID != "" {
			unknown[res.TxID] = true
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for b, err := range c.Blocks(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			if unknown[tx.ID] && tx.Valid {
				return
			}
		}
	}
	t.Errorf("of %d calls that named a transaction whose outcome they did not see, none is on the chain", len(unknown))
}

func largeValue(t *testing.T, c *fabric.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	value := strings.Repeat("0123456789abcdef", (network.MaxArguments-100)/16)
	res, err := c.Submit(ctx, network.Call{Function: "put", Args: []string{"large", value}})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, c, "large", value)
	for b, err := range c.Blocks(ctx, res.Block) {
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Txs[res.Index].Writes[0].Value; string(got) != value {
			t.Fatalf("the block shows %d bytes", len(got))
		}
		return
	}
}

// readsAnywhere makes another peer serve a client that has just written.
func readsAnywhere(t *testing.T, p fabric.Profile, id network.Identity, c *fabric.Client) {
	elsewhere := connect(t, p, id, fabric.WithPeers(otherOrg))
	for range 20 {
		key := time.Now().String()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		res, err := c.Submit(ctx, network.Call{Function: "put", Args: []string{"k", key}})
		if err == nil {
			err = elsewhere.Await(ctx, res.Block)
		}
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		expect(t, elsewhere, "k", key)
	}
}

// endingCertificate follows blocks with a certificate that ends meanwhile.
func endingCertificate(t *testing.T, n *Network, p fabric.Profile, id network.Identity, c *fabric.Client) {
	ca, err := network.LoadCA(n.material.authority(ownOrg, membersCA))
	if err != nil {
		t.Fatal(err)
	}
	const life = 3 * time.Second
	begun := time.Now()
	if id, err = ca.Renew(id, life); err != nil {
		t.Fatal(err)
	}
	short := connect(t, p, id, quiet)
	height, err := short.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, last = range short.Blocks(t.Context(), height-1) {
		}
		ended <- last
	}()
	time.Sleep(time.Until(begun.Add(life + 500*time.Millisecond)))
	put(t, c, "after the end", "1") // a peer looks at the certificate with each block
	if err := <-ended; !errors.Is(err, fabric.ErrCertificate) {
		t.Errorf("the stream ended with %v", err)
	}
	asked := time.Now()
	if _, err := short.Evaluate(t.Context(), network.Call{Function: "get", Args: []string{"warm"}}); !errors.Is(err, fabric.ErrCertificate) {
		t.Errorf("a read: %v", err)
	}
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// nothingOrdered ends the only orderer.
func nothingOrdered(t *testing.T, n *Network, c *fabric.Client) {
	if since, why := c.Stalled(); !since.IsZero() {
		t.Fatalf("stalled since %v: %v", since, why)
	}
	n.kill(t, n.topology.Nodes[0].Name, true)
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := c.Submit(ctx, network.Call{Function: "put", Args: []string{"k", "v"}}); fault.Of(err) != fault.Unavailable || !strings.Contains(err.Error(), "orderer") {
		t.Errorf("submit: %v", err)
	}
	if s, err := n.Status(t.Context()); err != nil || s.Ordering == "" || s.LastBlock.IsZero() || s.LastBlock.After(begun.Add(2*time.Second)) { // one may have been under way
		t.Errorf("status says %q, last block of %v, %v", s.Ordering, s.LastBlock, err)
	}
	if since, why := c.Stalled(); since.Before(begun.Add(-time.Second)) || why == nil {
		t.Errorf("stalled since %v (%v), it began at %v", since, why, begun)
	}
	expect(t, c, "warm", "up") // what can be read can be read
	if err := n.startNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, c, "k", "w")
	if s, err := n.Status(t.Context()); err != nil || s.Ordering != "" || s.LastBlock.Before(begun) {
		t.Errorf("status says %q, last block of %v, %v", s.Ordering, s.LastBlock, err)
	}
	if since, why := c.Stalled(); !since.IsZero() {
		t.Errorf("still stalled since %v: %v", since, why)
	}
}

func hangingPeer(t *testing.T, n *Network, c *fabric.Client) {
	pid, err := n.processes.find(peerProcess(n.topology.Orgs[0]))
	if err != nil || pid == 0 {
		t.Fatalf("the peer does not run (%v)", err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	begin := time.Now()
	got, err := c.Evaluate(ctx, network.Call{Function: "get", Args: []string{"warm"}})
	if err != nil || string(got) != "up" {
		t.Fatalf("got %q, %v", got, err)
	}
	first := time.Since(begin)
	begin = time.Now()
	expect(t, c, "warm", "up")
	t.Logf("the first read took %v, the next %v", first.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
}
