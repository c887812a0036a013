package institution

import (
	"container/list"
	"fmt"
	"sort"
	"sync"

	"github.com/vitalveil/vitalveil/he"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// secrets expands the pieces of device secrets from stored seeds and keeps those
// used last. It is safe for concurrent use.
type secrets struct {
	params  *he.Params
	context he.Context
	vault   *vault

	mu      sync.Mutex
	order   *list.List // of *expanded, latest first
	entries map[pieceOf]*list.Element
}

type pieceOf struct {
	device record.ID
	piece  int
}

type expanded struct {
	of     pieceOf
	secret he.Ternary
}

// maxExpanded bounds the expanded pieces in memory: 128 MB at 8 kB each. A miss
// costs some 50 microseconds.
const maxExpanded = 16384

func newSecrets(p *he.Params, c he.Context, v *vault) *secrets {
	return &secrets{params: p, context: c, vault: v, order: list.New(), entries: map[pieceOf]*list.Element{}}
}

func (s *secrets) get(of pieceOf) (he.Ternary, error) {
	s.mu.Lock()
	if el, ok := s.entries[of]; ok {
		s.order.MoveToFront(el)
		s.mu.Unlock()
		return el.Value.(*expanded).secret, nil
	}
	s.mu.Unlock()
	raw, found, err := s.vault.get(seedName(of.device, of.piece))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.New(fault.Internal, "the seed of piece %d of device %s was acknowledged and is not in the state: restore it", of.piece, of.device.Short())
	}
	var seed he.Seed
	copy(seed[:], raw)
	t := s.params.Expand(s.context, of.device, of.piece, seed)
	s.keep(&expanded{of, t})
	return t, nil
}

func (s *secrets) keep(e *expanded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.entries[e.of]; ok {
		return
	}
	s.entries[e.of] = s.order.PushFront(e)
	for s.order.Len() > maxExpanded {
		last := s.order.Back()
		delete(s.entries, last.Value.(*expanded).of)
		s.order.Remove(last)
	}
}

// change is a device that begins or ends to have rows at an hour.
type change struct {
	hour   int64
	member int
	enters bool
}

// presence lists the changes of a cohort in order of hours.
func presence(members []record.CohortMember) []change {
	var out []change
	for i, m := range members {
		for _, r := range m.Ranges {
			out = append(out, change{r[0], i, true}, change{r[1], i, false})
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].hour < out[j].hour })
	return out
}

// groups sums one piece over the devices that have a row, hour by hour, and
// collects the hours in which they are the same: from one hour to the next only
// those that come and go are added and taken off, and hours with the same
// devices share a group wherever they lie.
func (in *Institution) groups(members []record.CohortMember, piece int) ([]he.KeyGroup, error) {
	changes := presence(members)
	sum := in.params.NewKeySum()
	defer clear(sum)
	present := make([]byte, (len(members)+7)/8)
	here := 0
	byPresence := map[string]int{}
	var groups []he.KeyGroup
	for i := 0; i < len(changes); {
		hour := changes[i].hour
		for ; i < len(changes) && changes[i].hour == hour; i++ {
			c := changes[i]
			t, err := in.secrets.get(pieceOf{members[c.member].Device, piece})
			if err != nil {
				return nil, err
			}
			step := sum.Add
			if !c.enters {
				step, here = sum.Sub, here-2
			}
			if err := step(t); err != nil {
				return nil, err
			}
			here++
			present[c.member/8] ^= 1 << (c.member % 8)
		}
		if here == 0 {
			continue
		}
		g, known := byPresence[string(present)]
		if !known {
			g = len(groups)
			byPresence[string(present)] = g
			groups = append(groups, he.KeyGroup{Secret: append(he.KeySum(nil), sum...)})
		}
		for h := hour; h < changes[i].hour; h++ {
			groups[g].Windows = append(groups[g].Windows, he.Window{Hour: h})
		}
	}
	if here != 0 {
		return nil, fmt.Errorf("%d devices of the cohort have no end", here)
	}
	return groups, nil
}
