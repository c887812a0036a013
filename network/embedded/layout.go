package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Every stored key begins with a byte that says what it is:
//
//	m NAME                                schema, genesis, tip
//	b BLOCK                               sealed header
//	t BLOCK TX                            transaction
//	x TXID                                place of a transaction
//	s KEY                                 public state: version, value
//	h LEN KEY BLOCK TX                    history: who wrote the key
//	p LEN COLLECTION KEY                  private state: version, value
//	q LEN COLLECTION KEYHASH              hashed private state: version, value hash
//	v LEN COLLECTION KEYHASH BLOCK TX     private writes, of invalid transactions too, until they are purged
//
// BLOCK is 8 bytes, TX and LEN 4, all big-endian, so that keys sort by place.
const (
	spaceMeta     = 'm'
	spaceBlock    = 'b'
	spaceTx       = 't'
	spaceTxID     = 'x'
	spaceState    = 's'
	spaceHistory  = 'h'
	spacePrivate  = 'p'
	spaceHashed   = 'q'
	spaceValues   = 'v'
	versionBytes  = 12
	schemaVersion = 1
)

var (
	keySchema  = []byte("mschema")
	keyGenesis = []byte("mgenesis")
	keyTip     = []byte("mtip")
)

func (v version) append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(b, v.Block), v.Tx)
}

func parseVersion(b []byte) (version, []byte, error) {
	if len(b) < versionBytes {
		return version{}, nil, errors.New("stored value is too short to hold its version")
	}
	v := version{Block: binary.BigEndian.Uint64(b), Tx: binary.BigEndian.Uint32(b[8:])}
	return v, b[versionBytes:], nil
}

func sameVersion(a, b *version) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func blockKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{spaceBlock}, number)
}

func txKey(v version) []byte { return v.append([]byte{spaceTx}) }

func txIDKey(id record.ID) []byte { return append([]byte{spaceTxID}, id[:]...) }

func stateKey(key string) []byte { return append([]byte{spaceState}, key...) }

func lengthPrefixed(space byte, name string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{space}, uint32(len(name)))
	return append(b, name...)
}

func historyPrefix(key string) []byte { return lengthPrefixed(spaceHistory, key) }

func historyKey(key string, v version) []byte { return v.append(historyPrefix(key)) }

func privatePrefix(collection string) []byte { return lengthPrefixed(spacePrivate, collection) }

func privateKey(collection, key string) []byte { return append(privatePrefix(collection), key...) }

func hashedKey(collection string, keyHash record.ID) []byte {
	return append(lengthPrefixed(spaceHashed, collection), keyHash[:]...)
}

func valuePrefix(collection string, keyHash record.ID) []byte {
	return append(lengthPrefixed(spaceValues, collection), keyHash[:]...)
}

func valueKey(collection string, keyHash record.ID, v version) []byte {
	return v.append(valuePrefix(collection, keyHash))
}

// after returns the first key behind every key that begins with prefix, nil
// where there is none.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

// get returns a copy of a stored value, nil when there is none.
func get(r pebble.Reader, key []byte) ([]byte, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := append([]byte{}, value...)
	return out, closer.Close()
}

// getVersion returns the version of a stored value, nil when there is none.
func getVersion(r pebble.Reader, key []byte) (*version, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, _, err := parseVersion(value)
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	return &v, err
}

// getVersioned returns version and value, nil and nil when there is none.
func getVersioned(r pebble.Reader, key []byte) (*version, []byte, error) {
	stored, err := get(r, key)
	if err != nil || stored == nil {
		return nil, nil, err
	}
	v, value, err := parseVersion(stored)
	return &v, value, err
}

// decodeStored reads and decodes one stored value.
func decodeStored(r pebble.Reader, key []byte, v any) (bool, error) {
	data, err := get(r, key)
	if err != nil || data == nil {
		return false, err
	}
	if err := unmarshal(data, v); err != nil {
		return true, fmt.Errorf("stored %q: %w", key[0], err)
	}
	return true, nil
}
