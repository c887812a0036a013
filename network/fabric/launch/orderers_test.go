package launch

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func soak(t *testing.T) {
	t.Helper()
	if os.Getenv("VITALVEIL_SOAK") == "" {
		t.Skip("SKIPPED, NOT PASSED: set VITALVEIL_SOAK=1 for networks with several orderers")
	}
}

// Each ordering service takes transactions, goes on without one orderer that is
// ended by force, and takes it back.
func TestNetworkSurvivesAnOrderer(t *testing.T) {
	for _, kind := range []string{"raft3", "bft4"} {
		t.Run(kind, func(t *testing.T) {
			soak(t)
			start := time.Now()
			n := launchNetwork(t, Options{Attached: true, Orderers: kind})
			c := connectAs(t, n, "HospitalA")
			put(t, c, "patient", "one")
			t.Logf("first transaction after %s", time.Since(start).Round(time.Millisecond))
			for i, o := range n.topology.Nodes {
				n.processes.forget(o.Name) // stays dead
				kill(t, n, o.Name)
				start = time.Now()
				put(t, c, "patient", o.Name)
				t.Logf("next transaction %s after %s was killed", time.Since(start).Round(time.Millisecond), o.Name)
				if err := n.startNodes(t.Context()); err != nil {
					t.Fatal(err)
				}
				whole(t, n)
				expect(t, c, "patient", o.Name)
				level(t, n, n.topology.Nodes[i])
			}
		})
	}
}

// level waits until an orderer that was away has all blocks. A SmartBFT node
// notices what it missed at its leader's heartbeats, some ten seconds apart.
func level(t *testing.T, n *Network, o ordererNode) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		have, err := n.ordererChannel(t.Context(), o)
		m, merr := channelMetrics(t.Context(), n.topology.Orgs[0].Operations, heightMetric)
		if err == nil && merr == nil && have.Height >= uint64(m[heightMetric]) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has not caught up: %+v, %v; the peers have %v", o.Name, have, err, m)
		}
	}
}

// A peer and a chaincode process that are killed come back by themselves.
func TestNetworkRestartsWhatDies(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true})
	c := connectAs(t, n, "HospitalA")
	put(t, c, "patient", "one")
	for _, name := range []string{"peer-HospitalB", "chaincode-HospitalB-1"} {
		kill(t, n, name)
		put(t, c, "patient", name)
	}
	whole(t, n)
	have, err := c.Height(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := connectAs(t, n, "HospitalB")
	if err := b.Await(t.Context(), have-1); err != nil { // its peer was away
		t.Fatal(err)
	}
	expect(t, b, "patient", "chaincode-HospitalB-1")
}

// kill ends one process of the network by force.
func kill(t *testing.T, n *Network, name string) {
	t.Helper()
	pid, err := n.processes.find(name)
	if err != nil || pid == 0 {
		t.Fatalf("%s: %d, %v", name, pid, err)
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// whole waits until every process runs and every orderer and peer answers.
func whole(t *testing.T, n *Network) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		s, err := n.Status(t.Context())
		if err == nil && s.Running() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not whole again: %+v, %v; the keeper says:\n%s", s.Processes, err, n.processes.tail(keeperProcess))
		}
	}
}

// The SDK's way of administration gives the same network as the peer command's.
func TestNetworkThroughAdmin(t *testing.T) {
	fabricBinaries(t)
	admin := adminProgram(t)
	n := launchNetwork(t, Options{Attached: true, Admin: admin, Collections: []Collection{{Name: "secrets", MaxPeers: 2}}})
	c := connectAs(t, n, "PatientsAssociation")
	put(t, c, "patient", "one")
	answer, err := n.sdk(t.Context(), n.topology.Orgs[1], "query", "--channel", channelName, "--name", chaincodeName)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("admin query: %s", answer)
	if committed, err := n.committed(t.Context()); err != nil || committed != 1 {
		t.Errorf("committed sequence %d, %v", committed, err)
	}
	if err := n.Upgrade(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
