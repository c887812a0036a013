package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/network"
)

func testState(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	same(t, "a key nobody wrote", evaluate(t, c, "get", "k"), "")
	submit(t, c, "put", "k", "1")
	same(t, "after put", evaluate(t, c, "get", "k"), "1")
	submit(t, c, "put", "k", "2")
	same(t, "after the next put", evaluate(t, h.Client(t, OrgB), "get", "k"), "2")
	submit(t, c, "del", "k")
	same(t, "after del", evaluate(t, c, "get", "k"), "")
	submit(t, c, "put", "k", "3")
	same(t, "after put again", evaluate(t, c, "get", "k"), "3")
	refused(t, c, "put", "", "a key must not be empty")
}

func testNoReadYourOwnWrites(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	same(t, "a first write read back", string(submit(t, c, "putThenGet", "k", "1").Payload), "")
	same(t, "a second write read back", string(submit(t, c, "putThenGet", "k", "2").Payload), "1")
	same(t, "the state", evaluate(t, c, "get", "k"), "2")
}

func testEvaluate(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	same(t, "what an evaluated put answers", evaluate(t, c, "putThenGet", "k", "1"), "")
	same(t, "the state", evaluate(t, c, "get", "k"), "")
	first := submit(t, c, "put", "a", "1")
	evaluate(t, c, "put", "b", "1")
	second := submit(t, c, "put", "a", "2")
	if second.Block != first.Block+1 {
		t.Fatalf("blocks %d and %d are not neighbours", first.Block, second.Block)
	}
}

func testErrors(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	for _, code := range []fault.Code{fault.NotFound, fault.Exhausted, fault.TooFew} {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		call := network.Call{Function: "fail", Args: []string{string(code), "because of a reason"}}
		_, submitErr := c.Submit(ctx, call)
		_, evaluateErr := c.Evaluate(ctx, call)
		cancel()
		for _, err := range []error{submitErr, evaluateErr} {
			var coded *fault.Error
			if !errors.As(err, &coded) || coded.Code != code || coded.Detail != "because of a reason" {
				t.Fatalf("got %v, want %s with its detail", err, code)
			}
		}
	}
	same(t, "unknown function", refused(t, c, "nonsense"), fault.NotFound)
	same(t, "an error after an event", refused(t, c, "tellAndFail", "alarm"), fault.Invalid)
}

// rivals submits the same call from n goroutines at once and returns how many
// were committed and how many lost their race; any other error fails the test.
func rivals(t *testing.T, h Harness, n int, call network.Call) (int, int) {
	t.Helper()
	clients := []network.Client{h.Client(t, OrgA), h.Client(t, OrgB)}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			_, errs[i] = clients[i%2].Submit(ctx, call)
		})
	}
	close(start)
	wg.Wait()
	won, lost := 0, 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case fault.Of(err) == fault.Contention:
			lost++
		default:
			t.Fatalf("%s: %v", call.Function, err)
		}
	}
	return won, lost
}

// contend repeats rivals until at least one lost, so that the test has tested
// something, and returns how many won.
func contend(t *testing.T, h Harness, call network.Call) int {
	t.Helper()
	total := 0
	for range 20 {
		won, lost := rivals(t, h, 16, call)
		if won == 0 {
			t.Fatal("all rivals lost: one of them must win")
		}
		total += won
		if lost > 0 {
			return total
		}
	}
	t.Fatal("no transaction ever lost a race: conflicts are not detected or nothing ran at once")
	return 0
}

func testConflicts(t *testing.T, h Harness) {
	won := contend(t, h, network.Call{Function: "add", Args: []string{"n", "1"}})
	same(t, "the counter", evaluate(t, h.Client(t, OrgA), "get", "n"), fmt.Sprint(won))
}

func testRetry(t *testing.T, h Harness) {
	clients := []network.Client{h.Client(t, OrgA), h.Client(t, OrgB)}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	const n = 24
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			_, errs[i] = network.SubmitRetry(ctx, clients[i%2], network.Call{Function: "add", Args: []string{"n", "1"}})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	same(t, "the counter", evaluate(t, clients[0], "get", "n"), fmt.Sprint(n))
}

func testPhantoms(t *testing.T, h Harness) {
	won := contend(t, h, network.Call{Function: "append", Args: []string{"row", "x"}})
	got := evaluateJSON[[]KV](t, h.Client(t, OrgA), "range", "row", "row~")
	same(t, "keys written", len(got), won)
}

