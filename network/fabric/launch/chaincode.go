package launch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/fabric"
	"github.com/vitalveil/vitalveil/network/fabric/service"
	"github.com/vitalveil/vitalveil/network/site"
)

// definition is one sequence of the chaincode: the package that all
// organisations install and the terms that they approve.
type definition struct {
	sequence int
	id       string // label and hash of the package
	path     string // of the package
}

func (d definition) label() string { return label(d.sequence) }

func label(sequence int) string { return fmt.Sprintf("%s_%d", chaincodeName, sequence) }

func (d definition) version() string { return strconv.Itoa(d.sequence) }

func chaincodeProcess(o peerNode, sequence int) string {
	return fmt.Sprintf("chaincode-%s-%d", o.MSP, sequence)
}

// deploy brings the wanted sequence of the chaincode into service: processes,
// packages, approvals, commit. It ends when every peer reaches its chaincode.
func (n *Network) deploy(ctx context.Context) error {
	d, err := n.define(n.topology.Sequence)
	if err != nil {
		return err
	}
	err = n.eachOrg(ctx, func(ctx context.Context, o peerNode) error { return n.install(ctx, o, d) })
	if err != nil {
		return fmt.Errorf("install the chaincode's package: %w", err)
	}
	if err := n.serve(ctx, d); err != nil {
		return err
	}
	committed, err := n.committed(ctx)
	if err != nil {
		return err
	}
	if committed < d.sequence {
		if err := n.commit(ctx, d); err != nil {
			return err
		}
	}
	if err := n.eachOrg(ctx, n.answers); err != nil {
		return fmt.Errorf("the chaincode does not answer: %w%s", err, n.serviceLogs(d))
	}
	if err := n.gossips(ctx); err != nil {
		return err
	}
	n.say("chaincode %s is in service, sequence %d", chaincodeName, d.sequence)
	return n.retireOthers(d)
}

// define writes the package of a sequence. It says what the chaincode is, not
// where: that is each peer operator's (see the ccaas builder).
func (n *Network) define(sequence int) (definition, error) {
	about, err := json.Marshal(map[string]any{"chaincode": chaincodeName, "sequence": sequence})
	if err != nil {
		return definition{}, err
	}
	code, err := archive(archiveFile{"chaincode.json", about})
	if err != nil {
		return definition{}, err
	}
	meta, err := json.Marshal(map[string]string{"type": "ccaas", "label": label(sequence)})
	if err != nil {
		return definition{}, err
	}
	pkg, err := archive(archiveFile{"metadata.json", meta}, archiveFile{"code.tar.gz", code})
	if err != nil {
		return definition{}, err
	}
	sum := sha256.Sum256(pkg)
	path := filepath.Join(n.dir, "config", label(sequence)+".tar.gz")
	d := definition{sequence, label(sequence) + ":" + hex.EncodeToString(sum[:]), path}
	return d, state.WriteFile(path, pkg)
}

type archiveFile struct {
	name string
	data []byte
}

// archive makes a tar.gz whose bytes depend on names and contents only.
func archive(files ...archiveFile) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := t.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// install gives a peer the package and tells it where its chaincode listens.
func (n *Network) install(ctx context.Context, o peerNode, d definition) error {
	installed, err := n.installed(ctx, o)
	if err != nil || installed[d.id] {
		return err
	}
	if err := n.writeConnection(o, d.sequence); err != nil {
		return fatalError{err}
	}
	if n.admin != "" {
		_, err = n.sdk(ctx, o, "install", "--package", d.path, "--label", d.label())
	} else {
		_, err = n.peer(ctx, o, "lifecycle", "chaincode", "install", d.path)
	}
	return err
}

