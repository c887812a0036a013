package opening

import (
	"bytes"
	"crypto/rand"
	"crypto/sha512"

	"filippo.io/edwards25519"

	"github.com/vitalveil/vitalveil/internal/record"
)

// challenge hashes a statement and all points of a proof, the prover's commitments
// among them, to a scalar.
func challenge(label string, statement record.ID, points ...*edwards25519.Point) (*edwards25519.Scalar, error) {
	h := sha512.New()
	h.Write([]byte(label))
	h.Write(statement[:])
	for _, p := range points {
		h.Write(p.Bytes())
	}
	return scalar().SetUniformBytes(h.Sum(nil))
}

// freshly is hedged with new random bytes.
func freshly(label string, private []byte, statement record.ID) (*edwards25519.Scalar, error) {
	fresh := make([]byte, 64)
	rand.Read(fresh)
	return hedged(label, fresh, private, statement)
}

// hedged is the secret scalar of a prover's commitment, from 64 fresh bytes. It is
// different for different keys and statements even where the fresh bytes repeat.
func hedged(label string, fresh, private []byte, statement record.ID) (*edwards25519.Scalar, error) {
	h := sha512.New()
	h.Write([]byte(label))
	h.Write(fresh)
	h.Write(private)
	h.Write(statement[:])
	return scalar().SetUniformBytes(h.Sum(nil))
}

// eighth is k, where X25519 clamps the private key to 8k (RFC 7748 section 5). k is
// below 2^252 and so below the group's order.
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
	return scalar().SetCanonicalBytes(b)
}
