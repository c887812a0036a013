package embedded

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

func (s stub) GetState(key string) ([]byte, error) {
	return during(s.simulation, func() ([]byte, error) { return s.read(key) })
}

func (s *simulation) read(key string) ([]byte, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	v, value, err := getVersioned(s.state, stateKey(key))
	if err != nil {
		return nil, err
	}
	s.reads[key] = v
	return value, nil
}

func (s stub) GetMultipleStates(keys ...string) ([][]byte, error) {
	return eachOf(s.simulation, keys, s.read)
}

// eachOf reads several keys in one call.
func eachOf(s *simulation, keys []string, read func(string) ([]byte, error)) ([][]byte, error) {
	return during(s, func() ([][]byte, error) {
		var out [][]byte
		for _, key := range keys {
			value, err := read(key)
			if err != nil {
				return nil, err
			}
			out = append(out, value)
		}
		return out, nil
	})
}

// PutState of an empty value is a deletion, as in Fabric.
func (s stub) PutState(key string, value []byte) error {
	if key == "" {
		return errEmptyKey
	}
	return s.later(batchKey{"", key}, batchWrite{value: value})
}

func (s stub) DelState(key string) error { return s.later(batchKey{"", key}, batchWrite{}) }

func (s *simulation) write(key string, value []byte) error {
	if err := s.beforeWrite(key, value); err != nil {
		return err
	}
	if len(value) == 0 {
		s.writes[key] = write{Key: key, Delete: true}
		return nil
	}
	s.writes[key] = write{Key: key, Value: append([]byte{}, value...)}
	return nil
}

// Fabric's bounds of the composite key namespace: composite keys begin with
// U+0000, an open start of a range of simple keys is U+0001 and a prefix is
// followed by at most U+10FFFF.
const (
	compositeNamespace = "\x00"
	firstSimpleKey     = "\x01"
	lastRune           = "\U0010ffff"
)

func (s stub) GetStateByRange(start, end string) (shim.StateQueryIteratorInterface, error) {
	start, err := simpleRange(start, end)
	if err != nil {
		return nil, err
	}
	return s.stateRange(start, end)
}

func (s stub) GetStateByPartialCompositeKey(objectType string, attributes []string) (shim.StateQueryIteratorInterface, error) {
	start, err := shim.CreateCompositeKey(objectType, attributes)
	if err != nil {
		return nil, err
	}
	return s.stateRange(start, start+lastRune)
}

func (s stub) GetStateByRangeWithPagination(start, end string, size int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	start, err := simpleRange(start, end)
	if err != nil {
		return nil, nil, err
	}
	return s.page(start, end, size, bookmark)
}

func (s stub) GetStateByPartialCompositeKeyWithPagination(objectType string, attributes []string, size int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	start, err := shim.CreateCompositeKey(objectType, attributes)
	if err != nil {
		return nil, nil, err
	}
	return s.page(start, start+lastRune, size, bookmark)
}

func (s stub) GetAllStatesCompositeKeyWithPagination(size int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	return s.page(compositeNamespace, compositeNamespace+lastRune, size, bookmark)
}

// simpleRange checks the ends of a range of simple keys and fills an open start.
func simpleRange(start, end string) (string, error) {
	for _, key := range []string{start, end} {
		if len(key) > MaxKey || !utf8.ValidString(key) {
			return "", fmt.Errorf("the end of a range is not a key")
		}
		if len(key) > 0 && key[0] == 0 {
			return "", fmt.Errorf("range over simple keys must not begin or end in the composite keys: %q", key)
		}
	}
	if start == "" {
		start = firstSimpleKey
	}
	return start, nil
}

// stateRange opens a recorded range over public state.
func (s stub) stateRange(start, end string) (shim.StateQueryIteratorInterface, error) {
	return during(s.simulation, func() (shim.StateQueryIteratorInterface, error) {
		q, err := s.recorded(start, end)
		if err != nil {
			return nil, err
		}
		return open(s.simulation, q)
	})
}

func (s *simulation) recorded(start, end string) (*query[queryresult.KV], error) {
	recorder := newRangeRecorder(start, end)
	q, err := s.rangeQuery([]byte{spaceState}, start, end, recorder)
	if err == nil {
		s.ranges = append(s.ranges, recorder)
	}
	return q, err
}

// page reads one page of public state. The transaction may write nothing, and is
// validated like any that read a range. Without a size and a bookmark it is not a
// page at all, but an ordinary range with empty metadata.
func (s stub) page(start, end string, size int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	if size == 0 && bookmark == "" {
		it, err := s.stateRange(start, end)
		return it, &peer.QueryResponseMetadata{}, err
	}
	if bookmark != "" {
		start = bookmark
	}
	if size <= 0 || size > maxResults {
		size = maxResults
	}
	meta := &peer.QueryResponseMetadata{}
	it, err := during(s.simulation, func() (shim.StateQueryIteratorInterface, error) {
		if s.wrote {
			return nil, errPaginated
		}
		s.paginated = true
		q, err := s.recorded(start, end)
		if err != nil {
			return nil, err
		}
		ready, err := readPage(q, int(size), meta)
		return &results[queryresult.KV]{sim: s.simulation, ready: ready}, err
	})
	return it, meta, err
}

// readPage reads so many results of a query, the key after them, and closes it.
func readPage(q *query[queryresult.KV], size int, meta *peer.QueryResponseMetadata) ([]*queryresult.KV, error) {
	var out []*queryresult.KV
	for len(out) < size {
		kv, err := q.next()
		if err != nil || kv == nil {
			return out, errors.Join(err, q.close())
		}
		out = append(out, kv)
		meta.FetchedRecordsCount++
	}
	if q.it.Next() { // the bookmark is not read in the sense of validation
		meta.Bookmark = string(q.it.Key()[1:])
	}
	return out, errors.Join(q.it.Error(), q.close())
}
