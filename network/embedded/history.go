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
	return during(s.simulation, func() (shim.HistoryQueryIteratorInterface, error) {
		if err := checkKey(key); err != nil {
			return nil, err
		}
		prefix := historyPrefix(key)
		it, err := s.state.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return nil, err
		}
		step := it.Last
		return open(s.simulation, &query[queryresult.KeyModification]{it: it, next: func() (*queryresult.KeyModification, error) {
			ok := step()
			step = it.Prev
			if !ok {
				return nil, it.Error()
			}
			at, _, err := parseVersion(it.Key()[len(prefix):])
			if err != nil {
				return nil, err
			}
			return s.modification(key, at)
		}})
	})
}

// modification finds the write of the key in the transaction that made it.
func (s *simulation) modification(key string, at version) (*queryresult.KeyModification, error) {
	var t transaction
	found, err := decodeStored(s.state, txKey(at), &t)
	if err != nil {
		return nil, err
	}
	n, has := slices.BinarySearchFunc(t.Set.Writes, key, func(w write, key string) int {
		return cmp.Compare(w.Key, key)
	})
	if !found || !has {
		return nil, fmt.Errorf("history of %q: transaction %d of block %d did not write it; run verify", key, at.Tx, at.Block)
	}
	p, err := parseProposal(s.channel, t.Proposal)
	if err != nil {
		return nil, err
	}
	w := t.Set.Writes[n]
	return &queryresult.KeyModification{
		TxId: p.txID(), Value: w.Value, Timestamp: p.timestamp, IsDelete: w.Delete,
	}, nil
}
