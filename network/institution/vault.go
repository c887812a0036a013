package institution

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/internal/vault"
)

// memberVault is the institution's durable state: seeds, piece keys and every
// answer that has left. Names (device, piece, query) are on the ledger anyway.
// Every write is on disk before it returns.
type memberVault struct{ *vault.Vault }

const (
	// vaultVersion is the schema of the state directory; a newer one is refused.
	vaultVersion = 1
	vaultKeyFile = "vault.key"
	vaultFolder  = "vault"
)

// openVault opens or makes the state below dir, sealed with the key in keyFile, or in
// dir where that is empty. It is not started over where its key file is missing: this
// member would answer queries again that it has answered before.
func openVault(dir, keyFile string) (memberVault, error) {
	if keyFile == "" {
		keyFile = filepath.Join(dir, vaultKeyFile)
	}
	if _, err := state.Claim(dir, vaultVersion); err != nil {
		return memberVault{}, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return memberVault{}, err
	}
	v, err := vault.Open(filepath.Join(dir, vaultFolder), keyFile)
	if err != nil {
		return memberVault{}, fmt.Errorf("state in %s: %w", dir, err)
	}
	return memberVault{v}, nil
}

// entry is one named value.
type entry struct {
	name  string
	value []byte
}

// put stores all entries or none, durably.
func (v memberVault) put(entries ...entry) error { return v.write(nil, entries) }

// remove deletes entries, durably.
func (v memberVault) remove(names ...string) error { return v.write(names, nil) }

func (v memberVault) write(gone []string, entries []entry) error {
	return v.Update(true, func(b *pebble.Batch) error {
		for _, name := range gone {
			if err := b.Delete([]byte(name), nil); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if err := v.Set(b, []byte(e.name), e.value); err != nil {
				return fmt.Errorf("state entry %q: %w", e.name, err)
			}
		}
		return nil
	})
}

// replace deletes values and stores entries, all or none, durably. When it returns,
// the deleted bytes are in no file.
func (v memberVault) replace(ctx context.Context, names []string, entries ...entry) error {
	if err := v.write(names, entries); err != nil {
		return err
	}
	return v.erase(ctx, names...)
}

// erase makes sure that values which have been deleted are in no file.
func (v memberVault) erase(ctx context.Context, names ...string) error {
	raw := make([][]byte, len(names))
	for i, name := range names {
		raw[i] = []byte(name)
	}
	return v.Erase(ctx, raw...)
}

// get returns a value and whether there is one.
func (v memberVault) get(name string) ([]byte, bool, error) {
	value, found, err := v.Get([]byte(name))
	if err != nil {
		return nil, false, fmt.Errorf("state entry %q: %w", name, err)
	}
	return value, found, nil
}

// names returns the names that begin with prefix, in order.
func (v memberVault) names(prefix string) ([]string, error) {
	it, err := v.DB().NewIter(&pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: []byte(prefix + "\xff")})
	if err != nil {
		return nil, err
	}
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, string(it.Key()))
	}
	return out, errors.Join(it.Error(), it.Close())
}
