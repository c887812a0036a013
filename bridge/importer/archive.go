package importer

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
)

const (
	maxMembers  = 200_000         // of an archive
	maxUnpacked = int64(64 << 30) // bytes of all of them
	// maxRatio is how much larger than itself an archive may unpack. Text of exports packs
	// to a thirtieth; deflate cannot do better than 1,032.
	maxRatio  = 250
	ratioFrom = int64(64 << 20) // bytes from which on that is looked at
)

func isZip(head []byte) bool { return bytes.HasPrefix(head, []byte("PK\x03\x04")) }

// archive reads every member that is of a known kind.
func (r *reading) archive() error {
	z, err := zip.NewReader(counting{r.file, &r.done}, r.size)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err := r.bounded(z); err != nil {
		return err
	}
	r.zip = true
	var unpacked int64
	for _, f := range z.File {
		if f.FileInfo().IsDir() || f.FileInfo().Size() == 0 {
			continue
		}
		open := func() (io.ReadCloser, error) {
			in, err := f.Open()
			return &member{ReadCloser: in, unpacked: &unpacked, archive: r.size}, err
		}
		head, err := headOf(open)
		if err == nil {
			err = r.part(part{name: path.Base(f.Name), head: head, open: open})
		}
		switch {
		case errors.Is(err, ErrDamaged) && isFIT(part{head: head}): // one of thousands
			r.drop(DropDamaged)
		case err != nil:
			return err
		}
	}
	return nil
}

// bounded looks at what the archive says about itself; what it says of sizes is checked
// again as it unpacks. Members that share bytes are a way to say more than there is.
func (r *reading) bounded(z *zip.Reader) error {
	if len(z.File) > maxMembers {
		return fmt.Errorf("%w: %d files in one archive", ErrLimit, len(z.File))
	}
	var packed uint64
	for _, f := range z.File {
		packed += f.CompressedSize64
		if packed > uint64(r.size) {
			return fmt.Errorf("%w: the archive's files overlap", ErrLimit)
		}
	}
	return nil
}

func headOf(open func() (io.ReadCloser, error)) ([]byte, error) {
	in, err := open()
	if err != nil {
		return nil, damaged(err)
	}
	defer in.Close()
	head, err := io.ReadAll(io.LimitReader(in, sniffing))
	return head, damaged(err)
}

// member is a file of an archive as it unpacks, within the bounds of all of them.
type member struct {
	io.ReadCloser
	unpacked *int64
	archive  int64
}

// Read implements io.Reader.
func (m *member) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b)
	*m.unpacked += int64(n)
	if u := *m.unpacked; u > maxUnpacked || u > ratioFrom && u > maxRatio*m.archive {
		return 0, fmt.Errorf("%w: %d bytes unpack to more than %d", ErrLimit, m.archive, u)
	}
	return n, err
}

// Close implements io.Closer.
func (m *member) Close() error {
	if m.ReadCloser == nil {
		return nil
	}
	return m.ReadCloser.Close()
}
