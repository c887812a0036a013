package consortium

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Details makes patients' details keys and is where contracts and indexes get them
// from (details.Source), as a member's vault would be. The zero value is ready.
type Details struct {
	mu     sync.Mutex
	known  map[record.ID]details.Key // by digest
	erased map[record.ID]bool        // patients
}

// Hold keeps a key under its digest.
func (k *Details) Hold(digest record.ID, key details.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known = map[record.ID]details.Key{}
	}
	k.known[digest] = key
}

// DetailsKey implements details.Source.
func (k *Details) DetailsKey(_ context.Context, r details.Ref) (details.Key, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, found := k.known[r.Digest]
	switch {
	case found:
		return key, nil
	case k.erased[r.Patient]:
		return key, details.Purged(r.Patient)
	}
	return key, details.Later(r.Patient)
}

// Held returns a key if it is here.
func (k *Details) Held(r details.Ref) (details.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, found := k.known[r.Digest]
	return key, found
}

// Erase destroys the key of a patient.
func (k *Details) Erase(r details.Ref) {
	k.Lose(r)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.erased == nil {
		k.erased = map[record.ID]bool{}
	}
	k.erased[r.Patient] = true
}

// Lose makes a key be missing until what it returns is called.
func (k *Details) Lose(r details.Ref) func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.known[r.Digest]
	delete(k.known, r.Digest)
	return func() { k.Hold(r.Digest, key) }
}

// Serve brings the keys to a socket until the test ends.
func (k *Details) Serve(t testing.TB, path string) {
	Background(t, func(ctx context.Context) error {
		return details.Serve(ctx, path, k, slog.New(slog.DiscardHandler))
	}, nil)
}
