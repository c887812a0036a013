package bridge

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	role "github.com/vitalveil/vitalveil/bridge"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/site"
)

const configFile = "bridge.json"

// Config is DIR/bridge.json. Relative paths begin at DIR.
type Config struct {
	site.Service
	// Network is the file with the network's document, received out of band.
	Network site.Path `json:"network"`
	// Epochs are files with the epochs of members after the genesis, in order, from
	// anywhere: each is checked against the one before. A hub is of the last one.
	Epochs []site.Path `json:"epochs,omitempty"`
	// Gateway is the base URL of the gateway, OtherGateways where to turn when it fails.
	Gateway       string   `json:"gateway"`
	OtherGateways []string `json:"other_gateways,omitempty"`
	// State is the directory of the store; empty stands for "state".
	State site.Path `json:"state,omitempty"`
	// VaultKey seals the store; empty stands for "vault.key", which is made.
	VaultKey site.Secret `json:"vault_key,omitempty"`
	// Guard is the rollback guard: a file that shows that the store was restored; empty stands for
	// "guard.json". Keep it, the key and the store out of backups.
	Guard site.Path `json:"guard,omitempty"`
	// CircuitKeys is the directory with the network's proving keys; empty: claims that
	// hold stay unanswered.
	CircuitKeys site.Path `json:"circuit_keys,omitempty"`
	// AskFirst has every question wait for the patient's word: "vitalveil bridge answer
	// --allow QUESTION". Without it there is silence, as for a claim that does not hold.
	AskFirst bool `json:"ask_first,omitempty"`
	// Radio is how sensors are reached: "bluez" stands for Linux's bluetoothd; empty: not at
	// all. Adapter is the adapter's name, such as "hci0"; empty: the first. Bus is the address
	// of the message bus; empty: the system's.
	Radio   string `json:"radio,omitempty"`
	Adapter string `json:"adapter,omitempty"`
	Bus     string `json:"bus,omitempty"`
	// Listen is a further socket for sources, which can push and nothing else.
	Listen site.Path `json:"listen,omitempty"`
	// Every is how many seconds pass between two rounds of sealing and sending; 0 stands
	// for 60.
	Every int `json:"every_seconds,omitempty"`
	// HeldDays is for how many days more than usual a day stays open for what comes late.
	HeldDays int `json:"held_days,omitempty"`

	dir string // where the configuration is
}

const (
	maxEvery   = 3600 // seconds
	radioBlueZ = "bluez"
)

// Check refuses what cannot work.
func (c *Config) Check() error {
	if c.Network == "" || c.Gateway == "" {
		return errors.New("network and gateway are needed")
	}
	for _, g := range append([]string{c.Gateway}, c.OtherGateways...) {
		if u, err := url.Parse(g); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("gateway %q is not an http or https URL", g)
		}
	}
	if c.Radio != "" && c.Radio != radioBlueZ {
		return fmt.Errorf("radio %q: %q is known, and none", c.Radio, radioBlueZ)
	}
	if c.Every < 0 || c.Every > maxEvery {
		return fmt.Errorf("every_seconds is 0 to %d", maxEvery)
	}
	if c.HeldDays < 0 || c.HeldDays > role.MaxHeldDays {
		return fmt.Errorf("held_days is 0 to %d", role.MaxHeldDays)
	}
	return c.Service.Check()
}

// load reads the configuration in a hub's directory and fills in what it leaves out.
func load(dir string) (Config, error) {
	var c Config
	if err := site.Load(filepath.Join(dir, configFile), &c); err != nil {
		return c, fmt.Errorf("%w (\"vitalveil bridge init\" makes one)", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return c, err
	}
	for p, name := range map[*site.Path]string{&c.State: "state", &c.Guard: "guard.json"} {
		if *p == "" {
			*p = site.Path(filepath.Join(dir, name))
		}
	}
	if c.VaultKey == "" {
		c.VaultKey = site.Secret(filepath.Join(dir, "vault.key"))
	}
	if c.Every == 0 {
		c.Every = 60
	}
	c.dir = dir
	return c, nil
}

// hub is what the bridge's own package needs of it.
func (c Config) hub() (role.Config, error) {
	d, err := site.Descriptor(string(c.Network))
	if err != nil {
		return role.Config{}, err
	}
	key, err := c.VaultKey.Path()
	if err != nil {
		return role.Config{}, err
	}
	h := role.Config{
		Dir: string(c.State), KeyFile: key, GuardFile: string(c.Guard), Genesis: d.Genesis,
		GatewayURL: c.Gateway, OtherGateways: c.OtherGateways, HeldDays: c.HeldDays, AskFirst: c.AskFirst,
	}
	for _, path := range c.Epochs {
		var e record.EpochState
		if err := site.Load(string(path), &e); err != nil {
			return h, err
		}
		h.Epochs = append(h.Epochs, e)
	}
	return h, nil
}
