package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"

	"github.com/vitalveil/vitalveil/network/site"
)

// Names of what is in a gateway's directory.
const (
	ConfigFile = "gateway.json"
	stateDir   = "state"
	blobsDir   = "blobs"
	vaultKey   = "vault.key"
)

// Config is DIR/gateway.json. Relative paths begin at DIR.
type Config struct {
	site.Service
	// Network is the file with the network's document.
	Network site.Path `json:"network"`
	// Listen are the addresses (IP:port) of the REST interface, which is HTTP: put a
	// server that terminates TLS before those that others than this machine can reach.
	Listen []string          `json:"listen"`
	Ledger site.LedgerConfig `json:"ledger"`
	// Institution is the directory of the institution of the gateway's organisation on
	// this machine. Its process gives the keys of what patients' consents say. Empty: the
	// gateway cannot show what they say, and takes them all the same.
	Institution site.Path `json:"institution,omitempty"`
	// Identity is the directory with the identity by which the gateway submits; empty
	// stands for identity.
	Identity site.Path `json:"identity,omitempty"`
	// Blobs is the place of sealed rows and seeds: file:///DIR, or
	// s3://BUCKET?region=R&endpoint=https://HOST. Empty stands for the directory blobs.
	Blobs string `json:"blobs,omitempty"`
	// BlobKeys has the keys of an S3 bucket: {"access_key": "", "secret_key": ""}. They
	// are never looked for elsewhere.
	BlobKeys site.Secret `json:"blob_keys,omitempty"`
	// State is the directory of the journal and of checkpoints; empty stands for state.
	State site.Path `json:"state,omitempty"`
	// VaultKey is the file with the key that seals checkpoints, which is made with them;
	// empty stands for vault.key.
	VaultKey site.Secret `json:"vault_key,omitempty"`
}

// Load reads the configuration in a gateway's directory.
func Load(dir string) (Config, error) {
	var c Config
	if err := site.Load(filepath.Join(dir, ConfigFile), &c); err != nil {
		return c, fmt.Errorf("%w (\"vitalveil gateway init\" makes one)", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return c, err
	}
	for path, name := range map[*site.Path]string{&c.Identity: site.IdentityDir, &c.State: stateDir} {
		if *path == "" {
			*path = site.Path(filepath.Join(dir, name))
		}
	}
	if c.VaultKey == "" {
		c.VaultKey = site.Secret(filepath.Join(dir, vaultKey))
	}
	if c.Blobs == "" {
		c.Blobs = fileURL(filepath.Join(dir, blobsDir))
	}
	return c, nil
}

// fileURL names a directory.
func fileURL(dir string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String()
}

// Check implements what site.Load asks for.
func (c Config) Check() error {
	if c.Network == "" || len(c.Listen) == 0 {
		return errors.New("network and listen are needed")
	}
	for _, l := range c.Listen {
		if _, err := netip.ParseAddrPort(l); err != nil {
			return fmt.Errorf("listen: %q is not an IP address with a port, such as 127.0.0.1:8080", l)
		}
	}
	return errors.Join(c.Service.Check(), c.Ledger.Check())
}
