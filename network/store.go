package network

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/internal/state"
)

// File names of a stored identity or authority.
const (
	certFile   = "cert.pem"
	keyFile    = "key.pem"
	caCertFile = "ca-cert.pem"
	caKeyFile  = "ca-key.pem"
)

// Save writes the identity into dir (made with mode 0700) as cert.pem and
// key.pem (mode 0600).
func (id Identity) Save(dir string) error { return id.save(dir, certFile, keyFile) }

// LoadIdentity reads what Identity.Save wrote. It refuses a key that other
// users may read and a key that is not the certificate's.
func LoadIdentity(dir string) (Identity, error) { return loadIdentity(dir, certFile, keyFile) }

// Save writes the authority into dir (made with mode 0700) as ca-cert.pem and
// ca-key.pem (mode 0600).
func (ca *CA) Save(dir string) error { return ca.root.save(dir, caCertFile, caKeyFile) }

// LoadCA reads what CA.Save wrote, with the checks of LoadIdentity.
func LoadCA(dir string) (*CA, error) {
	root, err := loadIdentity(dir, caCertFile, caKeyFile)
	if err != nil {
		return nil, err
	}
	return newCA(root)
}

func (id Identity) save(dir, cert, key string) error {
	if err := id.check(); err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(id.Key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := state.WriteFile(filepath.Join(dir, key), keyPEM); err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(dir, cert), id.Certificate)
}

func loadIdentity(dir, cert, key string) (Identity, error) {
	certPEM, err := readFile(filepath.Join(dir, cert), false)
	if err != nil {
		return Identity{}, err
	}
	keyPEM, err := readFile(filepath.Join(dir, key), true)
	if err != nil {
		return Identity{}, err
	}
	private, err := parseKey(keyPEM)
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w", filepath.Join(dir, key), err)
	}
	leaf, err := parseCertificate(certPEM)
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w", filepath.Join(dir, cert), err)
	}
	org, err := organisation(leaf)
	if err != nil {
		return Identity{}, fmt.Errorf("%s: %w", filepath.Join(dir, cert), err)
	}
	id := Identity{MSP: org, Certificate: certPEM, Key: private}
	if err := id.check(); err != nil {
		return Identity{}, fmt.Errorf("%s: %w", dir, err)
	}
	return id, nil
}

func parseKey(keyPEM []byte) (*ecdsa.PrivateKey, error) {
	block, rest := pem.Decode(keyPEM)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, errors.New("not exactly one PEM private key")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("not a PKCS #8 private key")
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return key, nil
}

func readFile(path string, secret bool) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if secret && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by other users (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCertificate+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxCertificate {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxCertificate)
	}
	return data, nil
}
