package institution

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func openedVault(t *testing.T, dir string) memberVault {
	t.Helper()
	v, err := openVault(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVaultKeepsWhatWasPut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	v := openedVault(t, dir)
	if err := v.put(entry{"a", []byte("first")}, entry{"b", nil}); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = openedVault(t, dir)
	defer v.Close()
	for name, want := range map[string]string{"a": "first", "b": ""} {
		got, found, err := v.get(name)
		if err != nil || !found || string(got) != want {
			t.Errorf("%s is %q, %v, %v", name, got, found, err)
		}
	}
	if _, found, err := v.get("c"); found || err != nil {
		t.Errorf("c: %v, %v", found, err)
	}
}

func TestVaultIsForItsUserAloneAndTellsNothingOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	v := openedVault(t, dir)
	secret := []byte("a seed that nobody else may see")
	if err := v.put(entry{"seed/x/0", secret}); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, vaultKeyFile): 0o600} {
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
	v := openedVault(t, filepath.Join(t.TempDir(), "state"))
	defer v.Close()
	if err := v.put(entry{"answer/one/0", []byte("shares")}); err != nil {
		t.Fatal(err)
	}
	sealed, closer, err := v.DB().Get([]byte("answer/one/0"))
	if err != nil {
		t.Fatal(err)
	}
	moved := append([]byte(nil), sealed...)
	closer.Close()
	if err := v.DB().Set([]byte("answer/two/0"), moved, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.get("answer/two/0"); err == nil {
		t.Error("an entry is read under another name")
	}
	moved[len(moved)-1] ^= 1
	if err := v.DB().Set([]byte("answer/one/0"), moved, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.get("answer/one/0"); err == nil {
		t.Error("a changed entry is read")
	}
}

func TestVaultWithoutItsKeyIsNotStartedOver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := openedVault(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, vaultKeyFile)
	if err := os.Rename(key, key+".lost"); err != nil {
		t.Fatal(err)
	}
	if _, err := openVault(dir, ""); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(key, make([]byte, 31), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openVault(dir, ""); err == nil || !strings.Contains(err.Error(), "31 bytes") {
		t.Errorf("got %v", err)
	}
}

func TestStateServesOneMemberOnly(t *testing.T) {
	w := newWorld(t)
	w.down(hospitalA)
	cfg := w.config(hospitalB)
	cfg.Dir = filepath.Join(w.dir, "0")
	if in, err := New(cfg); err == nil || !strings.Contains(err.Error(), "another member") {
		in.Close()
		t.Errorf("got %v", err)
	}
}
