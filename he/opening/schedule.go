package opening

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Identifiers of RFC 9180 section 7 for the suite of the boxes.
var (
	kemSuite  = []byte{'K', 'E', 'M', 0x00, 0x20}
	hpkeSuite = []byte{'H', 'P', 'K', 'E', 0x00, 0x20, 0x00, 0x01, 0x00, 0x02}
)

// labeledExtract is LabeledExtract of RFC 9180 section 4.
func labeledExtract(suite, salt []byte, label string, ikm []byte) ([]byte, error) {
	return hkdf.Extract(sha256.New, slices.Concat([]byte("HPKE-v1"), suite, []byte(label), ikm), salt)
}

// labeledExpand is LabeledExpand of RFC 9180 section 4.
func labeledExpand(suite, prk []byte, label string, info []byte, length int) ([]byte, error) {
	head := binary.BigEndian.AppendUint16(nil, uint16(length))
	return hkdf.Expand(sha256.New, prk, string(slices.Concat(head, []byte("HPKE-v1"), suite, []byte(label), info)), length)
}

// sharedSecret is ExtractAndExpand of RFC 9180 section 4.1.
func sharedSecret(dh, enc, public []byte) ([]byte, error) {
	prk, err := labeledExtract(kemSuite, nil, "eae_prk", dh)
	if err != nil {
		return nil, err
	}
	return labeledExpand(kemSuite, prk, "shared_secret", slices.Concat(enc, public), 32)
}

// keySchedule is KeySchedule of RFC 9180 section 5.1 in base mode: the key and
// the nonce of the first message.
func keySchedule(shared, info []byte) ([]byte, []byte, error) {
	pskID, err := labeledExtract(hpkeSuite, nil, "psk_id_hash", nil)
	if err != nil {
		return nil, nil, err
	}
	infoHash, err := labeledExtract(hpkeSuite, nil, "info_hash", info)
	if err != nil {
		return nil, nil, err
	}
	context := slices.Concat([]byte{0}, pskID, infoHash)
	secret, err := labeledExtract(hpkeSuite, shared, "secret", nil)
	if err != nil {
		return nil, nil, err
	}
	key, err := labeledExpand(hpkeSuite, secret, "key", context, 32)
	if err != nil {
		return nil, nil, err
	}
	nonce, err := labeledExpand(hpkeSuite, secret, "base_nonce", context, 12)
	return key, nonce, err
}

// context is the cipher of a box and its nonce, given dh and the encapsulated key.
func (a Address) context(dh, enc []byte) (cipher.AEAD, []byte, error) {
	shared, err := sharedSecret(dh, enc, a.public)
	if err != nil {
		return nil, nil, err
	}
	key, nonce, err := keySchedule(shared, []byte(a.info))
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, nonce, err
}
