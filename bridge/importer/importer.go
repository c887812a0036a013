package importer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync/atomic"

	"github.com/vitalveil/vitalveil/wearable"
)

// Reading is one value of an export.
type Reading struct {
	Metric string           // key of the metric
	Time   wearable.Decimal // Unix seconds
	Value  wearable.Decimal // in the metric's unit
	Device string           // what measured it, as the export names it
}

// Drop is why a value was left out.
type Drop string

// The reasons.
const (
	DropValue   Drop = "no number"
	DropUnit    Drop = "a unit that is not known for it"
	DropTime    Drop = "no time, or an impossible one"
	DropMissing Drop = "marked as not measured"
	DropSummary Drop = "of more than an hour"
	DropDamaged Drop = "a file that breaks off or is damaged"
	DropNested  Drop = "an archive within the archive: unpack it, and import what is in it"
)

var (
	// ErrUnknown says that nothing in the file is of a kind that is read here.
	ErrUnknown = errors.New("no export of Apple Health, Health Connect, Fitbit or Garmin is in it")
	// ErrDamaged says where a file breaks its format. What came before it was handed over.
	ErrDamaged = errors.New("the export is damaged")
	// ErrLimit says that a file is larger than any export, in one part or unpacked.
	ErrLimit = errors.New("beyond what an export can be")
)

const (
	maxPart  = 1 << 20 // bytes of one element, line or tag
	maxName  = 100     // bytes of a device's name
	sniffing = 4096    // bytes by which a file is recognised
)

// Export is an open file. It is for one Read, by one goroutine; Progress may be called by
// any.
type Export struct {
	file  *os.File
	size  int64
	done  atomic.Int64
	drops map[Drop]uint64
	found []string
}

// Open opens a file. Nothing of it is read before Read.
func Open(name string) (*Export, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Export{file: f, size: info.Size(), drops: map[Drop]uint64{}}, nil
}

// Close closes the file.
func (e *Export) Close() error { return e.file.Close() }

// Progress is how many bytes of how many have been read.
func (e *Export) Progress() (int64, int64) { return min(e.done.Load(), e.size), e.size }

// Drops counts what was left out so far, by reason.
func (e *Export) Drops() map[Drop]uint64 { return e.drops }

// Formats names what was found, such as "Apple Health", each once.
func (e *Export) Formats() []string { return e.found }

// Read hands the readings over, in the order of the file, until take fails or the context
// ends.
func (e *Export) Read(ctx context.Context, take func(Reading) error) error {
	r := &reading{Export: e, ctx: ctx, take: take}
	head := make([]byte, sniffing)
	n, err := e.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	part := part{name: path.Base(e.file.Name()), head: head[:n], path: e.file.Name(), open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(counting{e.file, &e.done}, 0, e.size)), nil
	}}
	if isZip(part.head) {
		err = r.archive()
	} else {
		err = r.part(part)
	}
	if err == nil && len(e.found) == 0 {
		err = ErrUnknown
	}
	return err
}

// counting notes how much was read.
type counting struct {
	io.ReaderAt
	n *atomic.Int64
}

// ReadAt implements io.ReaderAt.
func (c counting) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(b, at)
	c.n.Add(int64(n))
	return n, err
}

// reading is one run over an export.
type reading struct {
	*Export
	ctx  context.Context
	take func(Reading) error
	zip  bool
}

// part is one file, of its own or in an archive.
type part struct {
	name string // without folders
	head []byte // its beginning
	path string // of a file of its own
	open func() (io.ReadCloser, error)
}

// format is how one kind of file is recognised and read.
type format struct {
	name string
	is   func(part) bool
	read func(*reading, part) error
}

// formats are looked at in this order.
var formats = []format{
	{"Apple Health", isApple, streamed(readApple)},
	{"Health Connect", isHealthConnect, readHealthConnect},
	{"Garmin FIT", isFIT, streamed(readFIT)},
	{"Fitbit", isFitbitJSON, streamed(readFitbitJSON)},
	{"Fitbit", isFitbitCSV, streamed(readFitbitCSV)},
}

// part reads a file if it is of a kind that is known.
func (r *reading) part(p part) error {
	for _, f := range formats {
		if !f.is(p) {
			continue
		}
		r.note(f.name)
		err := f.read(r, p)
		if err != nil && !errors.Is(err, errTake) {
			err = fmt.Errorf("%s: %w", p.name, err)
		}
		return err
	}
	if r.zip && isZip(p.head) {
		r.drop(DropNested)
	}
	return nil
}

func (r *reading) note(name string) {
	for _, f := range r.found {
		if f == name {
			return
		}
	}
	r.found = append(r.found, name)
}

func (r *reading) drop(why Drop) { r.drops[why]++ }

// errTake marks what the caller's own function said.
var errTake = errors.New("import stopped")

// emit hands over a reading.
func (r *reading) emit(x Reading) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	x.Device = clip(x.Device)
	if err := r.take(x); err != nil {
		return fmt.Errorf("%w: %w", errTake, err)
	}
	return nil
}

// clip bounds a name at a rune.
func clip(name string) string {
	if len(name) <= maxName {
		return name
	}
	for i := range name {
		if i > maxName-4 {
			return name[:i]
		}
	}
	return name[:maxName-4]
}

// parts is a stream whose reader says where a new part begins: none is longer than maxPart.
type parts struct {
	io.Reader
	left int64
}

// Read implements io.Reader.
func (p *parts) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, fmt.Errorf("%w: one part of it has more than %d bytes", ErrLimit, maxPart)
	}
	n, err := p.Reader.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, err
}

// next begins a new part.
func (p *parts) next() { p.left = maxPart }

// streamed is for formats that are read from front to back.
func streamed(read func(*reading, part, *parts) error) func(*reading, part) error {
	return func(r *reading, p part) error {
		in, err := p.open()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		err = read(r, p, &parts{Reader: bufio.NewReaderSize(in, 1<<16), left: maxPart})
		return errors.Join(err, in.Close())
	}
}

// damaged marks an error of a parser, unless it is one of ours.
func damaged(err error) error {
	if err == nil || errors.Is(err, ErrLimit) || errors.Is(err, errTake) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}
