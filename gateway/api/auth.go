package api

import (
	"crypto/ecdsa"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// Authorization is the content of the Authorization header.
type Authorization struct {
	Kind      string // PartyDevice, PartyPatient or PartyMember
	Name      string // identifier or MSP
	Time      int64  // Unix seconds, wall clock
	Signature []byte // ES256, 64 bytes
}

// Party is the signer's name as it is signed.
func (a Authorization) Party() string { return a.Kind + ":" + a.Name }

// MaxHeader bounds the Authorization header in bytes.
const MaxHeader = 512

// ErrAuthorization says that an Authorization header does not have the form of
// this scheme.
var ErrAuthorization = errors.New(`the Authorization header must be: Vitalveil party="...", time="...", signature="..."`)

// String returns the header's value; ParseAuthorization reads exactly this form.
func (a Authorization) String() string {
	return fmt.Sprintf(`Vitalveil party="%s", time="%d", signature="%s"`,
		a.Party(), a.Time, base64.RawURLEncoding.EncodeToString(a.Signature))
}

// ParseAuthorization reads the header's value. It is strict: one form, in this
// order, without escapes, so that no two texts mean the same.
func ParseAuthorization(header string) (Authorization, error) {
	var a Authorization
	if len(header) > MaxHeader {
		return a, fmt.Errorf("%w: it has more than %d bytes", ErrAuthorization, MaxHeader)
	}
	rest, ok := strings.CutPrefix(header, `Vitalveil party="`)
	party, rest, ok2 := strings.Cut(rest, `", time="`)
	seconds, rest, ok3 := strings.Cut(rest, `", signature="`)
	sig, ok4 := strings.CutSuffix(rest, `"`)
	if !ok || !ok2 || !ok3 || !ok4 {
		return a, ErrAuthorization
	}
	var err error
	a.Kind, a.Name, err = parseParty(party)
	if err != nil {
		return Authorization{}, fmt.Errorf("%w: %w", ErrAuthorization, err)
	}
	a.Time, err = strconv.ParseInt(seconds, 10, 64)
	if err != nil || strconv.FormatInt(a.Time, 10) != seconds {
		return Authorization{}, fmt.Errorf("%w: time is not a whole number of seconds", ErrAuthorization)
	}
	a.Signature, err = base64.RawURLEncoding.Strict().DecodeString(sig)
	if err != nil || len(a.Signature) != 64 || strings.ContainsAny(sig, "\r\n") {
		return Authorization{}, fmt.Errorf("%w: the signature is not 64 bytes in base64url without padding", ErrAuthorization)
	}
	return a, nil
}

func parseParty(party string) (string, string, error) {
	kind, name, _ := strings.Cut(party, ":")
	switch kind {
	case PartyDevice, PartyPatient:
		_, err := record.ParseID(name)
		return kind, name, err
	case PartyMember:
		return kind, name, checkMSP(name)
	}
	return "", "", errors.New("party is none of device:<id>, patient:<id>, member:<msp>")
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

// RequestDigest is what the party signs. Target is the path with its query, as
// it is on the request line.
func RequestDigest(network, method, target string, body []byte, party string, seconds int64) record.ID {
	return record.Digest(record.DomainRequest, network,
		[]any{method, target, record.SumID(body), party, seconds})
}

// Authorize sets the Authorization header of a request with this body.
func (s *Signer) Authorize(r *http.Request, network string, body []byte, now time.Time) error {
	kind, name, err := parseParty(s.Party)
	if err != nil {
		return err
	}
	a := Authorization{Kind: kind, Name: name, Time: now.Unix()}
	a.Signature, err = record.Sign(s.Key, RequestDigest(network, r.Method, r.URL.RequestURI(), body, s.Party, a.Time))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", a.String())
	return nil
}
