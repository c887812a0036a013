package bridge

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
)

// storeVersion is the version of the store's schema that this package writes.
const storeVersion = 1

// ErrNewer says that the store was written by a newer version of this program.
// Upgrade; an older program cannot know what the newer one has sealed.
var ErrNewer = errors.New("bridge store was written by a newer version")

// versionFile marks a directory as a bridge store.
const versionFile = "VERSION"

// checkVersion reads the version file of a store, or writes it for a new one.
func checkVersion(dir string) error {
	path := filepath.Join(dir, versionFile)
	text, err := readSmall(path, 64)
	if errors.Is(err, fs.ErrNotExist) {
		if err := refuseForeign(dir); err != nil {
			return err
		}
		return writeFile(path, []byte(strconv.Itoa(storeVersion)+"\n"))
	}
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	if err != nil || version < 1 {
		return fmt.Errorf("%w: %s does not hold a version", ErrDamaged, path)
	}
	if version > storeVersion {
		return fmt.Errorf("%w: it has version %d, this program knows %d", ErrNewer, version, storeVersion)
	}
	return nil
}

// refuseForeign keeps a hub from adopting a directory with other contents: a
// store without its version file is not a new store.
func refuseForeign(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+versionFile) {
			continue // left by a crash while the version file was written
		}
		return fmt.Errorf("%s is not empty and not a bridge store: choose an empty directory", dir)
	}
	return nil
}

const masterBytes = 32

// loadKey reads the key file. It makes one for a new store; for an old one a
// missing key means that nothing in the store can be read.
func loadKey(path string, fresh bool) ([]byte, error) {
	key, err := readSmall(path, masterBytes)
	if errors.Is(err, fs.ErrNotExist) && fresh {
		key = make([]byte, masterBytes)
		rand.Read(key)
		return key, writeFile(path, key)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key file of the bridge store: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("key file %s may be read by others: set its mode to 0600", path)
	}
	if len(key) != masterBytes {
		return nil, fmt.Errorf("%w: key file %s has %d bytes, not %d", ErrDamaged, path, len(key), masterBytes)
	}
	return key, nil
}

// marks is the content of the mark file: per device, the Unix hour before which
// rows may have left this installation.
type marks struct {
	Version int              `json:"version"`
	Sealed  map[string]int64 `json:"sealed"`
}

const maxMarkFile = 16 << 20

// loadMarks reads the mark file; a missing one has no marks.
func loadMarks(path string) (map[record.ID]int64, error) {
	sealed := map[record.ID]int64{}
	data, err := readSmall(path, maxMarkFile)
	if errors.Is(err, fs.ErrNotExist) {
		return sealed, nil
	}
	if err != nil {
		return nil, err
	}
	var m marks
	if err := record.DecodeJSON(data, maxMarkFile, &m); err != nil {
		return nil, fmt.Errorf("%w: mark file %s: %v", ErrDamaged, path, err)
	}
	if m.Version > storeVersion {
		return nil, fmt.Errorf("%w: mark file %s has version %d", ErrNewer, path, m.Version)
	}
	for text, hour := range m.Sealed {
		id, err := record.ParseID(text)
		if err != nil {
			return nil, fmt.Errorf("%w: mark file %s: %v", ErrDamaged, path, err)
		}
		sealed[id] = hour
	}
	return sealed, nil
}

// saveMarks replaces the mark file; it is durable on return.
func saveMarks(path string, sealed map[record.ID]int64) error {
	m := marks{Version: storeVersion, Sealed: make(map[string]int64, len(sealed))}
	for id, hour := range sealed {
		m.Sealed[id.String()] = hour
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// readSmall reads a file of at most max bytes.
func readSmall(path string, max int64) ([]byte, error) {
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

// writeFile replaces a file with mode 0600, atomically and durably: readers see
// the old content or the new one, also after a crash.
func writeFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := io.Copy(f, bytes.NewReader(data)); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
