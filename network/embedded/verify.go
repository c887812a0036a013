package embedded

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Report says what was verified. Genesis and Tip identify the chain: compare
// them with what was written down earlier, for a chain that was replaced or cut
// short verifies as well as the original.
type Report struct {
	Channel      string
	Blocks       uint64
	Transactions int
	Invalid      int // transactions that are on the chain and changed nothing
	Purged       int // private writes whose value has been purged
	Genesis      record.ID
	Tip          record.ID
}

// Verify opens the ledger in cfg.Dir for reading and re-checks all of it: the
// hash chain and the operator's signatures; of every transaction the creator's
// certificate (at the block's time), signature and transaction id, that no id
// repeats, and the validation code; and that state, history and private data
// are exactly what replaying the valid transactions gives. cfg.Roots and
// cfg.Channel, if given, must be the ledger's. Damage is a *CorruptError.
func Verify(ctx context.Context, cfg Config) (Report, error) {
	cfg.ReadOnly = true
	if _, err := os.Stat(cfg.Dir); err != nil {
		return Report{}, err
	}
	l, err := Open(cfg)
	if err != nil {
		return Report{}, err
	}
	report, err := l.Verify(ctx)
	return report, errors.Join(err, l.Close())
}

// Verify does the same for an open ledger, as of now.
func (l *Ledger) Verify(ctx context.Context) (Report, error) {
	if err := l.enter(); err != nil {
		return Report{}, err
	}
	defer l.leave()
	snap := l.db.NewSnapshot()
	defer snap.Close()
	dir, err := os.MkdirTemp("", "vitalveil-verify-")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(dir)
	scratch, err := pebble.Open(dir, &pebble.Options{
		FS: vfs.Default, DisableWAL: true, CacheSize: cacheBytes / 4, MemTableSize: memTableBytes, Logger: storeLog{},
	})
	if err != nil {
		return Report{}, err
	}
	v := &verifier{cfg: l.cfg, stored: snap, scratch: scratch, lost: map[string]version{}}
	err = v.run(ctx)
	return v.report, errors.Join(err, scratch.Close())
}

// verifier replays a chain into a scratch store and compares.
type verifier struct {
	cfg     Config
	stored  *pebble.Snapshot
	scratch *pebble.DB
	genesis genesis
	trust   *network.Trust
	report  Report
	last    record.ID
	// lost are private values that are not stored and, so far on the chain,
	// have not been purged; by hashedKey.
	lost map[string]version
}

func (v *verifier) run(ctx context.Context) error {
	g, end, err := readGenesis(v.stored, v.cfg)
	if err != nil {
		return err
	}
	if v.trust, err = network.NewTrust(g.roots()); err != nil {
		return corrupt(0, -1, "the genesis has no usable roots", err)
	}
	v.genesis, v.report.Channel = g, g.Channel
	for number := uint64(0); number <= end.Number; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.block(number); err != nil {
			return err
		}
	}
	v.report.Tip = v.last
	for _, at := range v.lost {
		return corrupt(at.Block, int(at.Tx), "a private value is missing and was never purged", nil)
	}
	if err := v.noMore(end.Number); err != nil {
		return err
	}
	return v.compare()
}

// block checks one block and replays it.
func (v *verifier) block(number uint64) error {
	sealed, hash, err := readHeader(v.stored, v.genesis, number)
	if err != nil {
		return err
	}
	h := sealed.Header
	if h.Previous != v.last {
		return corrupt(number, -1, "it does not follow the block before it", nil)
	}
	txs, err := readTxs(v.stored, h)
	if err != nil {
		return err
	}
	if number == 0 {
		data, err := marshal(v.genesis)
		if err != nil {
			return err
		}
		if record.SumID(data) != h.Data || len(h.Codes) != 0 {
			return corrupt(0, -1, "the genesis is not the one that block 0 commits to", nil)
		}
		v.report.Genesis = hash
	}
	batch := v.scratch.NewBatch()
	defer batch.Close()
	view := newBlockView(v.scratch)
	for i, data := range txs {
		if err := v.tx(batch, view, h, i, data); err != nil {
			return err
		}
	}
	v.last = hash
	v.report.Blocks++
	return batch.Commit(pebble.NoSync)
}

// tx checks one transaction and replays it.
func (v *verifier) tx(batch *pebble.Batch, view *blockView, h header, i int, data []byte) error {
	var t transaction
	if err := unmarshal(data, &t); err != nil {
		return corrupt(h.Number, i, "it cannot be understood", err)
	}
	p, err := checkProposal(v.trust, v.genesis.Channel, t.Proposal, t.Signature, time.Unix(0, h.Time))
	if err != nil {
		return corrupt(h.Number, i, "its proposal", err)
	}
	if len(p.transient) != 0 {
		return corrupt(h.Number, i, "it holds transient data", nil)
	}
	if err := checkForm(&t); err != nil {
		return corrupt(h.Number, i, err.Error(), nil)
	}
	if err := v.newID(view, p.id); err != nil {
		return corrupt(h.Number, i, err.Error(), nil)
	}
	c, err := view.validate(&t.Set)
	if err != nil {
		return err
	}
	if c != code(h.Codes[i]) {
		return corrupt(h.Number, i, fmt.Sprintf("it is recorded as %s and is %s", code(h.Codes[i]), c), nil)
	}
	at := version{Block: h.Number, Tx: uint32(i)}
	if err := view.applyTx(batch, p.id, &t.Set, c, at, v.private); err != nil {
		return corrupt(h.Number, i, "its private data", err)
	}
	v.report.Transactions++
	if c != codeValid {
		v.report.Invalid++
		return nil
	}
	v.notePurges(t.Set)
	return nil
}

