package launch

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// Crypto material is made by this program's own authorities (network.CA), two
// for each organisation: one issues members, the other TLS certificates, under
// another organisation name so that neither can stand in for the other.
//
//	authorities/ORG/ca, tlsca       the authorities, whose keys no node ever reads: keep
//	                                them offline in earnest
//	crypto/ORG/admin, client        identities, for network.LoadIdentity, and as msp/
//	crypto/ORG/fabric-ca            with fabric-ca, which issues client then: its TLS
//	                                identity and the registrar's secret
//	crypto/ORG/NODE/msp, tls        a peer or an orderer
//	crypto/ORG/chaincode            the TLS identity of the chaincode process
//	crypto/ORG/dialer               the TLS identity of the peer towards it
//	crypto/ORG/msp                  the public part: what the channel knows of ORG

const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
	rootFile = "root.pem"
)

// tlsSuffix makes the name of an organisation's TLS authority.
const tlsSuffix = "-TLS"

// material finds crypto material below a network's directory.
type material struct {
	dir         string
	authorities string
}

// An organisation's two authorities.
const (
	membersCA = "ca"
	tlsCA     = "tlsca"
)

func newMaterial(dir string) material {
	return material{filepath.Join(dir, "crypto"), filepath.Join(dir, "authorities")}
}

func (m material) authority(msp, which string) string {
	return filepath.Join(m.authorities, msp, which)
}

func (m material) org(msp string) string { return filepath.Join(m.dir, msp) }

func (m material) node(msp, name string) string { return filepath.Join(m.dir, msp, name) }

func (m material) tls(msp, node, file string) string {
	return filepath.Join(m.node(msp, node), "tls", file)
}

func (m material) root(msp string) string {
	return filepath.Join(m.org(msp), "msp", "cacerts", rootFile)
}

func (m material) tlsRoot(msp string) string {
	return filepath.Join(m.org(msp), "msp", "tlscacerts", rootFile)
}

// peerName is the directory of an organisation's one peer.
const peerName = "peer"

// Directories of an organisation's identities, which are also their roles.
const (
	adminName  = "admin"
	clientName = "client"
)

// makeCrypto makes all of a network's material, or none of it: it becomes
// visible when it is complete, the authorities first.
func makeCrypto(made material, t topology) error {
	if _, err := os.Stat(made.dir); err == nil {
		return nil
	}
	if err := makeAuthorities(made.authorities, t); err != nil {
		return err
	}
	unfinished := made.dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	m := material{unfinished, made.authorities}
	var names []string
	for _, n := range t.Nodes {
		names = append(names, n.Name)
	}
	users := []string{adminName, clientName}
	if err := m.makeOrg(ordererMSP, "orderer", names, users); err != nil {
		return err
	}
	if t.CA != "" {
		users = []string{adminName} // its server issues the other
	}
	for _, o := range t.Orgs {
		if err := m.makeOrg(o.MSP, "peer", []string{peerName}, users); err != nil {
			return err
		}
	}
	return os.Rename(unfinished, made.dir)
}

// makeAuthorities makes the authorities of all organisations, or none.
func makeAuthorities(dir string, t topology) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	msps := []string{ordererMSP}
	for _, o := range t.Orgs {
		msps = append(msps, o.MSP)
	}
	m := material{authorities: unfinished}
	for _, msp := range msps {
		for which, name := range map[string]string{membersCA: msp, tlsCA: msp + tlsSuffix} {
			ca, err := network.NewCA(name)
			if err != nil {
				return err
			}
			if err := ca.Save(m.authority(msp, which)); err != nil {
				return err
			}
		}
	}
	return os.Rename(unfinished, dir)
}

// authorities are an organisation's two.
type authorities struct{ members, tls *network.CA }

func (m material) loadAuthorities(msp string) (authorities, error) {
	members, err := network.LoadCA(m.authority(msp, membersCA))
	if err != nil {
		return authorities{}, err
	}
	tls, err := network.LoadCA(m.authority(msp, tlsCA))
	return authorities{members, tls}, err
}

