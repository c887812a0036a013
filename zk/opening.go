package zk

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Opening is what opens one day root: the readings, and the secret from which
// all salts of the day are derived. It is as secret as the readings. It prints
// redacted; MarshalBinary is how it is kept.
type Opening struct {
	day    wearable.Day
	secret [32]byte
}

// Commit commits to a day: columns are the grid codes by metric slot, each
// wearable.MinutesPerDay long; slots left out, or with zeros only, are columns
// without readings. It returns the day root, which reveals nothing, and its
// opening. A fresh secret is drawn each time, so that committing to the same day
// twice gives different roots.
func Commit(day int64, columns map[int][]uint16) (record.ID, *Opening, error) {
	d := wearable.Day{Number: day}
	for slot, codes := range columns {
		if slot < 0 || slot >= wearable.Slots {
			return record.ID{}, nil, fmt.Errorf("no metric slot %d", slot)
		}
		if len(codes) != wearable.MinutesPerDay {
			return record.ID{}, nil, fmt.Errorf("the column of slot %d has %d codes, not %d", slot, len(codes), wearable.MinutesPerDay)
		}
		d.Columns[slot] = new(wearable.Column)
		copy(d.Columns[slot][:], codes)
	}
	return commit(d)
}

// CommitDay is Commit for a day of the minute grid, of which it keeps a copy.
func CommitDay(day *wearable.Day) (record.ID, *Opening, error) {
	d := *day
	for slot, c := range d.Columns {
		if c != nil {
			own := *c
			d.Columns[slot] = &own
		}
	}
	return commit(d)
}

func commit(d wearable.Day) (record.ID, *Opening, error) {
	for slot, c := range d.Columns {
		if c == nil {
			continue
		}
		if err := checkColumn(slot, c); err != nil {
			return record.ID{}, nil, err
		}
	}
	o := &Opening{day: d}
	if _, err := rand.Read(o.secret[:]); err != nil {
		return record.ID{}, nil, err
	}
	root, err := o.Root()
	if err != nil {
		return record.ID{}, nil, err
	}
	return root, o, nil
}

// checkColumn refuses codes that the metric does not have. The error does not
// carry the code.
func checkColumn(slot int, c *wearable.Column) error {
	m, known := wearable.BySlot(slot)
	for minute, code := range c {
		if code == 0 {
			continue
		}
		if !known {
			return fmt.Errorf("slot %d has readings, but no metric has this slot", slot)
		}
		if code > m.MaxCode() {
			return fmt.Errorf("%s, minute %d: the code is above the metric's largest, %d", m.Key, minute, m.MaxCode())
		}
	}
	return nil
}

// Day returns the Unix day that is opened.
func (o *Opening) Day() int64 { return o.day.Number }

// Codes returns the day's grid codes of a slot, one a minute, which the opening keeps secret.
func (o *Opening) Codes(slot int) []uint16 { return slices.Clone(o.day.Codes(slot)) }

// Root recomputes the day root.
func (o *Opening) Root() (record.ID, error) {
	tree, err := o.tree()
	if err != nil {
		return record.ID{}, err
	}
	salt, err := o.daySalt()
	if err != nil {
		return record.ID{}, err
	}
	root, err := verifier.DayRoot(o.day.Number, salt, tree.Root())
	if err != nil {
		return record.ID{}, err
	}
	return verifier.ToID(root), nil
}

// tree commits to every slot, each column on its own goroutine.
func (o *Opening) tree() (*verifier.Tree, error) {
	var (
		columns [verifier.Slots]verifier.Element
		errs    [verifier.Slots]error
		wait    sync.WaitGroup
	)
	for slot := range columns {
		one := func() { columns[slot], errs[slot] = o.column(slot) }
		if o.day.Columns[slot] == nil {
			one()
			continue
		}
		wait.Go(one)
	}
	wait.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	return verifier.NewTree(columns), nil
}

func (o *Opening) column(slot int) (verifier.Element, error) {
	salt, err := o.columnSalt(slot)
	if err != nil {
		return verifier.Element{}, err
	}
	return verifier.Column(slot, o.day.Number, salt, o.day.Codes(slot))
}

// Salts are derived from the secret with HKDF-Expand (RFC 5869), SHA-256, under
// an info that names use, day and slot. 48 bytes reduced modulo the 254-bit
// order are within 2^-129 of uniform.
const (
	saltInfo  = "vitalveil zk salt v1"
	saltBytes = 48
	dayOfSalt = 0xff // in place of a slot: the day's own salt
)

func (o *Opening) columnSalt(slot int) (verifier.Element, error) { return o.salt(byte(slot)) }

func (o *Opening) daySalt() (verifier.Element, error) { return o.salt(dayOfSalt) }

func (o *Opening) salt(which byte) (verifier.Element, error) {
	info := binary.BigEndian.AppendUint64([]byte(saltInfo), uint64(o.day.Number))
	b, err := hkdf.Expand(sha256.New, o.secret[:], string(append(info, which)), saltBytes)
	if err != nil {
		return verifier.Element{}, err
	}
	var e verifier.Element
	e.SetBytes(b)
	return e, nil
}

const openingVersion = 1

// MarshalBinary returns version, secret and day. The result is secret: seal it
// before it is stored.
func (o *Opening) MarshalBinary() ([]byte, error) {
	day, err := o.day.MarshalBinary()
	if err != nil {
		return nil, err
	}
	out := append([]byte{openingVersion}, o.secret[:]...)
	return append(out, day...), nil
}

// UnmarshalBinary restores an opening from exactly what MarshalBinary wrote.
func (o *Opening) UnmarshalBinary(data []byte) error {
	if len(data) < 1+len(o.secret) || data[0] != openingVersion {
		return fmt.Errorf("not an opening of version %d: %d bytes", openingVersion, len(data))
	}
	var got Opening
	n := 1 + copy(got.secret[:], data[1:])
	if err := got.day.UnmarshalBinary(data[n:]); err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if got.day.Number < verifier.MinDay || got.day.Number > verifier.MaxDay {
		return fmt.Errorf("opening: day %d is outside the years 1 to 9999", got.day.Number)
	}
	*o = got
	return nil
}

const redacted = "[opening]"

// String hides the opening.
func (o Opening) String() string { return redacted }

// GoString hides the opening.
func (o Opening) GoString() string { return redacted }

// Format hides the opening under every verb.
func (o Opening) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// LogValue hides the opening.
func (o Opening) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText hides the opening: JSON is not how it is kept.
func (o Opening) MarshalText() ([]byte, error) { return []byte(redacted), nil }
