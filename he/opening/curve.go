package opening

import (
	"bytes"
	"errors"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

var (
	errNotReduced = errors.New("it is not reduced modulo 2^255-19")
	errTwist      = errors.New("it is not a point of the curve")
)

// lift returns a point of edwards25519 over the u-coordinate of curve25519, by
// y = (u-1)/(u+1) (RFC 7748 section 4.1), with the sign of x as given.
func lift(u []byte, sign byte) (*edwards25519.Point, error) {
	e, err := new(field.Element).SetBytes(u)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(e.Bytes(), u) {
		return nil, errNotReduced
	}
	one := new(field.Element).One()
	below := new(field.Element).Add(e, one)
	if below.Equal(new(field.Element)) == 1 {
		return nil, errTwist // u = -1: the map has no value, the curve no such point
	}
	y := new(field.Element).Multiply(new(field.Element).Subtract(e, one), below.Invert(below)).Bytes()
	y[31] |= sign << 7
	p, err := new(edwards25519.Point).SetBytes(y)
	if err != nil {
		return nil, errTwist
	}
	return p, nil
}

func scalar() *edwards25519.Scalar { return edwards25519.NewScalar() }

// minusOne is the order of the prime subgroup, less one.
var minusOne = scalar().Negate(scalarOf(1))

func scalarOf(n byte) *edwards25519.Scalar {
	s, err := scalar().SetCanonicalBytes(append([]byte{n}, make([]byte, 31)...))
	if err != nil {
		panic(err) // small numbers are canonical
	}
	return s
}

// generates reports whether p generates the prime subgroup: its order l divides
// that of p, (l-1)p = -p, and p is not the identity.
func generates(p *edwards25519.Point) bool {
	identity := edwards25519.NewIdentityPoint()
	q := edwards25519.NewIdentityPoint().VarTimeMultiScalarMult([]*edwards25519.Scalar{minusOne}, []*edwards25519.Point{p})
	return p.Equal(identity) != 1 && q.Equal(identity.Negate(p)) == 1
}

// liftPrime is lift for points that must generate the prime subgroup.
func liftPrime(u []byte, sign byte) (*edwards25519.Point, error) {
	if len(u) != keyBytes {
		return nil, ErrProof
	}
	p, err := lift(u, sign)
	if err != nil || !generates(p) {
		return nil, ErrProof
	}
	return p, nil
}

// base8 is 8B.
func base8() *edwards25519.Point {
	return edwards25519.NewIdentityPoint().MultByCofactor(edwards25519.NewGeneratorPoint())
}

// encapsulated returns 8E for the encapsulated key of a box that passed Check.
func encapsulated(box []byte) (*edwards25519.Point, error) {
	e, err := lift(box[:keyBytes], 0)
	if err != nil {
		return nil, err
	}
	return e.MultByCofactor(e), nil
}

func sign(p *edwards25519.Point) byte { return p.Bytes()[31] >> 7 }

// CheckKey reports what is wrong with a member's X25519 public key: one that does
// not generate the prime subgroup is not a private key times the base point, and
// nothing could ever be proven about it.
func CheckKey(public []byte) error {
	if len(public) != keyBytes {
		return errors.New("an X25519 key has 32 bytes")
	}
	p, err := lift(public, 0)
	if err != nil {
		return err
	}
	if !generates(p) {
		return errors.New("it is not of prime order")
	}
	return nil
}
