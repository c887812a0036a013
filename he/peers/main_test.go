package main

import (
	"strings"
	"testing"
	"time"
)

// TestEverySchemeAnswersExactly: measure compares every answer with the plain sums,
// also where sealed devices stand for more of their kind. Paillier has a short key
// here; the fields just fit.
func TestEverySchemeAnswersExactly(t *testing.T) {
	sizes = []int{5, 12}
	var readings []reading
	for _, c := range contenders() {
		if strings.HasPrefix(c.name, "Paillier") {
			c.new = newPaillier(1024, strings.Contains(c.name, "packed"))
		}
		r, err := measure(c, 3, 2, limits{20 * time.Millisecond, time.Minute})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if r.sent == 0 || len(r.first) != 2 || !r.first[1].measured {
			t.Errorf("%s: %+v", c.name, r)
		}
		readings = append(readings, r)
	}
	for _, line := range strings.Split(report(readings, 2), "\n") {
		if bars := strings.Count(line, "|"); bars != 0 && bars != 8 && bars != len(sizes)+4 {
			t.Errorf("a line of the table has %d bars: %s", bars, line)
		}
	}
}

// TestWrongAnswersAreNoticed: a comparison that accepts anything would be none.
func TestWrongAnswersAreNoticed(t *testing.T) {
	c := contender{name: "wrong"}
	q := query{Devices: 1, Hours: 1, Pool: 1, PoolHours: 1}
	var data hour
	data[0].N = 1
	if err := c.check(data[0], q, [][]hour{{data}}); err != nil {
		t.Error(err)
	}
	wrong := data[0]
	wrong.Buckets[3]++
	if err := c.check(wrong, q, [][]hour{{data}}); err == nil {
		t.Error("a wrong bucket passed")
	}
}

// TestLongQueriesAreExtrapolatedAndMarked: in proportion, with a mark, and without
// running them.
func TestLongQueriesAreExtrapolatedAndMarked(t *testing.T) {
	sizes = []int{1_000, 10_000, 100_000, 1_000_000}
	asked := 0
	all, err := times(func(q query) (time.Duration, error) {
		asked++
		return time.Duration(q.Devices) * time.Millisecond, nil
	}, query{}, 20*time.Second)
	if err != nil || asked != 2 {
		t.Fatalf("%d queries were run (%v)", asked, err)
	}
	for i, want := range []string{"1 s", "10 s", "~100 s", "~16.7 min"} {
		if got := all[i].String(); got != want {
			t.Errorf("size %d prints %q, want %q", sizes[i], got, want)
		}
	}
}
