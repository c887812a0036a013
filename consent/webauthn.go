package consent

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Assertion is what a WebAuthn authenticator signed besides the document.
type Assertion = record.Assertion

// Bounds of an assertion in bytes. Browsers give about 250 bytes of client data;
// authenticators 37 bytes of data, and rarely some extensions.
const (
	MaxClientData        = 2 << 10
	MaxAuthenticatorData = 1 << 10
	minAuthenticatorData = sha256.Size + 1 + 4 // relying party, flags, counter
)

// Challenge is the digest in the form in which a browser is asked to have it
// signed and repeats it in its client data: base64url without padding.
func (d Document) Challenge(network string) string { return challenge(d.Digest(network)) }

func challenge(digest record.ID) string { return base64.RawURLEncoding.EncodeToString(digest[:]) }

// checkAssertion follows section 7.2 of Web Authentication Level 2, as far as it concerns
// a single signature. Left out are the signature counter, which needs state, stays
// zero on synchronised passkeys and protects less than the version of the document
// does; and the results of extensions, none of which is asked for.
func checkAssertion(a *Assertion, parties []record.RelyingParty, digest record.ID, publicKey, sig []byte) error {
	client, err := parseClientData(a.ClientDataJSON)
	if err != nil {
		return fmt.Errorf("%w: client data: %w", record.ErrSignature, err)
	}
	data, err := parseAuthenticatorData(a.AuthenticatorData)
	if err != nil {
		return fmt.Errorf("%w: authenticator data: %w", record.ErrSignature, err)
	}
	if client.challenge != challenge(digest) {
		return fmt.Errorf("%w: the authenticator signed another challenge than this document", record.ErrSignature)
	}
	if err := checkParty(parties, client.origin, data.party); err != nil {
		return fmt.Errorf("%w: %w", record.ErrSignature, err)
	}
	if !data.userPresent || !data.userVerified {
		return fmt.Errorf("%w: the authenticator did not verify its user", record.ErrSignature)
	}
	key, err := record.ParsePublicKey(publicKey)
	if err != nil {
		return fmt.Errorf("%w: %w", record.ErrSignature, err)
	}
	if !ecdsa.VerifyASN1(key, signedBy(a), sig) {
		return fmt.Errorf("%w: it is not by an authenticator with this key over this document", record.ErrSignature)
	}
	return nil
}

// signedBy is the digest that the authenticator's signature is over.
func signedBy(a *Assertion) []byte {
	client := sha256.Sum256(a.ClientDataJSON)
	h := sha256.New()
	h.Write(a.AuthenticatorData)
	h.Write(client[:])
	return h.Sum(nil)
}

// checkParty finds the relying party that the authenticator signed for and
// insists that the page was one of its own.
func checkParty(parties []record.RelyingParty, origin string, hash record.ID) error {
	for _, p := range parties {
		if record.SumID([]byte(p.ID)) != hash {
			continue
		}
		if slices.Contains(p.Origins, origin) {
			return nil
		}
		return fmt.Errorf("origin %q is not one on which patients of this network sign", clip(origin))
	}
	return errors.New("the authenticator signed for a relying party that this network does not have")
}

// clientData is what the browser says about the page that asked for a signature.
type clientData struct {
	challenge string
	origin    string
}

// parseClientData reads the client data of an assertion made by a page for
// itself. Members that are not known are passed over, because browsers add some
// at random to keep readers from relying on a fixed form; a member that is there
// twice, anywhere, is an error, because two readers would see two documents.
func parseClientData(data []byte) (clientData, error) {
	var members map[string]json.RawMessage
	if err := record.DecodeJSON(data, MaxClientData, &members); err != nil {
		return clientData{}, err
	}
	var c clientData
	kind, err := textMember(members, "type")
	if err != nil {
		return c, err
	}
	if kind != "webauthn.get" {
		return c, fmt.Errorf("type is %q, of an assertion it is \"webauthn.get\"", clip(kind))
	}
	if c.challenge, err = textMember(members, "challenge"); err != nil {
		return c, err
	}
	if c.origin, err = textMember(members, "origin"); err != nil {
		return c, err
	}
	if cross, ok := members["crossOrigin"]; ok && string(cross) != "false" {
		return c, errors.New("crossOrigin is not false: the page was a frame in somebody else's")
	}
	if _, ok := members["topOrigin"]; ok {
		return c, errors.New("topOrigin is there: the page was a frame in somebody else's")
	}
	return c, nil
}

func textMember(members map[string]json.RawMessage, name string) (string, error) {
	raw, ok := members[name]
	if !ok || len(raw) == 0 || raw[0] != '"' {
		return "", fmt.Errorf("%s is not a text", name)
	}
	var s string
	return s, json.Unmarshal(raw, &s)
}

// Flags of authenticator data (Web Authentication Level 3, section 6.1). Bits 1
// and 5 are reserved and may be set.
const (
	flagUserPresent    = 1 << 0
	flagUserVerified   = 1 << 2
	flagBackupEligible = 1 << 3
	flagBackedUp       = 1 << 4
	flagAttested       = 1 << 6
	flagExtensions     = 1 << 7
)

// authenticatorData is what the authenticator says about its signature.
type authenticatorData struct {
	party        record.ID // SHA-256 of the relying party's id
	userPresent  bool
	userVerified bool
}

// parseAuthenticatorData reads the data of an assertion: 37 bytes and, only when
// its flag is set, one CBOR map of extension results after them.
func parseAuthenticatorData(b []byte) (authenticatorData, error) {
	var a authenticatorData
	if len(b) < minAuthenticatorData || len(b) > MaxAuthenticatorData {
		return a, fmt.Errorf("it has %d bytes, %d to %d are possible", len(b), minAuthenticatorData, MaxAuthenticatorData)
	}
	copy(a.party[:], b)
	flags, rest := b[sha256.Size], b[minAuthenticatorData:]
	a.userPresent, a.userVerified = flags&flagUserPresent != 0, flags&flagUserVerified != 0
	switch {
	case flags&flagAttested != 0:
		return a, errors.New("it carries a new credential, which an assertion does not")
	case flags&flagBackedUp != 0 && flags&flagBackupEligible == 0:
		return a, errors.New("it is of a credential that is backed up and cannot be")
	case flags&flagExtensions != 0:
		return a, checkExtensions(rest)
	case len(rest) != 0:
		return a, fmt.Errorf("%d bytes follow that no flag announces", len(rest))
	}
	return a, nil
}

var extensions = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		MaxNestedLevels: 8, MaxMapPairs: 16, MaxArrayElements: 64,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// checkExtensions insists on exactly one CBOR map with names as keys; what it
// says counts for nothing.
func checkExtensions(b []byte) error {
	const majorMap = 5
	if len(b) == 0 || b[0]>>5 != majorMap {
		return errors.New("extensions are announced and no map follows")
	}
	var results map[string]cbor.RawMessage
	if err := extensions.Unmarshal(b, &results); err != nil {
		return fmt.Errorf("extensions: %w", err)
	}
	return nil
}
