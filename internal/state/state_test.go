package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestNewDirectoryIsMarkedAndTakenUpAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if fresh, err := Claim(dir, 2); err != nil || !fresh {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	if fresh, err := Claim(dir, 2); err != nil || fresh {
		t.Fatalf("again: fresh %v, %v", fresh, err)
	}
	if fresh, err := Claim(dir, 3); err != nil || fresh {
		t.Fatalf("by a newer program: fresh %v, %v", fresh, err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestNewerAndForeignDirectoriesAreRefusedAndLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  error
	}{
		"newer":                      {map[string]string{VersionFile: "3\n"}, ErrNewer},
		"a mark that is no number":   {map[string]string{VersionFile: "new\n"}, ErrForeign},
		"version zero":               {map[string]string{VersionFile: "0\n"}, ErrForeign},
		"somebody's files":           {map[string]string{"thesis.txt": "x"}, ErrForeign},
		"somebody's beside ours":     {map[string]string{"keys": "x", "thesis.txt": "x"}, ErrForeign},
		"a mark that is endless":     {map[string]string{VersionFile: string(make([]byte, 100))}, nil},
		"a version of another sort ": {map[string]string{VersionFile: "-1\n"}, ErrForeign},
	} {
		dir := t.TempDir()
		for f, text := range c.files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Claim(dir, 2, "keys")
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != len(c.files) {
			t.Errorf("%s: the directory was changed", name)
		}
	}
}

func TestWhatMayStandBesideAndWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"keys", "." + VersionFile + "-123"} {
		if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if fresh, err := Claim(dir, 1, "keys"); err != nil || !fresh {
		t.Errorf("fresh %v, %v", fresh, err)
	}
}

func TestCheckChangesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Check(dir, 1); !errors.Is(err, ErrForeign) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Error("it wrote something")
	}
}
