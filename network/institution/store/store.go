// Package store is the durable state of an institution: seeds, piece keys and every
// answer that has left, sealed, and the layout of it, which those who write it and
// those who read it share.
//
// Entry points: Open for the institution itself, OpenReadOnly for checks while none
// is at work; the functions that give names.
//
// Trust: whoever has the directory and its key file has the member's secrets.
//
// Promise: every write is on disk before it returns, all of it or none. What was
// replaced or erased is in no file any more.
package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/internal/vault"
)

// Store is an open state. It is safe for concurrent use.
type Store struct{ vault *vault.Vault }

const (
	// version is the schema of the state directory; a newer one is refused.
	version = 1
	keyFile = "vault.key"
	folder  = "vault"
)

// Open opens or makes the state below dir, sealed with the key in keyPath, or in dir
// where that is empty. It is not started over where its key file is missing: this
// member would answer queries again that it has answered before.
func Open(dir, keyPath string) (*Store, error) {
	if _, err := state.Claim(dir, version); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	return opened(dir, keyPath, vault.Open)
}

// OpenReadOnly opens the state below dir as Open does, while no process has it open. It
// changes nothing.
func OpenReadOnly(dir, keyPath string) (*Store, error) {
	if err := state.Check(dir, version); err != nil {
		return nil, err
	}
	return opened(dir, keyPath, vault.OpenReadOnly)
}

func opened(dir, keyPath string, open func(dir, keyFile string) (*vault.Vault, error)) (*Store, error) {
	if keyPath == "" {
		keyPath = filepath.Join(dir, keyFile)
	}
	v, err := open(filepath.Join(dir, folder), keyPath)
	if err != nil {
		return nil, fmt.Errorf("state in %s: %w", dir, err)
	}
	return &Store{v}, nil
}

// Close closes the state.
func (s *Store) Close() error { return s.vault.Close() }

// Entry is one named value.
type Entry struct {
	Name  string
	Value []byte
}

// Put stores a value, durably.
func (s *Store) Put(name string, value []byte) error { return s.PutAll(Entry{name, value}) }

// PutAll stores all entries or none, durably.
func (s *Store) PutAll(entries ...Entry) error { return s.write(nil, entries) }

// Remove deletes entries, durably.
func (s *Store) Remove(names ...string) error { return s.write(names, nil) }

func (s *Store) write(gone []string, entries []Entry) error {
	return s.vault.Update(true, func(b *pebble.Batch) error {
		for _, name := range gone {
			if err := b.Delete([]byte(name), nil); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if err := s.vault.Set(b, []byte(e.Name), e.Value); err != nil {
				return fmt.Errorf("state entry %q: %w", e.Name, err)
			}
		}
		return nil
	})
}

// Replace deletes values and stores entries, all or none, durably. When it returns,
// the deleted bytes are in no file.
func (s *Store) Replace(ctx context.Context, names []string, entries ...Entry) error {
	if err := s.write(names, entries); err != nil {
		return err
	}
	raw := make([][]byte, len(names))
	for i, name := range names {
		raw[i] = []byte(name)
	}
	return s.vault.Erase(ctx, raw...)
}

// Get returns a value and whether there is one.
func (s *Store) Get(name string) ([]byte, bool, error) {
	value, found, err := s.vault.Get([]byte(name))
	if err != nil {
		return nil, false, fmt.Errorf("state entry %q: %w", name, err)
	}
	return value, found, nil
}

// GetAll calls use with the value of every name and its place among them; a name
// without one has nil. Names in ascending order are read fastest.
func (s *Store) GetAll(names []string, use func(i int, value []byte) error) error {
	return s.vault.GetAll(names, use)
}

// GetJSON reads a value in JSON; what is not there leaves v as it is.
func (s *Store) GetJSON(name string, v any) error {
	raw, found, err := s.Get(name)
	if err != nil || !found {
		return err
	}
	return json.Unmarshal(raw, v)
}

// Names returns the names that begin with prefix, in order.
func (s *Store) Names(prefix string) ([]string, error) {
	it, err := s.vault.DB().NewIter(&pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: []byte(prefix + "\xff")})
	if err != nil {
		return nil, err
	}
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, string(it.Key()))
	}
	return out, errors.Join(it.Error(), it.Close())
}

// Each goes through the entries whose names begin with prefix, in order. An error is
// the last.
func (s *Store) Each(prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for e, err := range s.vault.Each([]byte(prefix), []byte(prefix+"\xff")) {
			if !yield(Entry{string(e.Name), e.Value}, err) || err != nil {
				return
			}
		}
	}
}
