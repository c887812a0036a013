package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Position is how much of a source a device has taken: the first Taken of its readings,
// and Digest, which stands for what they are. The zero value is the beginning.
type Position struct {
	Taken  uint64    `json:"taken"`
	Digest record.ID `json:"digest"`
}

// After is the position behind one more reading.
func (p Position) After(r Reading) Position {
	h := sha256.New()
	h.Write(p.Digest[:])
	for _, text := range []string{r.Metric, r.Time.String(), r.Value.String()} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(text))))
		h.Write([]byte(text))
	}
	return Position{Taken: p.Taken + 1, Digest: record.ID(h.Sum(nil))}
}

const (
	maxSource  = 256  // bytes of a source's name
	maxSources = 4096 // of a device
)

// ErrPosition says that a device has taken another part of a source than the one that is
// continued: ask for its Position, and go on from there.
var ErrPosition = errors.New("the source is not at this position")

// sources is how far a device is in each of its sources: what is in memory moves with the
// grid, and is written with it.
type sources struct {
	vault *deviceVault
	moved map[string]Position // that the store does not have yet
}

// write puts what has moved into the batch.
func (s *sources) write(b *pebble.Batch) error {
	for source, at := range s.moved {
		if err := s.vault.store(b, s.key(source), at); err != nil {
			return err
		}
	}
	clear(s.moved)
	return nil
}

// Position returns how much of a source the device has taken.
func (d *Device) Position(source string) (Position, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed != nil {
		return Position{}, d.failed
	}
	return d.sources.position(source)
}

func (s *sources) position(source string) (Position, error) {
	var p Position
	if source == "" || len(source) > maxSource {
		return p, fmt.Errorf("%w: a source's name has 1 to %d bytes", ErrReading, maxSource)
	}
	_, err := s.vault.load(s.key(source), &p)
	return p, err
}

func (s *sources) key(source string) []byte { return s.vault.key(kindSource, []byte(source)...) }

// PushFrom is Push for the readings of a source that follow a position in it, such as the
// lines of a file. The position moves with each reading in one commit, so a source that
// asks for its Position after a crash, of either side, neither loses a reading nor has one
// counted twice. Where the device is elsewhere in the source, the error is ErrPosition and
// nothing is taken.
func (d *Device) PushFrom(ctx context.Context, source string, from Position, readings []Reading) (Outcome, error) {
	begin := func() error {
		at, err := d.sources.position(source)
		switch {
		case err != nil:
			return err
		case at != from:
			return fmt.Errorf("%w: %d of its readings are taken, and this continues after %d", ErrPosition, at.Taken, from.Taken)
		case at.Taken == 0:
			return d.sources.room()
		}
		return nil
	}
	return d.push(ctx, readings, begin, func(r Reading) {
		from = from.After(r)
		d.sources.moved[source] = from
	})
}

// Window is the Unix minutes from the first to the last of which readings are taken now:
// earlier ones are of hours that take no late data any more.
func (d *Device) Window() (int64, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first := max(d.document.FirstHour, (dayOfHour(d.hourAtHand())-lateDays)*24)
	return first * wearable.MinutesPerHour, d.latestMinute()
}

// room bounds what names of sources take up.
func (s *sources) room() error {
	n := 0
	for _, err := range s.vault.each(kindSource, nil) {
		if err != nil {
			return err
		}
		n++
	}
	if n >= maxSources {
		return fmt.Errorf("%w: the device has taken %d sources, and keeps the position of no more", ErrReading, n)
	}
	return nil
}
