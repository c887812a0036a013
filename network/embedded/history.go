package embedded

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
)

// GetHistoryForKey yields the changes of a key, newest first. As in Fabric it
// is not validated: a transaction that writes should not depend on it.
func (s stub) GetHistoryForKey(key string) (shim.HistoryQueryIteratorInterface, error) {
	if err := s.beforeRead(key); err != nil {
		return nil, err
	}
	prefix := historyPrefix(key)
	it, err := s.state.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	out := &historyIterator{sim: s.simulation, it: it, key: key}
	s.open[out] = true
	return out, nil
}

type historyIterator struct {
	sim     *simulation
	it      *pebble.Iterator
	key     string
	started bool
	ready   bool // the iterator stands on an element that has not been returned
	err     error
	closed  bool
}

func (i *historyIterator) HasNext() bool {
	i.look()
	return i.ready || i.err != nil && !i.closed
}

func (i *historyIterator) Next() (*queryresult.KeyModification, error) {
	i.look()
	if i.err != nil {
		return nil, i.err
	}
	if !i.ready {
		return nil, errNoMore
	}
	i.ready = false
	at, _, err := parseVersion(i.it.Key()[len(historyPrefix(i.key)):])
	if err != nil {
		return nil, err
	}
	return i.modification(at)
}

func (i *historyIterator) look() {
	if i.ready || i.err != nil {
		return
	}
	if i.started {
		i.ready = i.it.Prev()
	} else {
		i.ready, i.started = i.it.Last(), true
	}
	if !i.ready {
		i.err = i.it.Error()
	}
}

// modification finds the write of the key in the transaction that made it.
func (i *historyIterator) modification(at version) (*queryresult.KeyModification, error) {
	var t transaction
	found, err := decodeStored(i.sim.state, txKey(at), &t)
	if err != nil {
		return nil, err
	}
	n, has := slices.BinarySearchFunc(t.Set.Writes, i.key, func(w write, key string) int {
		return cmp.Compare(w.Key, key)
	})
	if !found || !has {
		return nil, fmt.Errorf("history of %q: transaction %d of block %d did not write it; run verify", i.key, at.Tx, at.Block)
	}
	p, err := parseProposal(i.sim.channel, t.Proposal)
	if err != nil {
		return nil, err
	}
	w := t.Set.Writes[n]
	return &queryresult.KeyModification{
		TxId: p.txID(), Value: w.Value, Timestamp: p.timestamp, IsDelete: w.Delete,
	}, nil
}

func (i *historyIterator) Close() error { return i.close() }

func (i *historyIterator) close() error {
	if i.closed {
		return nil
	}
	i.closed, i.ready, i.err = true, false, errClosed
	delete(i.sim.open, i)
	return i.it.Close()
}
