package network

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/msp"
	"google.golang.org/protobuf/proto"
)

// Trust holds the root certificates of a consortium and says whether a
// certificate is a member's. It may be used by many goroutines at once.
type Trust struct {
	roots map[string]root

	mu    sync.Mutex
	known map[[32]byte]*Member // creators whose chain has been checked
}

type root struct {
	cert *x509.Certificate
	pool *x509.CertPool
}

// Member is a creator whose certificate chains to its MSP's root.
type Member struct {
	MSP         string
	Certificate []byte // PEM
	Key         *ecdsa.PublicKey
	leaf        *x509.Certificate
}

// ErrMember says that a certificate is not that of a member at the given time.
// The caller refuses whatever it vouches for.
var ErrMember = errors.New("not a certificate of a member")

// maxKnown bounds the cache of checked creators; it is emptied when full.
const maxKnown = 4096

// NewTrust parses the root certificate (PEM) of each MSP.
func NewTrust(roots map[string][]byte) (*Trust, error) {
	if len(roots) == 0 {
		return nil, errors.New("no root certificates: nobody would be a member")
	}
	t := &Trust{roots: map[string]root{}, known: map[[32]byte]*Member{}}
	for name, pemBytes := range roots {
		cert, err := parseCertificate(pemBytes)
		if err != nil {
			return nil, fmt.Errorf("root of %q: %w", name, err)
		}
		if err := checkRoot(name, cert); err != nil {
			return nil, fmt.Errorf("root of %q: %w", name, err)
		}
		pool := x509.NewCertPool()
		pool.AddCert(cert)
		t.roots[name] = root{cert, pool}
	}
	return t, nil
}

func checkRoot(name string, cert *x509.Certificate) error {
	if !mspPattern.MatchString(name) {
		return errors.New("the MSP identifier is malformed")
	}
	org, err := organisation(cert)
	if err != nil {
		return err
	}
	if org != name {
		return fmt.Errorf("the certificate is for %q", org)
	}
	if !cert.IsCA {
		return errors.New("the certificate is not an authority's")
	}
	_, err = p256Key(cert)
	return err
}

// Verify checks that cert is a certificate of the MSP and valid at the time.
// Only the root of that very MSP counts.
func (t *Trust) Verify(name string, cert *x509.Certificate, at time.Time) error {
	r, ok := t.roots[name]
	if !ok {
		return fmt.Errorf("%w: MSP %q is not in the consortium", ErrMember, name)
	}
	org, err := organisation(cert)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMember, err)
	}
	if org != name {
		return fmt.Errorf("%w: it names %q, not %q", ErrMember, org, name)
	}
	if _, err := p256Key(cert); err != nil {
		return fmt.Errorf("%w: %w", ErrMember, err)
	}
	if cert.IsCA || cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return fmt.Errorf("%w: it may not sign messages", ErrMember)
	}
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: r.pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMember, err)
	}
	return nil
}

// Creator parses a serialized identity and checks that it is a member's at the
// time.
func (t *Trust) Creator(creator []byte, at time.Time) (*Member, error) {
	sum := sha256.Sum256(creator)
	t.mu.Lock()
	m := t.known[sum]
	t.mu.Unlock()
	if m != nil {
		return m, t.inTime(m, at)
	}
	m, err := t.parseCreator(creator, at)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= maxKnown {
		clear(t.known)
	}
	t.known[sum] = m
	return m, nil
}

// inTime repeats the one check of a known creator that depends on the time.
func (t *Trust) inTime(m *Member, at time.Time) error {
	r := t.roots[m.MSP].cert
	for _, c := range []*x509.Certificate{m.leaf, r} {
		if at.Before(c.NotBefore) || at.After(c.NotAfter) {
			return fmt.Errorf("%w: %s is valid from %s to %s", ErrMember, c.Subject.CommonName,
				c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339))
		}
	}
	return nil
}

func (t *Trust) parseCreator(creator []byte, at time.Time) (*Member, error) {
	if len(creator) > maxCertificate {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMember, len(creator), maxCertificate)
	}
	sid := &msp.SerializedIdentity{}
	if err := proto.Unmarshal(creator, sid); err != nil || len(sid.ProtoReflect().GetUnknown()) != 0 {
		return nil, fmt.Errorf("%w: not a serialized identity", ErrMember)
	}
	leaf, err := parseCertificate(sid.IdBytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMember, err)
	}
	if err := t.Verify(sid.Mspid, leaf, at); err != nil {
		return nil, err
	}
	key, err := p256Key(leaf)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMember, err)
	}
	return &Member{MSP: sid.Mspid, Certificate: sid.IdBytes, Key: key, leaf: leaf}, nil
}
