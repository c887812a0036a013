package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer/etcdraft"
	"google.golang.org/protobuf/proto"
)

// An orderer whose ledger is gone must not come back as who it was: it has
// forgotten which blocks it accepted and for whom it voted, so that with its old
// name two majorities could order different blocks. A Raft node therefore leaves
// the channel's configuration and enters it again, which gives it a new Raft
// identity (its keys stay), and begins with the newest configuration block. A
// SmartBFT node that forgot is one faulty node of four, which BFT bears; it only
// begins again.

var errOnlyOrderer = fatalError{errors.New("its ledger is gone, and nobody else orders: restore its directory below data/ from a copy, or begin a new network with another --dir")}

// joinBlock returns the block with which an orderer that has no channel begins:
// the first block of a new network, of an old one the newest configuration.
func (n *Network) joinBlock(ctx context.Context, o ordererNode) ([]byte, error) {
	begun, err := n.begun(ctx, o)
	if err != nil {
		return nil, err
	}
	if !begun {
		block, err := os.ReadFile(n.genesisPath())
		if err != nil {
			return nil, fatalError{err}
		}
		return block, nil
	}
	if len(n.topology.Nodes) == 1 {
		return nil, errOnlyOrderer
	}
	n.say("%s has lost its ledger and joins again", o.Name)
	if strings.HasPrefix(n.topology.Orderers, "raft") {
		if err := n.reenter(ctx, o); err != nil {
			return nil, err
		}
	}
	block, _, err := n.newestConfig(ctx)
	return block, err
}

// begun says whether the channel has more than its first block anywhere. All
// nodes run by now; one that does not answer yet is asked again by the caller.
func (n *Network) begun(ctx context.Context, lost ordererNode) (bool, error) {
	for _, o := range n.topology.Nodes {
		if o.Name == lost.Name {
			continue
		}
		c, err := n.ordererChannel(ctx, o)
		if err == nil && c.Height > 1 {
			return true, nil
		}
		if err != nil && !errors.Is(err, errNoChannel) {
			return false, fmt.Errorf("%s: %w", o.Name, err)
		}
	}
	for _, o := range n.topology.Orgs {
		m, err := channelMetrics(ctx, o.Operations, heightMetric)
		if err != nil {
			return false, fmt.Errorf("%s: %w", peerProcess(o), err)
		}
		if m[heightMetric] > 1 {
			return true, nil
		}
	}
	return false, nil
}

// reenter takes a Raft node out of the channel's configuration, unless an
// earlier attempt came as far, and puts it in again.
func (n *Network) reenter(ctx context.Context, o ordererNode) error {
	_, config, err := n.newestConfig(ctx)
	if err != nil {
		return err
	}
	node, err := n.consenter(o)
	if err != nil {
		return fatalError{err}
	}
	same := func(c *etcdraft.Consenter) bool {
		return c.GetHost() == node.GetHost() && c.GetPort() == node.GetPort()
	}
	have, err := consenters(config)
	if err != nil {
		return fatalError{err}
	}
	if slices.ContainsFunc(have.GetConsenters(), same) {
		have.Consenters = slices.DeleteFunc(have.Consenters, same)
		if err := n.setConsenters(ctx, config, have); err != nil {
			return fmt.Errorf("leave the channel: %w", err)
		}
		if config, err = n.configAfter(ctx, config.GetSequence()); err != nil {
			return err
		}
	}
	have.Consenters = append(have.Consenters, node)
	if err := n.setConsenters(ctx, config, have); err != nil {
		return fmt.Errorf("enter the channel again: %w", err)
	}
	_, err = n.configAfter(ctx, config.GetSequence())
	return err
}

// consenter is a node as the channel's configuration has it.
func (n *Network) consenter(o ordererNode) (*etcdraft.Consenter, error) {
	cert, err := os.ReadFile(n.material.tls(ordererMSP, o.Name, certFile))
	if err != nil {
		return nil, err
	}
	return &etcdraft.Consenter{Host: "localhost", Port: uint32(o.Port), ClientTlsCert: cert, ServerTlsCert: cert}, nil
}

// newestConfig fetches the newest configuration block from an orderer.
func (n *Network) newestConfig(ctx context.Context) ([]byte, *common.Config, error) {
	at, err := n.ordererFlags(ctx)
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(n.dir, "config", "newest.block")
	args := append([]string{"channel", "fetch", "config", path, "-c", channelName}, at...)
	if _, err := n.peer(ctx, n.topology.Orgs[0], args...); err != nil {
		return nil, nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fatalError{err}
	}
	config, err := configOf(raw)
	return raw, config, err
}

