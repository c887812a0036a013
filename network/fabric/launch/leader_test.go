package launch

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/conformance"
	"github.com/vitalveil/vitalveil/network/fabric"
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
// takes over, the dead one comes back by itself, nothing acknowledged is lost. What
// had been accepted and got lost is handed in again when the chain shows it; what has
// private data seldom twice, as that would stop the peers for seconds.
func TestRaftLeaderIsKilledUnderLoad(t *testing.T) {
	n := launchNetwork(t, Options{Attached: true, Orderers: "raft3", Collections: secrets})
	p, err := n.Profile()
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, p, issue(t, n.Dir(), ownOrg, "client"))
	follower := startFollower(t, c)
	l := startLoad(c, 8)
	hidden := startLoadOf(c, 4, func(key string) network.Call {
		return network.Call{
			Function: "putPrivate", Args: []string{conformance.Collection, key},
			Transient: map[string][]byte{"value": []byte(key)},
		}
	})
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
	private := hidden.end(t)
	done := l.end(t)
	checkAcknowledged(t, c, done)
	follower.has(t, done)
	follower.has(t, private)
	const privateTime = 10 * time.Second // after which a client hands in again what the chain does not show
	if l.most >= privateTime || hidden.most >= 2*privateTime {
		t.Errorf("transactions that got lost took %v and %v with private data, as if the chain had not shown it", l.most, hidden.most)
	}
	plain, secret := copies(t, c)
	t.Logf("second copies on the chain: %d without private data, %d with", plain, secret)
	if secret > kills {
		t.Errorf("%d transactions with private data were handed in twice, in %d failures", secret, kills)
	}
}

// copies counts the transactions that are on the chain again, without and with
// private data.
func copies(t *testing.T, c *fabric.Client) (int, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	height, err := c.Height(ctx)
	if err != nil {
		t.Fatal(err)
	}
	plain, private := 0, 0
	for b, err := range c.Blocks(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Txs {
			switch {
			case tx.Code != peer.TxValidationCode_DUPLICATE_TXID.String():
			case tx.Function == "putPrivate":
				private++
			default:
				plain++
			}
		}
		if b.Number+1 >= height {
			break
		}
	}
	return plain, private
}
