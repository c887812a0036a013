package embedded

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Bounds of what a simulation may produce, in bytes.
const (
	// MaxResponse bounds a chaincode response.
	MaxResponse = 8 << 20
	// MaxWrites bounds the keys and values that one transaction writes.
	MaxWrites = 32 << 20
	// MaxKey bounds a key, a collection's name and an event's name.
	MaxKey = 4 << 10
)

// simulation records what one run of the chaincode reads and wants to write.
// Reads come from a snapshot, never from the simulation's own writes.
type simulation struct {
	// mu is held by the one call that is under way.
	mu sync.Mutex

	channel string
	call    *proposal
	signed  *peer.SignedProposal
	state   *pebble.Snapshot

	reads       map[string]*version
	ranges      []*rangeRecorder
	writes      map[string]write
	collections map[string]*collection
	event       *event
	open        map[closer]bool         // queries that are not closed
	batch       map[batchKey]batchWrite // nil: writes are not gathered

	size           int
	wrote          bool
	paginated      bool
	privateQueried bool
	over           bool // the run has ended; the stub answers no more
}

type closer interface{ close() error }

type collection struct {
	reads  map[record.ID]*version
	writes map[string]privateIntent
}

type privateIntent struct {
	value         []byte
	delete, purge bool
}

// privateWrite is a private value on its way to the store.
type privateWrite struct {
	collection string
	keyHash    record.ID
	privateValue
}

var (
	errOver = errors.New("the transaction is over: the stub must not be used after Invoke returned")
	errBusy = errors.New("another call of this transaction is under way: use the stub in one goroutine at a time")
)

func newSimulation(channel string, p *proposal, s *signedCall, snap *pebble.Snapshot) *simulation {
	return &simulation{
		channel: channel, call: p, state: snap,
		signed:      &peer.SignedProposal{ProposalBytes: s.Full, Signature: s.FullSignature},
		reads:       map[string]*version{},
		writes:      map[string]write{},
		collections: map[string]*collection{},
		open:        map[closer]bool{},
	}
}

// finish ends the run and closes what the chaincode left open.
func (s *simulation) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	var errs []error
	for q := range s.open {
		errs = append(errs, q.close())
	}
	clear(s.open)
	return errors.Join(errs...)
}

// during runs a call of the stub. There is one at a time: Fabric's shim refuses a
// second one of the same transaction, and the store would not bear it.
func during[T any](s *simulation, call func() (T, error)) (T, error) {
	var none T
	if !s.mu.TryLock() {
		return none, errBusy
	}
	defer s.mu.Unlock()
	if s.over {
		return none, errOver
	}
	return call()
}

// checkKey refuses what is no key. The empty key is one: it can be read and
// deleted, and is never there.
func checkKey(key string) error {
	if key == "" {
		return nil
	}
	return checkName("key", key)
}

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s must not be an empty string", what)
	case len(name) > MaxKey:
		return fault.New(fault.TooLarge, "%s has %d bytes, the limit is %d", what, len(name), MaxKey)
	case !utf8.ValidString(name):
		return fmt.Errorf("%s %q is not valid UTF-8", what, name)
	}
	return nil
}

// beforeWrite counts a write and refuses the ones that Fabric refuses: what
// follows from a paginated or a private range query cannot be validated.
func (s *simulation) beforeWrite(key string, value []byte) error {
	if s.paginated {
		return errPaginated
	}
	if s.privateQueried {
		return errPrivateQuery
	}
	if err := checkKey(key); err != nil {
		return err
	}
	s.size += len(key) + len(value)
	if s.size > MaxWrites {
		return fault.New(fault.TooLarge, "the transaction writes more than %d bytes; split it", MaxWrites)
	}
	s.wrote = true
	return nil
}

func (s *simulation) collection(name string) (*collection, error) {
	if err := checkName("collection", name); err != nil {
		return nil, err
	}
	c, ok := s.collections[name]
	if !ok {
		c = &collection{reads: map[record.ID]*version{}, writes: map[string]privateIntent{}}
		s.collections[name] = c
	}
	return c, nil
}

// set returns the read and write set in its canonical order, and the private
// values that its hashes stand for.
func (s *simulation) set() (rwset, []privateWrite) {
	var set rwset
	for key, v := range s.reads {
		set.Reads = append(set.Reads, read{Key: key, Version: v})
	}
	slices.SortFunc(set.Reads, func(a, b read) int { return cmp.Compare(a.Key, b.Key) })
	for _, r := range s.ranges {
		set.Ranges = append(set.Ranges, r.result())
	}
	for _, w := range s.writes {
		set.Writes = append(set.Writes, w)
	}
	slices.SortFunc(set.Writes, func(a, b write) int { return cmp.Compare(a.Key, b.Key) })
	var private []privateWrite
	for name, c := range s.collections {
		hashed, values := c.set(name)
		if len(hashed.Reads) != 0 || len(hashed.Writes) != 0 {
			set.Collections = append(set.Collections, hashed)
		}
		private = append(private, values...)
	}
	slices.SortFunc(set.Collections, func(a, b collectionSet) int { return cmp.Compare(a.Name, b.Name) })
	return set, private
}

func (c *collection) set(name string) (collectionSet, []privateWrite) {
	out := collectionSet{Name: name}
	var private []privateWrite
	for keyHash, v := range c.reads {
		out.Reads = append(out.Reads, hashRead{KeyHash: keyHash, Version: v})
	}
	slices.SortFunc(out.Reads, func(a, b hashRead) int { return a.KeyHash.Compare(b.KeyHash) })
	for key, w := range c.writes {
		h := hashWrite{KeyHash: sha256.Sum256([]byte(key)), Delete: w.delete, Purge: w.purge}
		if !w.delete {
			h.ValueHash = sha256.Sum256(w.value)
		}
		out.Writes = append(out.Writes, h)
		if !w.purge { // of a purged key nothing stays, the key itself included
			private = append(private, privateWrite{name, h.KeyHash, privateValue{Key: key, Value: w.value}})
		}
	}
	slices.SortFunc(out.Writes, func(a, b hashWrite) int { return a.KeyHash.Compare(b.KeyHash) })
	return out, private
}
