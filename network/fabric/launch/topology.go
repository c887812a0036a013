package launch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	ledgerstate "github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/network/fabric"
)

// Names that every network has. The channel's name is part of what patients
// sign, so it stays.
const (
	channelName   = "vitalveil"
	chaincodeName = "vitalveil"
	ordererMSP    = "Orderers"
)

// topologyFile is the record of a network in its directory.
const topologyFile = "network.json"

// maxTopology bounds the record, in bytes.
const maxTopology = 1 << 20

// topologyVersion is the schema of the record; others are refused.
const topologyVersion = 2

// topology is what a network is: who takes part and on which ports. Ports are
// in the channel's configuration and in certificates' scope, so a network keeps
// those that it started with.
type topology struct {
	Version     int           `json:"version"`
	Orderers    string        `json:"orderers"`
	Nodes       []ordererNode `json:"nodes"`
	Orgs        []peerNode    `json:"orgs"`
	Collections []Collection  `json:"collections"`
	// CA is fabricCA if fabric-ca issues clients' certificates, else empty.
	CA string `json:"ca,omitempty"`
	// Sequence counts the definitions of the chaincode that Up or Upgrade
	// wanted; the ledger knows which of them are committed.
	Sequence int `json:"sequence"`
}

type ordererNode struct {
	Name       string `json:"name"`
	Port       int    `json:"port"`
	Admin      int    `json:"admin"`
	Operations int    `json:"operations"`
}

type peerNode struct {
	MSP        string `json:"msp"`
	Port       int    `json:"port"`
	Chaincode  int    `json:"chaincode"` // where the peer would listen for chaincode that dials it
	Operations int    `json:"operations"`
	// Service has two ports for the organisation's chaincode process: sequences
	// take turns, so that the next one is up before the last one goes.
	Service [2]int `json:"service"`
	CA      int    `json:"ca,omitempty"` // where the organisation's fabric-ca listens, if it has one
}

func (o peerNode) service(sequence int) int { return o.Service[sequence%2] }

// Collection is a private data collection of the chaincode.
type Collection struct {
	Name string `json:"name"`
	// Members may hold and read the data; none means every organisation.
	Members []string `json:"members"`
	// RequiredPeers is how many other peers must have the data before the
	// endorsing one signs, MaxPeers how many it tries to reach.
	RequiredPeers int `json:"required_peers"`
	MaxPeers      int `json:"max_peers"`
	// BlocksToLive is after how many blocks peers purge the data; 0 means never.
	BlocksToLive uint64 `json:"blocks_to_live"`
}

// Options say which network to start.
type Options struct {
	// Dir keeps everything of the network. It is new, empty or a network's.
	Dir string
	// Orderers is raft1 (the default), raft3 or bft4.
	Orderers string
	// Orgs are the MSP identifiers of the organisations, each with one peer.
	// Default: HospitalA, HospitalB, PatientsAssociation.
	Orgs []string
	// Collections are the private data collections of the chaincode; none means
	// the one that the contracts need.
	Collections []Collection
	// CA says who issues clients' certificates: builtin (the default) or
	// fabric-ca, for which Admin must be set when the network is made.
	CA string
	// BasePort is where the network's ports begin; 0 takes free ones. A network
	// that has been started before keeps its ports.
	BasePort int
	// Chaincode is the command that serves the chaincode; it is run for each
	// organisation with the flag --config and a file that service.Load reads. Default:
	// this program with the argument "chaincode".
	Chaincode []string
	// Admin is the program of network/admin. If it is set, channel joins and
	// the chaincode's life cycle go through it instead of the peer command.
	Admin string
	// Attached ties the processes to this one: those that die are started
	// again, and none outlives it, even if it is killed (on Linux).
	Attached bool
	// Keeper is a command that calls Keep for this network. If it is set, Up
	// leaves it running, for networks that are not Attached; Down ends it.
	Keeper []string
	// Log receives progress, one line each; nil discards it.
	Log io.Writer

	// behind says where nodes listen whose ports others reach through something
	// in between, which tests put there.
	behind map[int]int
}

var (
	orderersCount = map[string]int{"raft1": 1, "raft3": 3, "bft4": 4}
	defaultOrgs   = []string{"HospitalA", "HospitalB", "PatientsAssociation"}
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,47}$`)
	// Fabric's own rule for collections is wider.
	collectionPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,47}$`)
)

const maxOrgs = 16

// consents is the collection that the contracts need, for so many organisations.
// A peer other than the one that signs first has the details of a consent as
// well: no crash of one loses them.
func consents(orgs int) []Collection {
	return []Collection{{Name: ledgerstate.Collection, RequiredPeers: min(1, orgs-1), MaxPeers: orgs - 1}}
}

// newTopology describes the network that o asks for, on ports that are free now.
func newTopology(o Options) (topology, error) {
	t := topology{Version: topologyVersion, Orderers: o.Orderers, Sequence: 1, Collections: o.Collections}
	if t.Orderers == "" {
		t.Orderers = "raft1"
	}
	if o.CA != builtinCA {
		t.CA = o.CA
	}
	msps := o.Orgs
	if len(msps) == 0 {
		msps = defaultOrgs
	}
	for _, m := range msps {
		t.Orgs = append(t.Orgs, peerNode{MSP: m})
	}
	if t.Collections == nil {
		t.Collections = consents(len(t.Orgs))
	}
	for i := range orderersCount[t.Orderers] {
		t.Nodes = append(t.Nodes, ordererNode{Name: fmt.Sprintf("orderer%d", i+1)})
	}
	if err := t.checkNames(); err != nil {
		return topology{}, err
	}
	return t, t.takePorts(o.BasePort)
}

