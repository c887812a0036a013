package record

import (
	"encoding/hex"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func leavesOf(t *rapid.T) []ID {
	n := rapid.IntRange(1, 300).Draw(t, "leaves")
	leaves := make([]ID, n)
	for i := range leaves {
		leaves[i] = SumID([]byte{byte(i), byte(i >> 8)})
	}
	return leaves
}

func TestEveryLeafHasAPathAndNoOtherPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := leavesOf(t)
		n := len(leaves)
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		root, path := Root(leaves), Path(leaves, i)
		if err := VerifyPath(root, leaves[i], i, n, path); err != nil {
			t.Fatalf("leaf %d of %d: %v", i, n, err)
		}
		if j := rapid.IntRange(0, n-1).Draw(t, "j"); j != i && VerifyPath(root, leaves[i], j, n, path) == nil {
			t.Fatalf("leaf %d passes as %d of %d", i, j, n)
		}
		if VerifyPath(root, RandomID(), i, n, path) == nil {
			t.Fatal("another leaf passes")
		}
		if VerifyPath(RandomID(), leaves[i], i, n, path) == nil {
			t.Fatal("another root passes")
		}
		if VerifyPath(root, leaves[i], i, n, append(path[:len(path):len(path)], ID{})) == nil {
			t.Fatal("a longer path passes")
		}
		if len(path) > 0 {
			if VerifyPath(root, leaves[i], i, n, path[:len(path)-1]) == nil {
				t.Fatal("a shorter path passes")
			}
			k := rapid.IntRange(0, len(path)-1).Draw(t, "k")
			bent := append([]ID(nil), path...)
			bent[k][3] ^= 1
			if VerifyPath(root, leaves[i], i, n, bent) == nil {
				t.Fatal("a bent path passes")
			}
		}
	})
}

func TestRootBindsEveryLeafAndTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		leaves := leavesOf(t)
		root := Root(leaves)
		i := rapid.IntRange(0, len(leaves)-1).Draw(t, "i")
		changed := append([]ID(nil), leaves...)
		changed[i][0] ^= 1
		if Root(changed) == root {
			t.Fatal("a leaf changed and the root did not")
		}
		if Root(append(leaves[:len(leaves):len(leaves)], leaves[len(leaves)-1])) == root {
			t.Fatal("the last leaf may be repeated")
		}
		if len(leaves) > 1 {
			swapped := append([]ID(nil), leaves...)
			swapped[0], swapped[1] = swapped[1], swapped[0]
			if Root(swapped) == root {
				t.Fatal("leaves may be swapped")
			}
		}
	})
}

// The roots of RFC 6962's tree, worked out step by step with its definition.
func TestRootIsRFC6962s(t *testing.T) {
	if got := Root(nil); got.String() != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("root of none is %s", got)
	}
	a, b, c := SumID([]byte("a")), SumID([]byte("b")), SumID([]byte("c"))
	hash := func(parts ...string) string {
		var all []byte
		for _, p := range parts {
			raw, err := hex.DecodeString(p)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, raw...)
		}
		return SumID(all).String()
	}
	la, lb, lc := hash("00", a.String()), hash("00", b.String()), hash("00", c.String())
	want := hash("01", hash("01", la, lb), lc)
	if got := Root([]ID{a, b, c}); got.String() != want {
		t.Errorf("root of three is %s, want %s", got, want)
	}
}

func TestAnInnerNodeIsNoLeaf(t *testing.T) {
	leaves := []ID{SumID([]byte("a")), SumID([]byte("b")), SumID([]byte("c")), SumID([]byte("d"))}
	left := nodeHash(leafHash(leaves[0]), leafHash(leaves[1]))
	right := nodeHash(leafHash(leaves[2]), leafHash(leaves[3]))
	if err := VerifyPath(Root(leaves), left, 0, 2, []ID{right}); !errors.Is(err, ErrPath) {
		t.Errorf("an inner node passes as a leaf: %v", err)
	}
}

// Receipts come from outside, the size of their tree with them.
func TestAttackReceiptOfAnEndlessTree(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, n := range []int{math.MaxInt, math.MaxInt - 1, 1 << 62, 1<<62 + 1, math.MinInt, 0, -1} {
			for _, i := range []int{0, n - 1, math.MinInt, -1, 1 << 61} {
				if VerifyPath(ID{}, ID{}, i, n, nil) == nil && n != 1 {
					t.Errorf("leaf %d of %d passes without a path", i, n)
				}
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("checking a path of a huge tree does not end")
	}
}

func FuzzVerifyPath(f *testing.F) {
	f.Add([]byte("path"), 3, 7)
	f.Add([]byte{}, math.MaxInt-1, math.MaxInt)
	f.Fuzz(func(t *testing.T, raw []byte, i, n int) {
		var path []ID
		for len(raw) >= 32 {
			path = append(path, ID(raw[:32]))
			raw = raw[32:]
		}
		if VerifyPath(ID{}, ID{}, i, n, path) == nil {
			t.Fatal("found a preimage")
		}
	})
}
