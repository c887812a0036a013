package institution

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/vitalveil/vitalveil/network/site"
)

// Names of what is in an institution's directory, beside keys (package site).
const (
	ConfigFile = "institution.json"
	vaultKey   = "vault.key"
	StateDir   = "state"
)

// maxPatience is in seconds: longer than any query lives.
const maxPatience = 3600

// Config is DIR/institution.json. Relative paths begin at DIR.
type Config struct {
	site.Service
	// Network is the file with the network's document, the same at every member.
	Network site.Path `json:"network"`
	// Listen is the host:port on loopback where other members get shares.
	Listen string `json:"listen"`
	// Members is where the others listen, by MSP.
	Members map[string]string `json:"members"`
	Ledger  site.LedgerConfig `json:"ledger"`
	Blobs   BlobsConfig       `json:"blobs"`
	// Patience is how many seconds to wait for other members before naming who is
	// missing; 0 stands for 30.
	Patience int `json:"patience_seconds,omitempty"`
	// VaultKey is the file with the key that seals the state; empty stands for
	// vault.key beside this file. A service manager's credential, or another disk, keeps
	// it away from copies of the state.
	VaultKey site.Secret `json:"vault_key,omitempty"`
	// PersonKey is the file with the key of persons' pseudonyms, of whoever vouches for
	// patients; empty stands for persons.key beside this file.
	PersonKey site.Secret `json:"person_key,omitempty"`
	// API has the institution serve an interface to its own people and programs.
	API *APIConfig `json:"api,omitempty"`
}

// BlobsConfig names one of two sources of sealed rows and seeds. Neither is trusted.
type BlobsConfig struct {
	Directory site.Path `json:"directory,omitempty"`
	Gateway   string    `json:"gateway,omitempty"` // base URL
}

// Load reads the configuration in an institution's directory.
func Load(dir string) (Config, error) {
	c := Config{}
	if err := site.Load(filepath.Join(dir, ConfigFile), &c); err != nil {
		return c, fmt.Errorf("%w (\"vitalveil institution init\" makes one)", err)
	}
	if c.PersonKey == "" {
		c.PersonKey = site.Secret(filepath.Join(dir, personKey))
	}
	if c.VaultKey == "" {
		c.VaultKey = site.Secret(filepath.Join(dir, vaultKey))
	}
	return c, nil
}

// Check implements what site.Load asks for.
func (c Config) Check() error {
	if c.Network == "" || c.Listen == "" {
		return errors.New("network and listen are needed")
	}
	if c.Patience < 0 || c.Patience > maxPatience {
		return fmt.Errorf("patience_seconds is 0 to %d", maxPatience)
	}
	return errors.Join(c.Service.Check(), c.Ledger.Check(), c.Blobs.check(), c.API.check())
}

func (c BlobsConfig) check() error {
	if (c.Directory == "") == (c.Gateway == "") {
		return errors.New("blobs needs either directory or gateway")
	}
	if u, err := url.Parse(c.Gateway); c.Gateway != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("blobs.gateway %q is not an http or https URL", c.Gateway)
	}
	return nil
}
