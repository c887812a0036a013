package launch

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
)

// Certificates of a network live two years. From network.WarnBefore on, Up and the
// keeper give them another life, with the same key: Fabric knows peers and clients
// by their authority, and Raft orderers by the keys in the channel's configuration,
// so nothing but the file changes. What a process reads at its start only, it reads
// again by being started again; the keeper does so one process after the other.

// Kinds of certificates.
const (
	IdentityCertificate = "identity"
	TLSCertificate      = "TLS"
)

// Certificate is one certificate of a network.
type Certificate struct {
	// Of is the process that shows it, or the member that it stands for.
	Of   string    `json:"of"`
	Kind string    `json:"kind"` // identity or TLS
	Ends time.Time `json:"ends"`
	// Kept is why neither Up nor the keeper renews it; empty if they do.
	Kept string `json:"kept,omitempty"`

	process   string // that must be started again to show another one; may be empty
	authority string // directory of who issued it
	msp       string
	key       string   // file
	files     []string // that have the certificate
}

// Due says whether the certificate ends so soon that its owner is warned.
func (c Certificate) Due(now time.Time) bool { return c.Ends.Sub(now) < network.WarnBefore }

// certificates lists all certificates of the network, but for the authorities' own.
func (n *Network) certificates() ([]Certificate, error) {
	m := n.material
	bft := ""
	if strings.HasPrefix(n.topology.Orderers, "bft") {
		bft = "the channel's configuration has it, as the name of a SmartBFT node"
	}
	var all []Certificate
	for _, o := range n.topology.Nodes {
		all = append(all, m.ofNode(ordererMSP, o.Name, ordererProcess(o), bft)...)
	}
	for _, o := range n.topology.Orgs {
		all = append(all, m.ofNode(o.MSP, peerName, peerProcess(o), "")...)
		all = append(all, m.ofService(o, n.topology.Sequence)...)
		all = append(all, m.ofUser(o.MSP, adminName, ""))
		if n.topology.CA == "" {
			all = append(all, m.ofUser(o.MSP, clientName, ""))
			continue
		}
		all = append(all, m.ofUser(o.MSP, clientName, "fabric-ca issued it: enrol again"))
		dir := filepath.Join(m.node(o.MSP, fabricCA), "tls")
		all = append(all, m.inDir(o.MSP, dir, caProcess(o), TLSCertificate))
	}
	all = append(all, m.ofUser(ordererMSP, adminName, ""), m.ofUser(ordererMSP, clientName, ""))
	for i := range all {
		pair, err := tls.LoadX509KeyPair(all[i].files[0], all[i].key)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not made yet
		}
		if err != nil {
			return nil, fmt.Errorf("the %s certificate of %s: %w", all[i].Kind, all[i].Of, err)
		}
		all[i].Ends = pair.Leaf.NotAfter
	}
	return all, nil
}

func (m material) ofNode(msp, node, process, kept string) []Certificate {
	dir := filepath.Join(m.node(msp, node), "msp")
	identity := Certificate{
		Of: process, Kind: IdentityCertificate, Kept: kept,
		process: process, authority: m.authority(msp, membersCA), msp: msp,
		key: filepath.Join(dir, "keystore", keyFile), files: []string{filepath.Join(dir, "signcerts", certFile)},
	}
	return []Certificate{identity, m.inDir(msp, filepath.Join(m.node(msp, node), "tls"), process, TLSCertificate)}
}

// ofService has both ends of the connection between a peer and its chaincode.
func (m material) ofService(o peerNode, sequence int) []Certificate {
	server := m.inDir(o.MSP, m.node(o.MSP, "chaincode"), chaincodeProcess(o, sequence), TLSCertificate)
	return []Certificate{server, m.inDir(o.MSP, m.node(o.MSP, "dialer"), peerProcess(o), TLSCertificate)}
}