func (n *Network) installed(ctx context.Context, o peerNode) (map[string]bool, error) {
	out, err := n.peer(ctx, o, "lifecycle", "chaincode", "queryinstalled", "-O", "json")
	if err != nil {
		return nil, err
	}
	var answer struct {
		Installed []struct {
			ID string `json:"package_id"`
		} `json:"installed_chaincodes"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return nil, fmt.Errorf("queryinstalled: %w", err)
	}
	ids := map[string]bool{}
	for _, c := range answer.Installed {
		ids[c.ID] = true
	}
	return ids, nil
}

// connection is what a peer needs to reach chaincode that runs as a service.
type connection struct {
	Address     string `json:"address"`
	DialTimeout string `json:"dial_timeout"`
	TLS         bool   `json:"tls_required"`
	ClientAuth  bool   `json:"client_auth_required"`
	Key         string `json:"client_key"`
	Cert        string `json:"client_cert"`
	Root        string `json:"root_cert"`
}

func (n *Network) writeConnection(o peerNode, sequence int) error {
	dialer := n.material.node(o.MSP, "dialer")
	if _, err := network.LoadIdentity(dialer); err != nil {
		return err
	}
	parts := make([]string, 3)
	for i, path := range []string{filepath.Join(dialer, keyFile), filepath.Join(dialer, certFile), n.material.tlsRoot(o.MSP)} {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		parts[i] = string(data)
	}
	data, err := json.Marshal(connection{
		Address: address(o.service(sequence)), DialTimeout: "10s", TLS: true, ClientAuth: true,
		Key: parts[0], Cert: parts[1], Root: parts[2],
	})
	if err != nil {
		return err
	}
	return state.WriteFile(connectionPath(n.dir, o.MSP), data)
}

// serve starts one chaincode process for each organisation.
func (n *Network) serve(ctx context.Context, d definition) error {
	if err := os.MkdirAll(filepath.Join(n.dir, "keys"), 0o700); err != nil {
		return err
	}
	var ports []int
	for _, o := range n.topology.Orgs {
		id := n.material.node(o.MSP, "chaincode")
		port := o.service(d.sequence)
		config := service.Config{
			Listen: address(port), ID: d.id, Certificate: site.Path(filepath.Join(id, certFile)), Key: site.Secret(filepath.Join(id, keyFile)),
			ClientCA: site.Path(n.material.tlsRoot(o.MSP)), Details: site.Path(fabric.KeySocket(n.dir, o.MSP)),
		}
		file := filepath.Join(n.dir, "config", chaincodeProcess(o, d.sequence)+".json")
		if err := site.Save(file, config); err != nil {
			return err
		}
		args := append(slices.Clone(n.chaincode), "--config", file)
		if err := n.startOn(command{chaincodeProcess(o, d.sequence), args, nil, chaincodeMemory}, port); err != nil {
			return err
		}
		ports = append(ports, port)
	}
	return n.listening(ctx, ports...)
}

// retireOthers ends the chaincode processes of other sequences.
func (n *Network) retireOthers(d definition) error {
	names, err := n.processes.names()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, o := range n.topology.Orgs {
		keep[chaincodeProcess(o, d.sequence)] = true
	}
	var old []string
	for _, name := range names {
		if strings.HasPrefix(name, "chaincode-") && !keep[name] {
			old = append(old, name)
		}
	}
	return n.processes.end(old)
}

// committed returns the committed sequence, 0 if there is none.
func (n *Network) committed(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	sequence := 0
	err := n.retry(ctx, func() error {
		out, err := n.peer(ctx, n.topology.Orgs[0], "lifecycle", "chaincode", "querycommitted",
			"-C", channelName, "-n", chaincodeName, "-O", "json")
		if err != nil && strings.Contains(err.Error(), "is not defined") {
			sequence = 0
			return nil
		}
		if err != nil {
			return err
		}
		var answer struct {
			Sequence int `json:"sequence"`
		}
		if err := json.Unmarshal(out, &answer); err != nil {
			return fatalError{err}
		}
		sequence = answer.Sequence
		return nil
	})
	return sequence, err
}

// commit has every organisation approve a definition and then commits it.
func (n *Network) commit(ctx context.Context, d definition) error {
	if err := n.writeCollections(); err != nil {
		return err
	}
	err := n.eachOrg(ctx, func(ctx context.Context, o peerNode) error { return n.approve(ctx, o, d) })
	if err != nil {
		return fmt.Errorf("approve the chaincode: %w", err)
	}
	n.say("all organisations have approved chaincode %s, sequence %d", chaincodeName, d.sequence)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = n.retry(ctx, func() error { return n.commitOnce(ctx, d) })
	if err != nil {
		return fmt.Errorf("commit the chaincode: %w", err)
	}
	return nil
}

func (n *Network) approve(ctx context.Context, o peerNode, d definition) error {
	done, err := n.approved(ctx, o, d)
	if err != nil || done {
		return err
	}
	if n.admin != "" {
		args := append([]string{"approve", "--package-id", d.id}, n.sdkTerms(d)...)
		_, err = n.sdk(ctx, o, args...)
		return err
	}
	at, err := n.ordererFlags(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"lifecycle", "chaincode", "approveformyorg", "--package-id", d.id}, at...)
	_, err = n.peer(ctx, o, append(args, n.terms(d)...)...)
	return err
}

func (n *Network) approved(ctx context.Context, o peerNode, d definition) (bool, error) {
	args := append([]string{"lifecycle", "chaincode", "checkcommitreadiness", "-O", "json"}, n.terms(d)...)
	out, err := n.peer(ctx, o, args...)
	if err != nil {
		return false, err
	}
	var answer struct {
		Approvals map[string]bool `json:"approvals"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return false, fatalError{fmt.Errorf("checkcommitreadiness: %w", err)}
	}
	return answer.Approvals[o.MSP], nil
}

func (n *Network) commitOnce(ctx context.Context, d definition) error {
	// An attempt whose answer was lost may have succeeded.
	committed, err := n.committed(ctx)
	if err != nil || committed >= d.sequence {
		return err
	}
	first := n.topology.Orgs[0]
	if n.admin != "" {
		_, err = n.sdk(ctx, first, append([]string{"commit"}, n.sdkTerms(d)...)...)
		return err
	}
	at, err := n.ordererFlags(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"lifecycle", "chaincode", "commit"}, at...)
	args = append(args, n.terms(d)...)
	for _, o := range n.topology.Orgs {
		args = append(args, "--peerAddresses", hostAddress(o.Port), "--tlsRootCertFiles", n.material.tlsRoot(o.MSP))
	}
	_, err = n.peer(ctx, first, args...)
	return err
}

