package launch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/network/fabric"
)

// loseDisk ends a process by force, for good, and removes its ledger.
func loseDisk(t *testing.T, n *Network, process, data string) {
	t.Helper()
	n.processes.forget(process)
	kill(t, n, process)
	eventually(t, process+" has ended", func() bool { pid, err := n.processes.find(process); return err == nil && pid == 0 })
	if err := os.RemoveAll(filepath.Join(n.dir, "data", data)); err != nil {
		t.Fatal(err)
	}
}

// An orderer and a peer whose disks are gone are rebuilt by the next Up while
// the network goes on, and have everything afterwards.
func TestUpRebuildsWhatLostItsDisk(t *testing.T) {
	soak(t)
	n := launchNetwork(t, Options{Attached: true, Orderers: "raft3", Collections: secrets})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	id := issue(t, n.Dir(), ownOrg, "client")
	c := connect(t, p, id)
	l := startLoad(c, 4)
	awaitCount(t, l, 50)
	gone := n.topology.Nodes[1]
	loseDisk(t, n, gone.Name, gone.Name)
	other := n.topology.Orgs[1]
	loseDisk(t, n, peerProcess(other), other.MSP)
	awaitCount(t, l, l.count()+50)
	begun := time.Now()
	again := launchNetwork(t, Options{Dir: n.Dir(), Attached: true})
	t.Logf("rebuilt after %v", time.Since(begun).Round(time.Millisecond))
	awaitCount(t, l, l.count()+50)
	level(t, again, gone)

	// It counts again: without another one, it is needed for a majority.
	n.kill(t, n.topology.Nodes[0].Name, true)
	awaitCount(t, l, l.count()+50)
	done := l.end(t)
	checkAcknowledged(t, connect(t, p, id, fabric.WithPeers(otherOrg)), done)
}

// With one orderer there is nobody to rebuild it from. Beginning again from the
// first block would make another chain, so Up refuses.
func TestUpRefusesToReorderALostChain(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true})
	put(t, connectAs(t, n, ownOrg), "patient", "one")
	only := n.topology.Nodes[0]
	loseDisk(t, n, only.Name, only.Name)
	_, err := Up(t.Context(), Options{Dir: n.Dir(), Chaincode: serves(t, serveConformance), Log: testLog{t}})
	if err == nil || !strings.Contains(err.Error(), "restore its directory") {
		t.Fatalf("a chain that is lost: %v", err)
	}
}
