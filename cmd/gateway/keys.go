package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/index"
)

// Keys that could not be had are asked for again after pauses that double.
const (
	firstPause = 100 * time.Millisecond
	mostPause  = 10 * time.Second
)

// Keys are patients' details keys, kept in memory, that come from an institution of the
// same organisation, which may come up later than whoever needs them.
type Keys struct {
	network string
	from    details.Source

	mu     sync.Mutex
	held   map[record.ID]details.Key
	wanted map[record.ID]details.Ref
	wake   chan struct{}
}

// NewKeys returns keys of a network that come from a source.
func NewKeys(network string, from details.Source) *Keys {
	return &Keys{network: network, from: from, held: map[record.ID]details.Key{}, wanted: map[record.ID]details.Ref{}, wake: make(chan struct{}, 1)}
}

// Held implements index.Keys: it never waits, and has Run fetch what is not here.
func (k *Keys) Held(r details.Ref) (details.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.held[r.Patient]; ok {
		return key, true
	}
	k.wanted[r.Patient] = r
	select {
	case k.wake <- struct{}{}:
	default:
	}
	return details.Key{}, false
}

// Run fetches keys that the index lacks until ctx ends, and calls came when there are
// some. Those of erased patients it drops.
func (k *Keys) Run(ctx context.Context, ix *index.Index, came func()) error {
	erased, pause := 0, firstPause
	for ctx.Err() == nil {
		for _, e := range ix.Erasures(erased) {
			k.drop(e.State.Signed.Erasure.Patient)
			erased++
		}
		got, left := k.fetch(ctx)
		if got {
			pause = firstPause
			came()
		}
		var again <-chan time.Time
		if left {
			again = time.After(pause)
			pause = min(2*pause, mostPause)
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-k.wake:
		}
	}
	return nil
}

func (k *Keys) drop(patient record.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.held, patient)
	delete(k.wanted, patient)
}

// fetch asks for what is wanted; whether a key came, and whether some are left.
func (k *Keys) fetch(ctx context.Context) (bool, bool) {
	k.mu.Lock()
	refs := make([]details.Ref, 0, len(k.wanted))
	for _, r := range k.wanted {
		refs = append(refs, r)
	}
	k.mu.Unlock()
	got, left := false, false
	for _, r := range refs {
		key, err := k.from.DetailsKey(ctx, r)
		if err == nil {
			key, err = details.Check(k.network, r, key.Bytes())
		}
		if fault.Of(err) == fault.Purged {
			k.drop(r.Patient)
			continue
		}
		if err != nil {
			left = true
			continue
		}
		k.mu.Lock()
		delete(k.wanted, r.Patient)
		k.held[r.Patient] = key
		k.mu.Unlock()
		got = true
	}
	return got, left
}
