package index

import (
	"crypto/sha256"
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
)

// tree has every node of the Merkle tree over a batch (the one of record.Root), so
// that a receipt costs a few look-ups and not a hash of the whole batch.
type tree struct {
	// nodes: those of the left half, those of the right half, the root; of n leaves
	// there are 2n-1.
	nodes []record.ID
	count int
}

func newTree(leaves []record.ID) *tree {
	t := &tree{count: len(leaves)}
	if len(leaves) > 0 {
		t.nodes = make([]record.ID, 0, 2*len(leaves)-1)
		t.fill(leaves)
	}
	return t
}

func (t *tree) fill(leaves []record.ID) record.ID {
	var h record.ID
	if len(leaves) == 1 {
		h = record.Root(leaves)
	} else {
		mid := largestPower(len(leaves))
		l, r := t.fill(leaves[:mid]), t.fill(leaves[mid:])
		h = sha256.Sum256(append(append([]byte{1}, l[:]...), r[:]...))
	}
	t.nodes = append(t.nodes, h)
	return h
}

// root is the root of the whole tree.
func (t *tree) root() record.ID {
	if t.count == 0 {
		return record.Root(nil)
	}
	return t.nodes[len(t.nodes)-1]
}

// path is record.Path for leaf i.
func (t *tree) path(i int) []record.ID {
	var down []record.ID // highest sibling first
	nodes, n := t.nodes, t.count
	for n > 1 {
		mid := largestPower(n)
		left, right := nodes[:2*mid-1], nodes[2*mid-1:len(nodes)-1]
		if i < mid {
			down = append(down, right[len(right)-1])
			nodes, n = left, mid
		} else {
			down = append(down, left[len(left)-1])
			nodes, n, i = right, n-mid, i-mid
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

// keptTrees bounds the trees that are kept, of 32 kB each: the receipts that are
// asked for are mostly those of the newest batches.
const keptTrees = 64

// forest keeps the trees that were asked for last.
type forest struct {
	mu   sync.Mutex
	kept map[uint32]*tree // by the batch's number
	ring [keptTrees]uint32
	next int
}

// treeOf returns the tree over a batch, which is complete: receipts are of rows
// that members have looked at.
func (an *anchors) treeOf(b *batch) *tree {
	f := &an.trees
	f.mu.Lock()
	t := f.kept[b.number]
	f.mu.Unlock()
	if t != nil {
		return t
	}
	leaves := make([]record.ID, len(b.pointers))
	for i := range b.pointers {
		if p := &b.pointers[i]; p.kind != kindNone {
			leaves[i] = an.pointer(p).Digest(an.policy.genesis.Network)
		}
	}
	t = newTree(leaves)
	f.keep(b.number, t)
	return t
}

func (f *forest) keep(batch uint32, t *tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil {
		f.kept = make(map[uint32]*tree, keptTrees)
	}
	if f.kept[batch] != nil { // made by two readers at once
		return
	}
	if len(f.kept) == keptTrees {
		delete(f.kept, f.ring[f.next])
	}
	f.kept[batch], f.ring[f.next] = t, batch
	f.next = (f.next + 1) % keptTrees
}
