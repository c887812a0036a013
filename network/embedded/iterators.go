package embedded

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/ledger/queryresult"

	"github.com/vitalveil/vitalveil/internal/record"
)

// How Fabric's peer hands the results of a query on: in batches of so many, of
// which it looks one further, and in all so many at most; what comes after that
// is left out without a word.
const (
	batchSize  = 100
	maxResults = 100_000
)

var (
	errNoMore = errors.New("the iterator has no more elements")
	errClosed = errors.New("the query was closed: there are no more batches")
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

func (r *rangeRecorder) result() rangeRead {
	out := rangeRead{
		Start: r.start, End: r.end, Exhausted: r.exhausted, Count: r.count,
		Digest: record.ID(r.digest.Sum(nil)),
	}
	if !r.exhausted {
		out.End = r.last
	}
	return out
}

// query is the peer's side of an iterator.
type query[T any] struct {
	it    *pebble.Iterator
	next  func() (*T, error) // nil at the end
	ahead *T                 // looked at, but not handed on yet
	total int
}

// batch returns the next results and whether there are more.
func (q *query[T]) batch() ([]*T, bool, error) {
	var out []*T
	if q.ahead != nil {
		out, q.ahead = append(out, q.ahead), nil
	}
	for q.total < maxResults {
		v, err := q.next()
		if err != nil {
			return nil, false, err
		}
		if v == nil {
			return out, false, nil
		}
		q.total++
		if len(out) == batchSize {
			q.ahead = v
			return out, true, nil
		}
		out = append(out, v)
	}
	return out, false, nil
}

func (q *query[T]) close() error { return q.it.Close() }

// results is the chaincode's side: it walks over a batch and fetches the next one
// with the last element of it. What it has got it hands on whatever happens to the
// query, as the shim does.
type results[T any] struct {
	sim *simulation

	mu    sync.Mutex
	query *query[T] // nil when there are no further batches
	ready []*T
	more  bool
}

var (
	_ shim.StateQueryIteratorInterface   = (*results[queryresult.KV])(nil)
	_ shim.HistoryQueryIteratorInterface = (*results[queryresult.KeyModification])(nil)
)

// open starts a query and fetches its first batch. The caller has entered the
// simulation.
func open[T any](s *simulation, q *query[T]) (*results[T], error) {
	s.open[q] = true
	out := &results[T]{sim: s, query: q}
	return out, out.fetch()
}

func (r *results[T]) fetch() error {
	if r.query == nil {
		return errClosed
	}
	ready, more, err := r.query.batch()
	if err != nil {
		return errors.Join(err, r.end())
	}
	r.ready, r.more = ready, more
	if !more {
		return r.end()
	}
	return nil
}

func (r *results[T]) end() error {
	q := r.query
	if q == nil || !r.sim.open[q] {
		return nil
	}
	r.query = nil
	delete(r.sim.open, q)
	return q.close()
}

// HasNext implements the shim's iterators.
func (r *results[T]) HasNext() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ready) > 0 || r.more
}

// Next implements the shim's iterators.
func (r *results[T]) Next() (*T, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) == 0 {
		return nil, errNoMore
	}
	v := r.ready[0]
	r.ready = r.ready[1:]
	if len(r.ready) > 0 || !r.more {
		return v, nil
	}
	return during(r.sim, func() (*T, error) {
		if err := r.fetch(); err != nil {
			return nil, err
		}
		return v, nil
	})
}

// Close implements the shim's iterators.
func (r *results[T]) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := during(r.sim, func() (any, error) { return nil, r.end() })
	return err
}

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

// rangeQuery begins to walk over the keys of a space in order; what it looks at is
// noted in r, unless that is nil.
func (s *simulation) rangeQuery(prefix []byte, start, end string, r *rangeRecorder) (*query[queryresult.KV], error) {
	it, err := s.state.NewIter(rangeBounds(prefix, start, end))
	if err != nil {
		return nil, err
	}
	step := it.First
	q := &query[queryresult.KV]{it: it}
	q.next = func() (*queryresult.KV, error) {
		ok := step()
		step = it.Next
		if !ok {
			if r != nil && it.Error() == nil {
				r.exhausted = true
			}
			return nil, it.Error()
		}
		v, value, err := parseVersion(it.Value())
		if err != nil {
			return nil, err
		}
		key := string(it.Key()[len(prefix):])
		if r != nil {
			r.saw(key, v)
		}
		return &queryresult.KV{Namespace: chaincodeName, Key: key, Value: append([]byte{}, value...)}, nil
	}
	return q, nil
}
