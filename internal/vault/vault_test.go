package vault

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// place is where a vault lies: a database and its key file.
type place struct{ dir, key string }

func newPlace(t *testing.T) place {
	dir := t.TempDir()
	return place{filepath.Join(dir, "store"), filepath.Join(dir, "key")}
}

func (p place) open(t *testing.T) *Vault {
	t.Helper()
	v, err := Open(p.dir, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func put(t *testing.T, v *Vault, name, value string) {
	t.Helper()
	err := v.Update(true, func(b *pebble.Batch) error { return v.Set(b, []byte(name), []byte(value)) })
	if err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, v *Vault) {
	t.Helper()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestValuesAreThereAfterTheVaultWasClosed(t *testing.T) {
	p := newPlace(t)
	v := p.open(t)
	for _, name := range []string{"b1", "a", "b2", "c"} {
		put(t, v, name, "value of "+name)
	}
	put(t, v, "empty", "")
	closed(t, v)
	v = p.open(t)
	defer v.Close()
	if got, found, err := v.Get([]byte("a")); err != nil || !found || string(got) != "value of a" {
		t.Errorf("a is %q, %v, %v", got, found, err)
	}
	if got, found, err := v.Get([]byte("empty")); err != nil || !found || len(got) != 0 {
		t.Errorf("empty is %q, %v, %v", got, found, err)
	}
	if _, found, err := v.Get([]byte("none")); err != nil || found {
		t.Errorf("none: %v, %v", found, err)
	}
	for name, want := range map[string]bool{"c": true, "none": false} {
		if has, err := v.Has([]byte(name)); err != nil || has != want {
			t.Errorf("%s: %v, %v", name, has, err)
		}
	}
	var names []string
	for e, err := range v.Each([]byte("b"), []byte("c")) {
		if err != nil || string(e.Value) != "value of "+string(e.Name) {
			t.Errorf("%s is %q, %v", e.Name, e.Value, err)
		}
		names = append(names, string(e.Name))
	}
	if !slices.Equal(names, []string{"b1", "b2"}) {
		t.Errorf("names %v", names)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	v := newPlace(t).open(t)
	defer v.Close()
	bad := errors.New("no")
	err := v.Update(true, func(b *pebble.Batch) error { return errors.Join(v.Set(b, []byte("a"), nil), bad) })
	if !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
	if has, err := v.Has([]byte("a")); has || err != nil {
		t.Errorf("written all the same: %v, %v", has, err)
	}
	err = v.Update(false, func(b *pebble.Batch) error { return v.Set(b, []byte("a"), make([]byte, MaxValue)) })
	if err == nil {
		t.Error("a value that could not be read again was written")
	}
}

func TestKeyFileIsNeededPrivateAndWhole(t *testing.T) {
	p := newPlace(t)
	closed(t, p.open(t))
	info, err := os.Stat(p.key)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != KeyBytes {
		t.Fatalf("key file %v, %v", info, err)
	}
	key, err := os.ReadFile(p.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spoil func() error
		want  error
		text  string
	}{
		"missing":        {func() error { return os.Remove(p.key) }, fs.ErrNotExist, "is missing"},
		"short":          {func() error { return os.WriteFile(p.key, key[1:], 0o600) }, ErrDamaged, "31 bytes"},
		"long":           {func() error { return os.WriteFile(p.key, append(key, 0), 0o600) }, nil, "more than 32 bytes"},
		"open to others": {func() error { return os.Chmod(p.key, 0o640) }, nil, "read by others"},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(p.dir, p.key)
		if err == nil || !strings.Contains(err.Error(), c.text) || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		os.Remove(p.key)
		if err := os.WriteFile(p.key, key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, p.open(t))
}

func TestVaultServesOneProcess(t *testing.T) {
	p := newPlace(t)
	defer p.open(t).Close()
	if _, err := Open(p.dir, p.key); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error %v", err)
	}
}

// A thief of the disk without the key file reads nothing.
func TestDiskTellsNothing(t *testing.T) {
	p := newPlace(t)
	v := p.open(t)
	secret := []byte("a seed that nobody else may see")
	put(t, v, "seed", string(secret))
	for _, text := range []string{fmt.Sprint(v), fmt.Sprintf("%#v", v), fmt.Sprintf("%+v", v)} {
		if text != "vault{secret}" {
			t.Errorf("prints as %s", text)
		}
	}
	key := bytes.Clone(v.key)
	closed(t, v)
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, secret) || bytes.Contains(data, key) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(v.key, make([]byte, KeyBytes)) {
		t.Error("the key outlives the vault")
	}
}

// Somebody with the disk moves or changes values without the key.
func TestAttackValuesOfAVaultChangedOnDisk(t *testing.T) {
	v := newPlace(t).open(t)
	defer v.Close()
	part, err := v.Sub([]byte("device"), "test")
	if err != nil {
		t.Fatal(err)
	}
	put(t, v, "a", "of a")
	raw, closer, err := v.DB().Get([]byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := bytes.Clone(raw)
	closer.Close()
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, value := range map[string][]byte{
		"moved": sealed, "flipped": flipped, "cut": sealed[:5], "empty": {}, "too long": make([]byte, MaxValue+1),
	} {
		at := "a"
		if name == "moved" {
			at = "b"
		}
		if err := v.DB().Set([]byte(at), value, nil); err != nil {
			t.Fatal(err)
		}
		if _, found, err := v.Get([]byte(at)); found || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, %v", name, found, err)
		}
		for _, err := range v.Each([]byte(at), nil) {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, in order: %v", name, err)
			}
			break
		}
	}
	put(t, v, "a", "of a")
	if _, _, err := part.Get([]byte("a")); !errors.Is(err, ErrDamaged) {
		t.Errorf("a part reads what the whole wrote: %v", err)
	}
	put(t, part, "a", "of the part")
	if got, _, err := part.Get([]byte("a")); err != nil || string(got) != "of the part" {
		t.Errorf("%q, %v", got, err)
	}
	if _, _, err := v.Get([]byte("a")); !errors.Is(err, ErrDamaged) {
		t.Errorf("the whole reads what a part wrote: %v", err)
	}
}

// A value under its name and a key of 32 times 7, and the same in the part with
// this salt and info, as another implementation of AES-GCM and HKDF writes them.
const (
	sealedByWhole = "000102030405060708090a0b6ee08505782d960b70b088fb054bdfb3fa92006f77"
	sealedByPart  = "000102030405060708090a0bded37d7106b852d8c03fbd7f75e22909631af0a976"
)

func TestFormatOnDiskStays(t *testing.T) {
	p := newPlace(t)
	if err := os.WriteFile(p.key, bytes.Repeat([]byte{7}, KeyBytes), 0o600); err != nil {
		t.Fatal(err)
	}
	whole := p.open(t)
	defer whole.Close()
	part, err := whole.Sub([]byte("salt"), "info")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		v      *Vault
		sealed string
	}{"whole": {whole, sealedByWhole}, "part": {part, sealedByPart}} {
		sealed, err := hex.DecodeString(c.sealed)
		if err != nil {
			t.Fatal(err)
		}
		if err := whole.DB().Set([]byte("name"), sealed, nil); err != nil {
			t.Fatal(err)
		}
		if got, _, err := c.v.Get([]byte("name")); err != nil || string(got) != "value" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// sealedIn reports whether any file of a vault has the sealed bytes of a value.
func sealedIn(t *testing.T, p place, sealed []byte) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Dir(p.dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // the database has just removed it
			return nil
		}
		found = found || bytes.Contains(data, sealed)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Sealed bytes and the key that opens them lie side by side, so bytes that are deleted
// have to go. A database of this kind keeps its logs by default, and uses them again.
func TestErasedValuesAreInNoFile(t *testing.T) {
	for _, settled := range []bool{false, true} {
		p := newPlace(t)
		v := p.open(t)
		put(t, v, "left", "stays")
		put(t, v, "gone", strings.Repeat("of an erased patient ", 10))
		sealed, closer, err := v.db.Get([]byte("gone"))
		if err != nil {
			t.Fatal(err)
		}
		sealed = bytes.Clone(sealed)
		closer.Close()
		if settled { // into a table, under others
			if err := v.db.Flush(); err != nil {
				t.Fatal(err)
			}
			for i := range 100 {
				put(t, v, fmt.Sprint("later", i), "other")
			}
		}
		if !sealedIn(t, p, sealed) {
			t.Fatal("the search does not find a value that is there")
		}
		if err := v.Update(true, func(b *pebble.Batch) error { return b.Delete([]byte("gone"), nil) }); err != nil {
			t.Fatal(err)
		}
		if !sealedIn(t, p, sealed) {
			t.Error("a deletion alone has removed the bytes: the rest shows nothing")
		}
		if err := v.Erase(t.Context(), []byte("gone")); err != nil {
			t.Fatal(err)
		}
		if sealedIn(t, p, sealed) {
			t.Errorf("an erased value is still in a file (settled: %v)", settled)
		}
		if got, found, err := v.Get([]byte("left")); err != nil || !found || string(got) != "stays" {
			t.Errorf("another value is %q (%v, %v)", got, found, err)
		}
		closed(t, v)
		if sealedIn(t, p, sealed) {
			t.Error("closing brought it back")
		}
	}
}

func TestErasingAgainAfterACrashChangesNothing(t *testing.T) {
	p := newPlace(t)
	v := p.open(t)
	put(t, v, "gone", "value")
	if err := v.Update(true, func(b *pebble.Batch) error { return b.Delete([]byte("gone"), nil) }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := v.Erase(t.Context(), []byte("gone")); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, v)
}
