package launch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
)

// Who may issue clients' certificates (Options.CA).
const (
	builtinCA = "builtin"
	fabricCA  = "fabric-ca"
)

// registrar is the identity in fabric-ca that may register clients and nothing else.
const registrar = "registrar"

// registrarFile has the registrar's secret, below crypto/ORG/fabric-ca.
const registrarFile = "registrar.secret"

func caProcess(o peerNode) string { return fabricCA + "-" + o.MSP }

// startCAs starts a fabric-ca for each organisation, if the network has them, and
// enrols the clients that have no certificate yet. Their data base can be lost:
// what was issued stays valid, and the registrar is in the configuration.
func (n *Network) startCAs(ctx context.Context) error {
	if n.topology.CA == "" {
		return nil
	}
	server, err := buildCA(ctx, n.log)
	if err != nil {
		return err
	}
	var ports []int
	for _, o := range n.topology.Orgs {
		config, err := n.writeCAConfig(o)
		if err != nil {
			return fmt.Errorf("fabric-ca of %s: %w", o.MSP, err)
		}
		c := command{caProcess(o), []string{server, "start", "--config", config}, nil, caMemory}
		if err := n.startOn(c, o.CA); err != nil {
			return err
		}
		ports = append(ports, o.CA)
	}
	if err := n.listening(ctx, ports...); err != nil {
		return err
	}
	for _, o := range n.topology.Orgs {
		if err := n.enrol(ctx, o); err != nil {
			return fmt.Errorf("enrol the client of %s: %w", o.MSP, err)
		}
	}
	return nil
}

// writeCAConfig writes the configuration of an organisation's server, which issues
// with the authority that the launcher made: the MSP stays what it is. JSON is YAML.
func (n *Network) writeCAConfig(o peerNode) (string, error) {
	tls, secret, err := n.material.caIdentity(o.MSP)
	if err != nil {
		return "", err
	}
	home := filepath.Join(n.dir, "data", caProcess(o))
	if err := os.MkdirAll(home, 0o700); err != nil {
		return "", err
	}
	authority := n.material.authority(o.MSP, membersCA)
	type object = map[string]any
	data, err := json.MarshalIndent(object{
		"address": "127.0.0.1", "port": o.CA, "loglevel": "warning",
		"tls": object{"enabled": true, "certfile": filepath.Join(tls, certFile), "keyfile": filepath.Join(tls, keyFile)},
		"ca": object{
			"name": o.MSP, "certfile": filepath.Join(authority, "ca-cert.pem"), "keyfile": filepath.Join(authority, "ca-key.pem"),
		},
		"db": object{"type": "sqlite3", "datasource": filepath.Join(home, "fabric-ca-server.db")},
		"registry": object{"maxenrollments": -1, "identities": []object{{
			"name": registrar, "pass": secret, "type": clientName, "affiliation": "",
			"attrs": object{"hf.Registrar.Roles": clientName, "hf.Registrar.Attributes": ""},
		}}},
		// As the launcher's own authority does; nothing else can be asked for.
		"signing": object{
			"default":  object{"usage": []string{"digital signature", "client auth", "server auth"}, "expiry": "17520h"},
			"profiles": object{},
		},
		// An empty address would be every interface.
		"operations": object{"listenaddress": "127.0.0.1:0"},
		"metrics":    object{"provider": "disabled"},
	}, "", "  ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(home, "fabric-ca-server-config.yaml")
	return path, state.WriteFile(path, append(data, '\n'))
}

// caIdentity returns where the server's TLS identity is and the registrar's
// secret; both are made at the first time.
func (m material) caIdentity(msp string) (string, string, error) {
	dir := m.node(msp, fabricCA)
	tls, secretPath := filepath.Join(dir, "tls"), filepath.Join(dir, registrarFile)
	secret, err := state.ReadFile(secretPath, 1<<10)
	if err == nil {
		return tls, string(secret), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", "", err
	}
	authority, err := network.LoadCA(m.authority(msp, tlsCA))
	if err != nil {
		return "", "", err
	}
	id, err := authority.Issue(fabricCA+"."+msp, "")
	if err != nil {
		return "", "", err
	}
	if err := id.Save(tls); err != nil {
		return "", "", err
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", "", err
	}
	secret = []byte(hex.EncodeToString(raw))
	return tls, string(secret), state.WriteFile(secretPath, secret)
}

// enrol gives an organisation its client from fabric-ca, unless it has one. The
// identity counts when it is whole and checked: an interrupted enrolment is made
// again, with a new key.
func (n *Network) enrol(ctx context.Context, o peerNode) error {
	dir := n.material.node(o.MSP, clientName)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if n.admin == "" {
		return errors.New("fabric-ca is reached through network/admin: build it (go build -o admin ./network/admin) and name it with --admin")
	}
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	_, err := n.sdk(ctx, o, "enroll", "--name", clientName+"."+o.MSP, "--out", unfinished,
		"--registrar", registrar, "--secret", filepath.Join(n.material.node(o.MSP, fabricCA), registrarFile))
	if err != nil {
		return err
	}
	id, err := network.LoadIdentity(unfinished)
	if err != nil {
		return err
	}
	if err := n.material.checkClient(o.MSP, id); err != nil {
		return err
	}
	a, err := n.material.loadAuthorities(o.MSP)
	if err != nil {
		return err
	}
	if err := a.writeMSP(filepath.Join(unfinished, "msp"), &id); err != nil {
		return err
	}
	n.say("%s has enrolled its client with fabric-ca", o.MSP)
	return os.Rename(unfinished, dir)
}

// checkClient makes sure that a certificate is what the rest of the network
// takes for the organisation's client.
func (m material) checkClient(msp string, id network.Identity) error {
	root, err := os.ReadFile(m.root(msp))
	if err != nil {
		return err
	}
	trust, err := network.NewTrust(map[string][]byte{msp: root})
	if err != nil {
		return err
	}
	leaf, err := id.Leaf()
	if err != nil {
		return err
	}
	if err := trust.Verify(msp, leaf, time.Now()); err != nil {
		return err
	}
	if !slices.Equal(leaf.Subject.OrganizationalUnit, []string{clientName}) {
		return fmt.Errorf("the certificate has the roles %q, want %s alone", leaf.Subject.OrganizationalUnit, clientName)
	}
	return nil
}
