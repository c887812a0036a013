package embedded

import (
	"crypto/sha256"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
)

// privateLookup finds the private value of a write at a version; false where
// it is not available.
type privateLookup func(collection string, w hashWrite, at version) (privateValue, bool, error)

// applyTx puts what a transaction changes into the batch and the view: its
// place, and, when it is valid, state and history. Both committing and
// verifying go through here, so that equal blocks make equal states.
func (b *blockView) applyTx(batch *pebble.Batch, id record.ID, set *rwset, c code, at version, private privateLookup) error {
	if err := batch.Set(txIDKey(id), at.append(nil), nil); err != nil {
		return err
	}
	if c != codeValid {
		return keepPrivate(batch, set, at, private)
	}
	for _, w := range set.Writes {
		if err := b.applyWrite(batch, w, at); err != nil {
			return err
		}
	}
	for _, col := range set.Collections {
		for _, w := range col.Writes {
			if err := b.applyPrivate(batch, col.Name, w, at, private); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepPrivate keeps the private values of a transaction that changes nothing, as
// Fabric's peers do: nobody reads them, and only a purge of their keys that comes later
// removes them. Whoever writes here should not rely on a ledger to forget.
func keepPrivate(batch *pebble.Batch, set *rwset, at version, private privateLookup) error {
	for _, col := range set.Collections {
		for _, w := range col.Writes {
			if w.Purge {
				continue
			}
			value, available, err := private(col.Name, w, at)
			if err != nil {
				return err
			}
			if !available {
				continue
			}
			if err := keepValue(batch, col.Name, w, at, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func keepValue(batch *pebble.Batch, name string, w hashWrite, at version, value privateValue) error {
	data, err := marshal(value)
	if err != nil {
		return err
	}
	return batch.Set(valueKey(name, w.KeyHash, at), data, nil)
}

func (b *blockView) applyWrite(batch *pebble.Batch, w write, at version) error {
	if err := batch.Set(historyKey(w.Key, at), nil, nil); err != nil {
		return err
	}
	if w.Delete {
		b.public[w.Key] = nil
		return batch.Delete(stateKey(w.Key), nil)
	}
	b.public[w.Key] = &at
	return batch.Set(stateKey(w.Key), append(at.append(nil), w.Value...), nil)
}

func (b *blockView) applyPrivate(batch *pebble.Batch, name string, w hashWrite, at version, private privateLookup) error {
	hk := hashedKey(name, w.KeyHash)
	if w.Purge {
		return b.applyPurge(batch, name, w, hk)
	}
	value, available, err := private(name, w, at)
	if err != nil {
		return err
	}
	if available {
		b.plain[string(hk)] = value.Key
		if err := keepValue(batch, name, w, at, value); err != nil {
			return err
		}
	}
	if w.Delete {
		b.hashed[string(hk)] = nil
		if err := batch.Delete(hk, nil); err != nil || !available {
			return err
		}
		return batch.Delete(privateKey(name, value.Key), nil)
	}
	b.hashed[string(hk)] = &at
	if err := batch.Set(hk, append(at.append(nil), w.ValueHash[:]...), nil); err != nil || !available {
		return err
	}
	return batch.Set(privateKey(name, value.Key), append(at.append(nil), value.Value...), nil)
}

// applyPurge removes a private key, its value and every earlier value.
func (b *blockView) applyPurge(batch *pebble.Batch, name string, w hashWrite, hk []byte) error {
	key, known := b.plain[string(hk)]
	if !known {
		var err error
		if key, known, err = b.storedPlain(name, w.KeyHash); err != nil {
			return err
		}
	}
	b.hashed[string(hk)] = nil
	delete(b.plain, string(hk))
	if err := batch.Delete(hk, nil); err != nil {
		return err
	}
	prefix := valuePrefix(name, w.KeyHash)
	if err := batch.DeleteRange(prefix, after(prefix), nil); err != nil || !known {
		return err
	}
	return batch.Delete(privateKey(name, key), nil)
}

// storedPlain finds the private key of a hash among the stored writes.
func (b *blockView) storedPlain(name string, keyHash record.ID) (string, bool, error) {
	prefix := valuePrefix(name, keyHash)
	it, err := b.stored.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return "", false, err
	}
	var value privateValue
	found := it.First()
	if found {
		err = unmarshal(it.Value(), &value)
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	return value.Key, found && err == nil, err
}

// checkPrivate compares a private value with its hashes on the chain.
func checkPrivate(w hashWrite, value privateValue) error {
	if record.ID(sha256.Sum256([]byte(value.Key))) != w.KeyHash {
		return fmt.Errorf("the private key is not the one that was hashed")
	}
	if !w.Delete && record.ID(sha256.Sum256(value.Value)) != w.ValueHash {
		return fmt.Errorf("the private value is not the one that was hashed")
	}
	if w.Delete && len(value.Value) != 0 {
		return fmt.Errorf("a deletion holds a private value")
	}
	return nil
}
