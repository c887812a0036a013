package embedded

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Bounds of a proposal.
const (
	// MaxArguments bounds function name, arguments and transient data together,
	// in bytes.
	MaxArguments = network.MaxArguments
	maxProposal  = MaxArguments + 64<<10
	nonceBytes   = 24
	// chaincodeName is the one chaincode's name in proposals and events.
	chaincodeName = "vitalveil"
)

// signedCall is what a client sends. Recorded goes on the chain; Full is the
// same proposal with its transient data and reaches the chaincode only. Without
// transient data they are one and the same.
type signedCall struct {
	Recorded          []byte
	RecordedSignature []byte
	Full              []byte
	FullSignature     []byte
}

// proposal is a parsed and checked proposal.
type proposal struct {
	id        record.ID
	creator   []byte
	nonce     []byte
	timestamp *timestamppb.Timestamp
	args      [][]byte
	transient map[string][]byte
	header    []byte
	input     []byte
	member    *network.Member
}

func (p *proposal) txID() string { return p.id.String() }

// binding is SHA-256 over nonce, creator and epoch, as Fabric's shim has it.
func (p *proposal) binding() []byte {
	b := append(append([]byte{}, p.nonce...), p.creator...)
	sum := sha256.Sum256(binary.LittleEndian.AppendUint64(b, 0))
	return sum[:]
}

func txID(nonce, creator []byte) record.ID {
	return record.SumID(slices.Concat(nonce, creator))
}

// signCall builds and signs the proposal of a call.
func signCall(id network.Identity, channel string, c network.Call, at time.Time) (*signedCall, error) {
	id = id.Current()
	creator, err := id.Creator()
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceBytes)
	rand.Read(nonce)
	head, err := proposalHeader(creator, nonce, channel, at)
	if err != nil {
		return nil, err
	}
	var out signedCall
	if out.Recorded, err = proposalBytes(head, c, nil); err != nil {
		return nil, err
	}
	if out.RecordedSignature, err = id.Sign(out.Recorded); err != nil {
		return nil, err
	}
	if len(c.Transient) == 0 {
		out.Full, out.FullSignature = out.Recorded, out.RecordedSignature
		return &out, nil
	}
	if out.Full, err = proposalBytes(head, c, c.Transient); err != nil {
		return nil, err
	}
	out.FullSignature, err = id.Sign(out.Full)
	return &out, err
}

func proposalHeader(creator, nonce []byte, channel string, at time.Time) ([]byte, error) {
	extension, err := proto.Marshal(&peer.ChaincodeHeaderExtension{
		ChaincodeId: &peer.ChaincodeID{Name: chaincodeName},
	})
	if err != nil {
		return nil, err
	}
	ch, err := proto.Marshal(&common.ChannelHeader{
		Type:      int32(common.HeaderType_ENDORSER_TRANSACTION),
		Timestamp: timestamppb.New(at), ChannelId: channel,
		TxId: txID(nonce, creator).String(), Extension: extension,
	})
	if err != nil {
		return nil, err
	}
	sh, err := proto.Marshal(&common.SignatureHeader{Creator: creator, Nonce: nonce})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&common.Header{ChannelHeader: ch, SignatureHeader: sh})
}

func proposalBytes(head []byte, c network.Call, transient map[string][]byte) ([]byte, error) {
	args := [][]byte{[]byte(c.Function)}
	for _, a := range c.Args {
		args = append(args, []byte(a))
	}
	input, err := proto.Marshal(&peer.ChaincodeInvocationSpec{ChaincodeSpec: &peer.ChaincodeSpec{
		Type: peer.ChaincodeSpec_GOLANG, ChaincodeId: &peer.ChaincodeID{Name: chaincodeName},
		Input: &peer.ChaincodeInput{Args: args},
	}})
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&peer.ChaincodeProposalPayload{Input: input, TransientMap: transient})
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&peer.Proposal{Header: head, Payload: payload})
}

// checkSignedCall parses what a client sent and checks creator, signatures and
// that the recorded form is the full one without its transient data.
func checkSignedCall(t *network.Trust, channel string, s *signedCall, now time.Time) (*proposal, error) {
	full, err := checkProposal(t, channel, s.Full, s.FullSignature, now)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(s.Full, s.Recorded) && bytes.Equal(s.FullSignature, s.RecordedSignature) {
		if len(full.transient) != 0 {
			return nil, fault.New(fault.Invalid, "transient data would be recorded")
		}
		return full, nil
	}
	recorded, err := checkProposal(t, channel, s.Recorded, s.RecordedSignature, now)
	if err != nil {
		return nil, err
	}
	if len(recorded.transient) != 0 {
		return nil, fault.New(fault.Invalid, "transient data would be recorded")
	}
	if !bytes.Equal(full.header, recorded.header) || !bytes.Equal(full.input, recorded.input) {
		return nil, fault.New(fault.Invalid, "the recorded proposal is not the one to be run")
	}
	return full, nil
}

