package he

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

// MemberKeys are a member's HPKE keys, one for each purpose, so that whatever is
// once published about a box of one purpose says nothing about boxes of another.
// They print as "[secret]".
type MemberKeys struct {
	redacted
	Seed   *HPKEPrivate // seeds of devices
	Piece  *HPKEPrivate // keys of pieces
	Share  *HPKEPrivate // shares of a query's answer
	Detail *HPKEPrivate // keys of consent details, one for each patient
}

// NewMemberKeys makes fresh keys.
func NewMemberKeys() (*MemberKeys, error) {
	k := &MemberKeys{}
	for _, slot := range k.all() {
		var err error
		if *slot, err = NewHPKEKey(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// memberKeysBytes is the length of MemberKeys.Bytes.
const memberKeysBytes = 4 * 32

// ParseMemberKeys reads the 128 bytes that Bytes returned.
func ParseMemberKeys(b []byte) (*MemberKeys, error) {
	if len(b) != memberKeysBytes {
		return nil, fmt.Errorf("a member's private HPKE keys have %d bytes, not %d", memberKeysBytes, len(b))
	}
	k := &MemberKeys{}
	for i, slot := range k.all() {
		var err error
		if *slot, err = ParseHPKEKey(b[32*i : 32*i+32]); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *MemberKeys) all() []**HPKEPrivate {
	return []**HPKEPrivate{&k.Seed, &k.Piece, &k.Share, &k.Detail}
}

// Bytes returns the private keys, 128 bytes, to be stored as a secret.
func (k *MemberKeys) Bytes() ([]byte, error) {
	var out []byte
	for _, slot := range k.all() {
		b, err := (*slot).Bytes()
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, nil
}

// Enter returns m with the public keys.
func (k *MemberKeys) Enter(m record.Member) record.Member {
	m.SeedKey, m.PieceKey = k.Seed.Public(), k.Piece.Public()
	m.ShareKey, m.DetailKey = k.Share.Public(), k.Detail.Public()
	return m
}

// Of reports whether these are the private keys of m.
func (k *MemberKeys) Of(m record.Member) bool {
	if k == nil || slices.ContainsFunc(k.all(), func(slot **HPKEPrivate) bool { return *slot == nil }) {
		return false
	}
	return slices.EqualFunc(k.Enter(record.Member{}).BoxKeys(), m.BoxKeys(), bytes.Equal)
}
