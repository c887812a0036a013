package institution

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// Names of what is in an institution's directory.
const (
	configFile = "institution.json"
	memberFile = "member.json"
	hpkeFile   = "hpke.key"
	vaultKey   = "vault.key"
	signDir    = "sign"
	tlsDir     = "identity"
	ledgerDir  = "ledger-identity" // of a ledger that the organisation runs
	stateDir   = "state"
	socketFile = "control.sock"
	keysSocket = "keys.sock"
)

// maxPatience is in seconds: longer than any query lives.
const maxPatience = 3600

// maxDocument bounds configuration files and network documents, in bytes.
const maxDocument = 4 << 20

// Config is DIR/institution.json. Relative paths begin at DIR.
type Config struct {
	// Network is the file with the network's document, the same at every member.
	Network string `json:"network"`
	// Listen is the host:port on loopback where other members get shares.
	Listen string `json:"listen"`
	// Members is where the others listen, by MSP.
	Members map[string]string `json:"members"`
	Ledger  LedgerConfig      `json:"ledger"`
	Blobs   BlobsConfig       `json:"blobs"`
	// Patience is how many seconds to wait for other members before naming who is
	// missing; 0 stands for 30.
	Patience int `json:"patience_seconds,omitempty"`
	// VaultKey is the file with the key that seals the state; empty stands for
	// vault.key beside this file. A service manager's credential directory, or another
	// disk, keeps it away from copies of the state.
	VaultKey string `json:"vault_key,omitempty"`
}

// LedgerConfig names one of two ledgers.
type LedgerConfig struct {
	// Fabric is the directory of "vitalveil network up".
	Fabric string `json:"fabric,omitempty"`
	// Address is where "vitalveil ledger" listens, and Operator the MSP that runs it.
	Address  string `json:"address,omitempty"`
	Operator string `json:"operator,omitempty"`
}

// BlobsConfig names one of two sources of sealed rows and seeds. Neither is trusted.
type BlobsConfig struct {
	Directory string `json:"directory,omitempty"`
	Gateway   string `json:"gateway,omitempty"` // base URL
}

// Load reads the configuration in an institution's directory.
func Load(dir string) (Config, error) {
	var c Config
	path := filepath.Join(dir, configFile)
	if err := readJSON(path, &c); err != nil {
		return c, fmt.Errorf("%w (\"vitalveil institution init\" makes one)", err)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if c.VaultKey == "" {
		c.VaultKey = vaultKey
	}
	for _, p := range []*string{&c.Network, &c.Ledger.Fabric, &c.Blobs.Directory, &c.VaultKey} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	return c, nil
}

func (c Config) check() error {
	if c.Network == "" || c.Listen == "" {
		return errors.New("network and listen are needed")
	}
	if c.Patience < 0 || c.Patience > maxPatience {
		return fmt.Errorf("patience_seconds is 0 to %d", maxPatience)
	}
	if (c.Ledger.Fabric == "") == (c.Ledger.Address == "") {
		return errors.New("ledger needs either fabric, or address and operator")
	}
	if c.Ledger.Address != "" && c.Ledger.Operator == "" {
		return errors.New("ledger.operator is needed: the organisation whose certificate the ledger shows")
	}
	if (c.Blobs.Directory == "") == (c.Blobs.Gateway == "") {
		return errors.New("blobs needs either directory or gateway")
	}
	if u, err := url.Parse(c.Blobs.Gateway); c.Blobs.Gateway != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("blobs.gateway %q is not an http or https URL", c.Blobs.Gateway)
	}
	return nil
}

// loadNetwork reads a network's document.
func loadNetwork(path string) (record.Descriptor, error) {
	var d record.Descriptor
	if err := readJSON(path, &d); err != nil {
		return d, fmt.Errorf("%w (\"vitalveil institution network\" makes it from the members' documents)", err)
	}
	return d, nil
}

// memberOf returns a member's place in a network.
func memberOf(d record.Descriptor, msp string) (int, error) {
	i := slices.IndexFunc(d.Genesis.Members, func(m record.Member) bool { return m.MSP == msp })
	if i < 0 {
		return 0, fmt.Errorf("%q is not a member of network %q", msp, d.Genesis.Network)
	}
	return i, nil
}

func readJSON(path string, v any) error {
	b, err := state.ReadFile(path, maxDocument)
	if err != nil {
		return err
	}
	if err := record.DecodeJSON(b, maxDocument, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(path, append(b, '\n'))
}
