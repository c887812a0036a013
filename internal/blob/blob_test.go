package blob_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"gocloud.dev/blob/memblob"

	"github.com/vitalveil/vitalveil/internal/blob"
	"github.com/vitalveil/vitalveil/internal/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// each runs a test over files and over memory.
func each(t *testing.T, f func(t *testing.T, s *blob.Store)) {
	files, err := blob.Open(filepath.Join(t.TempDir(), "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*blob.Store{"files": files, "memory": blob.New(memblob.OpenBucket(nil))} {
		t.Run(name, func(t *testing.T) {
			defer s.Close()
			f(t, s)
		})
	}
}

func TestABlobIsFoundUnderItsHash(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store) {
		ctx, data := context.Background(), []byte("sealed")
		id, err := s.Put(ctx, data)
		if err != nil || id != record.SumID(data) {
			t.Fatalf("Put: %v, %v", id, err)
		}
		got, err := s.Get(ctx, id)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("Get: %q, %v", got, err)
		}
		if ok, err := s.Has(ctx, id); !ok || err != nil {
			t.Fatalf("Has: %v, %v", ok, err)
		}
	})
}

func TestStoringTwiceIsStoringOnce(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store) {
		var wg sync.WaitGroup
		errs := make([]error, 16)
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.Put(context.Background(), []byte("same")) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMissingAndDeletedBlobsAreNotFound(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store) {
		ctx := context.Background()
		id, err := s.Put(ctx, []byte("gone"))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := s.Delete(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Get(ctx, id); !errors.Is(err, blob.ErrNotFound) {
			t.Fatalf("Get: %v", err)
		}
		if ok, err := s.Has(ctx, id); ok || err != nil {
			t.Fatalf("Has: %v, %v", ok, err)
		}
	})
}

func TestSizesAreBounded(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store) {
		for _, n := range []int{0, blob.Max + 1} {
			if _, err := s.Put(context.Background(), make([]byte, n)); !errors.Is(err, blob.ErrTooLarge) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		if _, err := s.Put(context.Background(), make([]byte, blob.Max)); err != nil {
			t.Errorf("%d bytes: %v", blob.Max, err)
		}
	})
}

func TestAttackContentUnderAForeignName(t *testing.T) {
	each(t, func(t *testing.T, s *blob.Store) {
		id := record.SumID([]byte("expected"))
		if err := s.PutNamed(context.Background(), id, []byte("other")); !errors.Is(err, blob.ErrMismatch) {
			t.Fatalf("PutNamed: %v", err)
		}
		if ok, _ := s.Has(context.Background(), id); ok {
			t.Fatal("the name is taken by foreign content")
		}
	})
}

func TestAttackTamperedFileIsRefusedAndReplaced(t *testing.T) {
	dir := t.TempDir()
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, data := context.Background(), []byte("sealed row")
	id, err := s.Put(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, id.String()[:2], id.String())
	if err := os.WriteFile(path, []byte("sealed r0w"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, id); !errors.Is(err, blob.ErrCorrupt) || got != nil {
		t.Fatalf("Get of tampered bytes: %q, %v", got, err)
	}
	if _, err := s.Put(ctx, data); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Get(ctx, id); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("Get after repair: %q, %v", got, err)
	}
}

func TestNothingHalfWrittenStays(t *testing.T) {
	dir := t.TempDir()
	s, err := blob.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Put(ctx, []byte("never")); err == nil {
		t.Fatal("Put succeeded under a cancelled context")
	}
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("left behind: %s", d.Name())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
