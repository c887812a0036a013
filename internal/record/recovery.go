package record

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// RecoveryCode is the secret that a patient keeps on paper: 128 random bits, from
// which the recovery key of a network follows. It is a secret and prints as
// "[recovery code]"; Text is for showing it to its patient.
type RecoveryCode struct{ secret [16]byte }

// NewRecoveryCode makes a fresh code.
func NewRecoveryCode() RecoveryCode {
	var c RecoveryCode
	rand.Read(c.secret[:])
	return c
}

// The text of a code is seven groups of four digits of Crockford's base 32
// (without I, L, O and U): the code's 128 bits, then 12 bits of a check sum.
const (
	crockford  = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeDigits = 28
	codeGroup  = 4
	maxCode    = 64 // with separators
)

// Text is the code for its patient to write down, such as
// "0000-0000-0000-0000-0000-0000-0000".
func (c RecoveryCode) Text() string {
	sum := c.checkSum()
	plain := append(c.secret[:], byte(sum>>4), byte(sum<<4))
	var text []byte
	for digit := range codeDigits {
		if digit > 0 && digit%codeGroup == 0 {
			text = append(text, '-')
		}
		var v byte
		for bit := digit * 5; bit < digit*5+5; bit++ {
			v = v<<1 | plain[bit/8]>>(7-bit%8)&1
		}
		text = append(text, crockford[v])
	}
	return string(text)
}

// checkSum finds a mistake in writing with 4095 of 4096 chances.
func (c RecoveryCode) checkSum() uint16 {
	sum := sha256.Sum256(append([]byte("vitalveil recovery-code/v1"), c.secret[:]...))
	return uint16(sum[0])<<4 | uint16(sum[1])>>4
}

// ErrRecoveryCode says that a text is not a recovery code: ask to read it again.
var ErrRecoveryCode = errors.New("this is not a recovery code as it was written down; compare it digit by digit")

// ParseRecoveryCode reads the text of a code as people write it: in either case,
// with or without hyphens and spaces, with O for 0 and I or L for 1.
func ParseRecoveryCode(text string) (RecoveryCode, error) {
	var c RecoveryCode
	if len(text) > maxCode {
		return c, ErrRecoveryCode
	}
	var plain [18]byte // code, check sum and four bits that stay zero
	digits := 0
	for _, r := range strings.ToUpper(text) {
		switch r {
		case '-', ' ':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		v := strings.IndexRune(crockford, r)
		if v < 0 || digits == codeDigits {
			return c, ErrRecoveryCode
		}
		for i := range 5 {
			bit := digits*5 + i
			plain[bit/8] |= byte(v) >> (4 - i) & 1 << (7 - bit%8)
		}
		digits++
	}
	copy(c.secret[:], plain[:])
	sum := uint16(plain[16])<<4 | uint16(plain[17])>>4
	if digits != codeDigits || sum != c.checkSum() {
		return RecoveryCode{}, ErrRecoveryCode
	}
	return c, nil
}

// Key derives the P-256 key that recovers a patient of this network: the first
// candidate from HKDF-SHA256 (RFC 5869; the code as key material, no salt) that
// is a scalar in [1, n-1], as FIPS 186-5, A.2.2 tests candidates. The code is
// uniform, so no stretching is needed. Networks get keys that nobody can link.
func (c RecoveryCode) Key(network string) (*ecdsa.PrivateKey, error) {
	for try := range 8 { // one candidate in 2^32 is refused
		info := fmt.Sprintf("vitalveil recovery-key/v1|%d|%s", try, network)
		scalar, err := hkdf.Key(sha256.New, c.secret[:], nil, info, 32)
		if err != nil {
			return nil, err
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("record: no recovery key follows from this code")
}

const redacted = "[recovery code]"

// String implements fmt.Stringer without the secret.
func (RecoveryCode) String() string { return redacted }

// GoString implements fmt.GoStringer without the secret.
func (RecoveryCode) GoString() string { return redacted }

// LogValue implements slog.LogValuer without the secret.
func (RecoveryCode) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler: no document carries a code.
func (RecoveryCode) MarshalText() ([]byte, error) { return []byte(redacted), nil }
