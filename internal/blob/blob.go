// Package blob keeps sealed data by the SHA-256 of its content.
//
// Entry points: Open keeps blobs as files below a directory; New keeps them in
// any bucket of gocloud.dev/blob (memory for tests, S3 when configured).
//
// Trust: the medium is not trusted. Content is hashed before it is written and
// again when it is read; what no longer matches its name is reported and never
// returned.
//
// Promise: when Put has returned, the blob survives a crash of the process, and
// of the machine where the bucket is made by Open. A blob is written whole or
// not at all, and never changes.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"

	"github.com/vitalveil/vitalveil/internal/record"
)

// Max is the size limit of one blob in bytes.
const Max = 4 << 20

// ErrNotFound says that no blob of that name is stored. Upload it again.
var ErrNotFound = errors.New("no such blob is stored")

// ErrCorrupt says that the stored bytes no longer have the SHA-256 that names
// them. Uploading the blob again replaces them.
var ErrCorrupt = errors.New("the stored blob does not match its name")

// ErrMismatch says that content given under a name does not have that SHA-256.
var ErrMismatch = errors.New("the content does not have the SHA-256 that names it")

// ErrTooLarge says that content is empty or over Max bytes.
var ErrTooLarge = errors.New("a blob has 1 to 4194304 bytes")

// Store keeps blobs. It is safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	dir    string // directory of a bucket made by Open, else empty
}

// Open keeps blobs as files below dir, which is made if need be.
func Open(dir string) (*Store, error) {
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{
		CreateDir: true, DirFileMode: 0o700,
		NoTempDir: true, // a rename does not cross file systems
		Metadata:  fileblob.MetadataDontWrite,
	})
	if err != nil {
		return nil, fmt.Errorf("blob directory %s: %w", dir, err)
	}
	return &Store{bucket: b, dir: dir}, nil
}

// OpenURL keeps blobs in the place that a URL names: file:///DIR, or
// s3://BUCKET?region=R&endpoint=https://HOST with the keys of a file's content, which are
// looked for nowhere else.
func OpenURL(place string, keys []byte) (*Store, error) {
	u, err := url.Parse(place)
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	if u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path) && u.RawQuery == "" {
		return Open(filepath.FromSlash(u.Path))
	}
	if u.Scheme == "s3" {
		return openS3(u, keys)
	}
	return nil, fmt.Errorf("blobs: %q is no place such as file:///DIR or s3://BUCKET?region=R&endpoint=https://HOST", place)
}

// New keeps blobs in a bucket; Close closes it.
func New(b *blob.Bucket) *Store { return &Store{bucket: b} }

// Close releases the bucket.
func (s *Store) Close() error { return s.bucket.Close() }

// key spreads blobs over 256 directories.
func key(id record.ID) string {
	name := id.String()
	return name[:2] + "/" + name
}

// Put stores data and returns its name. Storing it again changes nothing,
// except that it replaces bytes that have been damaged.
func (s *Store) Put(ctx context.Context, data []byte) (record.ID, error) {
	id := record.SumID(data)
	return id, s.PutNamed(ctx, id, data)
}

// PutNamed is Put for data whose name is known; ErrMismatch if it has another.
func (s *Store) PutNamed(ctx context.Context, id record.ID, data []byte) error {
	if len(data) == 0 || len(data) > Max {
		return ErrTooLarge
	}
	if record.SumID(data) != id {
		return ErrMismatch
	}
	err := s.write(ctx, id, data, true)
	if gcerrors.Code(err) != gcerrors.FailedPrecondition {
		return err
	}
	if _, err := s.Get(ctx, id); !errors.Is(err, ErrCorrupt) {
		return err
	}
	return s.write(ctx, id, data, false)
}

// write is atomic; for files it is synced before the blob gets its name.
func (s *Store) write(ctx context.Context, id record.ID, data []byte, ifNotExist bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var file *os.File
	w, err := s.bucket.NewWriter(ctx, key(id), &blob.WriterOptions{
		IfNotExist:  ifNotExist,
		ContentType: "application/octet-stream",
		BeforeWrite: func(as func(any) bool) error {
			as(&file)
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	_, err = w.Write(data)
	if err == nil && file != nil {
		err = file.Sync()
	}
	if err != nil {
		cancel() // makes Close discard what was written
	}
	if closeErr := w.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return s.syncDirs(id)
}

// syncDirs makes the new name, and the directory that holds it, durable.
func (s *Store) syncDirs(id record.ID) error {
	if s.dir == "" {
		return nil
	}
	inner := filepath.Dir(filepath.Join(s.dir, filepath.FromSlash(key(id))))
	for _, dir := range []string{inner, s.dir} {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = errors.Join(d.Sync(), d.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// Get returns a blob, checked against its name: ErrNotFound or ErrCorrupt
// otherwise.
func (s *Store) Get(ctx context.Context, id record.ID) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, key(id), nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("blob %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", id, err)
	}
	defer r.Close()
	if r.Size() < 0 || r.Size() > Max {
		return nil, fmt.Errorf("blob %s: %w", id, ErrCorrupt)
	}
	data := make([]byte, r.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("blob %s: %w", id, err)
	}
	if record.SumID(data) != id {
		return nil, fmt.Errorf("blob %s: %w", id, ErrCorrupt)
	}
	return data, nil
}

// Has reports whether a blob of that name is stored, without reading it.
func (s *Store) Has(ctx context.Context, id record.ID) (bool, error) {
	ok, err := s.bucket.Exists(ctx, key(id))
	if err != nil {
		return false, fmt.Errorf("blob %s: %w", id, err)
	}
	return ok, nil
}

// Delete removes a blob, as erasure demands. A missing blob is no error.
func (s *Store) Delete(ctx context.Context, id record.ID) error {
	err := s.bucket.Delete(ctx, key(id))
	if err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("blob %s: %w", id, err)
	}
	return nil
}
