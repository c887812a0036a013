package fabric

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
)

// placeTime is for reading the transaction ids of one block from one peer.
const placeTime = 10 * time.Second

// maxPlaces bounds for how many blocks the places of transactions are kept. The
// transactions of a block are waited for at about the same time.
const maxPlaces = 64

// places remembers where the transactions of recent blocks are.
type places struct {
	mu     sync.Mutex
	blocks map[uint64]*placesOf
}

// placesOf is one block. Who holds turn may read the block and set index.
type placesOf struct {
	turn  chan struct{}
	index map[string]int
}

func newPlaces() *places { return &places{blocks: map[uint64]*placesOf{}} }

func (p *places) of(block uint64) *placesOf {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.blocks[block]; ok {
		return b
	}
	if len(p.blocks) >= maxPlaces {
		oldest := block
		for n := range p.blocks {
			oldest = min(oldest, n)
		}
		delete(p.blocks, oldest)
	}
	b := &placesOf{turn: make(chan struct{}, 1)}
	p.blocks[block] = b
	return b
}

// place returns a transaction's index in its block.
func (c *Client) place(ctx context.Context, block uint64, id string) (int, error) {
	b := c.places.of(block)
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if b.index == nil {
		err := c.try(ctx, placeTime, func(ctx context.Context, e *endpoint) error {
			ids, err := c.transactionIDs(ctx, e, block)
			if err != nil {
				return err
			}
			if _, ok := indexOf(ids)[id]; !ok {
				return &elsewhere{err: fmt.Errorf("the peer of %q does not have %s in block %d", e.msp, id, block)}
			}
			b.index = indexOf(ids)
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	i, ok := b.index[id]
	if !ok {
		return 0, fault.New(fault.Internal, "transaction %s is not in block %d", id, block)
	}
	return i, nil
}

// indexOf maps ids to their places. Of a transaction that is there twice the
// first counts: the others are invalid.
func indexOf(ids []string) map[string]int {
	m := make(map[string]int, len(ids))
	for i, id := range ids {
		if _, ok := m[id]; !ok {
			m[id] = i
		}
	}
	return m
}
