// Package state marks directories with what they hold and in which version, and
// writes small files so that a crash leaves the old content or the new.
//
// Entry points: Claim takes a directory for one kind of state, Check looks at one
// without changing it, WriteFile and ReadFile handle the small files in it, Write
// the large ones.
//
// Promise: a directory that a newer program wrote is refused and left alone; a
// directory that holds something else is not adopted.
package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// VersionFile is the name of the file that marks a state directory.
const VersionFile = "VERSION"

var (
	// ErrNewer says that a newer program wrote the directory. Use that one; nothing
	// was changed.
	ErrNewer = errors.New("written by a newer vitalveil")
	// ErrForeign says that a directory is not a state directory of this kind. Name
	// an empty one; nothing was changed.
	ErrForeign = errors.New("not a state directory of vitalveil")
)

// Claim makes dir (mode 0700), or takes one up that was claimed before, for state
// of this version, 1 or more. A directory without a mark must be empty but for
// the names in besides. It reports whether the directory is new.
func Claim(dir string, version int, besides ...string) (bool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	err := Check(dir, version)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		left := strings.HasPrefix(e.Name(), "."+VersionFile) // by a crash while it was written
		if !left && !slices.Contains(besides, e.Name()) {
			return false, fmt.Errorf("%w: %s is not empty (it has %s)", ErrForeign, dir, e.Name())
		}
	}
	return true, WriteFile(filepath.Join(dir, VersionFile), []byte(strconv.Itoa(version)+"\n"))
}

// Check reads the mark of a directory and refuses one that is newer than the
// version. Without a mark the error is ErrForeign and fs.ErrNotExist.
func Check(dir string, version int) error {
	path := filepath.Join(dir, VersionFile)
	text, err := ReadFile(path, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s: %w", ErrForeign, dir, err)
	}
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	if err != nil || n < 1 {
		return fmt.Errorf("%w: %s does not hold a version", ErrForeign, path)
	}
	if n > version {
		return fmt.Errorf("%w: %s has version %d, this program knows %d", ErrNewer, dir, n, version)
	}
	return nil
}

// ReadFile reads a file of at most max bytes.
func ReadFile(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("%s has more than %d bytes", path, max)
	}
	return data, nil
}

// WriteFile replaces a file with mode 0600, atomically and durably: readers see
// the old content or the new one, also after a crash.
func WriteFile(path string, data []byte) error {
	return Write(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Write is WriteFile for content that is too long to be held at once. What content
// wrote before it failed is dropped.
func Write(path string, content func(io.Writer) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := content(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
