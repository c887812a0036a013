package conformance

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

// edges are rules at the edge of what contracts do, all on one ledger: each test has
// keys of its own.
var edges = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"opening a range reads its first batch", testReadRules},
	{"a block that deletes an absent key changes it", testAbsentAndDeleted},
	{"statuses from 200 to 399 are success", testStatuses},
	{"what fails everywhere fails at once", testDeterministic},
	{"gathered writes are written in the end", testBatches},
	{"a page of size 0 is no page", testNoPage},
	{"the empty key can be read and deleted", testEmptyKey},
	{"an iterator outlives its query by one batch", testAfterClose},
	{"one stub in many goroutines harms nobody", testTogether},
	{"a transaction has a largest size", testEnvelope},
}

func testEdges(t *testing.T, h Harness) {
	for _, e := range edges {
		t.Run(e.name, func(t *testing.T) { e.test(t, h) })
	}
}

// slow is how long a transaction stays in the chaincode that another one is to
// overtake. It is long beside what a call takes on a busy machine.
const slow = 1500 * time.Millisecond

// overtaken submits transactions that read, and while all of them run one that
// changes what they have read. It returns what became of the readers. On Fabric
// several peers run a transaction one after the other, and a peer commits nothing
// while chaincode runs on it: so the change comes while the last of them is at it.
func overtaken(t *testing.T, h Harness, change network.Call, readers []network.Call) []error {
	t.Helper()
	c := h.Client(t, OrgA)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	errs := make([]error, len(readers))
	var wg sync.WaitGroup
	for i, call := range readers {
		wg.Go(func() {
			call.Args = append([]string{slow.String(), call.Function}, call.Args...)
			call.Function = "slowly"
			_, errs[i] = c.Submit(ctx, call)
		})
	}
	time.Sleep(slow*time.Duration(h.Runs()) - slow/2)
	if _, err := h.Client(t, OrgA).Submit(ctx, change); err != nil {
		t.Error(err)
	}
	wg.Wait()
	return errs
}

// readCase is a read, and whether the change conflicts with it.
type readCase struct {
	name     string
	function string
	args     []string
	conflict bool
}

// testReadRules: opening a range reads its first 101 keys, or all of it if it has
// fewer, whatever the chaincode then looks at; and each further batch is read as
// a whole. A page is read as far as it goes, also by who writes nothing.
func testReadRules(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	for _, prefix := range []string{"a", "b"} { // keys a0000, a0002, ... a0398
		submit(t, c, "fill", prefix, "0", "400", "2")
	}
	submit(t, c, "bulk", "c1", "1", "c2", "1")
	// In a: a key that appears within the first 101, one that disappears; in b: a
	// key that appears behind the first 101, which end with b0200.
	change := network.Call{Function: "change", Args: []string{
		"put", "a0151", "x", "put", "b0201", "x", "put", "c3", "x", "put", "d", "x", "del", "e", "",
	}}
	groups := [][]readCase{
		{
			{"nothing of a range was looked at", "walk", []string{"a", "b", "0", "r1"}, true},
			{"one key of a range was looked at", "walk", []string{"a", "b", "1", "r2"}, true},
			{"the change is behind the first batch and the key after it", "walk", []string{"b", "c", "99", "r3"}, false},
			{"the next batch was fetched with the last key of the first", "walk", []string{"b", "c", "100", "r4"}, true},
			{"a short range is read to its end", "walk", []string{"c", "d", "0", "r5"}, true},
		},
		{
			{"a range that ends before the change", "walk", []string{"a", "a0151", "-1", "r6"}, false},
			{"a page that ends before the change", "page", []string{"b", "c", "20", ""}, false},
			{"a page over the change, in a transaction that writes nothing", "page", []string{"a", "b", "90", ""}, true},
			{"an absent key that appears", "copy", []string{"d", "r7"}, true},
			{"an absent key that is deleted in a block before", "copy", []string{"e", "r8"}, false},
		},
	}
	for _, group := range groups {
		testReadGroup(t, h, change, group)
		submit(t, c, "change", "del", "a0151", "", "del", "b0201", "", "del", "c3", "", "del", "d", "")
	}
}

func testReadGroup(t *testing.T, h Harness, change network.Call, group []readCase) {
	t.Helper()
	var calls []network.Call
	for _, r := range group {
		calls = append(calls, network.Call{Function: r.function, Args: r.args})
	}
	errs := overtaken(t, h, change, calls)
	for i, r := range group {
		switch err := errs[i]; {
		case r.conflict && fault.Of(err) != fault.Contention:
			t.Errorf("%s: got %v, want a conflict", r.name, err)
		case !r.conflict && err != nil:
			t.Errorf("%s: %v", r.name, err)
		}
	}
}

// testAbsentAndDeleted: whoever read a key conflicts with everything that the same
// block did to it before, also where it was absent and is absent still.
func testAbsentAndDeleted(t *testing.T, h Harness) {
	for _, f := range [][2]string{{"del", "copy"}, {"dropPrivate", "copyPrivate"}} {
		absentAndDeleted(t, h, f[0], f[1])
	}
}

