package launch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// acknowledged is a submission that the client said is committed.
type acknowledged struct {
	key string
	res network.Result
}

// load submits from several goroutines until it is stopped.
type load struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	done []acknowledged
	errs []error
	last time.Time
	gap  time.Duration // longest time without an acknowledgement
	most time.Duration // longest time that one transaction took
}

func startLoad(c network.Client, writers int) *load {
	return startLoadOf(c, writers, func(key string) network.Call {
		return network.Call{Function: "put", Args: []string{key, key}}
	})
}

// startLoadOf submits the calls that it is given for keys.
func startLoadOf(c network.Client, writers int, call func(key string) network.Call) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, last: time.Now()}
	for w := range writers {
		l.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				key := fmt.Sprintf("w%02d/%05d", w, i)
				one, cancel := context.WithTimeout(context.Background(), time.Minute)
				begun := time.Now()
				res, err := c.Submit(one, call(key))
				cancel()
				l.note(acknowledged{key, res}, time.Since(begun), err)
			}
		})
	}
	return l
}

func (l *load) note(a acknowledged, took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", a.key, err))
		return
	}
	now := time.Now()
	l.gap, l.last = max(l.gap, now.Sub(l.last)), now
	l.most = max(l.most, took)
	l.done = append(l.done, a)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.done)
}

// end stops the load and fails the test if a submission failed.
func (l *load) end(t *testing.T) []acknowledged {
	t.Helper()
	l.stop()
	l.wg.Wait()
	for _, err := range l.errs {
		t.Error(err)
	}
	t.Logf("%d transactions acknowledged, %v the longest without one, %v for the slowest", len(l.done),
		l.gap.Round(time.Millisecond), l.most.Round(time.Millisecond))
	return l.done
}

// kill ends a process as a power failure would. It is started again only if the
// network is told to.
func (n *Network) kill(t *testing.T, name string, forGood bool) {
	t.Helper()
	pid, err := n.processes.find(name)
	if err != nil || pid == 0 {
		t.Fatalf("%s does not run (%v)", name, err)
	}
	if forGood {
		n.processes.forget(name)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// A peer that is killed under load, and stays away, stops nobody: the client
// goes on with the others, its follower misses nothing, and when the peer is
// back it has everything that was acknowledged.
func TestFailoverWhenOnesOwnPeerIsKilled(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true, Collections: secrets})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	id := issue(t, n.Dir(), ownOrg, "client")
	c := connect(t, p, id)
	follower := startFollower(t, c)
	l := startLoad(c, 8)
	awaitCount(t, l, 100)
	n.kill(t, peerProcess(n.topology.Orgs[0]), true)
	at := l.count()
	awaitCount(t, l, at+200)
	if err := n.startNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitCount(t, l, l.count()+100)
	done := l.end(t)
	checkAcknowledged(t, connect(t, p, id, fabric.WithPeers(ownOrg)), done)
	follower.has(t, done)
}

// Everything else that dies comes back by itself, and submissions that were
// under way then end well.
func TestFailoverWhenOtherPartsAreKilled(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true, Collections: secrets})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, p, issue(t, n.Dir(), ownOrg, "client"))
	follower := startFollower(t, c)
	l := startLoad(c, 8)
	for _, victim := range []string{
		chaincodeProcess(n.topology.Orgs[0], 1),
		peerProcess(n.topology.Orgs[1]),
		ordererProcess(n.topology.Nodes[0]),
		peerProcess(n.topology.Orgs[0]),
	} {
		awaitCount(t, l, l.count()+50)
		t.Logf("killing %s", victim)
		n.kill(t, victim, false)
	}
	awaitCount(t, l, l.count()+100)
	done := l.end(t)
	checkAcknowledged(t, c, done)
	follower.has(t, done)
}

func awaitCount(t *testing.T, l *load, want int) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); l.count() < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d transactions acknowledged, still not %d", l.count(), want)
		}
	}
}

// checkAcknowledged reads the chain and the state of a peer and finds every
// acknowledged transaction there: once, valid, where the client said.
func checkAcknowledged(t *testing.T, c *fabric.Client, done []acknowledged) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	last := slices.MaxFunc(done, func(a, b acknowledged) int { return int(a.res.Block) - int(b.res.Block) }).res.Block
	if err := c.Await(ctx, last); err != nil {
		t.Fatal(err)
	}
	valid := map[string]network.Result{}
	for b, err := range c.Blocks(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			if !tx.Valid || tx.Function != "put" {
				continue
			}
			if _, twice := valid[tx.Args[0]]; twice {
				t.Fatalf("%s was committed twice", tx.Args[0])
			}
			valid[tx.Args[0]] = network.Result{TxID: tx.ID, Block: b.Number, Index: tx.Index}
		}
		if b.Number == last {
			break
		}
	}
	for _, a := range done {
		got, ok := valid[a.key]
		if !ok || got.TxID != a.res.TxID || got.Block != a.res.Block || got.Index != a.res.Index {
			t.Fatalf("%s was acknowledged as %+v, the chain has %+v", a.key, a.res, got)
		}
	}
	for _, a := range []acknowledged{done[0], done[len(done)/2], done[len(done)-1]} {
		expect(t, c, a.key, a.key)
	}
}

// chainFollower collects blocks.
type chainFollower struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	next   atomic.Uint64
	mu     sync.Mutex
	ids    map[string]uint64 // valid transactions
	err    error
}

func startFollower(t *testing.T, c *fabric.Client) *chainFollower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &chainFollower{cancel: cancel, ids: map[string]uint64{}}
	f.wg.Go(func() {
		for b, err := range c.Blocks(ctx, 0) {
			if err == nil && b.Number != f.next.Load() {
				err = fmt.Errorf("block %d came instead of %d", b.Number, f.next.Load())
			}
			if err != nil {
				f.err = err
				return
			}
			f.mu.Lock()
			for _, tx := range b.Txs {
				if tx.Valid {
					f.ids[tx.ID] = b.Number
				}
			}
			f.mu.Unlock()
			f.next.Store(b.Number + 1)
		}
	})
	t.Cleanup(func() { cancel(); f.wg.Wait() })
	return f
}

// has checks that the follower saw all of them, once it has come that far.
func (f *chainFollower) has(t *testing.T, done []acknowledged) {
	t.Helper()
	var last uint64
	for _, a := range done {
		last = max(last, a.res.Block)
	}
	for deadline := time.Now().Add(time.Minute); f.next.Load() <= last && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	f.cancel()
	f.wg.Wait()
	if f.err != nil {
		t.Fatal(f.err)
	}
	for _, a := range done {
		if f.ids[a.res.TxID] != a.res.Block {
			t.Fatalf("the follower did not see %s in block %d", a.key, a.res.Block)
		}
	}
}
