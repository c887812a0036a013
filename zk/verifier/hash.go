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

// Domain separates the uses of the hash: it is the first element of every
// chain. Each names one use for ever.
type Domain string

// The domains. A chain of one of them has always the same length, DomainData
// apart, which hashes its length next.
const (
	DomainColumn Domain = "vitalveil zk column v1"
	DomainEmpty  Domain = "vitalveil zk empty column v1"
	DomainNode   Domain = "vitalveil zk metrics node v1"
	DomainDay    Domain = "vitalveil zk day v1"
	DomainData   Domain = "vitalveil zk data digest v1"
)

// Element is the domain's text, read as a big-endian number of at most 31 bytes.
func (d Domain) Element() Element {
	var e Element
	e.SetBytes([]byte(d))
	return e
}

var permutation = poseidon2.NewDefaultPermutation()

// compress is the two-to-one function: the Poseidon2 permutation of width 2
// (Grassi, Khovratovich, Schofnegger, ePrint 2023/323) with the right input fed
// forward, as gnark's poseidon2.Compress computes it in a circuit.
func compress(left, right *Element) Element {
	state := [2]Element{*left, *right}
	// The only error is a state that is not as wide as the permutation.
	_ = permutation.Permutation(state[:])
	state[1].Add(&state[1], right)
	return state[1]
}

// chain is a hash in progress: s <- compress(s, x), from s = 0.
type chain struct{ state Element }

func newChain(d Domain) chain {
	var c chain
	first := d.Element()
	c.absorb(&first)
	return c
}

func (c *chain) absorb(x *Element) { c.state = compress(&c.state, x) }

// Hash chains a domain and elements.
func Hash(d Domain, xs ...Element) Element {
	c := newChain(d)
	for i := range xs {
		c.absorb(&xs[i])
	}
	return c.state
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