func absentAndDeleted(t *testing.T, h Harness, del, reads string) {
	t.Helper()
	const pairs = 12
	c := h.Client(t, OrgA)
	for round := range 20 {
		var keys []string
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		var wg sync.WaitGroup
		for i := range pairs {
			key := fmt.Sprintf("absent %s %d/%d", del, round, i)
			keys = append(keys, key)
			for _, args := range [][]string{{del, key}, {reads, key, key + "/copy"}} {
				wg.Go(func() { // whether it wins is seen on the chain
					_, _ = c.Submit(ctx, network.Call{Function: args[0], Args: args[1:]})
				})
			}
		}
		wg.Wait()
		cancel()
		if overtakenInABlock(t, c, keys, del, reads) > 0 {
			return
		}
	}
	t.Fatalf("no %s was ever in a block before a %s of its key", del, reads)
}

// overtakenInABlock counts the keys whose deletion is before their read in one
// block. Those reads must be invalid, and no others.
func overtakenInABlock(t *testing.T, c network.Client, keys []string, del, reads string) int {
	t.Helper()
	type place struct {
		block uint64
		index int
		code  string
	}
	seen := map[string]place{} // by function and key
	read(t, c, func(b *network.Block) bool {
		for _, tx := range b.Txs {
			if len(tx.Args) > 0 && slices.Contains(keys, tx.Args[0]) {
				seen[tx.Function+tx.Args[0]] = place{b.Number, tx.Index, tx.Code}
			}
		}
		return len(seen) < 2*len(keys)
	})
	n := 0
	for _, key := range keys {
		r, d := seen[reads+key], seen[del+key]
		want := "VALID"
		if r.block == d.block && d.index < r.index {
			want = "MVCC_READ_CONFLICT"
			n++
		}
		same(t, "code of a read of an absent key", r.code, want)
	}
	return n
}

func testStatuses(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	for _, status := range []string{"200", "201", "399"} {
		submit(t, c, "status", status, hex.EncodeToString([]byte("fine")))
	}
	for _, status := range []string{"0", "1", "199", "400", "404", "500", "501"} {
		said := hex.EncodeToString([]byte("EXHAUSTED: with status " + status))
		same(t, "status "+status, refused(t, c, "status", status, said), fault.Exhausted)
	}
}

// testDeterministic: what fails the same way at every peer fails at once.
func testDeterministic(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "put", "untouched", "1")
	for name, call := range map[string][]string{
		"a message that is not text":                           {"status", "500", "ff"},
		"gathered writes that are refused":                     {"batchAfterPage"},
		"an answer that a refusal of gathered writes replaces": {"batchThenFail"},
	} {
		begun := time.Now()
		if code := refused(t, c, call[0], call[1:]...); code != fault.Internal {
			t.Errorf("%s: %s", name, code)
		}
		if took := time.Since(begun); took > timeout/4 {
			t.Errorf("%s: the caller waited %v", name, took)
		}
	}
	same(t, "the state", evaluate(t, c, "get", "untouched"), "1")
}

func testBatches(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "batch", "batch1", "1", "batch2", "2", "batch1", "3")
	same(t, "the last write of a key", evaluate(t, c, "get", "batch1"), "3")
	same(t, "the other key", evaluate(t, c, "get", "batch2"), "2")
	refused(t, c, "batch", "", "an empty key is refused at once")
}

func testNoPage(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "bulk", "p1", "a", "p2", "b", "p3", "c")
	all := evaluateJSON[Page](t, c, "page", "p", "q", "0", "")
	same(t, "items of a page of size 0", len(all.Items), 3)
	same(t, "its bookmark", all.Bookmark, "")
	same(t, "its count", int(all.Fetched), 0)
	submit(t, c, "noPageThenPut", "p4")
	same(t, "what was written after it", evaluate(t, c, "get", "p4"), "x")
	rest := evaluateJSON[Page](t, c, "page", "p", "q", "0", "p2")
	same(t, "items from a bookmark on", len(rest.Items), 3)
	same(t, "their count", int(rest.Fetched), 3)
	same(t, "items of a page of size -1", len(evaluateJSON[Page](t, c, "page", "p", "q", "-1", "").Items), 4)
}

func testEmptyKey(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	same(t, "its value", evaluate(t, c, "get", ""), "")
	same(t, "its private value", evaluate(t, c, "getPrivate", Collection, ""), "")
	submit(t, c, "del", "")
	submit(t, c, "delPrivate", Collection, "")
	submit(t, c, "purgePrivate", Collection, "")
	refused(t, c, "put", "", "x")
	submit(t, c, "put", "k", "1")
	same(t, "another key", evaluate(t, c, "get", "k"), "1")
}

// testAfterClose: a closed iterator hands on what it has fetched, and no more.
func testAfterClose(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "fill", "m", "0", "150", "1")
	same(t, "keys after Close", evaluate(t, c, "readAfterClose", "m", "n"), "99")
	same(t, "keys of a short range after Close", evaluate(t, c, "readAfterClose", "m", "m0020"), "20")
}

// testTogether: chaincode that uses its stub in several goroutines at once is
// refused some of its calls and harms nobody.
func testTogether(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "fill", "n", "0", "150", "1")
	for range 5 {
		served, err := strconv.Atoi(evaluate(t, c, "together", "n"))
		if err != nil || served == 0 {
			t.Fatalf("%d calls were served (%v)", served, err)
		}
	}
	same(t, "a call afterwards", evaluate(t, c, "get", "n0001"), "v")
}

// testEnvelope: the orderers take a transaction of 10 MB, all its parts together.
func testEnvelope(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "large", "large", strconv.Itoa(9<<20))
	same(t, "a larger one", refused(t, c, "large", "large", strconv.Itoa(10<<20)), fault.TooLarge)
	same(t, "the state", evaluate(t, c, "sizeOf", "large"), strconv.Itoa(9<<20))
}
