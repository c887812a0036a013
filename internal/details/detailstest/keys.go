// Package detailstest has patients' details keys for tests without institutions.
package detailstest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/internal/details"
	"github.com/vitalveil/vitalveil/internal/record"
)

// Keys makes keys and is where they come from, as a member's vault would be.
type Keys struct {
	mu     sync.Mutex
	known  map[record.ID]details.Key // by digest
	erased map[record.ID]bool        // patients
}

// Add makes a key and returns its digest, for an inception record.
func (k *Keys) Add(network string) record.ID {
	key := details.NewKey()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.known == nil {
		k.known, k.erased = map[record.ID]details.Key{}, map[record.ID]bool{}
	}
	digest := key.Digest(network)
	k.known[digest] = key
	return digest
}

// Boxes seals the key with this digest to members.
func (k *Keys) Boxes(network string, patient, digest record.ID, members []record.Member) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return details.SealBoxes(network, patient, k.known[digest], members)
}

// Enrol completes an enrolment whose inception record has all but the key: with a key
// that is sealed to members. It returns the blob; what is left to do is to sign.
func (k *Keys) Enrol(network string, e *record.EnrolPatient, members []record.Member) ([]byte, error) {
	e.Inception.DetailsKey = k.Add(network)
	blob, err := k.Boxes(network, e.Inception.PatientID(network), e.Inception.DetailsKey, members)
	e.DetailsBlob = record.SumID(blob)
	return blob, err
}

// Erase destroys the key of a patient.
func (k *Keys) Erase(r details.Ref) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.known, r.Digest)
	k.erased[r.Patient] = true
}

// DetailsKey implements details.Source.
func (k *Keys) DetailsKey(_ context.Context, r details.Ref) (details.Key, error) {
	key, found := k.Held(r)
	switch {
	case found:
		return key, nil
	case k.gone(r.Patient):
		return key, details.Purged(r.Patient)
	}
	return key, details.Later(r.Patient)
}

// Held returns a key if it is here.
func (k *Keys) Held(r details.Ref) (details.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, found := k.known[r.Digest]
	return key, found
}

func (k *Keys) gone(patient record.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.erased[patient]
}

// Serve brings the keys to a socket until the test ends.
func Serve(t testing.TB, keys details.Source, path string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- details.Serve(ctx, path, keys, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Lose makes a key be missing until what it returns is called.
func (k *Keys) Lose(r details.Ref) func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.known[r.Digest]
	delete(k.known, r.Digest)
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.known[r.Digest] = key
	}
}
