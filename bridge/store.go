package bridge

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fxamacker/cbor/v2"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Every key of the store is a kind, the device and, for most kinds, one number
// or name. Keys are in the clear, values are sealed with AES-256-GCM under a
// key of the device with the store's key as associated data, so that values
// cannot be read, changed or swapped.
const (
	kindDevice  byte = 'd' // deviceRecord
	kindState   byte = 's' // deviceState
	kindConsent byte = 'c' // consent.Document, by consent id
	kindGrid    byte = 'g' // accumulators of one metric, by hour and slot; of a sealed hour: late data
	kindCounted byte = 'h' // countedRecord of a sealed hour, by hour
	kindDay     byte = 'k' // wearable.Day of a day not yet committed, by day
	kindOpening byte = 'o' // dayRecord, by day
	kindRow     byte = 'r' // sealed row, by hour
	kindLate    byte = 'l' // lateRecord, by sequence number
	kindWindow  byte = 'w' // sequence number of a sealed correction, by hour and number
	kindPointer byte = 'p' // pointerRecord, by pointer kind, index and correction
	kindUpload  byte = 'u' // uploadRecord, by sequence number
	kindReceipt byte = 't' // record.Receipt, by pointer kind, index and correction
	kindAnswer  byte = 'q' // answerRecord, by request
)

// maxValue bounds a stored value before it is decrypted.
const maxValue = 4 << 20

// ErrDamaged is wrapped when a stored value does not decrypt or parse: the disk
// is failing, the key file is another store's, or somebody wrote to the store.
// Nothing of the value is used; do not seal with this store again.
var ErrDamaged = errors.New("bridge store is damaged")

// vault reads and writes the values of one device.
type vault struct {
	db     *pebble.DB
	device record.ID
	aead   cipher.AEAD
}

func newVault(db *pebble.DB, master []byte, device record.ID) (*vault, error) {
	key, err := hkdf.Key(sha256.New, master, device[:], "vitalveil bridge store v1", 32)
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
	return &vault{db: db, device: device, aead: aead}, nil
}

// key returns the store key of a kind, the device and the rest.
func (v *vault) key(kind byte, rest ...byte) []byte {
	k := make([]byte, 0, 33+len(rest))
	k = append(append(k, kind), v.device[:]...)
	return append(k, rest...)
}

// ordered returns n so that byte order is number order, also below zero.
func ordered(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63)
}

// seal encrypts a value under a fresh random nonce. A device writes a few
// million values a year; the bound for random nonces is 2^32 under one key.
func (v *vault) seal(key, value []byte) []byte {
	nonce := make([]byte, v.aead.NonceSize(), v.aead.NonceSize()+len(value)+v.aead.Overhead())
	rand.Read(nonce)
	return v.aead.Seal(nonce, nonce, value, key)
}

func (v *vault) open(key, sealed []byte) ([]byte, error) {
	n := v.aead.NonceSize()
	if len(sealed) < n || len(sealed) > maxValue {
		return nil, fmt.Errorf("%w: value of %d bytes", ErrDamaged, len(sealed))
	}
	value, err := v.aead.Open(nil, sealed[:n], sealed[n:], key)
	if err != nil {
		return nil, fmt.Errorf("%w: a value of kind %q does not decrypt", ErrDamaged, key[0])
	}
	return value, nil
}

// get returns the value under key, and nil where there is none.
func (v *vault) get(key []byte) ([]byte, error) {
	sealed, closer, err := v.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return v.open(key, sealed)
}

// load decodes the value under key into x, and returns false where there is
// none.
func (v *vault) load(key []byte, x any) (bool, error) {
	value, err := v.get(key)
	if err != nil || value == nil {
		return false, err
	}
	return true, decode(value, x)
}

func (v *vault) put(b *pebble.Batch, key, value []byte) error {
	return b.Set(key, v.seal(key, value), nil)
}

func (v *vault) store(b *pebble.Batch, key []byte, x any) error {
	value, err := cbor.Marshal(x)
	if err != nil {
		return err
	}
	return v.put(b, key, value)
}

// each yields the keys (without kind and device) and values of a kind whose
// remainder is at least from, in order.
func (v *vault) each(kind byte, from []byte) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		prefix := v.key(kind)
		it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: v.key(kind, from...), UpperBound: after(prefix)})
		if err != nil {
			yield(entry{}, err)
			return
		}
		defer it.Close()
		for ok := it.First(); ok; ok = it.Next() {
			sealed, err := it.ValueAndErr()
			if err != nil {
				yield(entry{}, err)
				return
			}
			value, err := v.open(it.Key(), sealed)
			e := entry{name: append([]byte(nil), it.Key()[len(prefix):]...), value: value}
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(entry{}, err)
		}
	}
}

// entry is one stored value; name is its key without kind and device.
type entry struct{ name, value []byte }

// after returns the first key that does not begin with prefix; device
// identifiers of all 0xff bytes do not occur.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		end[i]++
		if end[i] != 0 {
			return end
		}
	}
	return nil
}

// update runs f on a batch and commits it; with sync it is durable on return.
func (v *vault) update(sync bool, f func(*pebble.Batch) error) error {
	b := v.db.NewBatch()
	defer b.Close()
	if err := f(b); err != nil {
		return err
	}
	return commit(b, sync)
}

func commit(b *pebble.Batch, sync bool) error {
	if b.Empty() {
		return nil
	}
	mode := pebble.NoSync
	if sync {
		mode = pebble.Sync
	}
	return b.Commit(mode)
}

// decoding of stored values is strict: our own writer is the only one.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

func decode(value []byte, x any) error {
	if err := decoding.Unmarshal(value, x); err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return nil
}
