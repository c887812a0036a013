package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/embedded"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// LedgerConfig names one of two ledgers.
type LedgerConfig struct {
	// Fabric is the directory of "vitalveil network up".
	Fabric Path `json:"fabric,omitempty"`
	// Address is where "vitalveil ledger" listens, and Operator the MSP that runs it.
	Address  string `json:"address,omitempty"`
	Operator string `json:"operator,omitempty"`
}

// Check makes sure that one ledger is named.
func (c LedgerConfig) Check() error {
	if (c.Fabric == "") == (c.Address == "") {
		return errors.New("ledger needs either fabric, or address and operator")
	}
	if c.Address != "" && c.Operator == "" {
		return errors.New("ledger.operator is needed: the organisation whose certificate the ledger shows")
	}
	return nil
}

// Ledger is an identity's access to a ledger. Close it in the end.
type Ledger interface {
	network.Client
	// Height is the number of blocks that there are.
	Height(context.Context) (uint64, error)
	Close() error
}

// Open connects to the ledger, as id, without talking to anybody yet. On Fabric the
// organisation has an identity of its own in the network's directory, which takes the
// place of id; it is returned beside the ledger.
func (c LedgerConfig) Open(d record.Descriptor, id network.Identity, log *slog.Logger) (Ledger, Identities, error) {
	if c.Fabric == "" {
		l, err := embedded.Connect(embedded.RemoteConfig{
			Address: c.Address, Operator: c.Operator, Channel: d.Genesis.Network, Identity: id, Roots: d.Roots,
		})
		return l, nil, err
	}
	profile, err := fabric.LoadProfile(string(c.Fabric))
	if err != nil {
		return nil, nil, err
	}
	if profile.Channel != d.Genesis.Network {
		return nil, nil, fmt.Errorf("the Fabric network's channel is %q; name the network so, not %q", profile.Channel, d.Genesis.Network)
	}
	if err := profile.Supports(d.Genesis.Threshold); err != nil {
		return nil, nil, err
	}
	org, err := profile.Org(id.MSP)
	if err != nil {
		return nil, nil, err
	}
	own, err := network.FollowIdentity(org.IdentityDir)
	if err != nil {
		return nil, nil, err
	}
	l, err := fabric.Connect(profile, own, fabric.WithPeers(org.MSP), fabric.WithLog(log))
	return l, Identities{org.IdentityDir: own}, err
}

// KeySocket is where processes of a member ask for patients' details keys, which the
// institution in dir serves: the launcher's choice on Fabric, and beside the control
// socket for the ledger of a single site.
func (c LedgerConfig) KeySocket(dir, msp string) string {
	if c.Fabric != "" {
		return fabric.KeySocket(string(c.Fabric), msp)
	}
	return filepath.Join(dir, keysSocket)
}
