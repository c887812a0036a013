package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A batch gathers writes, so that a peer hears of them all at once. Until then it
// refuses none; when the run ends, the shim hands in what is gathered whatever the
// chaincode answered, and a refusal takes that answer's place.

var (
	errEmptyKey     = errors.New("key must not be an empty string")
	errNoCollection = errors.New("collection must not be an empty string")
	errPaginated    = errors.New("paginated queries are supported in read-only transactions only")
	errPrivateQuery = errors.New("range queries on private data are supported in read-only transactions only")
)

type batchKey struct{ collection, key string }

func (k batchKey) compare(o batchKey) int {
	return cmp.Or(cmp.Compare(k.collection, o.collection), cmp.Compare(k.key, o.key))
}

// batchWrite is a write on its way: without a value, a deletion.
type batchWrite struct {
	value []byte
	purge bool
}

// StartWriteBatch implements the shim's stub.
func (s stub) StartWriteBatch() {
	_, _ = during(s.simulation, func() (any, error) {
		if s.batch == nil {
			s.batch = map[batchKey]batchWrite{}
		}
		return nil, nil
	})
}

// FinishWriteBatch implements the shim's stub.
func (s stub) FinishWriteBatch() error {
	_, err := during(s.simulation, func() (any, error) { return nil, s.flush() })
	return err
}

// later writes at the end of the batch, or now if there is none.
func (s *simulation) later(k batchKey, w batchWrite) error {
	_, err := during(s, func() (any, error) {
		if s.batch == nil {
			return nil, s.apply(k, w)
		}
		w.value = slices.Clone(w.value)
		s.batch[k] = w
		return nil, nil
	})
	return err
}

func (s *simulation) apply(k batchKey, w batchWrite) error {
	if k.collection == "" {
		return s.write(k.key, w.value)
	}
	return s.writeHashed(k.collection, k.key, w)
}

func (s *simulation) flush() error {
	gathered := s.batch
	s.batch = nil
	for _, k := range slices.SortedFunc(maps.Keys(gathered), batchKey.compare) {
		if err := s.apply(k, gathered[k]); err != nil {
			return fmt.Errorf("failed send batch: %w", err)
		}
	}
	return nil
}
