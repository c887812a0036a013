package api

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Kinds of parties that sign requests.
const (
	PartyDevice  = "device"
	PartyPatient = "patient"
	PartyMember  = "member"
)

// DeviceParty names a device as the signer of requests.
func DeviceParty(id record.ID) string { return PartyDevice + ":" + id.String() }

// PatientParty names a patient as the signer of requests.
func PatientParty(id record.ID) string { return PartyPatient + ":" + id.String() }

// MemberParty names a member of the consortium as the signer of requests.
func MemberParty(msp string) string { return PartyMember + ":" + msp }

// Party is who signs requests. The zero value is nobody.
type Party struct {
	Kind string // PartyDevice, PartyPatient or PartyMember
	Name string // identifier or MSP
}

// String is the party as it stands in a signature's keyid.
func (p Party) String() string { return p.Kind + ":" + p.Name }

// Signer signs requests as a party: Party is made by DeviceParty, PatientParty
// or MemberParty, Key is the private key that the ledger knows for it.
type Signer struct {
	Party string
	Key   *ecdsa.PrivateKey
}

// String names the party and not the key.
func (s Signer) String() string { return fmt.Sprintf("signer %q (key redacted)", s.Party) }

// GoString is String, for %#v.
func (s Signer) GoString() string { return s.String() }

// LogValue is String, for structured logs.
func (s Signer) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, for JSON and the like.
func (s Signer) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// parseParty reads a keyid. It is strict: no two texts mean the same party.
func parseParty(keyid string) (Party, error) {
	kind, name, _ := strings.Cut(keyid, ":")
	switch kind {
	case PartyDevice, PartyPatient:
		_, err := record.ParseID(name)
		return Party{kind, name}, err
	case PartyMember:
		return Party{kind, name}, checkMSP(name)
	}
	return Party{}, errors.New("it is none of device:<id>, patient:<id>, member:<msp>")
}

func checkMSP(name string) error {
	if len(name) < 1 || len(name) > 64 {
		return errors.New("an MSP identifier has 1 to 64 characters")
	}
	for _, c := range []byte(name) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
		if !ok {
			return fmt.Errorf("an MSP identifier has letters, digits, dots, hyphens and underscores only, not %q", c)
		}
	}
	return nil
}
