package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"regexp"
	"time"
)

// Life times of what a CA issues. Roots live long because a ledger is checked
// against them for as long as it is kept.
const (
	rootLife = 20 * 365 * 24 * time.Hour
	leafLife = 2 * 365 * 24 * time.Hour
	// clockSkew is how far a certificate's start lies in the past, for peers
	// whose clocks are late.
	clockSkew = time.Hour
)

// CA is an organisation's certificate authority. It is a secret and prints
// without the key.
type CA struct {
	root Identity
	cert *x509.Certificate
}

// String names the MSP only; the other printing methods do the same.
func (ca *CA) String() string { return fmt.Sprintf("CA of %q (key redacted)", ca.MSP()) }

// GoString redacts the key.
func (ca *CA) GoString() string { return ca.String() }

// LogValue redacts the key.
func (ca *CA) LogValue() slog.Value { return slog.StringValue(ca.String()) }

// MarshalText redacts the key; Save is the way to store a CA.
func (ca *CA) MarshalText() ([]byte, error) { return []byte(ca.String()), nil }

// MSP returns the organisation whose members the CA issues.
func (ca *CA) MSP() string {
	if ca == nil {
		return ""
	}
	return ca.root.MSP
}

// RootPEM returns the root certificate, which others trust the MSP by.
func (ca *CA) RootPEM() []byte { return append([]byte(nil), ca.root.Certificate...) }

var mspPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// NewCA makes the authority of an organisation. An MSP identifier has 1 to 64
// letters, digits, dots, dashes and underscores.
func NewCA(msp string) (*CA, error) {
	if !mspPattern.MatchString(msp) {
		return nil, fmt.Errorf("%q is not an MSP identifier (1 to 64 of A-Z a-z 0-9 . _ -)", msp)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t, err := template(msp, msp+" root CA", "", rootLife)
	if err != nil {
		return nil, err
	}
	t.IsCA, t.BasicConstraintsValid = true, true
	t.MaxPathLenZero = true // the root issues members and no further authorities
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	certPEM, err := sign(t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return newCA(Identity{MSP: msp, Certificate: certPEM, Key: key})
}

func newCA(root Identity) (*CA, error) {
	cert, err := root.Leaf()
	if err != nil {
		return nil, err
	}
	if !cert.IsCA {
		return nil, errors.New("the certificate is not an authority's")
	}
	return &CA{root: root, cert: cert}, root.check()
}

// Issue makes a new identity of the organisation. ou is its role, such as
// "client", "peer" or "admin". The certificate also serves TLS on loopback.
func (ca *CA) Issue(commonName, ou string) (Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, err
	}
	return ca.certify(commonName, ou, key, leafLife)
}

// Renew makes a certificate for the key and the name of an identity of the
// organisation, with a life of its own: as long as a new one's, or shorter.
func (ca *CA) Renew(id Identity, life time.Duration) (Identity, error) {
	leaf, err := id.Leaf()
	if err != nil {
		return Identity{}, err
	}
	if id.MSP != ca.MSP() {
		return Identity{}, fmt.Errorf("the identity is of %q, the authority of %q", id.MSP, ca.MSP())
	}
	ou := ""
	if len(leaf.Subject.OrganizationalUnit) > 0 {
		ou = leaf.Subject.OrganizationalUnit[0]
	}
	return ca.certify(leaf.Subject.CommonName, ou, id.Key, min(life, leafLife))
}

func (ca *CA) certify(commonName, ou string, key *ecdsa.PrivateKey, life time.Duration) (Identity, error) {
	t, err := template(ca.MSP(), commonName, ou, life)
	if err != nil {
		return Identity{}, err
	}
	t.BasicConstraintsValid = true
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	t.DNSNames = []string{loopbackName}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if t.NotAfter.After(ca.cert.NotAfter) {
		t.NotAfter = ca.cert.NotAfter
	}
	certPEM, err := sign(t, ca.cert, &key.PublicKey, ca.root.Key)
	if err != nil {
		return Identity{}, err
	}
	return Identity{MSP: ca.MSP(), Certificate: certPEM, Key: key}, nil
}

func template(msp, commonName, ou string, life time.Duration) (*x509.Certificate, error) {
	if commonName == "" || len(commonName) > 64 || len(ou) > 64 {
		return nil, errors.New("a common name has 1 to 64 characters, a role at most 64")
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	subject := pkix.Name{CommonName: commonName, Organization: []string{msp}}
	if ou != "" {
		subject.OrganizationalUnit = []string{ou}
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject, NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
	}, nil
}

func sign(t, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
