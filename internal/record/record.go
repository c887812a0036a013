// Package record defines what the parties sign and what the ledger stores:
// canonical bytes, digests, ES256 signatures, Merkle trees and the documents
// that travel between bridge, gateway, ledger and institutions.
//
// Entry points: Digest turns a typed document into the 32 bytes that are
// signed, Sign and Verify are ES256 over such a digest, Root and VerifyPath are
// the Merkle tree of RFC 6962.
//
// Trust: the package decides nothing. A digest binds domain, network and every
// field, so that a signature made for one purpose or network is worth nothing
// in another; whose key must have signed is for the caller to know.
//
// Promise: the canonical bytes of a domain never change. A new form of a
// document gets a new domain.
package record

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync/atomic"

	"github.com/fxamacker/cbor/v2"
)

// ID is a 32-byte identifier or SHA-256 digest; its text form is 64 lower-case
// hexadecimal digits.
type ID [32]byte

// ParseID reads the text form of an ID; anything else is an error.
func ParseID(s string) (ID, error) {
	var id ID
	return id, id.UnmarshalText([]byte(s))
}

// SumID returns the SHA-256 of b as an ID.
func SumID(b []byte) ID { return sha256.Sum256(b) }

// RandomID returns 32 fresh random bytes.
func RandomID() ID {
	var id ID
	rand.Read(id[:])
	return id
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight digits, for people to read.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether every byte is zero.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders identifiers by their bytes: -1, 0 or 1, as bytes.Compare.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it accepts the canonical
// text form only.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) != 64 {
		return fmt.Errorf("an identifier has 64 hexadecimal digits, not %d characters", len(b))
	}
	for i := range id {
		high, low := digits[b[2*i]], digits[b[2*i+1]]
		if high|low > 0xf {
			return fmt.Errorf("an identifier has lower-case hexadecimal digits only, not %q", b[2*i:2*i+2])
		}
		id[i] = high<<4 | low
	}
	return nil
}

// digits has the value of each lower-case hexadecimal digit, and 0xff elsewhere.
var digits = func() (of [256]byte) {
	for c := range of {
		of[c] = 0xff
	}
	for v, c := range []byte("0123456789abcdef") {
		of[c] = byte(v)
	}
	return of
}()

// Domains of signed documents. Each names one kind of document for ever.
const (
	DomainInception    = "patient-inception/v2"
	DomainEnrolment    = "patient-enrolment/v1"
	DomainVoucher      = "patient-voucher/v1"
	DomainDevice       = "device-enrolment/v1"
	DomainDeviceID     = "device-id/v1"
	DomainConsent      = "consent/v2"
	DomainPointer      = "pointer/v1"
	DomainAvailable    = "available/v1"
	DomainCohortMember = "cohort-member/v1"
	DomainShare        = "share/v2"
	DomainProbe        = "probe/v1"
	DomainRelease      = "release/v2"
)

var canonical = func() cbor.EncMode {
	o := cbor.CoreDetEncOptions()
	o.TextMarshaler = cbor.TextMarshalerNone
	o.NilContainers = cbor.NilContainerAsEmpty // JSON and protobuf cannot tell nil from empty
	m, err := o.EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Digest is SHA-256 over the deterministic CBOR (RFC 8949 section 4.2) of the
// array ["vitalveil", domain, network, v]. It panics if v has a type that CBOR
// cannot encode, which is a mistake in the program and not in its input.
func Digest(domain, network string, v any) ID {
	b, err := canonical.Marshal([]any{"vitalveil", domain, network, v})
	if err != nil {
		panic(fmt.Sprintf("record: %s cannot be encoded: %v", domain, err))
	}
	return sha256.Sum256(b)
}

// ErrSignature says that a signature is not the named key's over the document.
// Nothing the caller can do makes it valid: refuse the document.
var ErrSignature = errors.New("signature does not verify")

// PublicKeyBytes returns the 33-byte compressed SEC 1 form of a P-256 key, and
// nil for any other key, which no check accepts.
func PublicKeyBytes(k *ecdsa.PublicKey) []byte {
	if k == nil || k.Curve != elliptic.P256() {
		return nil
	}
	point, err := k.Bytes() // 4 || x || y
	if err != nil {
		return nil
	}
	return append([]byte{2 | point[64]&1}, point[1:33]...)
}

// recent has the keys that were read last, by a byte of theirs: one document after
// another is checked with the same keys, and to decompress a point takes a third as
// long as to verify a signature.
var recent [256]atomic.Pointer[parsedKey]

type parsedKey struct {
	point [33]byte
	key   ecdsa.PublicKey
}

// ParsePublicKey reads a 33-byte compressed P-256 point.
func ParsePublicKey(b []byte) (*ecdsa.PublicKey, error) {
	if len(b) != 33 {
		return nil, fmt.Errorf("a P-256 public key has 33 bytes, not %d", len(b))
	}
	place := &recent[b[32]]
	if p := place.Load(); p != nil && p.point == [33]byte(b) {
		key := p.key
		return &key, nil
	}
	key, err := decompress(b)
	if err != nil {
		return nil, err
	}
	place.Store(&parsedKey{[33]byte(b), *key})
	return key, nil
}

func decompress(b []byte) (*ecdsa.PublicKey, error) {
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), b)
	if x == nil {
		return nil, errors.New("not a point of P-256")
	}
	point := make([]byte, 65)
	point[0] = 4
	x.FillBytes(point[1:33])
	y.FillBytes(point[33:])
	return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
}

// Sign makes an ES256 signature (r || s, 64 bytes) over a digest.
func Sign(key *ecdsa.PrivateKey, digest ID) ([]byte, error) {
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, err
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return sig, nil
}

// Verify checks an ES256 signature by the compressed public key over a digest.
// It returns ErrSignature, wrapped, when the signature is not valid.
func Verify(publicKey []byte, digest ID, sig []byte) error {
	k, err := ParsePublicKey(publicKey)
	if err != nil {
		return err
	}
	if len(sig) != 64 {
		return fmt.Errorf("%w: it has %d bytes, ES256 has 64", ErrSignature, len(sig))
	}
	if !ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return ErrSignature
	}
	return nil
}

// Repeats reports whether a list has something twice. Lists in documents are
// short.
func Repeats(list []string) bool {
	for i, s := range list {
		if slices.Contains(list[:i], s) {
			return true
		}
	}
	return false
}
