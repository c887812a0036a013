// Package vault keeps secrets in a database on disk, with a key file beside it.
//
// Open makes or opens a vault; Sub is the part of it that has a key of its own.
// Values are sealed with AES-256-GCM and bound to their names: who has the disk
// without the key file reads no value, and can change, swap or rename none
// unnoticed. Names are in the clear, so that they can be ordered and deleted in
// ranges, and whoever writes to the disk can delete values or put back older
// ones: guard against that elsewhere. The layout on disk is promised by whoever
// claims the directory (internal/state).
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/state"
)

const (
	// KeyBytes is the length of a vault's key.
	KeyBytes = 32
	// MaxValue bounds a sealed value, in bytes.
	MaxValue = 4 << 20
)

var (
	// ErrDamaged is wrapped when a value was read and does not decrypt, or the key
	// file is no key: the key is another vault's, or somebody wrote to it. Nothing of
	// the value is used; restore the vault or give it up.
	ErrDamaged = errors.New("store is damaged")
	// ErrUnreadable is wrapped when a value could not be read: the disk is failing or
	// full, or is gone. It says nothing about what is stored; mend the disk and open
	// the vault again.
	ErrUnreadable = errors.New("store cannot be read: see to its disk")
)

// Vault is a database and the key that seals its values. It is safe for
// concurrent use.
type Vault struct {
	db   *pebble.DB
	dir  string
	key  []byte
	aead cipher.AEAD
}

// Open opens the database in dir with the key in keyFile, or makes both where
// there is no database yet. A database without its key file is an error
// (fs.ErrNotExist): a new key could not read it, and starting over silently would
// forget what was promised. One process may have it open.
func Open(dir, keyFile string) (*Vault, error) {
	_, err := os.Stat(dir)
	fresh := errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return nil, err
	}
	// The key comes first: a database without it could never be read.
	key, err := loadKey(keyFile, fresh)
	if err != nil {
		return nil, err
	}
	return open(dir, key, false)
}

// OpenReadOnly opens an existing vault, and changes nothing in it.
func OpenReadOnly(dir, keyFile string) (*Vault, error) {
	key, err := loadKey(keyFile, false)
	if err != nil {
		return nil, err
	}
	return open(dir, key, true)
}

func open(dir string, key []byte, readOnly bool) (*Vault, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		Logger: state.Quiet{}, EventListener: state.Quiet{}.Listener(), Cleaner: state.Remover{},
		MemTableSize: 16 << 20, CacheSize: 32 << 20, FormatMajorVersion: pebble.FormatNewest, ReadOnly: readOnly,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s (is another process using it?): %w", dir, err)
	}
	v, err := newVault(db, dir, key)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return v, nil
}

// loadKey reads the key file, or makes it where there is nothing to be read yet.
func loadKey(path string, fresh bool) ([]byte, error) {
	key, err := state.ReadFile(path, KeyBytes)
	if errors.Is(err, fs.ErrNotExist) && fresh {
		key = make([]byte, KeyBytes)
		rand.Read(key)
		return key, state.WriteFile(path, key)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key file is missing, and what it sealed cannot be read without it: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s may be read by others: set its mode to 0600", path)
	}
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("%w: key file %s has %d bytes, not %d: restore it from where it is kept", ErrDamaged, path, len(key), KeyBytes)
	}
	return key, nil
}

func newVault(db *pebble.DB, dir string, key []byte) (*Vault, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Vault{db: db, dir: dir, key: key, aead: aead}, nil
}

// Sub returns the part of the vault whose values are sealed under a key of their
// own, derived with HKDF (RFC 5869) from the vault's. It shares the database, so
// names must differ; it ends with the vault.
func (v *Vault) Sub(salt []byte, info string) (*Vault, error) {
	key, err := hkdf.Key(sha256.New, v.key, salt, info, KeyBytes)
	if err != nil {
		return nil, err
	}
	return newVault(v.db, v.dir, key)
}

// DB returns the database, for whatever concerns names alone.
func (v *Vault) DB() *pebble.DB { return v.db }

// Close closes the database of the vault and of all its parts.
func (v *Vault) Close() error {
	defer clear(v.key)
	return v.db.Close()
}

// String keeps the key out of logs.
func (*Vault) String() string   { return "vault{secret}" }
func (*Vault) GoString() string { return "vault{secret}" }
