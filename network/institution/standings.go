package institution

import (
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
)

// standings remembers cohorts in which nobody has withdrawn, and at how many blocks
// that was so. It is asked several times at the same block, by the duty that derives
// cohorts and for each share, and takes a walk through the consents of all members.
type standings struct {
	locks *locks

	mu    sync.Mutex
	whole map[standingOf]uint64
}

type standingOf struct {
	query   string
	attempt int
}

func newStandings() *standings { return &standings{locks: newLocks(), whole: map[standingOf]uint64{}} }

// maxStandings bounds what is remembered; all is forgotten when there is more.
const maxStandings = 64

// gone returns the devices of an attempt whose patients have withdrawn
// (index.Stale), read at the newest block or a later one.
func (an *answerer) gone(query string, attempt int) ([]record.ID, error) {
	of := standingOf{query, attempt}
	defer an.standings.locks.lock(query)()
	height := an.index.Height()
	if known, ok := an.standings.at(of); ok && known == height {
		return nil, nil
	}
	_, gone, err := an.index.Stale(query, attempt)
	if err == nil && len(gone) == 0 {
		an.standings.note(of, height)
	}
	return gone, err
}

func (s *standings) at(of standingOf) (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	height, ok := s.whole[of]
	return height, ok
}

func (s *standings) note(of standingOf, height uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.whole) >= maxStandings {
		clear(s.whole)
	}
	s.whole[of] = height
}
