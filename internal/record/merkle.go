package record

import (
	"crypto/sha256"
	"errors"
)

// The Merkle tree is that of RFC 6962 section 2.1: a leaf is SHA-256(0 || id),
// an inner node SHA-256(1 || left || right), and n leaves split at the largest
// power of two below n.

func leafHash(id ID) ID { return sha256.Sum256(append([]byte{0}, id[:]...)) }

func nodeHash(l, r ID) ID {
	b := make([]byte, 0, 65)
	b = append(append(append(b, 1), l[:]...), r[:]...)
	return sha256.Sum256(b)
}

// split returns the largest power of two below n, which is at least 2. It does
// not double past n: sizes of received trees are not bounded.
func split(n int) int {
	k := 1
	for k < n-k {
		k *= 2
	}
	return k
}

// Root returns the Merkle root over leaves; the root of none is SHA-256 of the
// empty string.
func Root(leaves []ID) ID {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leafHash(leaves[0])
	}
	k := split(len(leaves))
	return nodeHash(Root(leaves[:k]), Root(leaves[k:]))
}

// Path returns the audit path of leaf i, lowest sibling first.
func Path(leaves []ID, i int) []ID {
	if len(leaves) <= 1 {
		return nil
	}
	k := split(len(leaves))
	if i < k {
		return append(Path(leaves[:k], i), Root(leaves[k:]))
	}
	return append(Path(leaves[k:], i-k), Root(leaves[:k]))
}

// ErrPath says that a Merkle path does not lead from the leaf to the root.
var ErrPath = errors.New("merkle path does not lead to the root")

// VerifyPath checks that leaf is number i of the n leaves under root.
func VerifyPath(root, leaf ID, i, n int, path []ID) error {
	if i < 0 || i >= n {
		return ErrPath
	}
	got, rest, ok := climb(leafHash(leaf), i, n, path)
	if !ok || len(rest) != 0 || got != root {
		return ErrPath
	}
	return nil
}

func climb(h ID, i, n int, path []ID) (ID, []ID, bool) {
	if n == 1 {
		return h, path, true
	}
	k := split(n)
	var ok bool
	left := i < k
	if left {
		h, path, ok = climb(h, i, k, path)
	} else {
		h, path, ok = climb(h, i-k, n-k, path)
	}
	if !ok || len(path) == 0 {
		return h, nil, false
	}
	if left {
		return nodeHash(h, path[0]), path[1:], true
	}
	return nodeHash(path[0], h), path[1:], true
}
