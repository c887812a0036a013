package embedded

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// A served block is what is stored of it: the header with the operator's signature,
// the transactions as their creators signed them, and private values beside them. The
// client makes of it what a follower gets, and believes the server nothing: neither
// who has submitted a transaction nor what is in it.

// remoteBlock is a block on its way to a client.
type remoteBlock struct {
	_       struct{} `cbor:",toarray"`
	Sealed  sealedHeader
	Genesis []byte // of block 0
	Txs     [][]byte
	Private []privateValue // that are there, of valid transactions
}

// remoteBlock reads a block as it is stored, like block.
func (l *Ledger) remoteBlock(number uint64) (*remoteBlock, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	defer l.leave()
	sealed, _, err := readHeader(l.db, l.genesis, number)
	if err != nil {
		return nil, err
	}
	out := &remoteBlock{Sealed: sealed}
	if number == 0 {
		out.Genesis, err = marshal(l.genesis)
		return out, err
	}
	if out.Txs, err = readTxs(l.db, sealed.Header); err != nil {
		return nil, err
	}
	for i, data := range out.Txs {
		if err := out.addPrivate(l.db, sealed.Header, i, data); err != nil {
			return nil, corrupt(number, i, "it cannot be understood", err)
		}
	}
	return out, nil
}

func (b *remoteBlock) addPrivate(r pebble.Reader, h header, i int, data []byte) error {
	var t transaction
	if err := unmarshal(data, &t); err != nil || code(h.Codes[i]) != codeValid {
		return err
	}
	_, err := privateWrites(t.Set, version{Block: h.Number, Tx: uint32(i)}, func(name string, w hashWrite, at version) (privateValue, bool, error) {
		v, found, err := storedPrivate(r, name, w, at)
		if found {
			b.Private = append(b.Private, v)
		}
		return v, found, err
	})
	return err
}

// reader checks the blocks of one chain.
type reader struct {
	cfg      RemoteConfig
	trust    *network.Trust
	operator []byte // whose key signs blocks
}

// found takes block 0, which says whose key signs blocks. Channel and roots are known
// to the client; that the chain stays the same one is for whoever remembers a hash.
func (r *reader) found(b *remoteBlock) error {
	var g genesis
	if err := unmarshal(b.Genesis, &g); err != nil {
		return fmt.Errorf("the genesis: %w", err)
	}
	if err := g.match(Config{Dir: r.cfg.Address, Channel: r.cfg.Channel, Roots: r.cfg.Roots}); err != nil {
		return err
	}
	h := b.Sealed.Header
	if h.Number != 0 || record.SumID(b.Genesis) != h.Data || len(h.Codes) != 0 || len(b.Txs) != 0 {
		return errors.New("the genesis is not the one that block 0 commits to")
	}
	if err := record.Verify(g.Operator, h.hash(g.Channel), b.Sealed.Signature); err != nil {
		return fmt.Errorf("the operator's signature of block 0: %w", err)
	}
	r.operator = g.Operator
	return nil
}

// block checks a served block and makes of it what followers get: the operator has
// signed its header, the transactions are the ones that the header commits to, and
// each is its creator's.
func (r *reader) block(b *remoteBlock, number uint64) (*network.Block, error) {
	h := b.Sealed.Header
	if h.Number != number {
		return nil, fmt.Errorf("the header is of block %d", h.Number)
	}
	hash := h.hash(r.cfg.Channel)
	if err := record.Verify(r.operator, hash, b.Sealed.Signature); err != nil {
		return nil, fmt.Errorf("the operator's signature: %w", err)
	}
	out := &network.Block{Number: number, Hash: hash, Previous: h.Previous}
	if number == 0 {
		return out, nil
	}
	digests := make([]record.ID, len(b.Txs))
	for i, data := range b.Txs {
		digests[i] = sha256.Sum256(data)
	}
	if len(b.Txs) != len(h.Codes) || record.Root(digests) != h.Data {
		return nil, errors.New("its transactions are not the ones that the header commits to")
	}
	private := make(map[record.ID][]privateValue, len(b.Private))
	for _, v := range b.Private {
		hash := record.SumID([]byte(v.Key))
		private[hash] = append(private[hash], v)
	}
	for i, data := range b.Txs {
		tx, err := r.tx(h, i, data, private)
		if err != nil {
			return nil, fmt.Errorf("transaction %d: %w", i, err)
		}
		out.Txs = append(out.Txs, tx)
	}
	return out, nil
}

func (r *reader) tx(h header, i int, data []byte, private map[record.ID][]privateValue) (network.Tx, error) {
	var t transaction
	if err := unmarshal(data, &t); err != nil {
		return network.Tx{}, err
	}
	p, err := checkProposal(r.trust, r.cfg.Channel, t.Proposal, t.Signature, time.Unix(0, h.Time))
	if err != nil {
		return network.Tx{}, err
	}
	if len(p.transient) != 0 {
		return network.Tx{}, errors.New("it holds transient data")
	}
	if err := checkForm(&t); err != nil {
		return network.Tx{}, err
	}
	return follow(h, i, &t, p, func(_ string, w hashWrite, _ version) (privateValue, bool, error) {
		if w.Purge {
			return privateValue{}, false, nil
		}
		for _, v := range private[w.KeyHash] {
			if checkPrivate(w, v) == nil {
				return v, true, nil
			}
		}
		return privateValue{}, false, nil
	})
}
