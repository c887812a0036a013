package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Bounds of what is parsed. The size of a whole block is bounded by maxMessage
// before any of it is looked at.
const (
	maxTxs     = 1 << 16 // of a block
	maxTxID    = 64      // hexadecimal SHA-256
	maxInvoked = network.MaxArgCount + 1
)

// reader turns what peers send into blocks of one channel and chaincode.
type reader struct {
	channel   string
	chaincode string
	trust     *network.Trust
}

// block checks and parses a block and the private data that came with it, which
// may be less than the block has.
func (r reader) block(b *common.Block, private map[uint64]*rwset.TxPvtReadWriteSet) (*network.Block, error) {
	hash, err := headerHash(b.GetHeader())
	if err != nil {
		return nil, err
	}
	data := b.GetData().GetData()
	if sum := sha256.Sum256(bytes.Join(data, nil)); !bytes.Equal(sum[:], b.GetHeader().GetDataHash()) {
		return nil, errors.New("its transactions are not the ones that its header commits to")
	}
	codes, err := validationCodes(b, len(data))
	if err != nil {
		return nil, err
	}
	out := &network.Block{Number: b.GetHeader().GetNumber(), Hash: hash, Txs: make([]network.Tx, 0, len(data))}
	copy(out.Previous[:], b.GetHeader().GetPreviousHash())
	for i, d := range data {
		tx, err := r.tx(d, peer.TxValidationCode(codes[i]), private[uint64(i)])
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		tx.Index = i
		out.Txs = append(out.Txs, tx)
	}
	return out, nil
}

// asn1Header is what Fabric hashes of a header.
type asn1Header struct {
	Number       *big.Int
	PreviousHash []byte
	DataHash     []byte
}

func headerHash(h *common.BlockHeader) (record.ID, error) {
	if h == nil {
		return record.ID{}, errors.New("it has no header")
	}
	first := h.GetNumber() == 0 && len(h.GetPreviousHash()) == 0
	if !first && len(h.GetPreviousHash()) != sha256.Size || len(h.GetDataHash()) != sha256.Size {
		return record.ID{}, errors.New("a hash in its header has a wrong length")
	}
	der, err := asn1.Marshal(asn1Header{new(big.Int).SetUint64(h.GetNumber()), h.GetPreviousHash(), h.GetDataHash()})
	if err != nil {
		return record.ID{}, err
	}
	return sha256.Sum256(der), nil
}

// validationCodes returns the peer's verdict on each of n transactions.
func validationCodes(b *common.Block, n int) ([]byte, error) {
	if n > maxTxs {
		return nil, fmt.Errorf("it has %d transactions, the limit is %d", n, maxTxs)
	}
	meta := b.GetMetadata().GetMetadata()
	const at = int(common.BlockMetadataIndex_TRANSACTIONS_FILTER)
	if len(meta) <= at || len(meta[at]) != n {
		return nil, errors.New("it does not say which transactions are valid")
	}
	return meta[at], nil
}

// tx parses one transaction. What cannot be parsed or is not signed by a member
// is an error if the peer holds it valid, and an empty invalid transaction if
// not: anybody could have put it there.
func (r reader) tx(data []byte, code peer.TxValidationCode, private *rwset.TxPvtReadWriteSet) (network.Tx, error) {
	out := network.Tx{Valid: code == peer.TxValidationCode_VALID, Code: code.String()}
	err := r.fill(&out, data, private)
	if err != nil && !out.Valid {
		return network.Tx{Code: out.Code}, nil
	}
	return out, err
}

func (r reader) fill(out *network.Tx, data []byte, private *rwset.TxPvtReadWriteSet) error {
	raw := &common.Envelope{}
	if err := proto.Unmarshal(data, raw); err != nil {
		return err
	}
	env, err := parseEnvelope(raw)
	if err != nil {
		return err
	}
	if env.channel.GetChannelId() != r.channel {
		return errors.New("it is for another channel")
	}
	out.ID, out.Time = env.channel.GetTxId(), env.channel.GetTimestamp().GetSeconds()
	if len(out.ID) > maxTxID {
		return errors.New("its id is too long")
	}
	if common.HeaderType(env.channel.GetType()) != common.HeaderType_ENDORSER_TRANSACTION {
		if !out.Valid {
			out.ID = "" // it was not checked against a signer
		}
		return nil // the channel's own administration, by orderers
	}
	if err := r.signedBy(out, env, raw); err != nil {
		return err
	}
	inv, err := env.invocation()
	if err == nil && inv.chaincode == r.chaincode {
		out.Function, out.Args = inv.function, inv.args
	}
	if !out.Valid {
		return nil
	}
	if err != nil {
		return err
	}
	return r.effects(out, inv, private)
}

