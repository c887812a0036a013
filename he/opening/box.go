package opening

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"filippo.io/edwards25519"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Sizes in bytes.
const (
	// SecretBytes is the length of what a box holds: a seed, or a key.
	SecretBytes  = 32
	keyBytes     = 32
	sealedBytes  = keyBytes + SecretBytes + 16 // encapsulated key, secret, tag
	sealingBytes = 2 * 32                      // the sender's proof: challenge and answer
	// BoxBytes is the length of a box.
	BoxBytes = sealedBytes + sealingBytes
)

// Fault is what is wrong with a box or a seed blob, as everybody can see for
// himself. It is an error, and the text that the ledger keeps.
type Fault string

func (f Fault) Error() string { return string(f) }

// The faults. Those but the last two show without anything being opened.
const (
	BadBlob     Fault = "the seed blob has another form"
	ForeignBlob Fault = "the seed blob is of another device"
	BadKey      Fault = "the encapsulated key of the box is none that a sender makes"
	BadProof    Fault = "the sender of the box did not prove that it knows its key"
	NotOpen     Fault = "the box does not open"
	WrongSecret Fault = "the secret in the box does not match its hash"
)

var errLength = fmt.Errorf("a box has %d bytes", BoxBytes)

// Seal seals a secret, SecretBytes long, and proves that it is the sender's own
// doing.
func (a Address) Seal(secret []byte) ([]byte, error) {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	fresh := make([]byte, 64)
	rand.Read(fresh)
	return a.seal(ephemeral, fresh, secret)
}

// seal is Seal with its randomness as arguments.
func (a Address) seal(ephemeral *ecdh.PrivateKey, fresh, secret []byte) ([]byte, error) {
	if len(secret) != SecretBytes {
		return nil, fmt.Errorf("a box holds %d bytes, not %d", SecretBytes, len(secret))
	}
	if err := CheckKey(a.public); err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(a.public)
	if err != nil {
		return nil, err
	}
	dh, err := ephemeral.ECDH(public)
	if err != nil {
		return nil, err
	}
	enc := ephemeral.PublicKey().Bytes()
	aead, nonce, err := a.context(dh, enc)
	if err != nil {
		return nil, err
	}
	sealed := aead.Seal(enc, nonce, secret, a.place[:])
	proof, err := a.proveSealing(ephemeral, fresh, sealed)
	return append(sealed, proof...), err
}

// proveSealing is a Schnorr signature over the place and the whole box under the
// encapsulated key: E = e*B, where X25519 clamps e. E has even x; of a key whose
// point has not, -e is the logarithm.
func (a Address) proveSealing(ephemeral *ecdh.PrivateKey, fresh, sealed []byte) ([]byte, error) {
	k, err := eighth(ephemeral.Bytes())
	if err != nil {
		return nil, err
	}
	e := scalar().Multiply(scalarOf(8), k)
	point := edwards25519.NewIdentityPoint().ScalarBaseMult(e)
	if sign(point) == 1 {
		e.Negate(e)
		point.Negate(point)
	}
	statement := a.sealing(sealed)
	r, err := hedged("vitalveil sealing nonce v1", fresh, ephemeral.Bytes(), statement)
	if err != nil {
		return nil, err
	}
	c, err := challenge(labelSealing, statement, point, edwards25519.NewIdentityPoint().ScalarBaseMult(r))
	if err != nil {
		return nil, err
	}
	return append(c.Bytes(), scalar().MultiplyAdd(c, e, r).Bytes()...), nil
}

const labelSealing = "vitalveil sealing challenge v1"

// sealing is the statement of the sender's proof, without the encapsulated point.
func (a Address) sealing(sealed []byte) record.ID {
	return record.Digest("he-sealing/v1", a.network, []any{a.info, a.place, a.public, sealed})
}

// Check reports what is wrong with a box that everybody can see: BadKey or
// BadProof, or another error if it has another length. A box that passes was made
// for this address by somebody who knows what X25519 makes of it and the
// recipient's key.
func (a Address) Check(box []byte) error {
	if len(box) != BoxBytes {
		return errLength
	}
	e, err := lift(box[:keyBytes], 0)
	if err != nil || !generates(e) {
		return BadKey
	}
	c, err := scalar().SetCanonicalBytes(box[sealedBytes : sealedBytes+32])
	if err != nil {
		return BadProof
	}
	answer, err := scalar().SetCanonicalBytes(box[sealedBytes+32:])
	if err != nil {
		return BadProof
	}
	r := edwards25519.NewIdentityPoint().VarTimeDoubleScalarBaseMult(scalar().Negate(c), e, answer)
	again, err := challenge(labelSealing, a.sealing(box[:sealedBytes]), e, r)
	if err != nil {
		return err
	}
	if again.Equal(c) != 1 {
		return BadProof
	}
	return nil
}

// Open opens a box with the recipient's private key (32 bytes) and compares the
// secret with its hash. The error is a Fault if the box has one; only the last two
// ask for a complaint with an opening.
func (a Address) Open(private, box []byte, hash record.ID) ([]byte, error) {
	key, err := ecdh.X25519().NewPrivateKey(private)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(key.PublicKey().Bytes(), a.public) {
		return nil, errors.New("the private key is not the one that the box is for")
	}
	if err := a.Check(box); err != nil {
		return nil, err
	}
	enc, err := ecdh.X25519().NewPublicKey(box[:keyBytes])
	if err != nil {
		return nil, err
	}
	dh, err := key.ECDH(enc)
	if err != nil {
		return nil, err
	}
	return a.unseal(dh, box, hash)
}

// unseal opens a box given dh.
func (a Address) unseal(dh, box []byte, hash record.ID) ([]byte, error) {
	aead, nonce, err := a.context(dh, box[:keyBytes])
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, nonce, box[keyBytes:sealedBytes], a.place[:])
	if err != nil {
		return nil, NotOpen
	}
	if a.hash(secret) != hash {
		return nil, WrongSecret
	}
	return secret, nil
}
