package fabric

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/orderer"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vitalveil/vitalveil/internal/fault"
)

const nonceBytes = 24

// delivery is a stream of blocks from a peer.
type delivery = grpc.BidiStreamingClient[common.Envelope, peer.DeliverResponse]

// open asks a peer for the blocks from one number to another over a stream that
// start makes. The stream ends with ctx.
func (c *Client) open(ctx context.Context, start func(context.Context, ...grpc.CallOption) (delivery, error), from, until uint64) (delivery, error) {
	request, err := c.seek(from, until)
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot make the request for blocks: %w", err)
	}
	s, err := start(ctx)
	if err == nil {
		err = s.Send(request)
	}
	if err != nil && err != io.EOF { // io.EOF: the reason comes with Recv
		return nil, readAnswer(err).elsewhere()
	}
	return s, nil
}

// seek makes a signed request for blocks.
func (c *Client) seek(from, until uint64) (*common.Envelope, error) {
	position := func(n uint64) *orderer.SeekPosition {
		return &orderer.SeekPosition{Type: &orderer.SeekPosition_Specified{Specified: &orderer.SeekSpecified{Number: n}}}
	}
	start := position(from)
	if from == newest {
		start = &orderer.SeekPosition{Type: &orderer.SeekPosition_Newest{Newest: &orderer.SeekNewest{}}}
	}
	info, err := proto.Marshal(&orderer.SeekInfo{
		Start: start, Stop: position(until),
		Behavior: orderer.SeekInfo_BLOCK_UNTIL_READY,
	})
	if err != nil {
		return nil, err
	}
	channel, err := proto.Marshal(&common.ChannelHeader{
		Type:      int32(common.HeaderType_DELIVER_SEEK_INFO),
		Timestamp: timestamppb.New(time.Now()), ChannelId: c.reader.channel,
	})
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceBytes)
	rand.Read(nonce)
	id := c.id.Current()
	creator, err := id.Creator()
	if err != nil {
		return nil, err
	}
	signer, err := proto.Marshal(&common.SignatureHeader{Creator: creator, Nonce: nonce})
	if err != nil {
		return nil, err
	}
	payload, err := proto.Marshal(&common.Payload{
		Data:   info,
		Header: &common.Header{ChannelHeader: channel, SignatureHeader: signer},
	})
	if err != nil {
		return nil, err
	}
	sig, err := id.Sign(payload)
	return &common.Envelope{Payload: payload, Signature: sig}, err
}

// receive returns the next message of a stream that is not its end.
func (c *Client) receive(s delivery) (*peer.DeliverResponse, error) {
	r, err := s.Recv()
	if err != nil {
		return nil, readAnswer(err).elsewhere()
	}
	end, ok := r.GetType().(*peer.DeliverResponse_Status)
	if !ok {
		return r, nil
	}
	switch end.Status {
	case common.Status_FORBIDDEN:
		if err := c.certified(); err != nil {
			return nil, err // it ended while the stream was open
		}
		return nil, fault.New(fault.Forbidden, "the channel's policy does not allow this identity to read blocks")
	default:
		return nil, &elsewhere{err: &deliverError{end.Status}}
	}
}

// deliverError is how a peer ended a stream of blocks.
type deliverError struct{ status common.Status }

func (e *deliverError) Error() string { return fmt.Sprintf("the peer ended the stream: %s", e.status) }

func isBadRequest(err error) bool {
	var d *deliverError
	return errors.As(err, &d) && d.status == common.Status_BAD_REQUEST
}

// transactionIDs returns the ids of a block's transactions in order. It waits
// until the peer has the block.
func (c *Client) transactionIDs(ctx context.Context, e *endpoint, block uint64) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ids, err := c.filteredIDs(ctx, e, block)
	if isBadRequest(err) {
		// Peers cannot filter a block in which someone put a malformed
		// transaction.
		ids, err = c.fullIDs(ctx, e, block)
	}
	if err == nil {
		e.knows(block)
	}
	return ids, err
}

func (c *Client) filteredIDs(ctx context.Context, e *endpoint, block uint64) ([]string, error) {
	s, err := c.open(ctx, e.deliver.DeliverFiltered, block, block)
	if err != nil {
		return nil, err
	}
	r, err := c.receive(s)
	if err != nil {
		return nil, err
	}
	f := r.GetFilteredBlock()
	if f.GetNumber() != block || f.GetFilteredTransactions() == nil {
		return nil, &elsewhere{err: fmt.Errorf("the peer of %q sent something else than block %d", e.msp, block)}
	}
	ids := make([]string, len(f.GetFilteredTransactions()))
	for i, tx := range f.GetFilteredTransactions() {
		ids[i] = tx.GetTxid()
	}
	return ids, nil
}

func (c *Client) fullIDs(ctx context.Context, e *endpoint, block uint64) ([]string, error) {
	s, err := c.open(ctx, e.deliver.Deliver, block, block)
	if err != nil {
		return nil, err
	}
	r, err := c.receive(s)
	if err != nil {
		return nil, err
	}
	b, err := c.reader.block(r.GetBlock(), nil)
	if err != nil || b.Number != block {
		return nil, &elsewhere{err: fmt.Errorf("the peer of %q sent something else than block %d: %w", e.msp, block, err)}
	}
	ids := make([]string, len(b.Txs))
	for i, tx := range b.Txs {
		ids[i] = tx.ID
	}
	return ids, nil
}

// Where a stream begins that shows what comes from now on, and where one ends that
// follows.
const (
	newest     = math.MaxUint64
	everything = math.MaxUint64
)
