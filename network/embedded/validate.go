package embedded

import (
	"cmp"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/internal/record"
)

// code is a validation code, with Fabric's numbers and names.
type code byte

const (
	codeValid   = code(peer.TxValidationCode_VALID)
	codeMVCC    = code(peer.TxValidationCode_MVCC_READ_CONFLICT)
	codePhantom = code(peer.TxValidationCode_PHANTOM_READ_CONFLICT)
)

func (c code) String() string { return peer.TxValidationCode(c).String() }

// blockView is the state as of some transaction of a block in the making: what
// is stored, and on top of it what the block's valid transactions so far change.
type blockView struct {
	stored pebble.Reader
	public map[string]*version // nil: deleted in this block
	hashed map[string]*version // by hashedKey
	plain  map[string]string   // private key by hashedKey, as written in this block
	ids    map[record.ID]bool  // transactions of this block
}

func newBlockView(stored pebble.Reader) *blockView {
	return &blockView{stored, map[string]*version{}, map[string]*version{}, map[string]string{}, map[record.ID]bool{}}
}

// validate decides a transaction: valid only if everything that it read reads
// the same now.
func (b *blockView) validate(set *rwset) (code, error) {
	for _, r := range set.Reads {
		same, err := sameRead(b.stored, b.public, r.Key, stateKey(r.Key), r.Version)
		if err != nil {
			return 0, err
		}
		if !same {
			return codeMVCC, nil
		}
	}
	for _, r := range set.Ranges {
		same, err := b.sameRange(r)
		if err != nil {
			return 0, err
		}
		if !same {
			return codePhantom, nil
		}
	}
	for _, c := range set.Collections {
		for _, r := range c.Reads {
			at := hashedKey(c.Name, r.KeyHash)
			same, err := sameRead(b.stored, b.hashed, string(at), at, r.Version)
			if err != nil {
				return 0, err
			}
			if !same {
				return codeMVCC, nil
			}
		}
	}
	return codeValid, nil
}

// sameRead says whether a key still has the version that was read. One that the
// block has touched has not, even if it was absent and is absent again.
func sameRead(stored pebble.Reader, changed map[string]*version, key string, at []byte, read *version) (bool, error) {
	if _, touched := changed[key]; touched {
		return false, nil
	}
	now, err := getVersion(stored, at)
	return err == nil && sameVersion(now, read), err
}

// sameRange runs a range query again.
func (b *blockView) sameRange(r rangeRead) (bool, error) {
	end := r.End
	if !r.Exhausted {
		end += "\x00" // the last key that was seen is part of it
	}
	again := newRangeRecorder(r.Start, end)
	err := b.eachInRange(r.Start, end, func(key string, v version) bool {
		again.saw(key, v)
		return again.count <= r.Count
	})
	if err != nil {
		return false, err
	}
	again.exhausted = true
	got := again.result()
	return got.Count == r.Count && got.Digest == r.Digest, nil
}

// eachInRange calls f for every key in [start, end) of the view, in order,
// until f returns false.
func (b *blockView) eachInRange(start, end string, f func(string, version) bool) error {
	changed := b.changedIn(start, end)
	it, err := b.stored.NewIter(rangeBounds([]byte{spaceState}, start, end))
	if err != nil {
		return err
	}
	err = func() error {
		for ok := it.First(); ok || len(changed) > 0; {
			stored := ""
			if ok {
				stored = string(it.Key()[1:])
			}
			if len(changed) > 0 && (!ok || changed[0] <= stored) {
				key := changed[0]
				changed = changed[1:]
				if ok && key == stored {
					ok = it.Next()
				}
				if v := b.public[key]; v != nil && !f(key, *v) {
					return nil
				}
				continue
			}
			v, _, err := parseVersion(it.Value())
			if err != nil {
				return err
			}
			if !f(stored, v) {
				return nil
			}
			ok = it.Next()
		}
		return it.Error()
	}()
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return err
}

func (b *blockView) changedIn(start, end string) []string {
	var keys []string
	for key := range b.public {
		if key >= start && (end == "" || key < end) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}