// testPartialRange: a transaction that looked at the start of a range only
// depends on that start, and on all of it.
func testPartialRange(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "bulk", "q1", "a", "q2", "b", "q3", "c")
	same(t, "the first", string(submit(t, c, "first", "q", "r", "head").Payload), "a")
	submit(t, c, "del", "q1")
	same(t, "the new first", string(submit(t, c, "first", "q", "r", "head").Payload), "b")
	same(t, "its copy", evaluate(t, c, "get", "head"), "b")
}

func testRanges(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "bulk", "b", "2", "a", "1", "d", "4", "c", "3", "é", "5")
	submit(t, c, "putComposite", "kind", "x", "composite")
	for _, r := range []struct {
		start, end string
		want       []string
	}{
		{"a", "c", []string{"a", "b"}},
		{"b", "b\x00", []string{"b"}},
		{"", "c", []string{"a", "b"}},
		{"c", "", []string{"c", "d", "é"}},
		{"", "", []string{"a", "b", "c", "d", "é"}},
		{"x", "y", nil},
		{"c", "a", nil},
	} {
		var keys []string
		for _, kv := range evaluateJSON[[]KV](t, c, "range", r.start, r.end) {
			keys = append(keys, kv.Key)
		}
		if !slices.Equal(keys, r.want) {
			t.Fatalf("range %q to %q: got %q, want %q", r.start, r.end, keys, r.want)
		}
	}
	refused(t, c, "range", "\x00kind", "x")
}

func testPages(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "bulk", "p1", "", "p2", "b", "p3", "c", "p4", "d", "p5", "e", "p6", "f", "q", "g")
	var keys []string
	bookmark, pages := "", 0
	for {
		p := evaluateJSON[Page](t, c, "page", "p", "q", "2", bookmark)
		same(t, "records fetched", int(p.Fetched), len(p.Items))
		for _, kv := range p.Items {
			keys = append(keys, kv.Key)
		}
		pages++
		if bookmark = p.Bookmark; bookmark == "" {
			break
		}
	}
	// p1 was put with an empty value, which deletes.
	if want := []string{"p2", "p3", "p4", "p5", "p6"}; !slices.Equal(keys, want) || pages != 3 {
		t.Fatalf("got %q in %d pages", keys, pages)
	}
}

func testReadOnlyQueries(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "put", "a", "1")
	refused(t, c, "pageThenPut", "a")
	refused(t, c, "rangePrivateThenPut", Collection)
	same(t, "the state", evaluate(t, c, "get", "a"), "1")
}

func testComposite(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "putComposite", "pair", "a", "1", "v1")
	submit(t, c, "putComposite", "pair", "a", "2", "v2")
	submit(t, c, "putComposite", "pair", "ab", "1", "v3")
	submit(t, c, "putComposite", "pairs", "a", "1", "v4")
	submit(t, c, "put", "pair", "simple")
	got := evaluateJSON[[]KV](t, c, "partialComposite", "pair", "a")
	want := []KV{{"pair:a/1", "v1"}, {"pair:a/2", "v2"}}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	same(t, "all of a type", len(evaluateJSON[[]KV](t, c, "partialComposite", "pair")), 3)
	same(t, "simple keys", len(evaluateJSON[[]KV](t, c, "range", "", "")), 1)
	refused(t, c, "putComposite", "pair", "a\x00b", "v")
	refused(t, c, "putComposite", "pair", "a\U0010ffff", "v")
	refused(t, c, "putComposite", "pair", "\xff", "v")
}

func testLeak(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	submit(t, c, "put", "a", "1")
	for range 3 {
		same(t, "an open iterator", string(submit(t, c, "copyRange", "a", "b").Payload), "true")
	}
}

func testHistory(t *testing.T, h Harness) {
	c := h.Client(t, OrgA)
	ids := []string{
		submit(t, c, "put", "k", "1").TxID,
		submit(t, c, "put", "k", "2").TxID,
		submit(t, c, "del", "k").TxID,
		submit(t, c, "put", "k", "3").TxID,
	}
	submit(t, c, "put", "kk", "another key")
	refused(t, c, "fail", "INVALID", "not in the history")
	got := evaluateJSON[[]Change](t, c, "history", "k")
	want := []Change{{TxID: ids[3], Value: "3"}, {TxID: ids[2], Delete: true}, {TxID: ids[1], Value: "2"}, {TxID: ids[0], Value: "1"}}
	same(t, "entries", len(got), len(want))
	for i := range want {
		if got[i].Seconds == 0 {
			t.Fatal("an entry has no timestamp")
		}
		got[i].Seconds = 0
		same(t, fmt.Sprintf("entry %d", i), got[i], want[i])
	}
	same(t, "history of nothing", len(evaluateJSON[[]Change](t, c, "history", "nothing")), 0)
}
