package verifier

import (
	"bytes"
	"errors"
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
)

// edited changes the points of a proof.
func edited(t testing.TB, proof []byte, edit func(*groth16.Proof)) []byte {
	t.Helper()
	p, err := parseProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	edit(p)
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rerandomised is another proof of the same statement, as anybody can make one: A to a
// power and B to its inverse.
func rerandomised(t testing.TB, proof []byte, k uint64) []byte {
	return edited(t, proof, func(p *groth16.Proof) {
		factor := number(k)
		var power big.Int
		p.Ar.ScalarMultiplication(&p.Ar, factor.BigInt(&power))
		factor.Inverse(&factor)
		p.Bs.ScalarMultiplication(&p.Bs, factor.BigInt(&power))
	})
}

// claims are so many proofs of a fixture's statement, no two alike.
func claims(t testing.TB, f fixture, n int) []Claim {
	t.Helper()
	var all []Claim
	for i := range n {
		all = append(all, Claim{f.Statement, rerandomised(t, f.Proof, uint64(i+1))})
	}
	return all
}

func TestABatchSaysOfEachClaimWhatVerifySays(t *testing.T) {
	for _, class := range Classes() {
		f, v := readFixtureOf(t, class.Name)
		_, _, one, _ := bn254.Generators()
		for what, spoil := range map[string]func(*Claim){
			"nothing": func(*Claim) {},
			"A":       func(c *Claim) { c.Proof = edited(t, c.Proof, func(p *groth16.Proof) { p.Ar.Neg(&p.Ar) }) },
			"B":       func(c *Claim) { c.Proof = edited(t, c.Proof, func(p *groth16.Proof) { p.Bs.Double(&p.Bs) }) },
			"C":       func(c *Claim) { c.Proof = edited(t, c.Proof, func(p *groth16.Proof) { p.Krs.Add(&p.Krs, &one) }) },
			"commitment": func(c *Claim) {
				c.Proof = edited(t, c.Proof, func(p *groth16.Proof) { p.Commitments[0].Neg(&p.Commitments[0]) })
			},
			"knowledge": func(c *Claim) {
				c.Proof = edited(t, c.Proof, func(p *groth16.Proof) { p.CommitmentPok.Neg(&p.CommitmentPok) })
			},
			"no knowledge": func(c *Claim) {
				c.Proof = edited(t, c.Proof, func(p *groth16.Proof) { p.CommitmentPok = bn254.G1Affine{} })
			},
			"the bounds":     func(c *Claim) { c.Statement.K-- },
			"hashed bounds":  func(c *Claim) { c.Statement.Lo-- },
			"the binding":    func(c *Claim) { c.Statement.Binding[31] ^= 1 },
			"the digest":     func(c *Claim) { c.Statement.DataDigest[31] ^= 1 },
			"vacuous":        func(c *Claim) { c.Statement.K, c.Statement.MinCount = 0, 0 },
			"another metric": func(c *Claim) { c.Statement.Slot = 15 },
			"cut short":      func(c *Claim) { c.Proof = c.Proof[1:] },
			"no proof":       func(c *Claim) { c.Proof = nil },
		} {
			batch := claims(t, f, 4)
			spoil(&batch[2])
			for i, err := range v.VerifyAll(batch) {
				if alone := v.Verify(batch[i].Statement, batch[i].Proof); text(err) != text(alone) {
					t.Errorf("%s, %s, claim %d: %v in the batch, %v alone", class.Name, what, i, err, alone)
				}
				if spoilt := i == 2 && what != "nothing"; (err != nil) != spoilt {
					t.Errorf("%s, %s, claim %d: %v", class.Name, what, i, err)
				}
			}
		}
		if errs := v.VerifyAll(nil); len(errs) != 0 {
			t.Error("no claims have errors:", errs)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Two false proofs whose errors are each other's inverse pass where all exponents are
// equal. The verifier's are random, and drawn after the proofs are there.
func TestAttackErrorsThatCancelOut(t *testing.T) {
	f, v := readFixture(t)
	_, _, one, _ := bn254.Generators()
	for what, to := range map[string]func(*groth16.Proof) *bn254.G1Affine{
		"C":                     func(p *groth16.Proof) *bn254.G1Affine { return &p.Krs },
		"proofs of knowledge":   func(p *groth16.Proof) *bn254.G1Affine { return &p.CommitmentPok },
		"C, swapped":            nil,
		"knowledge, in a third": nil,
	} {
		batch := claims(t, f, 3)
		switch what {
		case "C, swapped":
			to = func(p *groth16.Proof) *bn254.G1Affine { return &p.Krs }
		case "knowledge, in a third":
			to = func(p *groth16.Proof) *bn254.G1Affine { return &p.CommitmentPok }
			batch = append(batch[1:], batch[0])
		}
		batch[0].Proof = edited(t, batch[0].Proof, func(p *groth16.Proof) { to(p).Add(to(p), &one) })
		batch[1].Proof = edited(t, batch[1].Proof, func(p *groth16.Proof) { to(p).Sub(to(p), &one) })
		var equations []equation
		ones := make([]Element, len(batch))
		for i, c := range batch {
			ones[i] = number(1)
			e, err := v.equation(c)
			if err != nil {
				t.Fatal(err)
			}
			equations = append(equations, e)
		}
		if !v.product(equations, ones, ones) {
			t.Errorf("%s: the errors do not cancel out", what)
		}
		for i, err := range v.VerifyAll(batch) {
			if false := i < 2; errors.Is(err, ErrProof) != false {
				t.Errorf("%s, claim %d: %v", what, i, err)
			}
		}
	}
}

// A proof that was rerandomised verifies and is still the same claim: claims are counted
// by their statement.
func TestAttackARerandomisedProofCountsOnce(t *testing.T) {
	f, v := readFixture(t)
	batch := claims(t, f, 3)
	distinct := map[[32]byte]bool{}
	for i, err := range v.VerifyAll(batch) {
		if err != nil {
			t.Errorf("claim %d: %v", i, err)
		}
		distinct[batch[i].Statement.Digest()] = true
	}
	if bytes.Equal(batch[1].Proof, batch[2].Proof) || len(distinct) != 1 {
		t.Errorf("%d claims are made of one", len(distinct))
	}
}

func TestTheDigestOfAStatementCoversEverything(t *testing.T) {
	f, _ := readFixture(t)
	seen := map[[32]byte]string{f.Statement.Digest(): "the statement itself"}
	for name, edit := range edits {
		s := f.Statement
		edit(&s)
		if other, taken := seen[s.Digest()]; taken {
			t.Errorf("%s: the digest is that of %s", name, other)
		}
		seen[s.Digest()] = name
	}
}

func BenchmarkVerifyAll(b *testing.B) {
	f, v := readFixture(b)
	for _, n := range []int{1, 2, 5, 10, 50} {
		batch := claims(b, f, n)
		b.Run(string(rune('0'+n/10))+string(rune('0'+n%10)), func(b *testing.B) {
			for b.Loop() {
				for _, err := range v.VerifyAll(batch) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "us/proof")
		})
	}
}
