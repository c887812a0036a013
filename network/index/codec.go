package index

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
)

const (
	// maxDoc bounds one document or text in a saved index, in bytes. The largest are
	// erasures with their devices.
	maxDoc = 1 << 20
	// maxSaved bounds a saved index as a whole.
	maxSaved = 64 << 30
)

// codec writes values or reads them, by the same description: a value that is
// described in one function is read as it was written. The first error stays, and
// from then on nothing is read or written.
type codec struct {
	w    *bufio.Writer // writing
	r    *bufio.Reader // reading
	hash hash.Hash     // of everything so far
	left int64         // how much may still be read
	err  error
	buf  [8]byte
}

func saving(w io.Writer) *codec {
	return &codec{w: bufio.NewWriterSize(w, 1<<16), hash: sha256.New()}
}

func loading(r io.Reader) *codec {
	return &codec{r: bufio.NewReaderSize(r, 1<<16), hash: sha256.New(), left: maxSaved}
}

func (c *codec) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// check notes the error of something that was done with a value.
func (c *codec) check(err error) {
	if c.err == nil {
		c.err = err
	}
}

// bytes writes or fills exactly len(b) bytes.
func (c *codec) bytes(b []byte) {
	if c.err != nil {
		return
	}
	if c.w != nil {
		_, c.err = c.w.Write(b)
	} else {
		if c.left -= int64(len(b)); c.left < 0 {
			c.fail("more than %d bytes", int64(maxSaved))
			return
		}
		if _, c.err = io.ReadFull(c.r, b); errors.Is(c.err, io.EOF) {
			c.err = io.ErrUnexpectedEOF
		}
	}
	c.hash.Write(b)
}

// end writes the digest of everything before it, or compares it; there is nothing
// after it.
func (c *codec) end() {
	want := [sha256.Size]byte(c.hash.Sum(nil))
	got := want
	c.bytes(got[:])
	switch {
	case c.err != nil:
	case c.w != nil:
		c.err = c.w.Flush()
	case got != want:
		c.fail("the digest is another")
	default:
		if _, err := c.r.ReadByte(); err != io.EOF {
			c.fail("something follows the end")
		}
	}
}

func (c *codec) id(v *record.ID) { c.bytes(v[:]) }

func (c *codec) uint64(v *uint64) {
	binary.LittleEndian.PutUint64(c.buf[:], *v)
	c.bytes(c.buf[:])
	if c.r != nil && c.err == nil {
		*v = binary.LittleEndian.Uint64(c.buf[:])
	}
}

// number codes an integer of any type. One that does not fit is refused.
func number[T ~int | ~int64 | ~uint64 | ~uint32 | ~uint16 | ~uint8](c *codec, v *T) {
	n := uint64(*v)
	c.uint64(&n)
	if c.r == nil || c.err != nil {
		return
	}
	if *v = T(n); uint64(*v) != n {
		c.fail("the number %d is too large in its place", n)
	}
}

func (c *codec) bool(v *bool) {
	b := c.buf[:1]
	if b[0] = 0; *v {
		b[0] = 1
	}
	c.bytes(b)
	if b[0] > 1 {
		c.fail("%d is neither true nor false", b[0])
	}
	if c.r != nil {
		*v = b[0] == 1
	}
}

// blob codes bytes with their number before them; no bytes are read as nil.
func (c *codec) blob(v *[]byte) {
	if len(*v) > maxDoc {
		c.fail("a document of %d bytes is over the limit of %d", len(*v), maxDoc)
	}
	n := uint32(len(*v))
	number(c, &n)
	if n > maxDoc {
		c.fail("a document of %d bytes is over the limit of %d", n, maxDoc)
	}
	if c.r != nil && c.err == nil {
		if *v = nil; n > 0 {
			*v = make([]byte, n)
		}
	}
	c.bytes(*v)
}

func (c *codec) text(v *string) {
	b := []byte(*v)
	c.blob(&b)
	if c.r != nil && c.err == nil {
		*v = string(b)
	}
}

// codeDoc codes a value that has a form in JSON, as those of the ledger do.
func codeDoc[T any](c *codec, v *T) {
	var b []byte
	if c.w != nil && c.err == nil {
		var err error
		b, err = json.Marshal(v)
		c.check(err)
	}
	c.blob(&b)
	if c.r != nil && c.err == nil {
		var read T
		c.check(record.DecodeJSON(b, maxDoc, &read))
		*v = read
	}
}

// list codes a slice by what each does with an element; without elements it is read
// as nil. What is allocated while reading grows with what was read, but for a few
// elements, and not with the number that stands before it.
func list[T any, S ~[]T](c *codec, v *S, each func(*T)) {
	n := uint64(len(*v))
	c.uint64(&n)
	if c.w != nil {
		for i := range *v {
			each(&(*v)[i])
		}
		return
	}
	if *v = nil; n == 0 || c.err != nil {
		return
	}
	*v = make(S, 0, min(n, record.MaxBatch))
	for ; n > 0 && c.err == nil; n-- {
		*v = append(*v, *new(T))
		each(&(*v)[len(*v)-1])
	}
	if cap(*v) > record.MaxBatch {
		*v = append(make(S, 0, len(*v)), *v...) // without the room for more
	}
}

// table codes a map in ascending order of its keys. One without entries is read into the map that
// is there.
func table[K cmp.Ordered, V any](c *codec, m *map[K]V, key func(*K), value func(*V)) {
	n := uint64(len(*m))
	c.uint64(&n)
	if c.w != nil {
		for _, k := range slices.Sorted(maps.Keys(*m)) {
			v := (*m)[k]
			key(&k)
			value(&v)
		}
		return
	}
	clear(*m)
	var last K
	for i := uint64(0); i < n && c.err == nil; i++ {
		var k K
		var v V
		key(&k)
		value(&v)
		if i > 0 && k <= last {
			c.fail("keys out of order")
		}
		if last = k; *m == nil {
			*m = map[K]V{}
		}
		(*m)[k] = v
	}
}
