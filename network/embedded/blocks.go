package embedded

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-protos-go-apiv2/msp"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// CorruptError says that what a directory holds is not a ledger that was
// written by its rules. Restore the directory from a copy that verifies; do not
// go on with this one.
type CorruptError struct {
	Block  uint64
	Tx     int // -1 where no single transaction is to blame
	Reason string
	cause  error
}

func (e *CorruptError) Error() string {
	where := fmt.Sprintf("block %d", e.Block)
	if e.Tx >= 0 {
		where = fmt.Sprintf("%s, transaction %d", where, e.Tx)
	}
	if e.cause != nil {
		return fmt.Sprintf("ledger is corrupt: %s: %s: %v", where, e.Reason, e.cause)
	}
	return fmt.Sprintf("ledger is corrupt: %s: %s", where, e.Reason)
}

func (e *CorruptError) Unwrap() error { return e.cause }

func corrupt(block uint64, tx int, reason string, cause error) error {
	return &CorruptError{Block: block, Tx: tx, Reason: reason, cause: cause}
}

// readHeader reads a header, checks the operator's signature and returns its hash, too.
func readHeader(r pebble.Reader, g genesis, number uint64) (sealedHeader, record.ID, error) {
	var sealed sealedHeader
	found, err := decodeStored(r, blockKey(number), &sealed)
	if err != nil {
		return sealedHeader{}, record.ID{}, corrupt(number, -1, "the header is damaged", err)
	}
	if !found {
		return sealedHeader{}, record.ID{}, corrupt(number, -1, "the header is missing", nil)
	}
	h := sealed.Header
	if h.Number != number {
		return sealedHeader{}, record.ID{}, corrupt(number, -1, fmt.Sprintf("the header says it is number %d", h.Number), nil)
	}
	hash := h.hash(g.Channel)
	if err := record.Verify(g.Operator, hash, sealed.Signature); err != nil {
		return sealedHeader{}, record.ID{}, corrupt(number, -1, "the operator's signature", err)
	}
	return sealed, hash, nil
}

// readTxs reads the encoded transactions of a block and checks that they are
// the ones that the header commits to.
func readTxs(r pebble.Reader, h header) ([][]byte, error) {
	if h.Number == 0 {
		return nil, nil
	}
	n := len(h.Codes)
	at := func(i int) []byte { return txKey(version{Block: h.Number, Tx: uint32(i)}) }
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: at(0), UpperBound: at(n)})
	if err != nil {
		return nil, corrupt(h.Number, -1, "its transactions cannot be read", err)
	}
	out, digests := make([][]byte, 0, n), make([]record.ID, 0, n)
	for it.First(); it.Valid() && bytes.Equal(it.Key(), at(len(out))); it.Next() {
		out, digests = append(out, bytes.Clone(it.Value())), append(digests, sha256.Sum256(it.Value()))
	}
	if err := it.Close(); err != nil {
		return nil, corrupt(h.Number, len(out), "it cannot be read", err)
	}
	if len(out) < n {
		return nil, corrupt(h.Number, len(out), "it is missing", nil)
	}
	if record.Root(digests) != h.Data {
		return nil, corrupt(h.Number, -1, "its transactions are not the ones that the header commits to", nil)
	}
	return out, nil
}

// Blocks yields the committed blocks from number from on and follows the chain
// until ctx ends, or yields an error and ends. Every block's signature and
// content is checked against its header, and each header against the one before.
func (l *Ledger) Blocks(ctx context.Context, from uint64) iter.Seq2[*network.Block, error] {
	return func(yield func(*network.Block, error) bool) {
		var previous *network.Block
		for number := from; ; number++ {
			ok, err := l.await(ctx, number)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				return
			}
			b, err := l.block(number)
			if err == nil && previous != nil && b.Previous != previous.Hash {
				err = corrupt(number, -1, "it does not follow the block before it", nil)
			}
			if err != nil {
				yield(nil, fault.New(fault.Internal, "%w", err))
				return
			}
			if !yield(b, nil) {
				return
			}
			previous = b
		}
	}
}

// await returns once a block exists; false when ctx ended first.
func (l *Ledger) await(ctx context.Context, number uint64) (bool, error) {
	for {
		if ctx.Err() != nil {
			return false, nil
		}
		l.mu.Lock()
		last, changed, closed := l.tip.Number, l.changed, l.closed
		l.mu.Unlock()
		if closed {
			return false, fault.New(fault.Unavailable, "the ledger is closed")
		}
		if number <= last {
			return true, nil
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-l.closing:
		}
	}
}