// signedBy checks id, creator and signature of a transaction.
func (r reader) signedBy(out *network.Tx, env *envelope, raw *common.Envelope) error {
	id := sha256.Sum256(bytes.Join([][]byte{env.signer.GetNonce(), env.signer.GetCreator()}, nil))
	if out.ID != hex.EncodeToString(id[:]) {
		return errors.New("its id is not that of its creator and nonce")
	}
	// The signer's clock is the only one there is; peers and orderers have
	// checked the certificate at theirs.
	member, err := r.trust.Creator(env.signer.GetCreator(), time.Unix(out.Time, 0))
	if err != nil {
		return fmt.Errorf("creator: %w", err)
	}
	if err := network.VerifySignature(member.Key, raw.GetPayload(), raw.GetSignature()); err != nil {
		return fmt.Errorf("creator: %w", err)
	}
	out.Creator = network.Creator{MSP: member.MSP, Certificate: member.Certificate}
	return nil
}

// envelope is a parsed transaction envelope, down to the transaction itself.
type envelope struct {
	header  []byte // common.Header
	channel *common.ChannelHeader
	signer  *common.SignatureHeader
	// The parts of the header as they are hashed and signed.
	channelBytes []byte
	signerBytes  []byte
	data         []byte
}

func parseEnvelope(raw *common.Envelope) (*envelope, error) {
	// The header is kept as it was sent, which common.Payload would not do.
	payload := &common.Payload{}
	if err := proto.Unmarshal(raw.GetPayload(), payload); err != nil {
		return nil, err
	}
	header, err := proto.MarshalOptions{Deterministic: true}.Marshal(payload.GetHeader())
	if err != nil {
		return nil, err
	}
	e := &envelope{
		header: header, channel: &common.ChannelHeader{}, signer: &common.SignatureHeader{},
		channelBytes: payload.GetHeader().GetChannelHeader(), signerBytes: payload.GetHeader().GetSignatureHeader(),
		data: payload.GetData(),
	}
	if err := proto.Unmarshal(e.channelBytes, e.channel); err != nil {
		return nil, err
	}
	return e, proto.Unmarshal(e.signerBytes, e.signer)
}

// invocation is what a transaction asked of which chaincode and what came of it.
type invocation struct {
	chaincode string
	function  string
	args      []string
	input     []byte // peer.ChaincodeInvocationSpec
	action    *peer.ChaincodeAction
}

// invocation parses the one action of a transaction and checks that what was
// endorsed is what was asked for.
func (e *envelope) invocation() (*invocation, error) {
	tx, action, asked := &peer.Transaction{}, &peer.ChaincodeActionPayload{}, &peer.ChaincodeProposalPayload{}
	if err := proto.Unmarshal(e.data, tx); err != nil {
		return nil, err
	}
	if len(tx.GetActions()) != 1 {
		return nil, fmt.Errorf("it has %d actions, not one", len(tx.GetActions()))
	}
	if err := proto.Unmarshal(tx.GetActions()[0].GetPayload(), action); err != nil {
		return nil, err
	}
	if err := proto.Unmarshal(action.GetChaincodeProposalPayload(), asked); err != nil {
		return nil, err
	}
	inv := &invocation{input: asked.GetInput()}
	if err := inv.asks(); err != nil {
		return nil, err
	}
	response := &peer.ProposalResponsePayload{}
	if err := proto.Unmarshal(action.GetAction().GetProposalResponsePayload(), response); err != nil {
		return nil, err
	}
	hash := sha256.Sum256(bytes.Join([][]byte{e.channelBytes, e.signerBytes, action.GetChaincodeProposalPayload()}, nil))
	if !bytes.Equal(hash[:], response.GetProposalHash()) {
		return nil, errors.New("what was endorsed is not what was proposed")
	}
	inv.action = &peer.ChaincodeAction{}
	return inv, proto.Unmarshal(response.GetExtension(), inv.action)
}

// asks reads function and arguments.
func (inv *invocation) asks() error {
	spec := &peer.ChaincodeInvocationSpec{}
	if err := proto.Unmarshal(inv.input, spec); err != nil {
		return err
	}
	args := spec.GetChaincodeSpec().GetInput().GetArgs()
	if len(args) > maxInvoked {
		return fmt.Errorf("it has %d arguments, the limit is %d", len(args), maxInvoked)
	}
	inv.chaincode = spec.GetChaincodeSpec().GetChaincodeId().GetName()
	for i, a := range args {
		if i == 0 {
			inv.function = string(a)
			continue
		}
		inv.args = append(inv.args, string(a))
	}
	return nil
}