// checkForm checks what the rules of a simulation make of every transaction.
func checkForm(t *transaction) error {
	inOrder := slices.IsSortedFunc(t.Set.Reads, func(a, b read) int { return cmp.Compare(a.Key, b.Key) }) &&
		slices.IsSortedFunc(t.Set.Collections, func(a, b collectionSet) int { return cmp.Compare(a.Name, b.Name) })
	for i, w := range t.Set.Writes {
		inOrder = inOrder && (i == 0 || t.Set.Writes[i-1].Key < w.Key) && w.Delete == (len(w.Value) == 0)
	}
	for _, c := range t.Set.Collections {
		for i, w := range c.Writes {
			inOrder = inOrder && (i == 0 || c.Writes[i-1].KeyHash.Compare(w.KeyHash) < 0) &&
				w.Delete == w.ValueHash.IsZero() && (w.Delete || !w.Purge)
		}
	}
	switch {
	case !inOrder:
		return errors.New("its read and write set is not in canonical form")
	case t.Response.Status >= shim.ERRORTHRESHOLD:
		return errors.New("the chaincode had refused it")
	}
	return nil
}

// newID refuses a transaction id that the chain has had before.
func (v *verifier) newID(view *blockView, id record.ID) error {
	before, err := getVersion(v.scratch, txIDKey(id))
	if err != nil {
		return err
	}
	if before != nil || view.ids[id] {
		return fmt.Errorf("its id %s was on the chain before", id)
	}
	view.ids[id] = true
	return nil
}

// private finds a stored private value; one that is missing must be purged
// further down the chain.
func (v *verifier) private(name string, w hashWrite, at version) (privateValue, bool, error) {
	value, found, err := storedPrivate(v.stored, name, w, at)
	if err == nil && !found {
		v.lost[string(valueKey(name, w.KeyHash, at))] = at
	}
	return value, found, err
}

func (v *verifier) notePurges(set rwset) {
	for _, c := range set.Collections {
		for _, w := range c.Writes {
			if !w.Purge {
				continue
			}
			prefix := string(valuePrefix(c.Name, w.KeyHash))
			for key := range v.lost {
				if len(key) == len(prefix)+versionBytes && key[:len(prefix)] == prefix {
					delete(v.lost, key)
					v.report.Purged++
				}
			}
		}
	}
}

// noMore checks that nothing is stored beyond the last block.
func (v *verifier) noMore(last uint64) error {
	for _, space := range []byte{spaceBlock, spaceTx} {
		it, err := v.stored.NewIter(&pebble.IterOptions{
			LowerBound: append([]byte{space}, blockKey(last + 1)[1:]...), UpperBound: []byte{space + 1},
		})
		if err != nil {
			return err
		}
		extra := it.First()
		err = errors.Join(it.Error(), it.Close())
		if err != nil {
			return err
		}
		if extra {
			return corrupt(last, -1, "something is stored behind the last block", nil)
		}
	}
	return nil
}

// compare checks that state, history and indexes are what the replay gave.
func (v *verifier) compare() error {
	for _, space := range []byte{spaceTxID, spaceState, spaceHistory, spacePrivate, spaceHashed, spaceValues} {
		o := &pebble.IterOptions{LowerBound: []byte{space}, UpperBound: []byte{space + 1}}
		got, err := v.stored.NewIter(o)
		if err != nil {
			return err
		}
		want, err := v.scratch.NewIter(o)
		if err != nil {
			return errors.Join(err, got.Close())
		}
		err = v.compareSpace(got, want)
		if err := errors.Join(err, got.Close(), want.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) compareSpace(got, want *pebble.Iterator) error {
	g, w := got.First(), want.First()
	for g && w {
		if !bytes.Equal(got.Key(), want.Key()) {
			break
		}
		if !bytes.Equal(got.Value(), want.Value()) {
			return v.stateDiffers("has another value than the chain gives it", got.Key(), want.Value())
		}
		g, w = got.Next(), want.Next()
	}
	if err := errors.Join(got.Error(), want.Error()); err != nil {
		return err
	}
	switch {
	case w && (!g || bytes.Compare(want.Key(), got.Key()) < 0):
		return v.stateDiffers("is missing", want.Key(), want.Value())
	case g:
		return v.stateDiffers("is not from the chain", got.Key(), got.Value())
	}
	return nil
}

// stateDiffers names the stored key and the transaction that wrote it.
func (v *verifier) stateDiffers(how string, key, value []byte) error {
	at, tx := version{}, -1
	switch key[0] {
	case spaceHistory, spaceValues: // the place ends the key
		if p, _, err := parseVersion(key[max(0, len(key)-versionBytes):]); err == nil {
			at, tx = p, int(p.Tx)
		}
	default:
		if p, _, err := parseVersion(value); err == nil {
			at, tx = p, int(p.Tx)
		}
	}
	return corrupt(at.Block, tx, fmt.Sprintf("what it left in the store under %q %s", key, how), nil)
}
