package embedded

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Client is one identity's access to a ledger.
type Client struct {
	ledger *Ledger
	id     network.Identity
}

var _ network.Client = (*Client)(nil)

// Client returns the access of an identity. Whether the ledger accepts it shows
// with the first call.
func (l *Ledger) Client(id network.Identity) *Client { return &Client{l, id} }

// Submit implements network.Client.
func (c *Client) Submit(ctx context.Context, call network.Call) (network.Result, error) {
	s, err := c.sign(call)
	if err != nil {
		return network.Result{}, err
	}
	return c.ledger.submit(ctx, s)
}

// Evaluate implements network.Client.
func (c *Client) Evaluate(ctx context.Context, call network.Call) ([]byte, error) {
	s, err := c.sign(call)
	if err != nil {
		return nil, err
	}
	return c.ledger.evaluate(ctx, s)
}

// Blocks implements network.Client.
func (c *Client) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return c.ledger.Blocks(ctx, from)
}

func (c *Client) sign(call network.Call) (*signedCall, error) {
	if err := call.Check(); err != nil {
		return nil, err
	}
	s, err := signCall(c.id, c.ledger.Channel(), call, time.Now())
	if err != nil {
		return nil, fault.New(fault.Invalid, "cannot sign the call: %w", err)
	}
	return s, nil
}

// maxTransaction bounds what a transaction puts on the chain, in bytes: what the
// orderers of a Fabric network take (10 MB), without the endorsements that are in
// it there.
const maxTransaction = 10<<20 - 8<<10

// submission is a simulated transaction on its way into a block.
type submission struct {
	id       record.ID
	data     []byte // the encoded transaction
	digest   record.ID
	set      rwset
	private  []privateWrite
	response []byte
	done     chan outcome // holds one
}

type outcome struct {
	result network.Result
	err    error
}

func (l *Ledger) submit(ctx context.Context, s *signedCall) (network.Result, error) {
	if l.cfg.ReadOnly {
		return network.Result{}, fault.New(fault.Forbidden, "the ledger is open for reading only")
	}
	if err := l.enter(); err != nil {
		return network.Result{}, err
	}
	defer l.leave()
	sub, err := l.prepare(ctx, s)
	if err != nil {
		return network.Result{}, err
	}
	select {
	case out := <-sub.done:
		return out.result, out.err
	case <-ctx.Done():
		return network.Result{TxID: sub.id.String()},
			fault.New(fault.Unavailable, "transaction %s may or may not be committed: %w", sub.id, ctx.Err())
	}
}

// prepare checks and simulates a transaction and queues it for ordering.
func (l *Ledger) prepare(ctx context.Context, s *signedCall) (*submission, error) {
	l.inFlight.Add(1)
	defer l.inFlight.Add(-1)
	p, err := checkSignedCall(l.trust, l.Channel(), s, time.Now())
	if err != nil {
		return nil, err
	}
	if err := l.refuseKnown(p.id); err != nil {
		return nil, err
	}
	sim, resp, err := l.simulate(ctx, p, s)
	if err != nil {
		return nil, err
	}
	sub := &submission{id: p.id, response: resp.Payload, done: make(chan outcome, 1)}
	sub.set, sub.private = sim.set()
	sub.data, err = marshal(transaction{
		Proposal: s.Recorded, Signature: s.RecordedSignature, Set: sub.set, Event: sim.event,
		Response: response{Status: resp.Status, Message: resp.Message, Payload: resp.Payload},
	})
	if err != nil {
		return nil, fault.New(fault.Internal, "encode transaction: %w", err)
	}
	if len(sub.data) > maxTransaction {
		return nil, fault.New(fault.TooLarge, "the transaction has %d bytes on the chain, at most %d are possible; split it", len(sub.data), maxTransaction)
	}
	sub.digest = record.SumID(sub.data)
	select {
	case l.queue <- sub:
		return sub, nil
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "not submitted: %w", ctx.Err())
	}
}

func (l *Ledger) refuseKnown(id record.ID) error {
	v, err := getVersion(l.db, txIDKey(id))
	if err != nil {
		return fault.New(fault.Internal, "read ledger: %w", err)
	}
	if v != nil {
		return fault.New(fault.Conflict, "transaction %s is on the ledger already", id)
	}
	return nil
}

func (l *Ledger) evaluate(ctx context.Context, s *signedCall) ([]byte, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	p, err := checkSignedCall(l.trust, l.Channel(), s, time.Now())
	if err != nil {
		return nil, err
	}
	_, resp, err := l.simulate(ctx, p, s)
	if err != nil {
		return nil, err
	}
	return resp.Payload, nil
}

// simulate runs the chaincode over a snapshot. An error response is an error.
func (l *Ledger) simulate(ctx context.Context, p *proposal, s *signedCall) (*simulation, *peer.Response, error) {
	if l.cfg.Chaincode == nil {
		return nil, nil, fault.New(fault.Unavailable, "the ledger was opened without chaincode")
	}
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return nil, nil, fault.New(fault.Unavailable, "not run: %w", ctx.Err())
	}
	snap := l.db.NewSnapshot()
	sim := newSimulation(l.Channel(), p, s, snap)
	resp, err := run(l.cfg.Chaincode, sim)
	if ferr := sim.finish(); err == nil && ferr != nil {
		err = fault.New(fault.Internal, "close iterators: %w", ferr)
	}
	if cerr := snap.Close(); err == nil && cerr != nil {
		err = fault.New(fault.Internal, "close snapshot: %w", cerr)
	}
	if err != nil {
		return nil, nil, err
	}
	return sim, resp, nil
}

// run calls the chaincode as the shim and a peer do: the writes that it gathered
// are handed in whatever it answered, and only an answer of success, which is a
// status from 200 to 399, counts.
func run(cc shim.Chaincode, sim *simulation) (*peer.Response, error) {
	resp, err := invoke(cc, sim)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, fault.New(fault.Internal, "the chaincode gave no response")
	case !utf8.ValidString(resp.Message):
		return nil, fault.New(fault.Internal, "the chaincode's message is not UTF-8 text")
	}
	if err := (stub{sim}).FinishWriteBatch(); err != nil {
		return nil, fault.Parse(err.Error())
	}
	if resp.Status < shim.OK || resp.Status >= shim.ERRORTHRESHOLD {
		return nil, fault.Parse(resp.Message)
	}
	if len(resp.Payload)+len(resp.Message) > MaxResponse {
		return nil, fault.New(fault.TooLarge, "the response has more than %d bytes; ask for less", MaxResponse)
	}
	return resp, nil
}

// invoke calls the chaincode and turns a panic into an error.
func invoke(cc shim.Chaincode, sim *simulation) (*peer.Response, error) {
	var resp *peer.Response
	var err error
	func() {
		defer func() {
			if r := recover(); r != nil {
				slog.Error("chaincode panicked", "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
				err = fault.New(fault.Internal, "the chaincode panicked; see the ledger's log")
			}
		}()
		resp = cc.Invoke(stub{sim})
	}()
	return resp, err
}
