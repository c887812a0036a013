package embedded

import (
	"fmt"
	"unicode/utf8"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
)

func (s stub) GetState(key string) ([]byte, error) {
	if err := s.beforeRead(key); err != nil {
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
	var out [][]byte
	for _, key := range keys {
		value, err := s.GetState(key)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// PutState of an empty value is a deletion, as in Fabric.
func (s stub) PutState(key string, value []byte) error {
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

func (s stub) DelState(key string) error { return s.PutState(key, nil) }

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
	recorder := newRangeRecorder(start, end)
	it, err := s.openRange([]byte{spaceState}, start, end, recorder)
	if err != nil {
		return nil, err
	}
	s.ranges = append(s.ranges, recorder)
	return it, nil
}

// maxPage is Fabric's total query limit.
const maxPage = 100_000

// page reads one page of public state. The transaction may write nothing.
func (s stub) page(start, end string, size int32, bookmark string) (shim.StateQueryIteratorInterface, *peer.QueryResponseMetadata, error) {
	if s.wrote {
		return nil, nil, fmt.Errorf("paginated queries are supported in read-only transactions only")
	}
	if size < 0 || size > maxPage {
		return nil, nil, fmt.Errorf("a page has at most %d keys, not %d", maxPage, size)
	}
	if size == 0 {
		size = maxPage
	}
	if bookmark != "" {
		if bookmark < start || end != "" && bookmark >= end {
			return nil, nil, fmt.Errorf("the bookmark is not of this query")
		}
		start = bookmark
	}
	s.paginated = true
	it, err := s.openRange([]byte{spaceState}, start, end, nil)
	if err != nil {
		return nil, nil, err
	}
	out := &pageIterator{}
	meta := &peer.QueryResponseMetadata{}
	for it.HasNext() {
		kv, err := it.Next()
		if err != nil {
			return nil, nil, err
		}
		if len(out.rest) == int(size) {
			meta.Bookmark = kv.Key
			break
		}
		out.rest = append(out.rest, kv)
	}
	meta.FetchedRecordsCount = int32(len(out.rest))
	return out, meta, it.Close()
}
