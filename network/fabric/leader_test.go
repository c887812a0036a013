package fabric

import (
	"os"
	"testing"
	"time"
)

// leader names the Raft orderer that leads, once one does.
func leader(t *testing.T, n *Network) ordererNode {
	t.Helper()
	var found ordererNode
	eventually(t, "an orderer leads", func() bool {
		for _, o := range n.topology.Nodes {
			m, err := channelMetrics(t.Context(), o.Operations, leaderMetric)
			if err == nil && m[leaderMetric] == 1 {
				found = o
				return true
			}
		}
		return false
	})
	return found
}

// The orderer that leads is killed under load, again and again: another one
// takes over, the dead one comes back by itself, nothing acknowledged is lost.
func TestRaftLeaderIsKilledUnderLoad(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true, Orderers: "raft3"})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, p, issue(t, n.Dir(), ownOrg, "client"))
	follower := startFollower(t, c)
	l := startLoad(c, 8)
	kills := 1
	if os.Getenv("VITALVEIL_SOAK") != "" {
		kills = 10
	}
	for range kills {
		awaitCount(t, l, l.count()+50)
		victim := leader(t, n)
		begun := time.Now()
		n.kill(t, victim.Name, false)
		awaitCount(t, l, l.count()+50)
		t.Logf("%s led and was killed; 50 more transactions after %v", victim.Name, time.Since(begun).Round(time.Millisecond))
		whole(t, n)
		level(t, n, victim)
	}
	done := l.end(t)
	checkAcknowledged(t, c, done)
	follower.has(t, done)
}
