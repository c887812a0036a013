package verifier

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Element is an element of the scalar field of BN254, in which commitments and
// circuits live.
type Element = fr.Element

// Domain separates the uses of the hash: it is the capacity of a sponge, or the first
// element of a compression. Each names one use for ever.
type Domain string

// The domains. Inner nodes of a day's tree have none: their depth is fixed, and a first
// child that is a domain would be a preimage of it.
const (
	DomainColumn Domain = "vitalveil zk column v2"
	DomainDay    Domain = "vitalveil zk day v2"
)

// DomainData is the domain of the digest of so many day roots.
func DomainData(days int) Domain {
	return Domain(fmt.Sprintf("vitalveil zk data digest v3 %d", days))
}

// Element is the domain's text, read as a big-endian number of at most 31 bytes.
func (d Domain) Element() Element {
	var e Element
	e.SetBytes([]byte(d))
	return e
}

// Widths of the permutations: of compressions, and of the sponge.
const (
	nodeWidth   = Arity
	digestWidth = 1 + MaxDays
	// SpongeWidth is that of a column's sponge: one element of capacity, the rest rate.
	SpongeWidth = 16
)

// Rounds are the numbers of full and partial rounds of the Poseidon2 permutation
// (Grassi, Khovratovich, Schofnegger, ePrint 2023/323) of a width, 4, 8 or 16: what the
// authors' script gives for 128 bits with its margin. The constants are the script's too,
// as gnark-crypto has them. Width 2 is not used: the library's default for it, 6 and 50
// rounds, leaves the margin out, and its constants are the library's own.
func Rounds(width int) (full, partial int) {
	if width == 4 {
		return 8, 56
	}
	return 8, 57
}

var permutations = func() map[int]*poseidon2.Permutation {
	all := map[int]*poseidon2.Permutation{}
	for _, width := range []int{nodeWidth, digestWidth, SpongeWidth} {
		full, partial := Rounds(width)
		all[width] = poseidon2.NewPermutation(width, full, partial)
	}
	return all
}()

// Compress hashes 4 or 8 elements to one: the permutation of that width, of which
// the last element is kept and the last input added to it.
func Compress(xs ...Element) Element {
	state := append([]Element(nil), xs...)
	// The only error is a state that is not as wide as the permutation.
	_ = permutations[len(xs)].Permutation(state)
	last := len(xs) - 1
	state[last].Add(&state[last], &xs[last])
	return state[last]
}

// Sponge hashes a number of elements that is fixed for its domain. Element 0 is the
// capacity and starts as the domain; the others take SpongeWidth-1 elements at a time.
// One capacity element of 254 bits is 127 bits of security against collisions.
func Sponge(d Domain, xs ...Element) Element {
	var state [SpongeWidth]Element
	state[0] = d.Element()
	for len(xs) > 0 {
		n := min(SpongeWidth-1, len(xs))
		for i := range n {
			state[1+i].Add(&state[1+i], &xs[i])
		}
		xs = xs[n:]
		_ = permutations[SpongeWidth].Permutation(state[:])
	}
	return state[1]
}

func number(n uint64) Element {
	var e Element
	e.SetUint64(n)
	return e
}

// ToID is the canonical big-endian form of an element.
func ToID(e Element) record.ID { return e.Bytes() }

// ToElement reads the canonical form; a number of at least the field's order is
// an error, so that no element has two identifiers.
func ToElement(id record.ID) (Element, error) {
	var e Element
	if err := e.SetBytesCanonical(id[:]); err != nil {
		return Element{}, fmt.Errorf("%s... is not the canonical form of a field element", id.Short())
	}
	return e, nil
}
