package capture

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/vitalveil/vitalveil/wearable"
)

// Sentinels of Decode.
var (
	// ErrCapture means that the file is not a capture this reader understands, or
	// that it cannot be read further: what was yielded before stands.
	ErrCapture = errors.New("not a usable capture")
	// ErrUndiscovered means that all values are of characteristics whose discovery
	// the capture does not contain: capture from the connection on, with the
	// phone's cache of the sensor cleared.
	ErrUndiscovered = errors.New("the capture lacks the discovery of its characteristics")
)

// Value is one value of a characteristic that wearable.Decode reads.
type Value struct {
	// Micros is the time in microseconds since the first record.
	Micros int64
	// Record counts from 1.
	Record int
	// Link names the connection.
	Link    string
	Payload []byte
	wearable.Notification
}

// Link is one connection.
type Link struct {
	// Name has its handle or access address, and its peer's address where known.
	Name string
	// Values were decoded.
	Values int
	// Unknown values came under handles that no discovery in the file explains:
	// a phone that is bonded does not discover again.
	Unknown int
	// Encrypted records of it could not be read.
	Encrypted int
}

// Summary says what a capture was and what was left out of it.
type Summary struct {
	// Format names container and data link.
	Format string
	// Records are all in the file; of these Cut ones lack their end, and
	// Unreadable ones do not hold what their data link says.
	Records, Cut, Unreadable int
	// Values were decoded, Undecodable ones break their characteristic's format.
	Values, Undecodable int
	// First says what was wrong with the first undecodable one.
	First error
	// Drops counts by reason what decoded values announced and did not have.
	Drops map[wearable.Reason]int
	// OutOfRange readings are beyond their metric's range.
	OutOfRange int
	// Links that had any value, known or not, or were encrypted.
	Links []Link
}

// Decode reads a capture and hands each value to take, in the order of the file. It
// ends with take's error, if that returns one.
func Decode(r io.Reader, take func(Value) error) (Summary, error) {
	s := Summary{Drops: map[wearable.Reason]int{}}
	in, err := open(bufio.NewReader(r))
	if err != nil {
		return s, err
	}
	s.Format = in.format()
	t := newTracker()
	first := int64(0)
	for {
		p, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.Links = t.summary()
			return s, err
		}
		if s.Records++; s.Records == 1 {
			first = p.micros
		}
		if p.cut {
			s.Cut++
			continue
		}
		values, ok := t.packet(p)
		if !ok {
			s.Unreadable++
		}
		for _, v := range values {
			if err := s.value(v, p.micros-first, take); err != nil {
				return s, err
			}
		}
	}
	s.Links = t.summary()
	if unknown := t.unknown(); unknown > 0 && t.discovered == 0 {
		return s, fmt.Errorf("%w: %d values", ErrUndiscovered, unknown)
	}
	return s, nil
}

// value decodes one value and counts it.
func (s *Summary) value(v attributeValue, micros int64, take func(Value) error) error {
	n, err := wearable.Decode(v.uuid, v.payload)
	if err != nil {
		if s.Undecodable++; s.Undecodable == 1 {
			s.First = fmt.Errorf("record %d: %w", s.Records, err)
		}
		return nil
	}
	s.Values++
	v.link.report.Values++
	for each := range n.All() {
		for _, d := range each.Drops {
			s.Drops[d.Reason]++
		}
		for _, r := range each.Readings {
			if m, _ := wearable.ByKey(r.Metric); !m.InRange(r.Value) {
				s.OutOfRange++
			}
		}
	}
	return take(Value{Micros: micros, Record: s.Records, Link: v.link.report.Name, Payload: v.payload, Notification: n})
}

// String returns the summary for people, in lines.
func (s Summary) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d records, %d values", s.Format, s.Records, s.Values)
	for _, part := range []struct {
		n    int
		what string
	}{
		{s.Cut, "records are cut and were skipped"},
		{s.Unreadable, "records are garbled and were skipped"},
		{s.OutOfRange, "readings are out of their metric's range"},
	} {
		if part.n > 0 {
			fmt.Fprintf(&b, "\n%d %s", part.n, part.what)
		}
	}
	if s.Undecodable > 0 {
		fmt.Fprintf(&b, "\n%d values break their format, the first: %v", s.Undecodable, s.First)
	}
	for _, r := range wearable.Reasons() {
		if n := s.Drops[r]; n > 0 {
			fmt.Fprintf(&b, "\n%d dropped: %s", n, r)
		}
	}
	for _, l := range s.Links {
		if l.Unknown > 0 {
			fmt.Fprintf(&b, "\n%s: %d values of characteristics whose discovery the capture lacks", l.Name, l.Unknown)
		}
		if l.Encrypted > 0 {
			fmt.Fprintf(&b, "\n%s: %d records are encrypted", l.Name, l.Encrypted)
		}
	}
	return b.String()
}

// WriteCSV writes every reading of a capture as CSV with the header
// t_seconds,uuid,metric,value,unit; t_seconds counts from the first record. Values
// are exact, or rounded to 12 decimals where no numeral is.
func WriteCSV(r io.Reader, w io.Writer) (Summary, error) {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"t_seconds", "uuid", "metric", "value", "unit"}); err != nil {
		return Summary{}, fmt.Errorf("write CSV: %w", err)
	}
	s, err := Decode(r, func(v Value) error { return writeValue(out, v) })
	out.Flush()
	if writing := out.Error(); writing != nil {
		err = errors.Join(err, fmt.Errorf("write CSV: %w", writing))
	}
	return s, err
}

func writeValue(out *csv.Writer, v Value) error {
	seconds, ok := wearable.NewDecimal(v.Micros, 6)
	if !ok {
		return fmt.Errorf("%w: record %d is %d microseconds from the first", ErrCapture, v.Record, v.Micros)
	}
	for n := range v.All() {
		for _, r := range n.Readings {
			m, _ := wearable.ByKey(r.Metric)
			row := []string{seconds.String(), string(v.UUID), r.Metric, r.Value.Plain(), m.UCUM}
			if err := out.Write(row); err != nil {
				return fmt.Errorf("write CSV: %w", err)
			}
		}
	}
	return nil
}
