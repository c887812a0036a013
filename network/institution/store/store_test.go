package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/state"
)

func openedStore(t *testing.T, dir string) *Store {
	t.Helper()
	v, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVaultKeepsWhatWasPut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	v := openedStore(t, dir)
	if err := v.PutAll(Entry{"a", []byte("first")}, Entry{"b", nil}); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = openedStore(t, dir)
	defer v.Close()
	for name, want := range map[string]string{"a": "first", "b": ""} {
		got, found, err := v.Get(name)
		if err != nil || !found || string(got) != want {
			t.Errorf("%s is %q, %v, %v", name, got, found, err)
		}
	}
	if _, found, err := v.Get("c"); found || err != nil {
		t.Errorf("c: %v, %v", found, err)
	}
}

func TestVaultIsForItsUserAloneAndTellsNothingOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	v := openedStore(t, dir)
	secret := []byte("a seed that nobody else may see")
	if err := v.Put("seed/x/0", secret); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, keyFile): 0o600} {
		s, err := os.Stat(path)
		if err != nil || s.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v (%v)", path, s.Mode().Perm(), want, err)
		}
	}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, secret) {
			t.Errorf("%s holds the secret in the clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAttackVaultEntryMovedToAnotherName(t *testing.T) {
	v := openedStore(t, filepath.Join(t.TempDir(), "state"))
	defer v.Close()
	if err := v.Put("answer/one/0", []byte("shares")); err != nil {
		t.Fatal(err)
	}
	sealed, closer, err := v.vault.DB().Get([]byte("answer/one/0"))
	if err != nil {
		t.Fatal(err)
	}
	moved := append([]byte(nil), sealed...)
	closer.Close()
	if err := v.vault.DB().Set([]byte("answer/two/0"), moved, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Get("answer/two/0"); err == nil {
		t.Error("an entry is read under another name")
	}
	moved[len(moved)-1] ^= 1
	if err := v.vault.DB().Set([]byte("answer/one/0"), moved, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Get("answer/one/0"); err == nil {
		t.Error("a changed entry is read")
	}
}

func TestVaultWithoutItsKeyIsNotStartedOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := openedStore(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, keyFile)
	if err := os.Rename(key, key+".lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, ""); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(key, make([]byte, 31), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, ""); err == nil || !strings.Contains(err.Error(), "31 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestStateOfANewerVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	v, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := state.WriteFile(filepath.Join(dir, state.VersionFile), []byte("2\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, ""); !errors.Is(err, state.ErrNewer) {
		t.Errorf("error %v", err)
	}
}
