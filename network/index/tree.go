package index

import (
	"crypto/sha256"

	"github.com/vitalveil/vitalveil/internal/record"
)

// tree keeps every node of the Merkle tree over a batch (the one of
// record.Root), so that a receipt costs a few look-ups and not a hash of the
// whole batch.
type tree struct {
	nodes map[[2]int]record.ID // by the leaves [from, until) below
	count int
}

func newTree(leaves []record.ID) *tree {
	t := &tree{nodes: make(map[[2]int]record.ID, 2*len(leaves)), count: len(leaves)}
	if len(leaves) > 0 {
		t.fill(leaves, 0, len(leaves))
	}
	return t
}

func (t *tree) fill(leaves []record.ID, from, until int) record.ID {
	var h record.ID
	if until-from == 1 {
		h = record.Root(leaves[from:until])
	} else {
		mid := from + largestPower(until-from)
		l, r := t.fill(leaves, from, mid), t.fill(leaves, mid, until)
		h = sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
	t.nodes[[2]int{from, until}] = h
	return h
}

// root is the root of the whole tree.
func (t *tree) root() record.ID {
	if t.count == 0 {
		return record.Root(nil)
	}
	return t.nodes[[2]int{0, t.count}]
}

// path is record.Path for leaf i.
func (t *tree) path(i int) []record.ID {
	var down []record.ID // highest sibling first
	from, until := 0, t.count
	for until-from > 1 {
		mid := from + largestPower(until-from)
		if i < mid {
			down = append(down, t.nodes[[2]int{mid, until}])
			until = mid
		} else {
			down = append(down, t.nodes[[2]int{from, mid}])
			from = mid
		}
	}
	up := make([]record.ID, len(down))
	for k, h := range down {
		up[len(down)-1-k] = h
	}
	return up
}

// largestPower is the largest power of two below n, for n > 1.
func largestPower(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}
