package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/vitalveil/vitalveil/gateway"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
	"github.com/vitalveil/vitalveil/network/index/follow"
)

// Tip is a block that somebody has seen on the ledger: what "vitalveil verify" or
// "vitalveil institution status" printed before.
type Tip record.ID

// UnmarshalText reads a block's hash.
func (t *Tip) UnmarshalText(text []byte) error {
	id, err := record.ParseID(string(text))
	*t = Tip(id)
	return err
}

// takeBlock notes what witnesses may have seen of a block. A chain whose end was cut
// off is whole by itself: only who has seen more can tell.
func (c *checker) takeBlock(b *network.Block) {
	c.blocks[b.Hash] = b.Number
	for _, tx := range b.Txs {
		if tx.Valid {
			c.recorded[tx.ID] = b.Number
		}
	}
}

// operations holds the gateway's journal against the ledger: what a gateway told a
// patient or a bridge is recorded.
func (c *checker) operations(ctx context.Context) int {
	n := 0
	err := gateway.ReadJournal(c.places.journal, func(op *apiv1.Operation) error {
		n += c.operation(op)
		return ctx.Err()
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.wrong("the gateway's journal: %v", err)
	}
	return n
}

func (c *checker) operation(op *apiv1.Operation) int {
	if op.GetTxId() == "" || op.GetError() != nil {
		return 0
	}
	if at, ok := c.recorded[op.GetTxId()]; !ok || at != op.GetBlock() {
		c.wrong("operation %s: the gateway has told that transaction %s is in block %d, and the ledger does not have it there: blocks are missing", op.GetId(), op.GetTxId(), op.GetBlock())
	}
	return 1
}

// members holds what each institution has read against the ledger.
func (c *checker) members(context.Context) int {
	n := 0
	for _, m := range c.places.members {
		known, err := follow.NewestKnown(m.dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			c.wrong("the state of %s: %v", m.msp, err)
		case known != nil:
			n++
			if number, ok := c.blocks[known.Hash]; !ok || number != known.Number {
				c.wrong("%s has read block %d with hash %s, and the ledger does not have it: blocks are missing, or it is another ledger", m.msp, known.Number, known.Hash)
			}
		}
	}
	return n
}

// seen checks that the ledger has a block that somebody saw on it.
func (c *checker) seen(tip Tip) error {
	if _, ok := c.blocks[record.ID(tip)]; !ok {
		return fmt.Errorf("the ledger does not have block %s: blocks are missing, or it is another ledger", record.ID(tip))
	}
	return nil
}