// terms are the flags that approvals and the commit must agree on.
func (n *Network) terms(d definition) []string {
	args := []string{
		"--channelID", channelName, "--name", chaincodeName, "--version", d.version(),
		"--sequence", strconv.Itoa(d.sequence), "--signature-policy", n.topology.endorsement(),
	}
	if len(n.topology.Collections) > 0 {
		args = append(args, "--collections-config", n.collectionsPath())
	}
	return args
}

// endorsement is the chaincode's policy: peers of more than half of the
// organisations, so 2 of 3.
func (t topology) endorsement() string {
	var peers []string
	for _, o := range t.Orgs {
		peers = append(peers, "'"+o.MSP+".peer'")
	}
	return fmt.Sprintf("OutOf(%d, %s)", t.quorum(), strings.Join(peers, ", "))
}

func (n *Network) collectionsPath() string {
	return filepath.Join(n.dir, "config", "collections.json")
}

// collectionConfig is Fabric's form of a collection.
type collectionConfig struct {
	Name          string `json:"name"`
	Policy        string `json:"policy"`
	RequiredPeers int    `json:"requiredPeerCount"`
	MaxPeers      int    `json:"maxPeerCount"`
	BlocksToLive  uint64 `json:"blockToLive"`
	MembersRead   bool   `json:"memberOnlyRead"`
	MembersWrite  bool   `json:"memberOnlyWrite"`
}

func (n *Network) writeCollections() error {
	all := []collectionConfig{}
	for _, c := range n.topology.Collections {
		members := c.Members
		if len(members) == 0 {
			for _, o := range n.topology.Orgs {
				members = append(members, o.MSP)
			}
		}
		var roles []string
		for _, m := range members {
			roles = append(roles, "'"+m+".member'")
		}
		all = append(all, collectionConfig{
			Name: c.Name, Policy: "OR(" + strings.Join(roles, ", ") + ")",
			RequiredPeers: c.RequiredPeers, MaxPeers: c.MaxPeers, BlocksToLive: c.BlocksToLive,
			MembersRead: true, MembersWrite: true,
		})
	}
	data, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(n.collectionsPath(), append(data, '\n'))
}

// ordererFlags point the peer command at an orderer that answers.
func (n *Network) ordererFlags(ctx context.Context) ([]string, error) {
	var last error
	for _, o := range n.topology.Nodes {
		if _, err := n.ordererChannel(ctx, o); err != nil {
			last = err
			continue
		}
		return []string{"-o", hostAddress(o.Port), "--tls", "--cafile", n.material.tlsRoot(ordererMSP)}, nil
	}
	return nil, fmt.Errorf("no orderer answers: %w", last)
}

// probe is a function that no chaincode has: its own refusal shows that it is
// there and changes nothing.
const probe = `{"Args":["vitalveil.launcher:Probe"]}`

// chaincodeRefusal matches the peer command's report of a chaincode's own words.
var chaincodeRefusal = regexp.MustCompile(`response: status:500\s+message:`)

// answers checks that a peer reaches its chaincode.
func (n *Network) answers(ctx context.Context, o peerNode) error {
	_, err := n.peer(ctx, o, "chaincode", "query", "-C", channelName, "-n", chaincodeName, "-c", probe)
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, fabric := range []string{"error in simulation", "make sure the chaincode", "is not installed", "access denied"} {
		if strings.Contains(text, fabric) {
			return err
		}
	}
	if chaincodeRefusal.MatchString(text) {
		return nil
	}
	return err
}

// serviceLogs shows the ends of the chaincode processes' logs.
func (n *Network) serviceLogs(d definition) string {
	var b strings.Builder
	for _, o := range n.topology.Orgs {
		name := chaincodeProcess(o, d.sequence)
		fmt.Fprintf(&b, "\nlog of %s:\n%s", name, n.processes.tail(name))
	}
	return b.String()
}

// Upgrade defines the next sequence of the chaincode, with other collections
// unless collections is nil, and returns when it is in service. New chaincode
// processes run the command given to Up; the old ones end after the commit.
// Transactions that are endorsed during the change may have to be repeated.
func (n *Network) Upgrade(ctx context.Context, collections []Collection) error {
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(ctx, upTimeout)
	defer cancel()
	if n.binaries.Dir == "" {
		return errors.New("Upgrade needs a network that Up has returned")
	}
	committed, err := n.committed(ctx)
	if err != nil {
		return err
	}
	next := n.topology
	next.Sequence = committed + 1
	if collections != nil {
		next.Collections = collections
	}
	if err := next.check(); err != nil {
		return err
	}
	if err := next.save(n.dir); err != nil {
		return err
	}
	n.topology = next
	return n.deploy(ctx)
}
