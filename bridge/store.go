package bridge

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
	"github.com/fxamacker/cbor/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/vault"
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
	kindDayRow  byte = 'y' // sealed day row, by day
	kindRow     byte = 'r' // sealed row, by hour
	kindLate    byte = 'l' // lateRecord, by sequence number
	kindWindow  byte = 'w' // sequence number of a sealed correction, by hour and number
	kindPointer byte = 'p' // pointerRecord, by pointer kind, index and correction
	kindUpload  byte = 'u' // uploadRecord, by sequence number
	kindReceipt byte = 't' // record.Receipt, by pointer kind, index and correction
	kindAnswer  byte = 'q' // answerRecord, by question
	kindWord    byte = 'y' // wordRecord, by question
	kindSource  byte = 'f' // Position, by source
	kindRecords byte = 'n' // digests of stamped records that were taken, by the source's number
)

var (
	// ErrDamaged is wrapped when a stored value does not decrypt or parse, is missing,
	// or is there and must not be: the key file is another store's, or somebody wrote
	// to the store. Nothing of the value is used; do not seal with this store again.
	ErrDamaged = vault.ErrDamaged
	// ErrUnreadable is wrapped when the store could not be read. Nothing is known to be
	// wrong with what it holds: see to the disk and open the hub again.
	ErrUnreadable = vault.ErrUnreadable
)

// expect is for what the store has to hold: what is wrong when it was looked for, with
// this error or none.
func expect(found bool, err error, format string, args ...any) error {
	if err != nil || found {
		return err
	}
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// deviceVault reads and writes the values of one device.
type deviceVault struct {
	*vault.Vault
	device record.ID
}

func newVault(store *vault.Vault, device record.ID) (*deviceVault, error) {
	own, err := store.Sub(device[:], "vitalveil bridge store v1")
	if err != nil {
		return nil, err
	}
	return &deviceVault{own, device}, nil
}

// key returns the store key of a kind, the device and the rest.
func (v *deviceVault) key(kind byte, rest ...byte) []byte {
	k := make([]byte, 0, 33+len(rest))
	k = append(append(k, kind), v.device[:]...)
	return append(k, rest...)
}

// ordered returns n so that byte order is number order, also below zero.
func ordered(n int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(n)^1<<63)
}

// get returns the value under key, and nil where there is none.
func (v *deviceVault) get(key []byte) ([]byte, error) {
	value, _, err := v.Get(key)
	if err != nil {
		return nil, fmt.Errorf("a value of kind %q: %w", key[0], err)
	}
	return value, nil
}

// load decodes the value under key into x, and returns false where there is
// none.
func (v *deviceVault) load(key []byte, x any) (bool, error) {
	value, err := v.get(key)
	if err != nil || value == nil {
		return false, err
	}
	return true, decode(value, x)
}

func (v *deviceVault) store(b *pebble.Batch, key []byte, x any) error {
	value, err := cbor.Marshal(x)
	if err != nil {
		return err
	}
	return v.Set(b, key, value)
}

// each yields the keys (without kind and device) and values of a kind whose
// remainder is at least from, in order.
func (v *deviceVault) each(kind byte, from []byte) iter.Seq2[vault.Entry, error] {
	return func(yield func(vault.Entry, error) bool) {
		prefix := v.key(kind)
		for e, err := range v.Each(v.key(kind, from...), after(prefix)) {
			if err != nil {
				yield(vault.Entry{}, fmt.Errorf("a value of kind %q: %w", kind, err))
				return
			}
			e.Name = e.Name[len(prefix):]
			if !yield(e, nil) {
				return
			}
		}
	}
}

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