func (m material) ofUser(msp, user, kept string) Certificate {
	dir := m.node(msp, user)
	return Certificate{
		Of: user + "." + msp, Kind: IdentityCertificate, Kept: kept,
		authority: m.authority(msp, membersCA), msp: msp, key: filepath.Join(dir, keyFile),
		files: []string{filepath.Join(dir, certFile), filepath.Join(dir, "msp", "signcerts", certFile)},
	}
}

func (m material) inDir(msp, dir, process, kind string) Certificate {
	return Certificate{
		Of: process, Kind: kind, process: process, authority: m.authority(msp, tlsCA), msp: msp + tlsSuffix,
		key: filepath.Join(dir, keyFile), files: []string{filepath.Join(dir, certFile)},
	}
}

// renew writes a certificate with the same key and another life, at most life long.
func (c Certificate) renew(life time.Duration) error {
	ca, err := network.LoadCA(c.authority)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files[0], c.key)
	if err != nil {
		return err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return errors.New("its key is not on P-256")
	}
	old, err := os.ReadFile(c.files[0])
	if err != nil {
		return err
	}
	id, err := ca.Renew(network.Identity{MSP: c.msp, Certificate: old, Key: key}, life)
	if err != nil {
		return err
	}
	for _, path := range c.files {
		if err := state.WriteFile(path, id.Certificate); err != nil {
			return err
		}
	}
	return nil
}

// wholeLife asks for as long a life as an authority gives.
const wholeLife = time.Duration(math.MaxInt64)

// renewDue renews what is due. Processes that run go on with what they have read.
func (n *Network) renewDue() error {
	all, err := n.certificates()
	if err != nil {
		return err
	}
	now := time.Now()
	for _, c := range all {
		if c.Kept != "" || c.Ends.IsZero() || !c.Due(now) {
			continue
		}
		if err := c.renew(wholeLife); err != nil {
			return fmt.Errorf("renew the %s certificate of %s: %w", c.Kind, c.Of, err)
		}
		n.say("the %s certificate of %s, which ended on %s, has another life", c.Kind, c.Of, c.Ends.Format(time.DateOnly))
	}
	return nil
}

// dialAnew has a peer that does not run learn again how to reach its chaincode, if the
// certificate for that is a newer one. It is part of what the peer's builder made of the
// package, which a peer makes again when it is missing at the start; a peer that runs
// would not find its chaincode any more.
func (n *Network) dialAnew(o peerNode) error {
	pid, err := n.processes.find(peerProcess(o))
	if err != nil || pid != 0 {
		return err
	}
	builds := filepath.Join(n.dir, "data", o.MSP, "externalbuilder", "builds")
	built, err := os.Stat(builds)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	cert, err := os.Stat(filepath.Join(n.material.node(o.MSP, "dialer"), certFile))
	if err != nil || !cert.ModTime().After(built.ModTime()) {
		return err
	}
	if err := n.writeConnection(o, n.topology.Sequence); err != nil {
		return err
	}
	return os.RemoveAll(builds)
}

// outdated returns a running process that has read a certificate of which there is
// another one by now, or nothing.
func (n *Network) outdated() (string, error) {
	all, err := n.certificates()
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.process == "" {
			continue
		}
		pid, err := n.processes.find(c.process)
		if err != nil {
			return "", err
		}
		began, err := os.Stat(n.processes.pidPath(c.process))
		if pid == 0 || err != nil {
			continue // it reads the file when it starts
		}
		cert, err := os.Stat(c.files[0])
		if err == nil && cert.ModTime().After(began.ModTime()) {
			return c.process, nil
		}
	}
	return "", nil
}

// renewOne ends one process that shows an outdated certificate, so that it is
// started again, and says which; nothing if none does.
func (n *Network) renewOne(ctx context.Context) (string, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := n.renewDue(); err != nil {
		return "", err
	}
	process, err := n.outdated()
	if err != nil || process == "" {
		return "", err
	}
	n.say("%s is started again, to show its new certificate", process)
	return process, n.processes.end([]string{process})
}
