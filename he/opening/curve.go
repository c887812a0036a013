package opening

import (
	"bytes"
	"errors"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

var (
	errNotReduced = errors.New("its key is not reduced modulo 2^255-19")
	errTwist      = errors.New("its key is not a point of the curve")
	errSmall      = errors.New("its key is of small order")
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

// minusOne is the order of the prime subgroup, less one.
var minusOne = edwards25519.NewScalar().Negate(scalarOf(1))

func scalarOf(n byte) *edwards25519.Scalar {
	s, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{n}, make([]byte, 31)...))
	if err != nil {
		panic(err) // small numbers are canonical
	}
	return s
}

// primeOrder reports whether the order of p divides that of the prime subgroup:
// (l-1)p = -p.
func primeOrder(p *edwards25519.Point) bool {
	q := edwards25519.NewIdentityPoint().VarTimeMultiScalarMult([]*edwards25519.Scalar{minusOne}, []*edwards25519.Point{p})
	return q.Equal(edwards25519.NewIdentityPoint().Negate(p)) == 1
}

// base8 is 8B.
func base8() *edwards25519.Point {
	return edwards25519.NewIdentityPoint().MultByCofactor(edwards25519.NewGeneratorPoint())
}

// encapsulated returns 8E for the encapsulated key of a box, or what is wrong
// with it.
func encapsulated(box []byte) (*edwards25519.Point, error) {
	e, err := lift(box[:keyBytes], 0)
	if err != nil {
		return nil, err
	}
	e8 := edwards25519.NewIdentityPoint().MultByCofactor(e)
	if e8.Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, errSmall
	}
	return e8, nil
}

// CheckKey reports what is wrong with a member's HPKE public key: one that is not
// of the prime subgroup is not a private key times the base point, and nothing
// could ever be proven about it.
func CheckKey(public []byte) error {
	if len(public) != keyBytes {
		return errors.New("an X25519 key has 32 bytes")
	}
	p, err := lift(public, 0)
	if err != nil {
		return err
	}
	if p.Equal(edwards25519.NewIdentityPoint()) == 1 || !primeOrder(p) {
		return errors.New("it is not of prime order")
	}
	return nil
}

// CheckBox reports whether a box has an encapsulated key that an honest sender
// could have made. A member treats any other as a box that does not open, even
// where X25519 would compute something.
func CheckBox(box []byte) error {
	if len(box) != BoxBytes {
		return errors.New("a seed box has another length")
	}
	_, err := encapsulated(box)
	return err
}
