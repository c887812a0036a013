package consortium

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network"
)

// Must returns v, and panics where what cannot go wrong went wrong.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// NewKey makes a signing key.
func NewKey() *ecdsa.PrivateKey { return Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// Public is the form of a key that documents have.
func Public(k *ecdsa.PrivateKey) []byte { return record.PublicKeyBytes(&k.PublicKey) }

// Sign signs a document's digest.
func Sign(k *ecdsa.PrivateKey, digest record.ID) []byte { return Must(record.Sign(k, digest)) }

// authorities are made once: certificates say nothing about a single test.
var authorities sync.Map

// Authority is the certificate authority of an organisation, the same in all tests
// of a process.
func Authority(msp string) *network.CA {
	made, _ := authorities.LoadOrStore(msp, sync.OnceValue(func() *network.CA { return Must(network.NewCA(msp)) }))
	return made.(func() *network.CA)()
}

// Identity is a new client's of an organisation.
func Identity(msp string) network.Identity { return Must(Authority(msp).Issue("client", "client")) }

// WantFault insists on a coded error.
func WantFault(t testing.TB, code fault.Code, err error) {
	t.Helper()
	if err == nil || fault.Of(err) != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// Background runs a part until the test ends, and then ends it, unless end is nil.
func Background(t testing.TB, run func(context.Context) error, end func() error) {
	t.Cleanup(Run(t, run, end))
}

// Run runs a part until stop is called for the first time.
func Run(t testing.TB, run func(context.Context) error, end func() error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		err := <-done
		if err == nil && end != nil {
			err = end()
		}
		if err != nil {
			t.Errorf("at its end: %v", err)
		}
	})
}

// Eventually polls until cond holds, as parts work on their own.
func Eventually(t testing.TB, most time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(most); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: %s", what)
		}
	}
}

// Log keeps what many parts write. The zero value is ready.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Logger writes everything into the log.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Blobs is a store by content in memory. The zero value is ready; whoever uses the
// maps holds Mu.
type Blobs struct {
	Mu    sync.Mutex
	Data  map[record.ID][]byte
	Reads map[record.ID]int
}

// Put stores a blob.
func (b *Blobs) Put(_ context.Context, data []byte) (record.ID, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if b.Data == nil {
		b.Data, b.Reads = map[record.ID][]byte{}, map[record.ID]int{}
	}
	id := record.SumID(data)
	b.Data[id] = data
	return id, nil
}

// Get returns a copy of a blob.
func (b *Blobs) Get(_ context.Context, id record.ID) ([]byte, error) {
	b.Mu.Lock()
	defer b.Mu.Unlock()
	if data, ok := b.Data[id]; ok {
		b.Reads[id]++
		return bytes.Clone(data), nil
	}
	return nil, fault.New(fault.NotFound, "no blob %s", id.Short())
}
