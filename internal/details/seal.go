package details

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/vitalveil/vitalveil/internal/record"
)

// A sealed value is
//
//	Magic ‖ iv (16 bytes) ‖ AES-256-CTR(encryption key, iv, padded value)
//	iv = HMAC-SHA-256(authentication key, place ‖ padded value), cut to 16 bytes
//
// the construction SIV of Rogaway and Shrimpton ("A Provable-Security Treatment of
// the Key-Wrap Problem", EUROCRYPT 2006, section 4), with HMAC as the pseudorandom
// function and counter mode as the cipher; RFC 5297 is the same with CMAC. It is
// deterministic and needs no nonce: equal values in one place seal to equal bytes,
// and anything else to unrelated ones. Place is a digest of network, patient and
// name, 32 bytes, so what is authenticated reads in one way only. Both keys are
// derived from the patient's with HKDF (RFC 5869).
//
// Values are padded to whole blocks of 256 bytes (a byte 0x80, then zeros), so that
// what is kept for ever says little about their length.

// Magic begins every sealed value.
const Magic = "vvd1"

const (
	ivBytes   = 16
	padBlock  = 256
	padMark   = 0x80
	maxSealed = 1 << 20 // bytes
)

// ErrSealed says that bytes are no value that was sealed with this key for this
// place.
var ErrSealed = errors.New("the sealed value does not open")

// Seal seals a private value of a patient under the name that it is stored under.
func (k Key) Seal(network string, patient record.ID, name string, value []byte) ([]byte, error) {
	o, err := k.Opener()
	if err != nil {
		return nil, err
	}
	padded, place := pad(value), placeOf(network, patient, name)
	if len(padded) > maxSealed {
		return nil, errors.New("the private value is too long to be sealed")
	}
	iv := o.iv(place, padded)
	out := append([]byte(Magic), iv...)
	return append(out, o.stream(iv, padded)...), nil
}

// Open is the inverse of Seal. The error is ErrSealed.
func (k Key) Open(network string, patient record.ID, name string, sealed []byte) ([]byte, error) {
	o, err := k.Opener()
	if err != nil {
		return nil, err
	}
	return o.Open(network, patient, name, sealed)
}

// Open is Key.Open.
func (o Opener) Open(network string, patient record.ID, name string, sealed []byte) ([]byte, error) {
	body, ok := bytes.CutPrefix(sealed, []byte(Magic))
	if !ok || len(body) < ivBytes+padBlock || len(body) > ivBytes+maxSealed || (len(body)-ivBytes)%padBlock != 0 {
		return nil, ErrSealed
	}
	iv := body[:ivBytes]
	padded := o.stream(iv, body[ivBytes:])
	if !hmac.Equal(iv, o.iv(placeOf(network, patient, name), padded)) {
		return nil, ErrSealed
	}
	return unpad(padded)
}

// Opener is a key that is ready to open many values: the two keys that are derived from
// it. It is as secret.
type Opener struct {
	auth  []byte
	block cipher.Block
}

// Format keeps what is derived out of logs, as Key does.
func (Opener) Format(f fmt.State, _ rune) { fmt.Fprint(f, hidden) }

// Opener derives what opens the key's values.
func (k Key) Opener() (Opener, error) {
	both, err := hkdf.Extract(sha256.New, k.secret[:], nil)
	if err != nil {
		return Opener{}, err
	}
	auth, err := hkdf.Expand(sha256.New, both, "vitalveil details authentication v1", 32)
	if err != nil {
		return Opener{}, err
	}
	enc, err := hkdf.Expand(sha256.New, both, "vitalveil details encryption v1", 32)
	if err != nil {
		return Opener{}, err
	}
	block, err := aes.NewCipher(enc)
	if err != nil {
		return Opener{}, err
	}
	return Opener{auth, block}, nil
}

// placeOf is what a value is bound to.
func placeOf(network string, patient record.ID, name string) record.ID {
	return record.Digest(domainValue, network, []any{patient, name})
}

func (o Opener) iv(place record.ID, padded []byte) []byte {
	mac := hmac.New(sha256.New, o.auth)
	mac.Write(place[:])
	mac.Write(padded)
	return mac.Sum(nil)[:ivBytes]
}

func (o Opener) stream(iv, in []byte) []byte {
	out := make([]byte, len(in))
	cipher.NewCTR(o.block, iv).XORKeyStream(out, in)
	return out
}

func pad(value []byte) []byte {
	out := make([]byte, (len(value)/padBlock+1)*padBlock)
	copy(out, value)
	out[len(value)] = padMark
	return out
}

func unpad(padded []byte) ([]byte, error) {
	value := bytes.TrimRight(padded, "\x00")
	if len(value) == 0 || value[len(value)-1] != padMark || len(padded)-len(value) >= padBlock {
		return nil, ErrSealed
	}
	return value[:len(value)-1], nil
}