func (m material) makeOrg(msp, role string, nodes, users []string) error {
	a, err := m.loadAuthorities(msp)
	if err != nil {
		return err
	}
	if err := a.writeMSP(filepath.Join(m.org(msp), "msp"), nil); err != nil {
		return err
	}
	for _, node := range nodes {
		if err := m.makeNode(a, msp, node, role); err != nil {
			return err
		}
	}
	for _, user := range users {
		if err := m.makeUser(a, msp, user); err != nil {
			return err
		}
	}
	for _, side := range []string{"chaincode", "dialer"} {
		id, err := a.tls.Issue(side+"."+msp, "")
		if err != nil {
			return err
		}
		if err := id.Save(m.node(msp, side)); err != nil {
			return err
		}
	}
	return nil
}

func (m material) makeNode(a authorities, msp, node, role string) error {
	id, err := a.members.Issue(node+"."+msp, role)
	if err != nil {
		return err
	}
	if err := a.writeMSP(filepath.Join(m.node(msp, node), "msp"), &id); err != nil {
		return err
	}
	t, err := a.tls.Issue(node+"."+msp, "")
	if err != nil {
		return err
	}
	dir := filepath.Join(m.node(msp, node), "tls")
	if err := t.Save(dir); err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(dir, rootFile), a.tls.RootPEM())
}

func (m material) makeUser(a authorities, msp, user string) error {
	id, err := a.members.Issue(user+"."+msp, user)
	if err != nil {
		return err
	}
	if err := id.Save(m.node(msp, user)); err != nil {
		return err
	}
	return a.writeMSP(filepath.Join(m.node(msp, user), "msp"), &id)
}

// mspConfig makes the role in a certificate (its OU) count: who is a client, a
// peer, an administrator or an orderer.
const mspConfig = `NodeOUs:
  Enable: true
  ClientOUIdentifier: {Certificate: cacerts/root.pem, OrganizationalUnitIdentifier: client}
  PeerOUIdentifier: {Certificate: cacerts/root.pem, OrganizationalUnitIdentifier: peer}
  AdminOUIdentifier: {Certificate: cacerts/root.pem, OrganizationalUnitIdentifier: admin}
  OrdererOUIdentifier: {Certificate: cacerts/root.pem, OrganizationalUnitIdentifier: orderer}
`

// writeMSP writes the directory form of an MSP that Fabric reads: the public
// part and, if id is given, one member with its key.
func (a authorities) writeMSP(dir string, id *network.Identity) error {
	files := map[string][]byte{
		"config.yaml":                         []byte(mspConfig),
		filepath.Join("cacerts", rootFile):    a.members.RootPEM(),
		filepath.Join("tlscacerts", rootFile): a.tls.RootPEM(),
	}
	if id != nil {
		der, err := x509.MarshalPKCS8PrivateKey(id.Key)
		if err != nil {
			return err
		}
		files[filepath.Join("signcerts", certFile)] = id.Certificate
		files[filepath.Join("keystore", keyFile)] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := state.WriteFile(path, data); err != nil {
			return err
		}
	}
	return nil
}

// profile describes the network to clients.
func (m material) profile(t topology) (fabric.Profile, error) {
	p := fabric.Profile{Channel: channelName, Chaincode: chaincodeName}
	for _, o := range t.Orgs {
		root, err := os.ReadFile(m.root(o.MSP))
		if err != nil {
			return fabric.Profile{}, err
		}
		tlsRoot, err := os.ReadFile(m.tlsRoot(o.MSP))
		if err != nil {
			return fabric.Profile{}, err
		}
		p.Orgs = append(p.Orgs, fabric.OrgProfile{
			MSP: o.MSP, PeerEndpoint: address(o.Port), PeerHostname: "localhost",
			PeerTLSRoot: tlsRoot, Root: root,
			IdentityDir: m.node(o.MSP, "client"), AdminDir: m.node(o.MSP, "admin"),
		})
	}
	return p, nil
}

// check makes sure that the material of an existing network is there.
func (m material) check(t topology) error {
	for _, o := range t.Orgs {
		if _, err := network.LoadIdentity(m.node(o.MSP, "admin")); err != nil {
			return fmt.Errorf("crypto material of %s: %w", o.MSP, err)
		}
	}
	if _, err := os.Stat(m.root(ordererMSP)); err != nil {
		return errors.New("crypto material of the orderers is missing")
	}
	return nil
}
