package record

import (
	"cmp"
	"slices"
)

// InTurns reorders a list so that what is first of each party comes before what is second
// of any: a party that has much in it keeps no other waiting for all of it.
func InTurns[T any](list []T, party func(T) string) {
	type placed struct {
		turn int
		of   T
	}
	had := map[string]int{}
	order := make([]placed, len(list))
	for i, v := range list {
		order[i] = placed{had[party(v)], v}
		had[party(v)]++
	}
	slices.SortStableFunc(order, func(a, b placed) int { return cmp.Compare(a.turn, b.turn) })
	for i, p := range order {
		list[i] = p.of
	}
}
