package bridge

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/internal/vault"
)

func TestStoreOfANewerVersionIsRefused(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	if err := w.hub(dir).Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, state.VersionFile), []byte(strconv.Itoa(storeVersion+1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.config(dir)); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, state.VersionFile), []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.config(dir)); !errors.Is(err, state.ErrForeign) {
		t.Errorf("error %v", err)
	}
}

func TestKeyFileIsPrivateAndNeeded(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	w.enrolled(h, "heart_rate")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir + ".key")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(dir+".key", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.config(dir)); err == nil {
		t.Error("opened with a key that all may read")
	}
	if err := os.Remove(dir + ".key"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.config(dir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its key: %v", err)
	}
	if err := os.WriteFile(dir+".key", make([]byte, vault.KeyBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.config(dir)); !errors.Is(err, ErrDamaged) {
		t.Errorf("with another key: %v", err)
	}
}

func TestForeignDirectoryIsNotAdopted(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "letter.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(w.config(dir)); err == nil {
		t.Error("adopted")
	}
}

func TestConfigurationMustFitTheNetwork(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(*Config){
		"no directory":    func(c *Config) { c.Dir = "" },
		"no parameters":   func(c *Config) { c.Params, c.Genesis.Schema = nil, record.RandomID() },
		"no network":      func(c *Config) { c.Genesis.Network = "" },
		"another schema":  func(c *Config) { c.Genesis.Schema[0] ^= 1 },
		"another profile": func(c *Config) { c.Genesis.Profile = "x" },
		"another sharing": func(c *Config) { c.Genesis.Threshold = 3 },
		"a lone member":   func(c *Config) { c.Genesis.Threshold = 1 },
	} {
		c := w.config(filepath.Join(t.TempDir(), "hub"))
		spoil(&c)
		if h, err := Open(c); err == nil {
			t.Errorf("%s: opened", name)
			h.Close()
		}
	}
}

// A thief of the disk without the key file reads nothing.
func TestNothingIsStoredInTheClear(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	push(t, d, reading(t, "heart_rate", epochStart, "60"))
	if err := d.Advance(t.Context(), epochStart+86400); err != nil {
		t.Fatal(err)
	}
	push(t, d, reading(t, "heart_rate", epochStart+86400, "60"))
	secrets := [][]byte{d.rec.Key, d.rec.Seeds[0], d.rec.Seeds[1], d.rec.Seeds[2], sealedRow(t, d, epochStart/3600)[:64], []byte("heart_rate")}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		for i, s := range secrets {
			if bytes.Contains(data, s) {
				t.Errorf("%s holds secret %d", path, i)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody with the disk swaps or changes values without the key.
func TestAttackTamperedStore(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	d := w.enrolled(h, "heart_rate")
	if err := d.Advance(t.Context(), epochStart+2*3600); err != nil {
		t.Fatal(err)
	}
	a, b := d.vault.key(kindRow, ordered(epochStart/3600)...), d.vault.key(kindRow, ordered(epochStart/3600+1)...)
	value, closer, err := h.store.DB().Get(a)
	if err != nil {
		t.Fatal(err)
	}
	swapped := bytes.Clone(value)
	closer.Close()
	for name, v := range map[string][]byte{"swapped": swapped, "cut": swapped[:5], "empty": {}} {
		if err := h.store.DB().Set(b, v, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if _, err := d.vault.get(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.at(epochStart + 86400)
	if _, err := h.Sync(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("sync: %v", err)
	}
	if len(w.blobs) != 0 {
		t.Error("uploaded all the same")
	}
}

func TestClosedHubRefusesWork(t *testing.T) {
	w := newWorld(t)
	h := w.hub(filepath.Join(t.TempDir(), "hub"))
	d := w.enrolled(h, "heart_rate")
	for range 2 {
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Push(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("push: %v", err)
	}
	if err := d.Advance(t.Context(), epochStart+3600); !errors.Is(err, ErrClosed) {
		t.Errorf("advance: %v", err)
	}
	if _, _, err := h.NewDevice(testPatient, []string{"spo2"}, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("new device: %v", err)
	}
}

func TestMarksOnlyRise(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "hub")
	h := w.hub(dir)
	id := record.SumID([]byte("device"))
	for _, m := range []mark{{5, 0, 1}, {9, 2, 0}, {3, 4, 2}, {4, 1, 1}} {
		if err := h.raiseMarks(map[record.ID]mark{id: m}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := loadMarks(dir + ".mark")
	if err != nil || got[id] != (mark{9, 4, 2}) {
		t.Errorf("mark %v, %v", got[id], err)
	}
	if err := os.WriteFile(dir+".mark", []byte(`{"version":1,"sealed":{"x":1}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadMarks(dir + ".mark"); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
}
