package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hyperledger/fabric-protos-go/common"
	"github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/client/resmgmt"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/ccpackager/lifecycle"
	"github.com/hyperledger/fabric-sdk-go/third_party/github.com/hyperledger/fabric/common/policydsl"
)

type joinCommand struct {
	Channel string `required:"" help:"Channel to join; its first block comes from an orderer of the profile."`
}

// Run runs the command.
func (c joinCommand) Run(s *session) error {
	return s.resources.JoinChannel(c.Channel, s.options()...)
}

type installCommand struct {
	Package string `required:"" type:"existingfile" help:"The package, tar.gz."`
	Label   string `required:"" help:"The label in the package's metadata."`
}

// Run prints the id that approvals refer to.
func (c installCommand) Run(s *session) error {
	data, err := readFile(c.Package)
	if err != nil {
		return err
	}
	// The SDK's own check for a package that is there already asks for a label
	// that it would have to be told; the peers know better.
	_, err = s.resources.LifecycleInstallCC(resmgmt.LifecycleInstallCCRequest{Label: c.Label, Package: data}, s.options()...)
	if err != nil {
		return err
	}
	return printJSON(map[string]string{"package_id": lifecycle.ComputePackageID(c.Label, data)})
}

// terms are what approvals and the commit must agree on.
type terms struct {
	Channel     string `required:"" help:"Channel of the chaincode."`
	Name        string `required:"" help:"Name of the chaincode."`
	CCVersion   string `required:"" name:"cc-version" help:"Version of the definition."`
	Sequence    int64  `required:"" help:"Number of the definition, from 1."`
	Policy      string `required:"" help:"Endorsement policy, such as OutOf(2, 'A.peer', 'B.peer', 'C.peer')."`
	Collections string `type:"existingfile" help:"Private data collections in Fabric's form, JSON."`
}

func (t terms) parse() (*common.SignaturePolicyEnvelope, []*peer.CollectionConfig, error) {
	if t.Sequence < 1 {
		return nil, nil, errors.New("sequences begin at 1")
	}
	policy, err := policydsl.FromString(t.Policy)
	if err != nil {
		return nil, nil, fmt.Errorf("policy: %w", err)
	}
	if t.Collections == "" {
		return policy, nil, nil
	}
	collections, err := readCollections(t.Collections)
	return policy, collections, err
}

// collection is Fabric's file form of a collection.
type collection struct {
	Name          string `json:"name"`
	Policy        string `json:"policy"`
	RequiredPeers int32  `json:"requiredPeerCount"`
	MaxPeers      int32  `json:"maxPeerCount"`
	BlocksToLive  uint64 `json:"blockToLive"`
	MembersRead   bool   `json:"memberOnlyRead"`
	MembersWrite  bool   `json:"memberOnlyWrite"`
}

func readCollections(path string) ([]*peer.CollectionConfig, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var list []collection
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.More() {
		return nil, fmt.Errorf("%s: more than one JSON value", path)
	}
	var out []*peer.CollectionConfig
	for _, c := range list {
		members, err := policydsl.FromString(c.Policy)
		if err != nil {
			return nil, fmt.Errorf("collection %s: %w", c.Name, err)
		}
		static := &peer.StaticCollectionConfig{
			Name: c.Name,
			MemberOrgsPolicy: &peer.CollectionPolicyConfig{
				Payload: &peer.CollectionPolicyConfig_SignaturePolicy{SignaturePolicy: members},
			},
			RequiredPeerCount: c.RequiredPeers, MaximumPeerCount: c.MaxPeers,
			BlockToLive: c.BlocksToLive, MemberOnlyRead: c.MembersRead, MemberOnlyWrite: c.MembersWrite,
		}
		out = append(out, &peer.CollectionConfig{
			Payload: &peer.CollectionConfig_StaticCollectionConfig{StaticCollectionConfig: static},
		})
	}
	return out, nil
}

type approveCommand struct {
	terms
	PackageID string `required:"" help:"The installed package that serves the definition."`
}

// Run prints the transaction id.
func (c approveCommand) Run(s *session) error {
	policy, collections, err := c.parse()
	if err != nil {
		return err
	}
	tx, err := s.resources.LifecycleApproveCC(c.Channel, resmgmt.LifecycleApproveCCRequest{
		Name: c.Name, Version: c.CCVersion, Sequence: c.Sequence, PackageID: c.PackageID,
		SignaturePolicy: policy, CollectionConfig: collections,
		// Peers fill these in when they compare, so they must be spelled out.
		EndorsementPlugin: "escc", ValidationPlugin: "vscc",
	}, s.options()...) // only the own peers: others refuse to approve for us
	if err != nil {
		return err
	}
	return printJSON(map[string]string{"tx": string(tx)})
}

type commitCommand struct{ terms }

// Run prints the transaction id.
func (c commitCommand) Run(s *session) error {
	policy, collections, err := c.parse()
	if err != nil {
		return err
	}
	tx, err := s.resources.LifecycleCommitCC(c.Channel, resmgmt.LifecycleCommitCCRequest{
		Name: c.Name, Version: c.CCVersion, Sequence: c.Sequence,
		SignaturePolicy: policy, CollectionConfig: collections,
		EndorsementPlugin: "escc", ValidationPlugin: "vscc",
	}, s.options(s.allPeers...)...)
	if err != nil {
		return err
	}
	return printJSON(map[string]string{"tx": string(tx)})
}

type queryCommand struct {
	Channel string `required:"" help:"Channel of the chaincode."`
	Name    string `required:"" help:"Name of the chaincode."`
}

// queryAnswer is what the organisation's first peer says.
type queryAnswer struct {
	Channels  []string        `json:"channels"`
	Installed []string        `json:"installed"`
	Version   string          `json:"version,omitempty"`
	Sequence  int64           `json:"sequence"` // 0: not committed
	Approvals map[string]bool `json:"approvals,omitempty"`
}

// Run prints what the organisation's first peer knows.
func (c queryCommand) Run(s *session) error {
	at := s.options(s.peers[0])
	var a queryAnswer
	channels, err := s.resources.QueryChannels(at...)
	if err != nil {
		return err
	}
	for _, ch := range channels.Channels {
		a.Channels = append(a.Channels, ch.ChannelId)
	}
	installed, err := s.resources.LifecycleQueryInstalledCC(at...)
	if err != nil {
		return err
	}
	for _, i := range installed {
		a.Installed = append(a.Installed, i.PackageID)
	}
	// Without a name the peer answers with all definitions, and with none
	// rather than an error where nothing is committed.
	all, err := s.resources.LifecycleQueryCommittedCC(c.Channel, resmgmt.LifecycleQueryCommittedCCRequest{}, at...)
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Name == c.Name {
			a.Version, a.Sequence = d.Version, d.Sequence
		}
	}
	if a.Sequence > 0 {
		one, err := s.resources.LifecycleQueryCommittedCC(c.Channel, resmgmt.LifecycleQueryCommittedCCRequest{Name: c.Name}, at...)
		if err != nil {
			return err
		}
		for _, d := range one {
			a.Approvals = d.Approvals
		}
	}
	return printJSON(a)
}
