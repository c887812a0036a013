package conformance

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/network"
)

// Collection is the private data collection that the suite uses: every peer
// holds it, and members only may write it.
const Collection = "secrets"

func privately(key, value string) network.Call {
	return network.Call{
		Function: "putPrivate", Args: []string{Collection, key},
		Transient: map[string][]byte{"value": []byte(value)},
	}
}

// onChain returns everything that a follower sees of a transaction but for its
// private values.
func onChain(t *testing.T, tx network.Tx) string {
	t.Helper()
	tx.Private = nil
	out, err := json.Marshal(tx)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func testPrivate(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	res := submitCall(t, c, privately("name", "Ada"))
	same(t, "the value", evaluate(t, c, "getPrivate", Collection, "name"), "Ada")
	sum := sha256.Sum256([]byte("Ada"))
	same(t, "its public hash", evaluate(t, c, "hashPrivate", Collection, "name"), string(sum[:]))
	same(t, "public state", evaluate(t, c, "get", "name"), "")

	tx := find(t, c, res.TxID)
	if len(tx.Writes) != 0 || len(tx.Private) != 1 {
		t.Fatalf("the transaction has %d public and %d private writes", len(tx.Writes), len(tx.Private))
	}
	p := tx.Private[0]
	if !p.Available || p.Key != "name" || string(p.Value) != "Ada" || p.ValueHash != sum ||
		p.KeyHash != sha256.Sum256([]byte("name")) || p.Delete || p.Purge || p.Collection != Collection {
		t.Fatalf("the private write is %+v", p)
	}
	if strings.Contains(onChain(t, tx), "Ada") {
		t.Fatal("the value is on the chain")
	}

	submitCall(t, c, privately("other", "Bob"))
	same(t, "a private range", len(evaluateJSON[[]KV](t, c, "rangePrivate", Collection, "", "")), 2)
	submit(t, c, "delPrivate", Collection, "name")
	same(t, "a deleted value", evaluate(t, c, "getPrivate", Collection, "name"), "")
	same(t, "its hash", evaluate(t, c, "hashPrivate", Collection, "name"), "")
	same(t, "the range", len(evaluateJSON[[]KV](t, c, "rangePrivate", Collection, "", "")), 1)
	if p := find(t, c, res.TxID).Private[0]; !p.Available || string(p.Value) != "Ada" {
		t.Fatal("a deletion is not a purge: the earlier write keeps its value")
	}
}

func testPrivateConflicts(t *testing.T, h Harness) {
	won := contend(t, h, network.Call{Function: "addPrivate", Args: []string{Collection, "n", "1"}})
	same(t, "the counter", evaluate(t, h.Client(t, OrgA), "getPrivate", Collection, "n"), fmt.Sprint(won))
}

func testPurge(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	first := submitCall(t, c, privately("name", "Ada"))
	second := submitCall(t, c, privately("name", "Ada Lovelace"))
	kept := submitCall(t, c, privately("name2", "Charles"))
	purge := submit(t, c, "purgePrivate", Collection, "name")
	same(t, "a purged value", evaluate(t, c, "getPrivate", Collection, "name"), "")
	same(t, "its hash", evaluate(t, c, "hashPrivate", Collection, "name"), "")
	for _, id := range []string{first.TxID, second.TxID} {
		p := find(t, c, id).Private[0]
		if p.Available || p.Key != "" || p.Value != nil {
			t.Fatalf("the purged write still shows %+v", p)
		}
		if p.ValueHash.IsZero() {
			t.Fatal("the hash on the chain is gone")
		}
	}
	if p := find(t, c, purge.TxID).Private[0]; !p.Purge || !p.Delete || p.KeyHash != sha256.Sum256([]byte("name")) {
		t.Fatalf("the purge shows as %+v", p)
	}
	if p := find(t, c, kept.TxID).Private[0]; !p.Available || string(p.Value) != "Charles" {
		t.Fatal("the purge took another key's value")
	}
	again := submitCall(t, c, privately("name", "Augusta"))
	same(t, "a value after the purge", evaluate(t, c, "getPrivate", Collection, "name"), "Augusta")
	if p := find(t, c, again.TxID).Private[0]; !p.Available {
		t.Fatal("what is written after a purge is available")
	}
}

func testTransient(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	call := network.Call{
		Function: "transient", Args: []string{"key"},
		Transient: map[string][]byte{"key": []byte("a secret"), "other": []byte("another secret")},
	}
	res := submitCall(t, c, call)
	same(t, "what the chaincode got", string(res.Payload), "a secret")
	if strings.Contains(onChain(t, find(t, c, res.TxID)), "secret") {
		t.Fatal("transient data is on the chain")
	}
}
