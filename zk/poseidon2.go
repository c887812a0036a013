package zk

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"
	"github.com/consensys/gnark/frontend"

	"github.com/vitalveil/vitalveil/zk/verifier"
)

// permute is the Poseidon2 permutation of package verifier, in a circuit. It differs
// from gnark's gadget in how x^5 is multiplied out. Groth16 pays in both groups for what
// stands in the second factor of a constraint (its B matrix), and gnark puts the shorter
// factor there:
//
//	x x, x^2 x^2, x^4 x   have x, x^2 and x^4 or x as second factors
//	x x, x x^2, x^3 x^2   have x and x^2 only
//
// so that a third of the permutation's points leaves B.
func permute(api frontend.API, state []frontend.Variable) {
	full, partial := verifier.Rounds(len(state))
	p := poseidon2.NewParameters(len(state), full, partial)
	mixFull(api, state)
	for r, keys := range p.RoundKeys {
		for i, key := range keys {
			state[i] = api.Add(state[i], constant(key))
		}
		if r >= full/2 && r < full/2+partial {
			state[0] = fifthPower(api, state[0])
			mixPartial(api, state, p.DiagM1)
			continue
		}
		for i := range state {
			state[i] = fifthPower(api, state[i])
		}
		mixFull(api, state)
	}
}

func fifthPower(api frontend.API, x frontend.Variable) frontend.Variable {
	square := api.Mul(x, x)
	cube := api.Mul(x, square)
	return api.Mul(cube, square)
}

// blockMatrix is the matrix M4 of Poseidon2, section 5.1.
var blockMatrix = [4][4]int{{5, 7, 1, 3}, {4, 6, 1, 1}, {1, 3, 5, 7}, {1, 1, 4, 6}}

// mixFull is the external linear layer: M4 at width 4; at larger
// widths M4 in blocks of four, and the sum of all blocks added to each.
func mixFull(api frontend.API, s []frontend.Variable) {
	columns := [4]frontend.Variable{0, 0, 0, 0}
	for at := 0; at < len(s); at += 4 {
		var mixed [4]frontend.Variable
		for i, row := range blockMatrix {
			mixed[i] = 0
			for j, factor := range row {
				mixed[i] = api.Add(mixed[i], api.Mul(factor, s[at+j]))
			}
			columns[i] = api.Add(columns[i], mixed[i])
		}
		copy(s[at:], mixed[:])
	}
	if len(s) == 4 {
		return
	}
	for i := range s {
		s[i] = api.Add(s[i], columns[i%4])
	}
}

// mixPartial is the internal linear layer: the sum of all elements added to each, times
// a factor of its own.
func mixPartial(api frontend.API, s []frontend.Variable, diagonal []fr.Element) {
	sum := total(api, s)
	for i := range s {
		s[i] = api.Add(api.Mul(constant(diagonal[i]), s[i]), sum)
	}
}

// compress is verifier.Compress.
func compress(api frontend.API, xs ...frontend.Variable) frontend.Variable {
	state := append([]frontend.Variable(nil), xs...)
	permute(api, state)
	return api.Add(state[len(xs)-1], xs[len(xs)-1])
}

// sponge is verifier.Sponge.
func sponge(api frontend.API, d verifier.Domain, xs ...frontend.Variable) frontend.Variable {
	state := make([]frontend.Variable, verifier.SpongeWidth)
	for i := range state {
		state[i] = 0
	}
	state[0] = constant(d.Element())
	for len(xs) > 0 {
		n := min(len(state)-1, len(xs))
		for i := range n {
			state[1+i] = api.Add(state[1+i], xs[i])
		}
		xs = xs[n:]
		permute(api, state)
	}
	return state[1]
}

func constant(e fr.Element) *big.Int { return e.BigInt(new(big.Int)) }

// total adds up at least two variables.
func total(api frontend.API, xs []frontend.Variable) frontend.Variable {
	return api.Add(xs[0], xs[1], xs[2:]...)
}
