package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

func testEvents(t *testing.T, h Harness) {
	call := network.Call{Function: "addAndTell", Args: []string{"n", "1", "counted"}}
	won := contend(t, h, call)
	c := h.Client(t, OrgA)
	refused(t, c, "tellAndFail", "alarm")
	last := submit(t, c, "put", "end", "1").TxID
	events, invalid := 0, 0
	read(t, c, func(b *network.Block) bool {
		for _, tx := range b.Txs {
			if tx.ID == last {
				return false
			}
			if tx.Event.Name == "alarm" {
				t.Fatal("a refused transaction told something")
			}
			if tx.Event.Name == "counted" {
				events++
			}
			if !tx.Valid {
				invalid++
				if tx.Event.Name != "" || len(tx.Writes) != 0 || tx.Code == "VALID" {
					t.Fatalf("an invalid transaction shows %+v", tx)
				}
			}
		}
		return true
	})
	same(t, "events", events, won)
	if invalid == 0 {
		t.Fatal("the transactions that lost are not on the chain")
	}
}

func testCreator(t *testing.T, h Harness) {
	for _, msp := range []string{OrgA, OrgB} {
		c := h.Client(t, msp)
		same(t, "evaluated", evaluate(t, c, "whoami"), msp+"/client")
		res := submit(t, c, "whoami")
		same(t, "submitted", string(res.Payload), msp+"/client")
		tx := find(t, c, res.TxID)
		same(t, "on the chain", tx.Creator.MSP, msp)
		if len(tx.Creator.Certificate) == 0 {
			t.Fatal("the chain does not show the certificate")
		}
	}
}

func testContext(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	before := time.Now().Unix()
	res := submit(t, c, "context")
	var got Context
	if err := json.Unmarshal(res.Payload, &got); err != nil {
		t.Fatal(err)
	}
	same(t, "transaction id", got.TxID, res.TxID)
	same(t, "arguments", got.Args, 1)
	if got.Channel == "" || len(got.Binding) != 64 || len(got.TxID) != 64 {
		t.Fatalf("got %+v", got)
	}
	if got.Seconds < before-1 || got.Seconds > time.Now().Unix()+1 {
		t.Fatalf("the timestamp %d is not the client's now", got.Seconds)
	}
	tx := find(t, c, res.TxID)
	same(t, "timestamp on the chain", tx.Time, got.Seconds)
	same(t, "function on the chain", tx.Function, "context")
}

func testBlocks(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	seen := make(chan network.Tx)
	var followErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(seen)
		var previous record.ID
		for b, err := range c.Blocks(ctx, 0) {
			if err != nil {
				followErr = err
				return
			}
			if b.Previous != previous {
				followErr = fmt.Errorf("block %d does not follow", b.Number)
				return
			}
			previous = b.Hash
			for _, tx := range b.Txs {
				seen <- tx
			}
		}
	})
	for i := range 5 { // live: one is seen before the next is made
		res := submit(t, c, "put", "k", fmt.Sprint(i))
		for tx := range seen {
			if tx.ID == res.TxID {
				same(t, "written value", string(tx.Writes[0].Value), fmt.Sprint(i))
				same(t, "index", tx.Index, res.Index)
				break
			}
		}
	}
	cancel()
	for range seen {
	}
	wg.Wait()
	if followErr != nil {
		t.Fatalf("following ended with %v, not silently with its context", followErr)
	}
}

func testRestart(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	res := submit(t, c, "put", "k", "1")
	submitCall(t, c, privately("p", "secret"))
	submit(t, c, "putComposite", "kind", "a", "v")
	h.Restart(t)
	c = h.Client(t, OrgB)
	same(t, "state", evaluate(t, c, "get", "k"), "1")
	same(t, "private state", evaluate(t, c, "getPrivate", Collection, "p"), "secret")
	same(t, "composite keys", len(evaluateJSON[[]KV](t, c, "partialComposite", "kind")), 1)
	same(t, "history", evaluateJSON[[]Change](t, c, "history", "k")[0].TxID, res.TxID)
	same(t, "the chain", find(t, c, res.TxID).Valid, true)
	next := submit(t, c, "put", "k", "2")
	if next.Block <= res.Block {
		t.Fatalf("block %d after block %d", next.Block, res.Block)
	}
}

// testMany mixes writers, readers and followers.
func testMany(t *testing.T, h Harness) {
	const writers, each = 8, 10
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	clients := []network.Client{h.Client(t, OrgA), h.Client(t, OrgB)}
	var wg sync.WaitGroup
	errs := make([]error, 2*writers)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Sprintf("w%d/%d", w, i)
				if _, err := clients[w%2].Submit(ctx, network.Call{Function: "put", Args: []string{key, "v"}}); err != nil {
					errs[w] = err
					return
				}
			}
		})
		wg.Go(func() {
			for range each {
				if _, err := clients[w%2].Evaluate(ctx, network.Call{Function: "range", Args: []string{"", ""}}); err != nil {
					errs[writers+w] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	same(t, "keys", len(evaluateJSON[[]KV](t, clients[0], "range", "", "")), writers*each)
	count := 0
	read(t, clients[0], func(b *network.Block) bool {
		count += len(b.Txs)
		return count < writers*each
	})
	if code := refused(t, clients[0], "fail", string(fault.Expired), "x"); code != fault.Expired {
		t.Fatal(code)
	}
}
