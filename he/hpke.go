package he

import (
	"crypto/ecdh"
	"crypto/hpke"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Shares are sealed with HPKE (RFC 9180) in base mode: DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, AES-256-GCM. A box is the encapsulated key, 32 bytes, and the
// ciphertext; its info names its purpose, and its additional data is a digest of
// what it belongs to. Nothing about such a box is ever shown to others. Seeds and
// piece keys, about which a recipient may complain, are sealed by package opening.

// boxOverhead is what sealing adds: encapsulated key and tag.
const boxOverhead = 32 + 16

// ErrBox says that a box does not open with this key for this purpose, or holds
// something else than it should. Do not use what it holds; complain.
var ErrBox = errors.New("the sealed box does not open")

func kem() hpke.KEM { return hpke.DHKEM(ecdh.X25519()) }

// HPKEPrivate is an institution's HPKE key. It prints as "[secret]".
type HPKEPrivate struct {
	redacted
	key hpke.PrivateKey
}

// NewHPKEKey makes a fresh key.
func NewHPKEKey() (*HPKEPrivate, error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("make an HPKE key: %w", err)
	}
	return &HPKEPrivate{key: k}, nil
}

// ParseHPKEKey reads the 32 bytes that Bytes returned.
func ParseHPKEKey(b []byte) (*HPKEPrivate, error) {
	if len(b) != 32 {
		return nil, fmt.Errorf("an HPKE private key has 32 bytes, not %d", len(b))
	}
	k, err := kem().NewPrivateKey(b)
	if err != nil {
		return nil, errors.New("not an HPKE private key")
	}
	return &HPKEPrivate{key: k}, nil
}

var errNoKey = errors.New("there is no HPKE key")

// Bytes returns the private key, 32 bytes, to be stored as a secret.
func (k *HPKEPrivate) Bytes() ([]byte, error) {
	if k == nil || k.key == nil {
		return nil, errNoKey
	}
	return k.key.Bytes()
}

// Public returns the public key, 32 bytes.
func (k *HPKEPrivate) Public() []byte { return k.key.PublicKey().Bytes() }

// SealBox seals plaintext to a public key for one purpose and binding: only who
// names the same ones can open it.
func SealBox(public []byte, purpose string, binding record.ID, plaintext []byte) ([]byte, error) {
	if len(public) != 32 {
		return nil, fmt.Errorf("an HPKE public key has 32 bytes, not %d", len(public))
	}
	pk, err := kem().NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("not an HPKE public key: %w", err)
	}
	enc, s, err := hpke.NewSender(pk, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("vitalveil "+purpose))
	if err != nil {
		return nil, fmt.Errorf("seal to an HPKE key: %w", err)
	}
	ct, err := s.Seal(binding[:], plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal to an HPKE key: %w", err)
	}
	return append(enc, ct...), nil
}

// OpenBox opens what SealBox made. It returns ErrBox, wrapped, if it does not.
func OpenBox(k *HPKEPrivate, purpose string, binding record.ID, box []byte) ([]byte, error) {
	if k == nil || k.key == nil {
		return nil, errNoKey
	}
	if len(box) < boxOverhead {
		return nil, fmt.Errorf("%w: it has %d bytes, at least %d are needed", ErrBox, len(box), boxOverhead)
	}
	r, err := hpke.NewRecipient(box[:32], k.key, hpke.HKDFSHA256(), hpke.AES256GCM(), []byte("vitalveil "+purpose))
	if err != nil {
		return nil, fmt.Errorf("%w: its key is not valid", ErrBox)
	}
	plaintext, err := r.Open(binding[:], box[32:])
	if err != nil {
		return nil, fmt.Errorf("%w: it was not sealed to this key for this purpose", ErrBox)
	}
	return plaintext, nil
}
