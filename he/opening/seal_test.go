package opening

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"
)

type sealer struct {
	aead  cipher.AEAD
	nonce []byte
}

func (s sealer) seal(text, aad []byte) []byte { return s.aead.Seal(nil, s.nonce, text, aad) }

func cipherOf(t *testing.T, dh, enc, public []byte) sealer {
	t.Helper()
	shared, err := sharedSecret(dh, enc, public)
	if err != nil {
		t.Fatal(err)
	}
	key, nonce, err := keySchedule(shared)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return sealer{aead, nonce}
}