// block reads a block. What it has never changes but for private values that are
// purged, which may happen meanwhile, so this needs no snapshot.
func (l *Ledger) block(number uint64) (*network.Block, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	sealed, hash, err := readHeader(l.db, l.genesis, number)
	if err != nil {
		return nil, err
	}
	h := sealed.Header
	txs, err := readTxs(l.db, h)
	if err != nil {
		return nil, err
	}
	b := &network.Block{Number: number, Hash: hash, Previous: h.Previous, Txs: make([]network.Tx, len(txs))}
	for i, data := range txs {
		if b.Txs[i], err = l.tx(l.db, h, i, data); err != nil {
			return nil, corrupt(number, i, "it cannot be understood", err)
		}
	}
	return b, nil
}

// tx turns a stored transaction into the form that followers get.
func (l *Ledger) tx(r pebble.Reader, h header, i int, data []byte) (network.Tx, error) {
	var w written
	if err := decoding.Unmarshal(data, &w); err != nil { // as this ledger encoded it: the header commits to it
		return network.Tx{}, err
	}
	t := transaction{Proposal: w.Proposal, Set: rwset{Writes: w.Set.Writes, Collections: w.Set.Collections}, Event: w.Event}
	p, err := parseProposal(l.Channel(), t.Proposal)
	if err != nil {
		return network.Tx{}, err
	}
	return follow(h, i, &t, p, func(name string, w hashWrite, at version) (privateValue, bool, error) {
		return storedPrivate(r, name, w, at)
	})
}

// finder finds the private value of a write; false where it is not there.
type finder func(collection string, w hashWrite, at version) (privateValue, bool, error)

// follow is a transaction in the form that followers get.
func follow(h header, i int, t *transaction, p *proposal, find finder) (network.Tx, error) {
	sid := &msp.SerializedIdentity{}
	if err := parseProto(p.creator, sid); err != nil {
		return network.Tx{}, err
	}
	c := code(h.Codes[i])
	out := network.Tx{
		ID: p.txID(), Index: i, Valid: c == codeValid, Code: c.String(), Time: p.timestamp.GetSeconds(),
		Creator:  network.Creator{MSP: sid.Mspid, Certificate: sid.IdBytes},
		Function: string(p.args[0]),
	}
	for _, a := range p.args[1:] {
		out.Args = append(out.Args, string(a))
	}
	if !out.Valid {
		return out, nil
	}
	out.Writes = make([]network.Write, len(t.Set.Writes))
	for i, w := range t.Set.Writes {
		out.Writes[i] = network.Write{Key: w.Key, Value: w.Value, Delete: w.Delete}
	}
	if t.Event != nil {
		out.Event = network.Event{Name: t.Event.Name, Payload: t.Event.Payload}
	}
	var err error
	out.Private, err = privateWrites(t.Set, version{Block: h.Number, Tx: uint32(i)}, find)
	return out, err
}

func privateWrites(set rwset, at version, find finder) ([]network.PrivateWrite, error) {
	var out []network.PrivateWrite
	for _, c := range set.Collections {
		for _, w := range c.Writes {
			p := network.PrivateWrite{
				Collection: c.Name, KeyHash: w.KeyHash, ValueHash: w.ValueHash,
				Delete: w.Delete, Purge: w.Purge,
			}
			value, found, err := find(c.Name, w, at)
			if err != nil {
				return nil, err
			}
			p.Available, p.Key, p.Value = found, value.Key, value.Value
			out = append(out, p)
		}
	}
	return out, nil
}

// storedPrivate reads the private value of a write and checks its hashes.
func storedPrivate(r pebble.Reader, name string, w hashWrite, at version) (privateValue, bool, error) {
	var value privateValue
	if w.Purge {
		return value, false, nil
	}
	data, err := get(r, valueKey(name, w.KeyHash, at))
	if err != nil || data == nil {
		return privateValue{}, false, err
	}
	if err := decoding.Unmarshal(data, &value); err != nil { // its hashes say more than its form
		return privateValue{}, false, fmt.Errorf("stored private value: %w", err)
	}
	return value, true, checkPrivate(w, value)
}
