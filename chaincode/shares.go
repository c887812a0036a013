package chaincode

import (
	"github.com/vitalveil/vitalveil/chaincode/state"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// ConfirmShares records what a holder of pieces of a released query has computed for
// itself (record.SignedShares, record.QueryState): it then stands behind the shares
// that opened the release, or against them. Any member of the query's epoch may pass a
// statement on; its member's signature counts.
func (*Query) ConfirmShares(tx transaction, arg string) (string, error) {
	return serve(tx, member, timed, arg, smallArgument, confirmShares)
}

func confirmShares(c *call, s record.SignedShares) (*record.QueryState, error) {
	q, err := c.query(s.Statement.Query)
	if err != nil {
		return nil, err
	}
	epoch, err := c.seatIn(q.Ask.Epoch)
	if err != nil {
		return nil, err
	}
	if q.Status != record.QueryReleased {
		return nil, fault.New(fault.Conflict, "the query is %s", q.Status)
	}
	changed, err := state.ConfirmRelease(c.genesis.Network, epoch, q, s)
	if err != nil || !changed {
		return q, err // unchanged: it had said so before
	}
	return q, c.put(state.QueryKey(q.ID), q)
}
