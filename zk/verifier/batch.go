package verifier

import (
	"crypto/rand"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr/hash_to_field"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
)

// # Verifying many proofs at once
//
// For a key (alpha, beta, gamma, delta, K_0..K_m; sigma), inputs x and a proof (A, B, C)
// with commitment D, proof of knowledge P and challenge h = H(D, committed inputs), a
// proof is accepted if
//
//	e(A, B) = e(alpha, beta) e(K_0 + sum x_j K_j + h K_m + D, gamma) e(C, delta)    (1)
//	e(D, -sigma) e(P, G) = 1                                                        (2)
//
// Of many proofs, equations (1) are raised to random powers z_i and (2) to w_i, and all
// are multiplied together: the small exponents test (Bellare, Garay, Rabin, EUROCRYPT
// 1998, section 3), of pairings by Ferrara, Green, Hohenberger and Pedersen (ePrint
// 2008/015, section 3.2); Zcash's protocol specification has it for Groth16 (appendix
// B.2). What stands in a fixed argument is summed first, so that n proofs take n + 5
// Miller loops and one final exponentiation.
//
// Soundness: say that one equation of some proof does not hold. All factors have the
// prime order r (G1 has no other subgroup, points B are checked to be in theirs), so
// with all other exponents fixed, the product is 1 for at most one value modulo r of the
// exponent of that equation. It is drawn from 2^128 values, by the verifier alone and
// after the proofs are there: the chance is at most 2^-128, whoever chose the proofs,
// however many there are.

// Claim is a statement with what is said to be its proof.
type Claim struct {
	Statement Statement
	Proof     []byte
}

// VerifyAll verifies so many claims for about a tenth of the work, and returns for each
// what Verify would, in order: nil if the proof proves the statement. If the batch as a
// whole fails, each is verified by itself. It draws random numbers, so it is not for
// contracts, whose endorsers must do the same; its answers depend on them with a
// chance of at most 2^-128.
func (v *Verifier) VerifyAll(claims []Claim) []error {
	errs := make([]error, len(claims))
	var sound []equation
	for i, c := range claims {
		var e equation
		if e, errs[i] = v.equation(c); errs[i] == nil {
			e.claim = i
			sound = append(sound, e)
		}
	}
	if len(sound) > 1 && v.product(sound, smallExponents(len(sound)), smallExponents(len(sound))) {
		return errs
	}
	for _, e := range sound {
		errs[e.claim] = v.holds(e)
	}
	return errs
}

// equation is a claim in form: its proof's points, each in its group, and its inputs.
type equation struct {
	claim  int
	proof  *groth16.Proof
	inputs []Element
}

// product decides the product of all equations (1) to the powers z and (2) to the powers
// w. An error of the pairing is a no.
func (v *Verifier) product(equations []equation, z, w []Element) bool {
	n := len(equations)
	g1, g2 := make([]bn254.G1Affine, n, n+5), make([]bn254.G2Affine, n, n+5)
	c, d, p := make([]bn254.G1Affine, n), make([]bn254.G1Affine, n), make([]bn254.G1Affine, n)
	public := make([]Element, len(v.key.G1.K)) // sum of z times (1, inputs, challenge)
	for i, e := range equations {
		var power big.Int
		g1[i].ScalarMultiplication(&e.proof.Ar, z[i].BigInt(&power))
		g2[i] = e.proof.Bs
		c[i], d[i], p[i] = e.proof.Krs, e.proof.Commitments[0], e.proof.CommitmentPok
		public[0].Add(&public[0], &z[i])
		for j, x := range append(e.inputs, v.challenge(e)) {
			x.Mul(&x, &z[i])
			public[1+j].Add(&public[1+j], &x)
		}
	}
	var alpha big.Int
	public[0].BigInt(&alpha)
	rest := new(bn254.G1Affine).ScalarMultiplication(&v.key.G1.Alpha, &alpha)
	inputs, committed := combined(v.key.G1.K, public), combined(d, z)
	inputs.Add(inputs, committed)
	for _, f := range []struct {
		point *bn254.G1Affine
		with  *bn254.G2Affine
	}{
		{rest.Neg(rest), &v.key.G2.Beta},
		{inputs.Neg(inputs), &v.key.G2.Gamma},
		{negative(combined(c, z)), &v.key.G2.Delta},
		{combined(d, w), &v.key.CommitmentKeys[0].GSigmaNeg},
		{combined(p, w), &v.key.CommitmentKeys[0].G},
	} {
		g1, g2 = append(g1, *f.point), append(g2, *f.with)
	}
	ok, err := bn254.PairingCheck(g1, g2)
	return ok && err == nil
}

// smallExponents draws numbers of 128 bits.
func smallExponents(n int) []Element {
	es := make([]Element, n)
	for i := range es {
		var b [16]byte
		rand.Read(b[:]) // ends the process rather than fail
		es[i].SetBytes(b[:])
	}
	return es
}

func negative(p *bn254.G1Affine) *bn254.G1Affine { return p.Neg(p) }

// combined is the sum of scalars[i] points[i].
func combined(points []bn254.G1Affine, scalars []Element) *bn254.G1Affine {
	// The only errors are of lengths and configuration.
	sum, err := new(bn254.G1Affine).MultiExp(points, scalars, ecc.MultiExpConfig{})
	if err != nil {
		panic(fmt.Sprintf("multiplication of %d points by %d scalars: %v", len(points), len(scalars), err))
	}
	return sum
}

// commitmentDomain is gnark's for the hash of a commitment.
const commitmentDomain = "bsb22-commitment"

// challenge is what the circuit's randomness was, as groth16.Verify computes it: the
// hash of the commitment and of the public inputs that are committed to as well.
func (v *Verifier) challenge(e equation) Element {
	h := hash_to_field.New([]byte(commitmentDomain))
	h.Write(e.proof.Commitments[0].Marshal())
	for _, j := range v.key.PublicAndCommitmentCommitted[0] {
		h.Write(e.inputs[j-1].Marshal())
	}
	var x Element
	x.SetBytes(h.Sum(nil)[:fr.Bytes])
	return x
}
