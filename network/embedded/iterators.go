package embedded

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"

	"github.com/vitalveil/vitalveil/internal/record"
)

var (
	errNoMore = errors.New("the iterator has no more elements")
	errClosed = errors.New("the iterator is closed")
)

// rangeRecorder notes what a range query saw, so that validation can see
// whether it would see the same again.
type rangeRecorder struct {
	start, end string
	last       string
	exhausted  bool
	count      uint64
	digest     hash.Hash
}

func newRangeRecorder(start, end string) *rangeRecorder {
	return &rangeRecorder{start: start, end: end, digest: sha256.New()}
}

func (r *rangeRecorder) saw(key string, v version) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(key)))
	r.digest.Write(v.append(append(b, key...)))
	r.count++
	r.last = key
}

// result returns the record; false when the chaincode looked at nothing.
func (r *rangeRecorder) result() (rangeRead, bool) {
	out := rangeRead{
		Start: r.start, End: r.end, Exhausted: r.exhausted, Count: r.count,
		Digest: record.ID(r.digest.Sum(nil)),
	}
	if !r.exhausted {
		out.End = r.last
	}
	return out, r.exhausted || r.count > 0
}

// rangeIterator walks over state in key order. It looks one element ahead, and
// what it has looked at counts as read: HasNext already tells.
type rangeIterator struct {
	sim      *simulation
	it       *pebble.Iterator
	strip    int
	recorder *rangeRecorder
	started  bool
	ahead    *queryresult.KV
	err      error
	closed   bool
}

var _ shim.StateQueryIteratorInterface = (*rangeIterator)(nil)

func rangeBounds(prefix []byte, start, end string) *pebble.IterOptions {
	o := &pebble.IterOptions{
		LowerBound: append(append([]byte{}, prefix...), start...),
		UpperBound: after(prefix),
	}
	switch {
	case end != "" && end <= start:
		o.UpperBound = o.LowerBound // empty, as in Fabric
	case end != "":
		o.UpperBound = append(append([]byte{}, prefix...), end...)
	}
	return o
}

func (s *simulation) openRange(prefix []byte, start, end string, r *rangeRecorder) (*rangeIterator, error) {
	if s.over {
		return nil, errOver
	}
	it, err := s.state.NewIter(rangeBounds(prefix, start, end))
	if err != nil {
		return nil, err
	}
	out := &rangeIterator{sim: s, it: it, strip: len(prefix), recorder: r}
	s.open[out] = true
	return out, nil
}

func (i *rangeIterator) HasNext() bool {
	i.look()
	return i.ahead != nil || i.err != nil && !i.closed
}

func (i *rangeIterator) Next() (*queryresult.KV, error) {
	i.look()
	if i.err != nil {
		return nil, i.err
	}
	if i.ahead == nil {
		return nil, errNoMore
	}
	kv := i.ahead
	i.ahead = nil
	return kv, nil
}

// look fetches the next element unless it is there already.
func (i *rangeIterator) look() {
	if i.ahead != nil || i.err != nil {
		return
	}
	ok := false
	if i.started {
		ok = i.it.Next()
	} else {
		ok, i.started = i.it.First(), true
	}
	if !ok {
		i.err = i.it.Error()
		if i.recorder != nil && i.err == nil {
			i.recorder.exhausted = true
		}
		return
	}
	v, value, err := parseVersion(i.it.Value())
	if err != nil {
		i.err = err
		return
	}
	key := string(i.it.Key()[i.strip:])
	if i.recorder != nil {
		i.recorder.saw(key, v)
	}
	i.ahead = &queryresult.KV{Namespace: chaincodeName, Key: key, Value: append([]byte{}, value...)}
}

func (i *rangeIterator) Close() error { return i.close() }

func (i *rangeIterator) close() error {
	if i.closed {
		return nil
	}
	i.closed, i.ahead, i.err = true, nil, errClosed
	delete(i.sim.open, i)
	return i.it.Close()
}

// pageIterator walks over a page that has been read already.
type pageIterator struct {
	rest   []*queryresult.KV
	closed bool
}

func (i *pageIterator) HasNext() bool { return len(i.rest) > 0 }

func (i *pageIterator) Next() (*queryresult.KV, error) {
	if i.closed {
		return nil, errClosed
	}
	if len(i.rest) == 0 {
		return nil, errNoMore
	}
	kv := i.rest[0]
	i.rest = i.rest[1:]
	return kv, nil
}

func (i *pageIterator) Close() error {
	i.closed, i.rest = true, nil
	return nil
}
