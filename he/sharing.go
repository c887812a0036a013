package he

import (
	"fmt"
	"slices"
)

// Sharing is how secrets are split among members: replicated sharing (Ito, Saito
// and Nishizeki 1987). There is one piece for every set of Threshold-1 members,
// held by all members outside of it; so Threshold members hold every piece
// together and fewer lack at least one. For 2 of 3, piece p is held by all but
// member p. Make one with NewSharing.
type Sharing struct {
	Members   int
	Threshold int
	lacking   [][]int // piece -> the members that lack it, ascending
}

const (
	maxMembers = 12
	maxPieces  = 64
)

// NewSharing makes the sharing among n members of which t are needed, 2 <= t <=
// n <= 12. With t = 1 one institution alone would open everything.
func NewSharing(n, t int) (Sharing, error) {
	if n < 2 || n > maxMembers || t < 2 || t > n {
		return Sharing{}, fmt.Errorf("sharing needs 2 <= threshold <= members <= %d, not %d of %d", maxMembers, t, n)
	}
	s := Sharing{Members: n, Threshold: t, lacking: subsets(n, t-1)}
	if len(s.lacking) > maxPieces {
		return Sharing{}, fmt.Errorf("%d of %d makes %d pieces, the limit is %d", t, n, len(s.lacking), maxPieces)
	}
	return s, nil
}

// subsets lists the k-subsets of 0..n-1 in lexicographic order.
func subsets(n, k int) [][]int {
	var all [][]int
	var grow func(from int, chosen []int)
	grow = func(from int, chosen []int) {
		if len(chosen) == k {
			all = append(all, slices.Clone(chosen))
			return
		}
		for m := from; m < n; m++ {
			grow(m+1, append(chosen, m))
		}
	}
	grow(0, nil)
	return all
}

// Pieces returns the number of pieces.
func (s Sharing) Pieces() int { return len(s.lacking) }

// Holds reports whether member holds piece.
func (s Sharing) Holds(member, piece int) bool {
	return piece >= 0 && piece < len(s.lacking) && member >= 0 && member < s.Members && !slices.Contains(s.lacking[piece], member)
}

// Holders returns the members that hold piece, ascending; the first makes its
// PRF key.
func (s Sharing) Holders(piece int) []int {
	var members []int
	for m := range s.Members {
		if s.Holds(m, piece) {
			members = append(members, m)
		}
	}
	return members
}

// boxes is the number of pairs of a piece and a holder.
func (s Sharing) boxes() int { return s.Pieces() * (s.Members - s.Threshold + 1) }

// Held returns the pieces that member holds, ascending.
func (s Sharing) Held(member int) []int {
	var pieces []int
	for p := range s.lacking {
		if s.Holds(member, p) {
			pieces = append(pieces, p)
		}
	}
	return pieces
}
