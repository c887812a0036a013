// Command peers proves "at least k of 60 committed readings were within a range" with
// gnark, as package zk does its claims, and prints what it costs beside what snarkjs needs
// for the same claim (kofn.circom, prove.mjs; README.md says how to run both).
//
// The claim is the same to the number: public are the commitment, the range, k and a
// nonce; private are 60 readings of 16 bits, 15 to an element, chained by a Poseidon hash
// from a salt (circomlib's Poseidon there, gnark's Poseidon2 here), and which of them are
// counted. Times are processor time of witness and proof together.
package main

import (
	"bytes"
	"fmt"
	"log"
	"math/big"
	"os"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	native "github.com/consensys/gnark-crypto/ecc/bn254/fr/poseidon2"
	"github.com/consensys/gnark/backend/groth16"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/logger"
	"github.com/consensys/gnark/std/permutation/poseidon2"
	"github.com/consensys/gnark/std/rangecheck"
)

const (
	readings = 60
	packed   = 15
	bits     = 16
)

type kOfN struct {
	Root, Lo, Hi, K, Nonce frontend.Variable `gnark:",public"`
	Salt                   frontend.Variable
	V, Counted             [readings]frontend.Variable
}

// Define implements frontend.Circuit.
func (c *kOfN) Define(api frontend.API) error {
	p, err := poseidon2.NewPoseidon2(api)
	if err != nil {
		return err
	}
	check := rangecheck.New(api)
	hash, count := c.Salt, frontend.Variable(0)
	for at := 0; at < readings; at += packed {
		element := frontend.Variable(0)
		for i := range packed {
			v, counted := c.V[at+i], c.Counted[at+i]
			check.Check(v, bits)
			api.AssertIsBoolean(counted)
			check.Check(api.Mul(counted, api.Sub(v, c.Lo)), bits)
			check.Check(api.Mul(counted, api.Sub(c.Hi, v)), bits)
			count = api.Add(count, counted)
			element = api.Add(element, api.Mul(v, new(big.Int).Lsh(big.NewInt(1), uint(bits*i))))
		}
		hash = p.Compress(hash, element)
	}
	check.Check(api.Sub(count, c.K), bits)
	api.AssertIsEqual(hash, c.Root)
	api.Mul(c.Nonce, c.Nonce)
	return nil
}

// assignment is 60 readings of 55 to 84 within 50 to 90, of which 50 must be.
func assignment() (*kOfN, error) {
	c := &kOfN{Lo: 50, Hi: 90, K: readings - 10, Nonce: 1234, Salt: 99}
	permutation, hash := native.NewDefaultPermutation(), fr.NewElement(99)
	for at := 0; at < readings; at += packed {
		element := new(big.Int)
		for i := packed - 1; i >= 0; i-- {
			v := int64(55 + (at+i)%30)
			element.Lsh(element, bits).Add(element, big.NewInt(v))
			c.V[at+i], c.Counted[at+i] = v, 1
		}
		var e fr.Element
		e.SetBigInt(element)
		b, err := permutation.Compress(hash.Marshal(), e.Marshal())
		if err != nil {
			return nil, err
		}
		hash.SetBytes(b)
	}
	c.Root = hash
	return c, nil
}

func run() error {
	logger.Disable()
	system, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder, new(kOfN))
	if err != nil {
		return err
	}
	pk, vk, err := groth16.Setup(system)
	if err != nil {
		return err
	}
	var key bytes.Buffer
	if _, err := pk.WriteRawTo(&key); err != nil {
		return err
	}
	fmt.Printf("gnark: %d constraints, proving key %d bytes\n", system.GetNbConstraints(), key.Len())
	for range 5 {
		start, before := time.Now(), processorTime()
		c, err := assignment()
		if err != nil {
			return err
		}
		full, err := frontend.NewWitness(c, ecc.BN254.ScalarField())
		if err != nil {
			return err
		}
		proof, err := groth16.Prove(system, pk, full)
		if err != nil {
			return err
		}
		proving := processorTime() - before
		wall := time.Since(start)
		public, err := full.Public()
		if err != nil {
			return err
		}
		if err := groth16.Verify(proof, vk, public); err != nil {
			return err
		}
		fmt.Printf("gnark: proof in %v of processor time, %v\n", proving.Round(time.Millisecond), wall.Round(time.Millisecond))
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		log.SetFlags(0)
		log.Println(err)
		os.Exit(1)
	}
}
