package institution

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/state"
)

// vault is the institution's durable state: seeds, piece keys and every answer
// that has left. Values are sealed with AES-256-GCM under a key file beside the
// database, bound to their names; names (device, piece, query) are on the
// ledger anyway. Every write is on disk before it returns.
type vault struct {
	db   *pebble.DB
	aead cipher.AEAD
}

const (
	// vaultVersion is the schema of the state directory; a newer one is refused.
	vaultVersion = 1
	vaultKeyFile = "vault.key"
	vaultFolder  = "vault"
	// maxBatchBytes bounds one write batch of the database.
	maxBatchBytes = 4 << 20
)

// openVault opens or makes the state below dir. A database without its key file
// is an error: a new key could not read it, and silently starting over would
// make this member answer queries again that it has answered before.
func openVault(dir string) (*vault, error) {
	if _, err := state.Claim(dir, vaultVersion); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, err
	}
	_, err := os.Stat(filepath.Join(dir, vaultFolder))
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, err
	}
	key, err := vaultKey(filepath.Join(dir, vaultKeyFile), fresh)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	db, err := pebble.Open(filepath.Join(dir, vaultFolder), &pebble.Options{Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("state in %s cannot be opened (is another institution using it?): %w", dir, err)
	}
	return &vault{db: db, aead: aead}, nil
}

// vaultKey reads the key file, or makes it where the state is new.
func vaultKey(path string, fresh bool) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) != 32:
		return nil, fmt.Errorf("%s has %d bytes, a key has 32: restore it from where it is kept", path, len(key))
	case err == nil:
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case !fresh:
		return nil, fmt.Errorf("%s is missing, and the state beside it cannot be read without it", path)
	}
	key = make([]byte, 32)
	rand.Read(key)
	return key, state.WriteFile(path, key)
}

func (v *vault) close() error { return v.db.Close() }

// entry is one named value.
type entry struct {
	name  string
	value []byte
}

// put stores all entries or none, durably.
func (v *vault) put(entries ...entry) error {
	b := v.db.NewBatch()
	defer b.Close()
	for _, e := range entries {
		if err := b.Set([]byte(e.name), v.seal(e), nil); err != nil {
			return err
		}
		if b.Len() > maxBatchBytes {
			return fmt.Errorf("a write of %d bytes is over the limit of %d", b.Len(), maxBatchBytes)
		}
	}
	return b.Commit(pebble.Sync)
}

// replace deletes values and stores entries, all or none, durably. The deleted
// bytes, which were sealed, leave the database's tables before it returns; its
// log keeps them until it is reused.
func (v *vault) replace(names []string, entries ...entry) error {
	b := v.db.NewBatch()
	defer b.Close()
	for _, name := range names {
		if err := b.Delete([]byte(name), nil); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := b.Set([]byte(e.name), v.seal(e), nil); err != nil {
			return err
		}
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return err
	}
	if err := v.db.Flush(); err != nil {
		return err
	}
	for _, name := range names {
		if err := v.db.Compact(context.Background(), []byte(name), append([]byte(name), 0), false); err != nil {
			return err
		}
	}
	return nil
}

func (v *vault) seal(e entry) []byte {
	nonce := make([]byte, v.aead.NonceSize(), v.aead.NonceSize()+len(e.value)+v.aead.Overhead())
	rand.Read(nonce)
	return v.aead.Seal(nonce, nonce, e.value, []byte(e.name))
}

// get returns a value and whether there is one.
func (v *vault) get(name string) ([]byte, bool, error) {
	sealed, closer, err := v.db.Get([]byte(name))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer closer.Close()
	n := v.aead.NonceSize()
	if len(sealed) < n {
		return nil, false, fmt.Errorf("state entry %q is damaged: %w", name, io.ErrUnexpectedEOF)
	}
	value, err := v.aead.Open(nil, sealed[:n], sealed[n:], []byte(name))
	if err != nil {
		return nil, false, fmt.Errorf("state entry %q is damaged or of another key: %w", name, err)
	}
	return value, true, nil
}

// names returns the names that begin with prefix, in order.
func (v *vault) names(prefix string) ([]string, error) {
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: []byte(prefix), UpperBound: []byte(prefix + "\xff")})
	if err != nil {
		return nil, err
	}
	var out []string
	for ok := it.First(); ok; ok = it.Next() {
		out = append(out, string(it.Key()))
	}
	return out, errors.Join(it.Error(), it.Close())
}

// remove deletes entries, durably.
func (v *vault) remove(names ...string) error {
	if len(names) == 0 {
		return nil
	}
	b := v.db.NewBatch()
	defer b.Close()
	for _, name := range names {
		if err := b.Delete([]byte(name), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.Sync)
}

// quiet drops the database's chatter; what matters comes back as errors.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf is called when the database cannot go on, such as a full disk while it
// writes its log; continuing could lose an answer that has left.
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
