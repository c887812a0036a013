package network

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// loopbackName is the host name that every certificate serves.
const loopbackName = "localhost"

// ServerTLS is the TLS 1.3 configuration of a server that only members of the
// MSPs in roots may reach. PeerMSP says which of them a connection is. Each
// connection shows the certificate that is current when it is made.
func ServerTLS(id Identity, roots map[string][]byte) (*tls.Config, error) {
	trust, err := tlsParts(id, roots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, r := range trust.roots {
		pool.AddCert(r.cert)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return id.Show() },
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      pool,
		// The pool alone would let one organisation's CA name another.
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := trust.peer(s)
			return err
		},
	}, nil
}

// ClientTLS is the TLS 1.3 configuration of a client that talks to a server of
// expectedMSP on loopback and to no one else.
func ClientTLS(id Identity, roots map[string][]byte, expectedMSP string) (*tls.Config, error) {
	trust, err := tlsParts(id, roots)
	if err != nil {
		return nil, err
	}
	r, ok := trust.roots[expectedMSP]
	if !ok {
		return nil, fmt.Errorf("no root certificate for MSP %q", expectedMSP)
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return id.Show() },
		RootCAs:              r.pool,
		ServerName:           loopbackName,
		VerifyConnection: func(s tls.ConnectionState) error {
			got, err := trust.peer(s)
			if err != nil {
				return err
			}
			if got != expectedMSP {
				return fmt.Errorf("the server is of MSP %q, not %q", got, expectedMSP)
			}
			return nil
		},
	}, nil
}

func tlsParts(id Identity, roots map[string][]byte) (*Trust, error) {
	if _, err := id.Show(); err != nil {
		return nil, err
	}
	return NewTrust(roots)
}

// peer returns the MSP of the other side, checked under that MSP's own root.
func (t *Trust) peer(s tls.ConnectionState) (string, error) {
	if len(s.PeerCertificates) == 0 {
		return "", errors.New("the peer showed no certificate")
	}
	org, err := organisation(s.PeerCertificates[0])
	if err != nil {
		return "", err
	}
	return org, t.Verify(org, s.PeerCertificates[0], time.Now())
}

// PeerMSP returns the MSP of the other side of a connection that was made with
// ServerTLS or ClientTLS. A connection whose peer was not verified is an error.
func PeerMSP(s tls.ConnectionState) (string, error) {
	if !s.HandshakeComplete || len(s.VerifiedChains) == 0 {
		return "", errors.New("the peer is not authenticated")
	}
	return organisation(s.PeerCertificates[0])
}
