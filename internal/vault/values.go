package vault

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/state"
)

// Entry is a value and its name.
type Entry struct{ Name, Value []byte }

// seal encrypts a value under a fresh random nonce. The busiest writer, a bridge,
// writes a few million values a year under a key; the bound for random nonces is
// 2^32 (NIST SP 800-38D, 8.3).
func (v *Vault) seal(name, value []byte) []byte {
	nonce := make([]byte, v.aead.NonceSize(), v.aead.NonceSize()+len(value)+v.aead.Overhead())
	rand.Read(nonce)
	return v.aead.Seal(nonce, nonce, value, name)
}

func (v *Vault) open(name, sealed []byte) ([]byte, error) {
	n := v.aead.NonceSize()
	if len(sealed) < n || len(sealed) > MaxValue {
		return nil, fmt.Errorf("%w: a value of %d bytes", ErrDamaged, len(sealed))
	}
	value, err := v.aead.Open(nil, sealed[:n], sealed[n:], name)
	if err != nil {
		return nil, fmt.Errorf("%w: a value does not decrypt under its name and this key", ErrDamaged)
	}
	return value, nil
}

// Get returns the value of a name and whether there is one.
func (v *Vault) Get(name []byte) ([]byte, bool, error) {
	sealed, closer, err := v.db.Get(name)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, unreadable(err)
	}
	defer closer.Close()
	value, err := v.open(name, sealed)
	return value, err == nil, err
}

// Has reports whether there is a value of a name; it does not decrypt it.
func (v *Vault) Has(name []byte) (bool, error) {
	_, closer, err := v.db.Get(name)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, unreadable(err)
	}
	return true, closer.Close()
}

func unreadable(err error) error { return fmt.Errorf("%w: %w", ErrUnreadable, err) }

// Each yields the names and values from one name on and before another, in order.
func (v *Vault) Each(from, before []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: before})
		if err != nil {
			yield(Entry{}, unreadable(err))
			return
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			sealed, err := it.ValueAndErr()
			if err != nil {
				yield(Entry{}, unreadable(err))
				return
			}
			value, err := v.open(it.Key(), sealed)
			if !yield(Entry{append([]byte(nil), it.Key()...), value}, err) || err != nil {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(Entry{}, unreadable(err))
		}
	}
}

// Set puts a value into a batch.
func (v *Vault) Set(b *pebble.Batch, name, value []byte) error {
	sealed := v.seal(name, value)
	if len(sealed) > MaxValue {
		return fmt.Errorf("a value of %d bytes is over the limit of %d", len(sealed), MaxValue)
	}
	return b.Set(name, sealed, nil)
}

// Update writes what f puts into a batch, all or none of it. With sync it is on
// disk on return; without, once a later write is synced.
func (v *Vault) Update(sync bool, f func(*pebble.Batch) error) error {
	b := v.db.NewBatch()
	defer b.Close()
	if err := f(b); err != nil || b.Empty() {
		return err
	}
	mode := pebble.NoSync
	if sync {
		mode = pebble.Sync
	}
	return b.Commit(mode)
}

// Erase makes sure that the values of names which have been deleted are in no file of
// the vault any more: neither in its tables nor in its log. It is done again after a
// crash, since a deletion alone promises less.
func (v *Vault) Erase(ctx context.Context, names ...[]byte) error {
	spans := make([]state.Span, len(names))
	for i, name := range names {
		spans[i] = state.Span{From: name, Before: append(slices.Clone(name), 0)}
	}
	return state.Scrub(ctx, v.db, v.dir, spans...)
}
