package fabric

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/rwset/kvrwset"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// effects reads what a valid transaction changed in the chaincode's namespace
// and the event that the chaincode set. Another chaincode may have called ours,
// so the namespace counts, not whom the proposal names.
func (r reader) effects(out *network.Tx, inv *invocation, private *rwset.TxPvtReadWriteSet) error {
	set := &rwset.TxReadWriteSet{}
	if err := proto.Unmarshal(inv.action.GetResults(), set); err != nil {
		return err
	}
	values := r.privateValues(private)
	for _, ns := range set.GetNsRwset() {
		if ns.GetNamespace() != r.chaincode {
			continue
		}
		if err := publicWrites(out, ns); err != nil {
			return err
		}
		for _, c := range ns.GetCollectionHashedRwset() {
			if err := privateWrites(out, c, values[c.GetCollectionName()]); err != nil {
				return fmt.Errorf("collection %q: %w", c.GetCollectionName(), err)
			}
		}
	}
	slices.SortStableFunc(out.Writes, func(a, b network.Write) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortStableFunc(out.Private, func(a, b network.PrivateWrite) int {
		return cmp.Or(cmp.Compare(a.Collection, b.Collection), bytes.Compare(a.KeyHash[:], b.KeyHash[:]))
	})
	event := &peer.ChaincodeEvent{}
	if err := proto.Unmarshal(inv.action.GetEvents(), event); err != nil {
		return err
	}
	if event.GetChaincodeId() == r.chaincode {
		out.Event = network.Event{Name: event.GetEventName(), Payload: event.GetPayload()}
	}
	return nil
}

func publicWrites(out *network.Tx, ns *rwset.NsReadWriteSet) error {
	set := &kvrwset.KVRWSet{}
	if err := proto.Unmarshal(ns.GetRwset(), set); err != nil {
		return err
	}
	for _, w := range set.GetWrites() {
		// Peers take an empty value for a deletion.
		gone := w.GetIsDelete() || len(w.GetValue()) == 0
		write := network.Write{Key: w.GetKey(), Delete: gone}
		if !gone {
			write.Value = w.GetValue()
		}
		out.Writes = append(out.Writes, write)
	}
	return nil
}

// emptyHash is what peers take for the deletion of a private value.
var emptyHash = record.ID(sha256.Sum256(nil))

// privateWrites reads the hashed writes of a collection and adds the values
// where they are there and are the ones that were hashed.
func privateWrites(out *network.Tx, c *rwset.CollectionHashedReadWriteSet, values map[record.ID]*kvrwset.KVWrite) error {
	set := &kvrwset.HashedRWSet{}
	if err := proto.Unmarshal(c.GetHashedRwset(), set); err != nil {
		return err
	}
	for _, w := range set.GetHashedWrites() {
		p, err := hashedWrite(c.GetCollectionName(), w)
		if err != nil {
			return err
		}
		value := values[p.KeyHash]
		if value != nil && !p.Purge && matches(p, value) {
			p.Available, p.Key = true, value.GetKey()
			if !p.Delete {
				p.Value = value.GetValue()
			}
		}
		out.Private = append(out.Private, p)
	}
	return nil
}

func hashedWrite(collection string, w *kvrwset.KVWriteHash) (network.PrivateWrite, error) {
	p := network.PrivateWrite{Collection: collection, Purge: w.GetIsPurge()}
	if len(w.GetKeyHash()) != len(p.KeyHash) || len(w.GetValueHash()) != 0 && len(w.GetValueHash()) != len(p.ValueHash) {
		return p, errors.New("a hash has a wrong length")
	}
	copy(p.KeyHash[:], w.GetKeyHash())
	p.Delete = w.GetIsDelete() || w.GetIsPurge() || len(w.GetValueHash()) == 0 || record.ID(w.GetValueHash()) == emptyHash
	if !p.Delete {
		copy(p.ValueHash[:], w.GetValueHash())
	}
	return p, nil
}

// matches says whether a private write, whose key hash is p's, is what p says.
func matches(p network.PrivateWrite, w *kvrwset.KVWrite) bool {
	if gone := w.GetIsDelete() || len(w.GetValue()) == 0; gone || p.Delete {
		return gone == p.Delete
	}
	return sha256.Sum256(w.GetValue()) == p.ValueHash
}

// privateValues returns the private writes that came with a transaction, by
// collection and the hash of their keys. What cannot be parsed is left out, as
// if the peer did not have it.
func (r reader) privateValues(private *rwset.TxPvtReadWriteSet) map[string]map[record.ID]*kvrwset.KVWrite {
	out := map[string]map[record.ID]*kvrwset.KVWrite{}
	for _, ns := range private.GetNsPvtRwset() {
		if ns.GetNamespace() != r.chaincode {
			continue
		}
		for _, c := range ns.GetCollectionPvtRwset() {
			set := &kvrwset.KVRWSet{}
			if proto.Unmarshal(c.GetRwset(), set) != nil {
				continue
			}
			values := map[record.ID]*kvrwset.KVWrite{}
			for _, w := range set.GetWrites() {
				values[sha256.Sum256([]byte(w.GetKey()))] = w
			}
			out[c.GetCollectionName()] = values
		}
	}
	return out
}

// private says whether a transaction writes private data, of any chaincode.
func (inv *invocation) private() (bool, error) {
	set := &rwset.TxReadWriteSet{}
	if err := proto.Unmarshal(inv.action.GetResults(), set); err != nil {
		return false, err
	}
	for _, ns := range set.GetNsRwset() {
		for _, c := range ns.GetCollectionHashedRwset() {
			hashed := &kvrwset.HashedRWSet{}
			if err := proto.Unmarshal(c.GetHashedRwset(), hashed); err != nil {
				return false, err
			}
			if len(hashed.GetHashedWrites()) > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}