func (t *topology) takePorts(base int) error {
	each := 5
	if t.CA != "" {
		each = 6
	}
	ports, err := choosePorts(base, 3*len(t.Nodes)+each*len(t.Orgs))
	if err != nil {
		return err
	}
	next := func() int {
		p := ports[0]
		ports = ports[1:]
		return p
	}
	for i := range t.Nodes {
		n := &t.Nodes[i]
		n.Port, n.Admin, n.Operations = next(), next(), next()
	}
	for i := range t.Orgs {
		o := &t.Orgs[i]
		o.Port, o.Chaincode, o.Operations = next(), next(), next()
		o.Service = [2]int{next(), next()}
		if t.CA != "" {
			o.CA = next()
		}
	}
	return nil
}

func (t topology) check() error {
	if t.Version != topologyVersion {
		return fmt.Errorf("schema version %d is not %d, the one this program knows", t.Version, topologyVersion)
	}
	if err := t.checkNames(); err != nil {
		return err
	}
	if t.Sequence < 1 || len(t.Nodes) != orderersCount[t.Orderers] {
		return errors.New("sequence or orderers are wrong")
	}
	seen := map[int]bool{}
	for _, p := range t.ports() {
		if p < 1024 || p > 65535 || seen[p] {
			return fmt.Errorf("port %d is out of range or used twice", p)
		}
		seen[p] = true
	}
	return nil
}

func (t topology) checkNames() error {
	if orderersCount[t.Orderers] == 0 {
		return fmt.Errorf("orderers %q: want raft1, raft3 or bft4", t.Orderers)
	}
	if t.CA != "" && t.CA != fabricCA {
		return fmt.Errorf("authority %q: want %s or %s", t.CA, builtinCA, fabricCA)
	}
	if len(t.Orgs) > maxOrgs {
		return fmt.Errorf("%d organisations, the limit is %d", len(t.Orgs), maxOrgs)
	}
	seen := map[string]bool{strings.ToLower(ordererMSP): true}
	for _, o := range t.Orgs {
		// Two names must not share a directory where case does not count.
		name := strings.ToLower(o.MSP)
		if !namePattern.MatchString(o.MSP) || seen[name] {
			return fmt.Errorf("organisation %q: want distinct names of 1 to 48 letters, digits and dashes", o.MSP)
		}
		seen[name] = true
	}
	for _, n := range t.Nodes {
		if !namePattern.MatchString(n.Name) {
			return fmt.Errorf("orderer %q: not a name", n.Name)
		}
	}
	return t.checkCollections()
}

func (t topology) checkCollections() error {
	seen := map[string]bool{}
	for _, c := range t.Collections {
		if !collectionPattern.MatchString(c.Name) || seen[c.Name] {
			return fmt.Errorf("collection %q: want distinct names of 1 to 48 letters, digits, dashes and underscores", c.Name)
		}
		seen[c.Name] = true
		if c.RequiredPeers < 0 || c.MaxPeers < c.RequiredPeers || c.MaxPeers >= max(1, len(t.Orgs)) {
			return fmt.Errorf("collection %s: want 0 <= required peers <= most peers < organisations", c.Name)
		}
		for _, m := range c.Members {
			if !slices.ContainsFunc(t.Orgs, func(o peerNode) bool { return o.MSP == m }) {
				return fmt.Errorf("collection %s: the network has no organisation %q", c.Name, m)
			}
		}
	}
	return nil
}

func (t topology) ports() []int {
	var all []int
	for _, n := range t.Nodes {
		all = append(all, n.Port, n.Admin, n.Operations)
	}
	for _, o := range t.Orgs {
		all = append(all, o.Port, o.Chaincode, o.Operations, o.Service[0], o.Service[1])
		if t.CA != "" {
			all = append(all, o.CA)
		}
	}
	return all
}

// quorum is how many organisations must endorse: more than half.
func (t topology) quorum() int { return fabric.Endorsers(len(t.Orgs)) }

// matches says whether an existing network is the one that o asks for.
func (t topology) matches(o Options) error {
	if o.Orderers != "" && o.Orderers != t.Orderers {
		return fmt.Errorf("the network has orderers %s, not %s: take another directory", t.Orderers, o.Orderers)
	}
	if o.CA != "" && (o.CA == fabricCA) != (t.CA == fabricCA) {
		return errors.New("the network's clients have certificates of another authority: take another directory")
	}
	if len(o.Orgs) > 0 && !slices.EqualFunc(o.Orgs, t.Orgs, func(m string, p peerNode) bool { return m == p.MSP }) {
		return errors.New("the network has other organisations: take another directory")
	}
	if len(o.Collections) > 0 {
		want, err := json.Marshal(o.Collections)
		if err != nil {
			return err
		}
		have, err := json.Marshal(t.Collections)
		if err != nil {
			return err
		}
		if string(want) != string(have) {
			return errors.New("the network has other collections: change them with Upgrade")
		}
	}
	return nil
}

func (t topology) save(dir string) error {
	data, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(filepath.Join(dir, topologyFile), append(data, '\n'))
}

// loadTopology reads the record of the network in dir; os.ErrNotExist means
// that there is none.
func loadTopology(dir string) (topology, error) {
	path := filepath.Join(dir, topologyFile)
	data, err := state.ReadFile(path, maxTopology)
	if err != nil {
		return topology{}, err
	}
	var t topology
	if err := record.DecodeJSON(data, maxTopology, &t); err != nil {
		return topology{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := t.check(); err != nil {
		return topology{}, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