// checkProposal parses one proposal and checks its creator and signature.
func checkProposal(t *network.Trust, channel string, data, sig []byte, at time.Time) (*proposal, error) {
	p, err := parseProposal(channel, data)
	if err != nil {
		return nil, fault.New(fault.Invalid, "malformed proposal: %w", err)
	}
	member, err := t.Creator(p.creator, at)
	if err != nil {
		return nil, fault.New(fault.Forbidden, "creator: %w", err)
	}
	if err := network.VerifySignature(member.Key, data, sig); err != nil {
		return nil, fault.New(fault.BadSignature, "creator's signature over the proposal: %w", err)
	}
	p.member = member
	return p, nil
}

// parseProposal reads the nested messages of a proposal strictly.
func parseProposal(channel string, data []byte) (*proposal, error) {
	if len(data) > maxProposal {
		return nil, fmt.Errorf("it has %d bytes, the limit is %d", len(data), maxProposal)
	}
	msg, head := &peer.Proposal{}, &common.Header{}
	if err := parseProto(data, msg); err != nil {
		return nil, err
	}
	if err := parseProto(msg.Header, head); err != nil {
		return nil, err
	}
	if len(msg.Extension) != 0 {
		return nil, fmt.Errorf("unexpected extension")
	}
	p := &proposal{header: msg.Header}
	if err := p.parseSignatureHeader(head.SignatureHeader); err != nil {
		return nil, err
	}
	if err := p.parseChannelHeader(head.ChannelHeader, channel); err != nil {
		return nil, err
	}
	return p, p.parsePayload(msg.Payload)
}

func (p *proposal) parseSignatureHeader(data []byte) error {
	sh := &common.SignatureHeader{}
	if err := parseProto(data, sh); err != nil {
		return err
	}
	if len(sh.Nonce) != nonceBytes {
		return fmt.Errorf("the nonce has %d bytes, not %d", len(sh.Nonce), nonceBytes)
	}
	p.creator, p.nonce, p.id = sh.Creator, sh.Nonce, txID(sh.Nonce, sh.Creator)
	return nil
}

func (p *proposal) parseChannelHeader(data []byte, channel string) error {
	ch, ext := &common.ChannelHeader{}, &peer.ChaincodeHeaderExtension{}
	if err := parseProto(data, ch); err != nil {
		return err
	}
	if err := parseProto(ch.Extension, ext); err != nil {
		return err
	}
	switch {
	case ch.Type != int32(common.HeaderType_ENDORSER_TRANSACTION):
		return fmt.Errorf("header type %d is not a transaction's", ch.Type)
	case ch.ChannelId != channel:
		return fmt.Errorf("it is for channel %q, this is %q", ch.ChannelId, channel)
	case ch.TxId != p.id.String():
		return fmt.Errorf("the transaction id is not SHA-256 of nonce and creator")
	case ch.Epoch != 0 || ch.Version != 0 || len(ch.TlsCertHash) != 0:
		return fmt.Errorf("epoch, version and TLS hash must be absent")
	case ch.Timestamp.CheckValid() != nil:
		return fmt.Errorf("the timestamp is not valid")
	case ext.ChaincodeId.GetName() != chaincodeName:
		return fmt.Errorf("no chaincode %q", ext.ChaincodeId.GetName())
	}
	p.timestamp = ch.Timestamp
	return nil
}

func (p *proposal) parsePayload(data []byte) error {
	payload, spec := &peer.ChaincodeProposalPayload{}, &peer.ChaincodeInvocationSpec{}
	if err := parseProto(data, payload); err != nil {
		return err
	}
	if err := parseProto(payload.Input, spec); err != nil {
		return err
	}
	args := spec.GetChaincodeSpec().GetInput().GetArgs()
	if len(args) == 0 || len(args) > network.MaxArgCount+1 {
		return fmt.Errorf("%d arguments", len(args))
	}
	p.input, p.args, p.transient = payload.Input, args, payload.TransientMap
	return nil
}

// parseProto decodes a message and refuses fields that it does not know.
func parseProto(data []byte, m proto.Message) error {
	if err := proto.Unmarshal(data, m); err != nil {
		return err
	}
	if len(m.ProtoReflect().GetUnknown()) != 0 {
		return fmt.Errorf("unknown fields in %s", m.ProtoReflect().Descriptor().Name())
	}
	return nil
}
