package fabric

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// profileFile is the name of a network's profile in its directory.
const profileFile = "profile.json"

// maxProfile bounds the profile, in bytes.
const maxProfile = 1 << 20

// Profile tells clients of a running network whom to reach and whom to trust.
// Up writes it to DIR/profile.json (mode 0600). It holds no secret itself: the
// identity directories that it names do.
type Profile struct {
	Channel   string       `json:"channel"`
	Chaincode string       `json:"chaincode"`
	Orgs      []OrgProfile `json:"orgs"`
}

// OrgProfile is one organisation's part of a Profile.
type OrgProfile struct {
	MSP          string `json:"msp"`
	PeerEndpoint string `json:"peer_endpoint"` // 127.0.0.1:port
	PeerHostname string `json:"peer_hostname"` // the name in the peer's TLS certificate
	PeerTLSRoot  []byte `json:"peer_tls_root"` // PEM
	Root         []byte `json:"root"`          // PEM of the MSP's root certificate
	IdentityDir  string `json:"identity_dir"`  // a client of the organisation, for network.LoadIdentity
	AdminDir     string `json:"admin_dir"`     // its administrator, likewise
}

// LoadProfile reads the profile of the network in dir.
func LoadProfile(dir string) (Profile, error) {
	path := filepath.Join(dir, profileFile)
	data, err := state.ReadFile(path, maxProfile)
	if errors.Is(err, os.ErrNotExist) {
		return Profile{}, fmt.Errorf("no network in %s: start one with \"vitalveil network up --dir %s\"", dir, dir)
	}
	if err != nil {
		return Profile{}, err
	}
	var p Profile
	if err := record.DecodeJSON(data, maxProfile, &p); err != nil {
		return Profile{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := p.check(); err != nil {
		return Profile{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Org returns the part of one organisation.
func (p Profile) Org(msp string) (OrgProfile, error) {
	for _, o := range p.Orgs {
		if o.MSP == msp {
			return o, nil
		}
	}
	return OrgProfile{}, fmt.Errorf("the network has no organisation %q", msp)
}

func (p Profile) check() error {
	if p.Channel == "" || p.Chaincode == "" || len(p.Orgs) == 0 {
		return errors.New("channel, chaincode or organisations are missing")
	}
	seen := map[string]bool{}
	for _, o := range p.Orgs {
		if o.MSP == "" || seen[o.MSP] {
			return fmt.Errorf("organisation %q is empty or named twice", o.MSP)
		}
		seen[o.MSP] = true
		if o.PeerEndpoint == "" || o.PeerHostname == "" || len(o.PeerTLSRoot) == 0 || len(o.Root) == 0 || o.IdentityDir == "" {
			return fmt.Errorf("organisation %q is incomplete", o.MSP)
		}
	}
	return nil
}

// Save writes the profile into the directory of its network.
func (p Profile) Save(dir string) error {
	if err := p.check(); err != nil {
		return err
	}
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(dir, profileFile), append(data, '\n'))
}

// Endorsers is how many organisations must endorse a transaction: more than half.
func (p Profile) Endorsers() int { return Endorsers(len(p.Orgs)) }

// Endorsers is how many of so many organisations must endorse a transaction.
func Endorsers(orgs int) int { return orgs/2 + 1 }

// Supports refuses networks that more members are needed to open than organisations to
// write: fewer than the threshold could then record what nobody has agreed to, put
// another chaincode into service and make up what only the threshold may. What parties
// sign, members check for themselves; votes and agreements of members are the ledger's.
func (p Profile) Supports(threshold int) error {
	if n := p.Endorsers(); threshold > n {
		return fault.New(fault.Conflict, "%d of %d organisations of this Fabric network suffice to endorse, and the threshold is %d: "+
			"choose a threshold of at most %d, or a network of more organisations", n, len(p.Orgs), threshold, n)
	}
	return nil
}

// KeySocket is where the chaincode process of an organisation, in the network of a
// directory, asks that organisation's institution for the keys of consent details.
func KeySocket(dir, msp string) string { return filepath.Join(dir, "keys", msp) }
