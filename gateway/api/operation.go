package api

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"time"

	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Operation is what a write became.
type Operation struct {
	ID      record.ID
	Kind    string
	Done    bool
	Err     *fault.Error // set when it failed; posting the same again tries again
	TxID    string       // transaction that recorded it; the last one of an upload
	Block   uint64
	Subject string // patient, consent, device or request
	Items   []Item // of an upload, in the order of its pointers
}

// Item is the outcome of one pointer of an upload.
type Item struct {
	record.AnchorItem
	Batch record.ID // root of the batch it was anchored in; zero otherwise
	TxID  string
	// Recorded is what the ledger has in the place of a pointer that was refused as a
	// conflict, by the gateway's word until its signature is checked; nil where it was
	// not told.
	Recorded *record.SignedPointer
}

// OperationFrom reads an operation's message.
func OperationFrom(m *apiv1.Operation) (*Operation, error) {
	id, err := record.ParseID(m.Id)
	if err != nil {
		return nil, fault.New(fault.Internal, "the gateway's answer is not an operation: %w", err)
	}
	op := &Operation{ID: id, Kind: m.Kind, Done: m.Done, TxID: m.TxId, Block: m.Block, Subject: m.Subject}
	if m.Error != nil {
		op.Err = &fault.Error{Code: fault.Code(m.Error.Code), Detail: m.Error.Detail}
	}
	for _, i := range m.Items {
		item := Item{TxID: i.TxId, AnchorItem: record.AnchorItem{
			Outcome: i.Outcome, Leaf: int(i.Leaf), Code: i.Code, Detail: i.Detail,
		}}
		if i.Batch != "" {
			if item.Batch, err = record.ParseID(i.Batch); err != nil {
				return nil, fault.New(fault.Internal, "the gateway's answer names a batch wrongly: %w", err)
			}
		}
		if i.Recorded != nil {
			recorded, err := i.Recorded.Record()
			if err != nil {
				return nil, fault.New(fault.Internal, "the gateway's answer shows a pointer that is none: %w", err)
			}
			item.Recorded = &recorded
		}
		op.Items = append(op.Items, item)
	}
	return op, nil
}

func decodeOperation(b []byte) (*Operation, error) {
	var m apiv1.Operation
	if err := decodeAnswer(b, &m); err != nil {
		return nil, err
	}
	return OperationFrom(&m)
}

// Operation returns an operation as it is now.
func (c *Client) Operation(ctx context.Context, id record.ID) (*Operation, error) {
	b, err := c.do(ctx, http.MethodGet, "/v1/operations/"+id.String(), "", nil)
	if err != nil {
		return nil, err
	}
	return decodeOperation(b)
}

// Wait follows an operation until it is done. If it failed, the error is its
// *fault.Error. Give ctx a deadline: while the ledger is away an operation stays
// open, and so it does across restarts of the gateway.
func (c *Client) Wait(ctx context.Context, op *Operation) (*Operation, error) {
	pause := 50 * time.Millisecond
	for {
		if op.Done {
			if op.Err != nil {
				return op, op.Err
			}
			return op, nil
		}
		next, err := c.watch(ctx, op.ID)
		if ctx.Err() != nil {
			return op, ctx.Err()
		}
		if err != nil && fault.Of(err) == fault.NotFound {
			return op, err
		}
		if next != nil {
			op = next
		}
		if !op.Done { // the stream broke off; the gateway may be restarting
			select {
			case <-ctx.Done():
				return op, ctx.Err()
			case <-time.After(pause):
			}
			pause = min(2*pause, 2*time.Second)
		}
	}
}

// watch reads the operation's events until it is done or the stream ends, and
// returns the last state seen, if any.
func (c *Client) watch(ctx context.Context, id record.ID) (*Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, "/v1/operations/"+id.String()+":watch", "text/event-stream", "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var last *Operation
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		op, err := decodeOperation([]byte(data))
		if err != nil {
			return last, err
		}
		last = op
		if op.Done {
			break
		}
	}
	return last, lines.Err()
}
