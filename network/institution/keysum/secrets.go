package keysum

import (
	"container/list"
	"sync"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/institution/store"
)

// secrets expands the pieces of device secrets from stored seeds and keeps those
// used last. It is safe for concurrent use.
type secrets struct {
	params  *he.Params
	context he.Context
	store   *store.Store

	mu      sync.Mutex
	order   *list.List // of *expanded, latest first
	entries map[pieceOf]*list.Element
	erased  map[record.ID]bool // never kept again
}

type pieceOf struct {
	device record.ID
	piece  int
}

type expanded struct {
	of     pieceOf
	secret he.Ternary
}

// maxExpanded bounds the expanded pieces in memory: 16 MB at 8 kB each. They serve
// the devices that come and go; sums over many devices are kept (Sums). A miss
// costs some 15 microseconds.
const maxExpanded = 2048

func newSecrets(p *he.Params, c he.Context, v *store.Store) *secrets {
	return &secrets{params: p, context: c, store: v, order: list.New(), entries: map[pieceOf]*list.Element{}, erased: map[record.ID]bool{}}
}

// Secret returns a piece of a device's secret.
func (k *Sums) Secret(device record.ID, piece int) (he.Ternary, error) {
	return k.secrets.get(pieceOf{device, piece})
}

// get expands a piece and keeps it in memory, since it may be needed again.
func (s *secrets) get(of pieceOf) (he.Ternary, error) {
	s.mu.Lock()
	if el, ok := s.entries[of]; ok {
		s.order.MoveToFront(el)
		s.mu.Unlock()
		return el.Value.(*expanded).secret, nil
	}
	s.mu.Unlock()
	raw, found, err := s.store.Get(store.Seed(of.device, of.piece))
	if err != nil {
		return nil, err
	}
	if !found || len(raw) != len(he.Seed{}) {
		return nil, missingSeed(of)
	}
	t := s.params.Expand(s.context, of.device, of.piece, he.Seed(raw))
	s.keep(&expanded{of, t})
	return t, nil
}

func missingSeed(of pieceOf) error {
	return fault.New(fault.Internal, "the seed of piece %d of device %s was acknowledged and is not in the state: restore it", of.piece, of.device.Short())
}

// each gives the seeds of a piece of devices, with each device's place among them.
// In ascending order they are read fastest.
func (s *secrets) each(piece int, devices []record.ID, use func(i int, seed he.Seed) error) error {
	names := make([]string, len(devices))
	for i, d := range devices {
		names[i] = store.Seed(d, piece)
	}
	return s.store.GetAll(names, func(i int, raw []byte) error {
		if len(raw) != len(he.Seed{}) {
			return missingSeed(pieceOf{devices[i], piece})
		}
		return use(i, he.Seed(raw))
	})
}

// drop forgets the pieces of an erased device; what is being computed with them is
// not kept.
func (s *secrets) drop(device record.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erased[device] = true
	for of, el := range s.entries {
		if of.device == device {
			delete(s.entries, of)
			s.order.Remove(el)
		}
	}
}

func (s *secrets) keep(e *expanded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[e.of]; ok || s.erased[e.of.device] {
		return
	}
	s.entries[e.of] = s.order.PushFront(e)
	for s.order.Len() > maxExpanded {
		last := s.order.Back()
		delete(s.entries, last.Value.(*expanded).of)
		s.order.Remove(last)
	}
}

// clear forgets every expanded piece.
func (s *secrets) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order.Init()
	clear(s.entries)
}
