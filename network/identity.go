package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Identity is a member of an MSP: its certificate and the key that signs as it.
// It is a secret and prints without the key.
type Identity struct {
	MSP         string
	Certificate []byte // PEM, one certificate
	Key         *ecdsa.PrivateKey

	files *files // of one that FollowIdentity read
}

// String names the MSP only; the other printing methods do the same.
func (id Identity) String() string { return fmt.Sprintf("identity of %q (key redacted)", id.MSP) }

// GoString redacts the key.
func (id Identity) GoString() string { return id.String() }

// LogValue redacts the key.
func (id Identity) LogValue() slog.Value { return slog.StringValue(id.String()) }

// MarshalText redacts the key; Save is the way to store an identity.
func (id Identity) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// Creator returns the serialized identity that Fabric puts into signature
// headers: MSP and certificate.
func (id Identity) Creator() ([]byte, error) {
	return proto.Marshal(&msp.SerializedIdentity{Mspid: id.MSP, IdBytes: id.Certificate})
}

// Leaf parses the certificate.
func (id Identity) Leaf() (*x509.Certificate, error) { return parseCertificate(id.Certificate) }

// Sign signs SHA-256 of message as Fabric does: ECDSA in ASN.1 DER with the
// lower of the two possible s.
func (id Identity) Sign(message []byte) ([]byte, error) {
	if id.Key == nil {
		return nil, errors.New("identity has no key")
	}
	digest := sha256.Sum256(message)
	r, s, err := ecdsa.Sign(rand.Reader, id.Key, digest[:])
	if err != nil {
		return nil, err
	}
	if s.Cmp(halfOrder) > 0 {
		s.Sub(elliptic.P256().Params().N, s)
	}
	return asn1.Marshal(derSignature{r, s})
}

type derSignature struct{ R, S *big.Int }

var halfOrder = new(big.Int).Rsh(elliptic.P256().Params().N, 1)

// ErrSignature says that a signature is not by the certificate's key over the
// message. Nothing the caller can do makes it valid: refuse the message.
var ErrSignature = errors.New("signature does not verify")

// VerifySignature checks a signature that Identity.Sign made. High s is refused
// as Fabric refuses it: it would give one message two valid signatures.
func VerifySignature(key *ecdsa.PublicKey, message, sig []byte) error {
	var v derSignature
	rest, err := asn1.Unmarshal(sig, &v)
	if err != nil || len(rest) != 0 {
		return fmt.Errorf("%w: not an ASN.1 ECDSA signature", ErrSignature)
	}
	if v.S.Cmp(halfOrder) > 0 {
		return fmt.Errorf("%w: s is not the lower one", ErrSignature)
	}
	digest := sha256.Sum256(message)
	if !ecdsa.Verify(key, digest[:], v.R, v.S) {
		return ErrSignature
	}
	return nil
}

// check makes sure that key, certificate and MSP belong together.
func (id Identity) check() error {
	leaf, err := id.Leaf()
	if err != nil {
		return err
	}
	key, err := p256Key(leaf)
	if err != nil {
		return err
	}
	if id.Key == nil || !id.Key.PublicKey.Equal(key) {
		return errors.New("the key is not the certificate's")
	}
	org, err := organisation(leaf)
	if err != nil {
		return err
	}
	if org != id.MSP {
		return fmt.Errorf("the certificate is for MSP %q, not %q", org, id.MSP)
	}
	return nil
}

func (id Identity) tlsCertificate() (tls.Certificate, error) {
	if err := id.check(); err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := id.Leaf()
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: id.Key, Leaf: leaf}, nil
}

// maxCertificate bounds the PEM form of a certificate, in bytes.
const maxCertificate = 16 << 10

func parseCertificate(pemBytes []byte) (*x509.Certificate, error) {
	if len(pemBytes) > maxCertificate {
		return nil, fmt.Errorf("certificate has %d bytes, the limit is %d", len(pemBytes), maxCertificate)
	}
	block, rest := pem.Decode(pemBytes)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) != 0 {
		return nil, errors.New("not exactly one PEM certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

func p256Key(c *x509.Certificate) (*ecdsa.PublicKey, error) {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the certificate's key is not on P-256")
	}
	return key, nil
}

// organisation returns the MSP that a certificate names: its one organisation.
func organisation(c *x509.Certificate) (string, error) {
	if len(c.Subject.Organization) != 1 || c.Subject.Organization[0] == "" {
		return "", errors.New("the certificate does not name exactly one organisation")
	}
	return c.Subject.Organization[0], nil
}