// configAfter waits for a configuration later than the given one.
func (n *Network) configAfter(ctx context.Context, sequence uint64) (*common.Config, error) {
	var config *common.Config
	err := n.retry(ctx, func() error {
		var err error
		if _, config, err = n.newestConfig(ctx); err != nil {
			return err
		}
		if config.GetSequence() <= sequence {
			return fmt.Errorf("the channel's configuration is still number %d", sequence)
		}
		return nil
	})
	return config, err
}

// configOf reads the configuration in a configuration block.
func configOf(raw []byte) (*common.Config, error) {
	block, envelope, payload, config := &common.Block{}, &common.Envelope{}, &common.Payload{}, &common.ConfigEnvelope{}
	if err := proto.Unmarshal(raw, block); err != nil {
		return nil, fatalError{err}
	}
	if len(block.GetData().GetData()) != 1 {
		return nil, fatalError{errors.New("a configuration block has one transaction, this one has another number")}
	}
	err := errors.Join(
		proto.Unmarshal(block.GetData().GetData()[0], envelope),
		proto.Unmarshal(envelope.GetPayload(), payload),
		proto.Unmarshal(payload.GetData(), config))
	if err != nil || config.GetConfig().GetChannelGroup() == nil {
		return nil, fatalError{fmt.Errorf("not a configuration block: %w", err)}
	}
	return config.GetConfig(), nil
}

// Names in a channel's configuration.
const (
	ordererGroup  = "Orderer"
	consensusType = "ConsensusType"
)

// consenters reads a configuration's Raft nodes.
func consenters(config *common.Config) (*etcdraft.ConfigMetadata, error) {
	kind, meta := &orderer.ConsensusType{}, &etcdraft.ConfigMetadata{}
	value := config.GetChannelGroup().GetGroups()[ordererGroup].GetValues()[consensusType].GetValue()
	if err := proto.Unmarshal(value, kind); err != nil {
		return nil, err
	}
	if kind.GetType() != "etcdraft" {
		return nil, fmt.Errorf("the channel's consensus is %q, not Raft", kind.GetType())
	}
	return meta, proto.Unmarshal(kind.GetMetadata(), meta)
}

// setConsenters has the channel's Raft nodes replaced. The change is signed by
// the orderers' administrator, whose signature the channel asks for.
func (n *Network) setConsenters(ctx context.Context, config *common.Config, meta *etcdraft.ConfigMetadata) error {
	update, err := consentersUpdate(config, meta)
	if err != nil {
		return fatalError{err}
	}
	path := filepath.Join(n.dir, "config", "consenters.update")
	if err := os.WriteFile(path, update, 0o600); err != nil {
		return fatalError{err}
	}
	at, err := n.ordererFlags(ctx)
	if err != nil {
		return err
	}
	env := append(adminEnvironment(n.dir, n.material, n.topology.Orgs[0]),
		"CORE_PEER_LOCALMSPID="+ordererMSP,
		"CORE_PEER_MSPCONFIGPATH="+filepath.Join(n.material.node(ordererMSP, "admin"), "msp"))
	_, err = n.tool(ctx, env, "peer", append([]string{"channel", "update", "-f", path, "-c", channelName}, at...)...)
	return err
}

// consentersUpdate is the envelope, without signatures, that changes nothing in
// a configuration but its Raft nodes.
func consentersUpdate(config *common.Config, meta *etcdraft.ConfigMetadata) ([]byte, error) {
	root := config.GetChannelGroup()
	group := root.GetGroups()[ordererGroup]
	old := group.GetValues()[consensusType]
	kind := &orderer.ConsensusType{}
	if err := proto.Unmarshal(old.GetValue(), kind); err != nil {
		return nil, err
	}
	var err error
	if kind.Metadata, err = proto.Marshal(meta); err != nil {
		return nil, err
	}
	value, err := proto.Marshal(kind)
	if err != nil {
		return nil, err
	}
	within := func(values map[string]*common.ConfigValue) *common.ConfigGroup {
		return &common.ConfigGroup{Version: root.GetVersion(), Groups: map[string]*common.ConfigGroup{
			ordererGroup: {Version: group.GetVersion(), Values: values},
		}}
	}
	update, err := proto.Marshal(&common.ConfigUpdate{
		ChannelId: channelName,
		ReadSet:   within(nil),
		WriteSet: within(map[string]*common.ConfigValue{
			consensusType: {Version: old.GetVersion() + 1, ModPolicy: old.GetModPolicy(), Value: value},
		}),
	})
	if err != nil {
		return nil, err
	}
	data, err := proto.Marshal(&common.ConfigUpdateEnvelope{ConfigUpdate: update})
	if err != nil {
		return nil, err
	}
	header, err := proto.Marshal(&common.ChannelHeader{Type: int32(common.HeaderType_CONFIG_UPDATE), ChannelId: channelName})
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&common.Payload{Header: &common.Header{ChannelHeader: header}, Data: data})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&common.Envelope{Payload: payload})
}
