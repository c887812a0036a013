//go:build linux

package launch

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// wires carry what nodes of a network send each other, one listener in front of
// each node, and can be cut between two sides: what is sent across then waits, as
// it does in a network that loses packets, until the cut is healed.
type wires struct {
	n         *Network // set once the network is up
	listeners []net.Listener
	wg        sync.WaitGroup

	mu    sync.Mutex
	ended bool
	sides map[string]int // of nodes while the network is cut
	conns []net.Conn
}

// launchWired starts a network whose nodes reach each other over wires.
func launchWired(t *testing.T, o Options) (*Network, *wires) {
	t.Helper()
	fabricBinaries(t)
	o.Dir = filepath.Join(t.TempDir(), "network")
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	top, err := newTopology(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := top.save(o.Dir); err != nil {
		t.Fatal(err)
	}
	o.behind = map[int]int{}
	w := &wires{n: newNetwork(o.Dir, false)}
	t.Cleanup(w.end)
	for _, node := range top.Nodes {
		w.lay(t, o.behind, ordererProcess(node), node.Port)
	}
	for _, node := range top.Orgs {
		w.lay(t, o.behind, peerProcess(node), node.Port)
	}
	return launchNetwork(t, o), w
}

// lay puts a wire in front of a node, which gets another port to listen on.
func (w *wires) lay(t *testing.T, behind map[int]int, node string, port int) {
	t.Helper()
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		t.Fatal(err)
	}
	free, err := choosePorts(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	behind[port] = free[0]
	w.listeners = append(w.listeners, l)
	w.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.wg.Go(func() { w.carry(c, node, address(free[0])) })
		}
	})
}

// carry connects a dialer with the node until either hangs up.
func (w *wires) carry(in net.Conn, node, where string) {
	defer in.Close()
	out, err := net.Dial("tcp", where)
	if err != nil || !w.hold(in, out) {
		return
	}
	defer out.Close()
	dialer := w.dialer(in)
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		defer in.Close()
		defer out.Close()
		buf := make([]byte, 64<<10)
		for {
			k, err := from.Read(buf)
			if k > 0 {
				if w.wait(dialer, node); err == nil {
					_, err = to.Write(buf[:k])
				}
			}
			if err != nil {
				return
			}
		}
	}
	both.Go(func() { pass(out, in) })
	both.Go(func() { pass(in, out) })
	both.Wait()
}

// hold keeps connections so that end can close them.
func (w *wires) hold(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conns...)
	return !w.ended
}

// wait returns when the two may speak.
func (w *wires) wait(a, b string) {
	for {
		w.mu.Lock()
		sa, oka := w.sides[a]
		sb, okb := w.sides[b]
		free := w.ended || !oka || !okb || sa == sb
		w.mu.Unlock()
		if free {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// dialer names the node that opened a connection, by the process that has the
// other end of it; empty for tests and tools, which no cut concerns.
func (w *wires) dialer(c net.Conn) string {
	inode := socketInode(c.RemoteAddr().(*net.TCPAddr).Port, c.LocalAddr().(*net.TCPAddr).Port)
	names, err := w.n.processes.names()
	if err != nil || inode == "" {
		return ""
	}
	for _, name := range names {
		pid, err := w.n.processes.find(name)
		if err != nil || pid == 0 {
			continue
		}
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && to == "socket:["+inode+"]" {
				return name
			}
		}
	}
	return ""
}

// socketInode finds a loopback connection in the kernel's table, see proc(5).
func socketInode(local, remote int) string {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && portOf(fields[1]) == local && portOf(fields[2]) == remote {
			return fields[9]
		}
	}
	return ""
}

func portOf(hexAddress string) int {
	_, port, _ := strings.Cut(hexAddress, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return -1
	}
	return int(p)
}

// cut separates the named nodes from all others; no names heal the network.
func (w *wires) cut(n *Network, minority ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sides = nil
	if len(minority) == 0 {
		return
	}
	w.sides = map[string]int{}
	for _, o := range n.topology.Nodes {
		w.sides[ordererProcess(o)] = 0
	}
	for _, o := range n.topology.Orgs {
		w.sides[peerProcess(o)] = 0
	}
	for _, name := range minority {
		w.sides[name] = 1
	}
}

func (w *wires) end() {
	w.mu.Lock()
	w.ended = true
	for _, l := range w.listeners {
		l.Close()
	}
	for _, c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// One organisation and the orderer that leads are cut off from the rest. The
// majority goes on, the minority takes nothing; when the cut is healed it catches
// up and takes part again. No two chains, nothing acknowledged lost.
func TestPartitionBetweenOrganisations(t *testing.T) {
	soak(t)
	n, w := launchWired(t, Options{Attached: true, Orderers: "raft3"})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	const third = "PatientsAssociation"
	c := connect(t, p, issue(t, n.Dir(), ownOrg, "client"), fabric.WithPeers(ownOrg, otherOrg))
	alone := connect(t, p, issue(t, n.Dir(), third, "client"), fabric.WithPeers(third))
	put(t, alone, "before", "the cut")
	l := startLoad(c, 4)
	awaitCount(t, l, 50)
	old := leader(t, n)
	w.cut(n, ordererProcess(old), "peer-"+third)
	t.Logf("cut off: %s, which led, and the peer of %s", old.Name, third)
	begun := time.Now()
	const many = 200
	awaitCount(t, l, l.count()+many)
	t.Logf("the majority acknowledged %d transactions in %v of the cut", many, time.Since(begun).Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	if res, err := alone.Submit(ctx, network.Call{Function: "put", Args: []string{"during", "the cut"}}); err == nil {
		t.Errorf("a minority of one organisation committed %s", res.TxID)
	}
	cancel()
	w.cut(n)
	begun = time.Now()
	put(t, alone, "after", "the cut")
	t.Logf("the minority commits again %v after the cut", time.Since(begun).Round(time.Millisecond))
	awaitCount(t, l, l.count()+50)
	level(t, n, old)
	done := l.end(t)
	checkAcknowledged(t, alone, done)
	sameChain(t, n, p, done)
}

// sameChain compares the blocks of all peers as far as acknowledgements go.
func sameChain(t *testing.T, n *Network, p fabric.Profile, done []acknowledged) {
	t.Helper()
	last := slices.MaxFunc(done, func(a, b acknowledged) int { return int(a.res.Block) - int(b.res.Block) }).res.Block
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var want []string
	for i, o := range n.topology.Orgs {
		c := connect(t, p, issue(t, n.Dir(), o.MSP, "client"), fabric.WithPeers(o.MSP))
		var have []string
		for b, err := range c.Blocks(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			have = append(have, b.Hash.String())
			if b.Number == last {
				break
			}
		}
		if i == 0 {
			want = have
		} else if !slices.Equal(have, want) {
			t.Errorf("the chain of %s is another one", o.MSP)
		}
	}
}
