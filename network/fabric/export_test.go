package fabric

import (
	"context"
	"testing"

	"github.com/vitalveil/vitalveil/network"
)

// OwnOrg is the organisation of clients under test.
const OwnOrg = ownOrg

// ConnectFor makes a client that is closed with the test.
func ConnectFor(t testing.TB, p Profile, id network.Identity, opts ...Option) *Client {
	t.Helper()
	return connect(t, p, id, opts...)
}

// Endorsed is a transaction that has been endorsed and not ordered.
type Endorsed = prepared

// Endorse has a call endorsed, through the client's first peer. What remake makes of
// the proposal is signed, unless it is nil.
func (c *Client) Endorse(ctx context.Context, call network.Call, remake func([]byte) ([]byte, error)) (*Endorsed, error) {
	ctx, done, err := c.begin(ctx, submitLimit)
	if err != nil {
		return nil, err
	}
	defer done()
	e := c.peers[0]
	p, err := e.contract.NewProposal(call.Function, proposalOptions(call)...)
	if err != nil {
		return nil, err
	}
	if remake != nil {
		data, err := p.Bytes()
		if err != nil {
			return nil, err
		}
		if data, err = remake(data); err != nil {
			return nil, err
		}
		if p, err = e.gateway.NewProposal(data); err != nil {
			return nil, err
		}
	}
	return c.endorse(ctx, p)
}

// Order hands a transaction in and waits for its place in the chain.
func (c *Client) Order(ctx context.Context, tx *Endorsed) (network.Result, error) {
	return c.order(ctx, tx)
}

// HandIn hands a transaction in through the client's first peer and does not wait.
func (c *Client) HandIn(ctx context.Context, tx *Endorsed) error {
	return c.orderAt(ctx, c.peers[0], tx)
}
