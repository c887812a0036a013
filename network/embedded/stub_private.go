package embedded

import (
	"crypto/sha256"
	"fmt"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"github.com/vitalveil/vitalveil/internal/record"
)

func (s stub) GetPrivateData(name, key string) ([]byte, error) {
	return during(s.simulation, func() ([]byte, error) { return s.readPrivate(name, key) })
}

func (s stub) GetMultiplePrivateData(name string, keys ...string) ([][]byte, error) {
	return eachOf(s.simulation, keys, func(key string) ([]byte, error) { return s.readPrivate(name, key) })
}

func (s *simulation) readPrivate(name, key string) ([]byte, error) {
	hashedVersion, _, err := s.readHash(name, key)
	if err != nil || hashedVersion == nil {
		return nil, err
	}
	v, value, err := getVersioned(s.state, privateKey(name, key))
	if err != nil {
		return nil, err
	}
	if !sameVersion(v, hashedVersion) {
		return nil, fmt.Errorf("the private value of %q in %q that matches the public hash is not available", key, name)
	}
	return value, nil
}

func (s stub) GetPrivateDataHash(name, key string) ([]byte, error) {
	return during(s.simulation, func() ([]byte, error) {
		_, hash, err := s.readHash(name, key)
		return hash, err
	})
}

// readHash reads, and records as read, the public hash of a private value.
func (s *simulation) readHash(name, key string) (*version, []byte, error) {
	c, err := s.collection(name)
	if err != nil {
		return nil, nil, err
	}
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	keyHash := record.ID(sha256.Sum256([]byte(key)))
	v, hash, err := getVersioned(s.state, hashedKey(name, keyHash))
	if err != nil {
		return nil, nil, err
	}
	c.reads[keyHash] = v
	return v, hash, nil
}

// PutPrivateData of an empty value is a deletion, as in Fabric.
func (s stub) PutPrivateData(name, key string, value []byte) error {
	if key == "" {
		return errEmptyKey
	}
	return s.writePrivate(name, key, batchWrite{value: value})
}

func (s stub) DelPrivateData(name, key string) error {
	return s.writePrivate(name, key, batchWrite{})
}

func (s stub) PurgePrivateData(name, key string) error {
	return s.writePrivate(name, key, batchWrite{purge: true})
}

func (s stub) writePrivate(name, key string, w batchWrite) error {
	if name == "" {
		return errNoCollection
	}
	return s.later(batchKey{name, key}, w)
}

func (s *simulation) writeHashed(name, key string, w batchWrite) error {
	c, err := s.collection(name)
	if err != nil {
		return err
	}
	if err := s.beforeWrite(key, w.value); err != nil {
		return err
	}
	c.writes[key] = privateIntent{value: append([]byte{}, w.value...), delete: len(w.value) == 0, purge: w.purge}
	return nil
}

func (s stub) GetPrivateDataByRange(name, start, end string) (shim.StateQueryIteratorInterface, error) {
	start, err := simpleRange(start, end)
	if err != nil {
		return nil, err
	}
	return s.privateRange(name, start, end)
}

func (s stub) GetPrivateDataByPartialCompositeKey(name, objectType string, attributes []string) (shim.StateQueryIteratorInterface, error) {
	start, err := shim.CreateCompositeKey(objectType, attributes)
	if err != nil {
		return nil, err
	}
	return s.privateRange(name, start, start+lastRune)
}

// privateRange opens a range over private state. It is not validated, so the
// transaction may write nothing.
func (s stub) privateRange(name, start, end string) (shim.StateQueryIteratorInterface, error) {
	return during(s.simulation, func() (shim.StateQueryIteratorInterface, error) {
		if _, err := s.collection(name); err != nil {
			return nil, err
		}
		if s.wrote {
			return nil, errPrivateQuery
		}
		s.privateQueried = true
		q, err := s.rangeQuery(privatePrefix(name), start, end, nil)
		if err != nil {
			return nil, err
		}
		return open(s.simulation, q)
	})
}
