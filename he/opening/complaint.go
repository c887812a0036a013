package opening

import (
	"errors"
	"fmt"
	"slices"

	"filippo.io/edwards25519"

	"github.com/vitalveil/vitalveil/internal/record"
)

// OpeningBytes is the length of a recipient's proof: signs, dh, challenge, answer.
const OpeningBytes = 1 + 3*32

var (
	// ErrProof says that a proof is not one of what the box opens to. It says
	// nothing about the box.
	ErrProof = errors.New("the proof of opening does not verify")
	// ErrSound says that the box opens to the secret of the hash: there is nothing
	// to complain about.
	ErrSound = errors.New("the box opens to the right secret")
)

const labelOpening = "vitalveil opening challenge v2"

// opening is the statement of the recipient's proof, without the points.
func (a Address) opening(box []byte, hash record.ID) record.ID {
	return record.Digest("he-opening/v2", a.network, []any{a.info, a.place, a.public, box, hash})
}

// Complain returns what shows others the fault of a box: nothing where they see it
// for themselves, and otherwise dh with the proof that it is what X25519 makes of
// the box and the private key (32 bytes). The error is ErrSound, wrapped, if the box
// has no fault; dh then stays here.
func (a Address) Complain(private, box []byte, hash record.ID) ([]byte, error) {
	_, err := a.Open(private, box, hash)
	switch fault := Fault(""); {
	case err == nil:
		return nil, ErrSound
	case !errors.As(err, &fault):
		return nil, err
	case fault == NotOpen || fault == WrongSecret:
		return a.proveOpening(private, box, hash)
	}
	return nil, nil
}

// proveOpening shows that PK and DH have one logarithm k to 8B and 8E.
func (a Address) proveOpening(private, box []byte, hash record.ID) ([]byte, error) {
	e8, err := encapsulated(box)
	if err != nil {
		return nil, err
	}
	k, err := eighth(private)
	if err != nil {
		return nil, err
	}
	pk := edwards25519.NewIdentityPoint().ScalarMult(k, base8())
	dh := edwards25519.NewIdentityPoint().ScalarMult(k, e8)
	statement := a.opening(box, hash)
	r, err := freshly("vitalveil opening nonce v1", private, statement)
	if err != nil {
		return nil, err
	}
	r1 := edwards25519.NewIdentityPoint().ScalarMult(r, base8())
	r2 := edwards25519.NewIdentityPoint().ScalarMult(r, e8)
	c, err := challenge(labelOpening, statement, pk, e8, dh, r1, r2)
	if err != nil {
		return nil, err
	}
	answer := scalar().MultiplyAdd(c, k, r)
	return slices.Concat([]byte{sign(pk) | sign(dh)<<1}, dh.BytesMontgomery(), c.Bytes(), answer.Bytes()), nil
}

// Examine says what is wrong with a box, given what its recipient's Complain
// returned. It returns ErrSound, wrapped, if nothing is, and ErrProof, wrapped, if
// the proof is not of this box, or if the box needs none.
func (a Address) Examine(box []byte, hash record.ID, proof []byte) (Fault, error) {
	fault := Fault("")
	if err := a.Check(box); errors.As(err, &fault) {
		if len(proof) != 0 {
			return "", fmt.Errorf("%w: nothing is opened of a box whose fault shows", ErrProof)
		}
		return fault, nil
	} else if err != nil {
		return "", err
	}
	dh, err := a.opened(box, hash, proof)
	if err != nil {
		return "", err
	}
	_, err = a.unseal(dh, box, hash)
	switch {
	case err == nil:
		return "", ErrSound
	case errors.As(err, &fault):
		return fault, nil
	}
	return "", err
}

// opened returns dh once the proof shows that it is the recipient's.
func (a Address) opened(box []byte, hash record.ID, proof []byte) ([]byte, error) {
	if len(proof) != OpeningBytes || proof[0] > 3 {
		return nil, ErrProof
	}
	e8, err := encapsulated(box)
	if err != nil {
		return nil, err
	}
	u, rest := proof[1:33], proof[33:]
	pk, err := liftPrime(a.public, proof[0]&1)
	if err != nil {
		return nil, err
	}
	dh, err := liftPrime(u, proof[0]>>1)
	if err != nil {
		return nil, err
	}
	c, err := scalar().SetCanonicalBytes(rest[:32])
	if err != nil {
		return nil, ErrProof
	}
	answer, err := scalar().SetCanonicalBytes(rest[32:])
	if err != nil {
		return nil, ErrProof
	}
	back := scalar().Negate(c)
	commitment := func(base, image *edwards25519.Point) *edwards25519.Point {
		return edwards25519.NewIdentityPoint().VarTimeMultiScalarMult(
			[]*edwards25519.Scalar{answer, back}, []*edwards25519.Point{base, image})
	}
	again, err := challenge(labelOpening, a.opening(box, hash), pk, e8, dh, commitment(base8(), pk), commitment(e8, dh))
	if err != nil {
		return nil, err
	}
	if again.Equal(c) != 1 {
		return nil, ErrProof
	}
	return u, nil
}
