package opening

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"slices"

	"filippo.io/edwards25519"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Statement is what a proof is about: the box to a member for a seed, and the
// hash that the seed should have.
type Statement struct {
	Place  Place
	MSP    string    // the member that the box is sealed to
	Public []byte    // its HPKE key
	Box    []byte    // BoxBytes
	Hash   record.ID // of the seed, on the ledger
}

// Finding is what Verify found to be wrong with a box.
type Finding string

// The findings.
const (
	BadKey    Finding = "the encapsulated key of the box is none that a sender makes"
	NotOpen   Finding = "the box does not open"
	WrongSeed Finding = "the seed in the box does not match its hash"
)

var (
	// ErrProof says that a proof is not one of this statement. It says nothing
	// about the box.
	ErrProof = errors.New("the proof of opening does not verify")
	// ErrSound says that the box opens to the seed of the hash: there is nothing
	// to complain about.
	ErrSound = errors.New("the box opens to the right seed")
)

// digest covers every field of the statement.
func (s Statement) digest() record.ID {
	p := s.Place
	return record.Digest("he-opening/v1", p.Network,
		[]any{p.Profile, p.Epoch, p.Device, p.Piece, s.MSP, s.Public, s.Box, s.Hash})
}

// challenge hashes the statement and all points, the prover's commitments among
// them: the transcript up to the challenge.
func (s Statement) challenge(points ...*edwards25519.Point) (*edwards25519.Scalar, error) {
	d := s.digest()
	h := sha512.New()
	h.Write([]byte("vitalveil opening challenge v1"))
	h.Write(d[:])
	for _, p := range points {
		h.Write(p.Bytes())
	}
	return edwards25519.NewScalar().SetUniformBytes(h.Sum(nil))
}

// Prove returns the proof, ProofBytes long, of what X25519 with this private key
// (32 bytes) makes of the box. A box whose encapsulated key is a fault by itself
// has none and needs none: then the proof is empty.
func Prove(private []byte, s Statement) ([]byte, error) {
	if len(private) != 32 {
		return nil, errors.New("an X25519 private key has 32 bytes")
	}
	if err := CheckKey(s.Public); err != nil {
		return nil, err
	}
	if len(s.Box) != BoxBytes {
		return nil, errors.New("a seed box has another length")
	}
	e8, err := encapsulated(s.Box)
	if err != nil {
		return nil, nil
	}
	k, err := eighth(private)
	if err != nil {
		return nil, err
	}
	pk := edwards25519.NewIdentityPoint().ScalarMult(k, base8())
	if !bytes.Equal(pk.BytesMontgomery(), s.Public) {
		return nil, errors.New("the private key is not the one of this public key")
	}
	dh := edwards25519.NewIdentityPoint().ScalarMult(k, e8)
	r, err := s.nonce(private)
	if err != nil {
		return nil, err
	}
	r1 := edwards25519.NewIdentityPoint().ScalarMult(r, base8())
	r2 := edwards25519.NewIdentityPoint().ScalarMult(r, e8)
	c, err := s.challenge(pk, e8, dh, r1, r2)
	if err != nil {
		return nil, err
	}
	answer := edwards25519.NewScalar().MultiplyAdd(c, k, r)
	return slices.Concat([]byte{sign(pk) | sign(dh)<<1}, dh.BytesMontgomery(), c.Bytes(), answer.Bytes()), nil
}

// eighth is k, where X25519 clamps the private key to 8k. k is below 2^252 and so
// below the group's order.
func eighth(private []byte) (*edwards25519.Scalar, error) {
	b := bytes.Clone(private)
	defer clear(b)
	b[31] = b[31]&127 | 64
	for i := range b { // shifting by three drops the bits that clamping clears
		b[i] >>= 3
		if i+1 < len(b) {
			b[i] |= b[i+1] << 5
		}
	}
	return edwards25519.NewScalar().SetCanonicalBytes(b)
}

// nonce is random, and is different for different keys and statements even where
// the system's randomness fails.
func (s Statement) nonce(private []byte) (*edwards25519.Scalar, error) {
	fresh := make([]byte, 64)
	rand.Read(fresh)
	d := s.digest()
	h := sha512.New()
	h.Write([]byte("vitalveil opening nonce v1"))
	h.Write(fresh)
	h.Write(private)
	h.Write(d[:])
	return edwards25519.NewScalar().SetUniformBytes(h.Sum(nil))
}

func sign(p *edwards25519.Point) byte { return p.Bytes()[31] >> 7 }

// Verify says what is wrong with a box, given the member's proof. It returns
// ErrSound, wrapped, if nothing is, and ErrProof, wrapped, if the proof is not
// this statement's.
func Verify(s Statement, proof []byte) (Finding, error) {
	if len(s.Box) != BoxBytes {
		return "", errors.New("a seed box has another length")
	}
	e8, err := encapsulated(s.Box)
	if err != nil {
		return BadKey, nil
	}
	dh, err := s.decapsulated(e8, proof)
	if err != nil {
		return "", err
	}
	binding := s.Place.Binding(s.MSP)
	seed, opens, err := open(dh, s.Public, s.Box, binding[:])
	switch {
	case err != nil:
		return "", err
	case !opens:
		return NotOpen, nil
	case s.Place.SeedHash(seed) != s.Hash:
		return WrongSeed, nil
	}
	return "", ErrSound
}

// decapsulated returns dh once the proof shows that it is the member's.
func (s Statement) decapsulated(e8 *edwards25519.Point, proof []byte) ([]byte, error) {
	if len(proof) != ProofBytes || proof[0] > 3 {
		return nil, ErrProof
	}
	u, rest := proof[1:33], proof[33:]
	pk, err := liftPrime(s.Public, proof[0]&1)
	if err != nil {
		return nil, err
	}
	dh, err := liftPrime(u, proof[0]>>1)
	if err != nil {
		return nil, err
	}
	c, err := edwards25519.NewScalar().SetCanonicalBytes(rest[:32])
	if err != nil {
		return nil, ErrProof
	}
	answer, err := edwards25519.NewScalar().SetCanonicalBytes(rest[32:])
	if err != nil {
		return nil, ErrProof
	}
	back := edwards25519.NewScalar().Negate(c)
	commitment := func(base, image *edwards25519.Point) *edwards25519.Point {
		return edwards25519.NewIdentityPoint().VarTimeMultiScalarMult(
			[]*edwards25519.Scalar{answer, back}, []*edwards25519.Point{base, image})
	}
	again, err := s.challenge(pk, e8, dh, commitment(base8(), pk), commitment(e8, dh))
	if err != nil {
		return nil, err
	}
	if again.Equal(c) != 1 {
		return nil, ErrProof
	}
	return u, nil
}

// liftPrime is lift for points that must have prime order.
func liftPrime(u []byte, sign byte) (*edwards25519.Point, error) {
	if len(u) != keyBytes {
		return nil, ErrProof
	}
	p, err := lift(u, sign)
	if err != nil || p.Equal(edwards25519.NewIdentityPoint()) == 1 || !primeOrder(p) {
		return nil, ErrProof
	}
	return p, nil
}
