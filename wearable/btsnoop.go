package wearable

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Sentinels of DecodeBTSnoop.
var (
	// ErrCapture means that the file is not a capture this reader understands.
	// The sequence ends there.
	ErrCapture = errors.New("not a usable btsnoop capture")
	// ErrUndiscovered means that the capture has values of characteristics whose
	// discovery it does not contain: capture from the connection on, with the
	// phone's cache of the sensor cleared.
	ErrUndiscovered = errors.New("the capture lacks the discovery of its characteristics")
)

// Captured is one vital sign value that a capture contains.
type Captured struct {
	// Micros is the time in microseconds since the first record.
	Micros int64
	// Record counts from 1.
	Record  int
	Payload []byte
	Notification
}

const (
	snoopMagic  = "btsnoop\x00"
	snoopV1     = 1
	snoopH4     = 1002
	snoopHead   = 16
	snoopRecord = 24
	// maxSnoopRecord is above the largest ACL packet (65,535 bytes of data) with
	// its headers.
	maxSnoopRecord = 1 << 17
)

// DecodeBTSnoop reads a Bluetooth capture in btsnoop format, version 1, data
// link H4, as Android and BlueZ write it. It follows L2CAP reassembly and the
// attribute discovery of every connection, and yields each notification and
// indication of a characteristic that Decode reads.
//
// A value that cannot be decoded is yielded as an error that wraps ErrPayload;
// the sequence goes on after it if the caller does. After any other error it
// ends. Memory is bounded whatever the file contains.
func DecodeBTSnoop(r io.Reader) iter.Seq2[Captured, error] {
	return func(yield func(Captured, error) bool) {
		in := &snoopReader{in: bufio.NewReader(r)}
		if err := in.header(); err != nil {
			yield(Captured{}, err)
			return
		}
		t := newTracker()
		for {
			record, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				yield(Captured{}, err)
				return
			}
			for _, value := range t.packet(record.data, record.received) {
				if !yield(decodeCaptured(record, value)) {
					return
				}
			}
		}
		if t.undiscovered > 0 && t.discovered == 0 {
			yield(Captured{}, fmt.Errorf("%w: %d values", ErrUndiscovered, t.undiscovered))
		}
	}
}

func decodeCaptured(record snoopEntry, value attributeValue) (Captured, error) {
	n, err := Decode(value.uuid, value.payload)
	if err != nil {
		return Captured{}, fmt.Errorf("record %d: %w", record.number, err)
	}
	return Captured{Micros: record.micros, Record: record.number, Payload: value.payload, Notification: n}, nil
}

// snoopReader reads the container format (RFC 1761 with the data links that
// Bluetooth tools added).
type snoopReader struct {
	in     *bufio.Reader
	count  int
	first  int64
	buffer []byte
}

// snoopEntry is one record. data is valid until the next one is read.
type snoopEntry struct {
	number   int
	micros   int64
	received bool
	data     []byte
}

func (s *snoopReader) header() error {
	var head [snoopHead]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		return fmt.Errorf("%w: the file header is incomplete", ErrCapture)
	}
	if string(head[:8]) != snoopMagic {
		return fmt.Errorf("%w: it does not start with %q", ErrCapture, strings.TrimRight(snoopMagic, "\x00"))
	}
	version, link := binary.BigEndian.Uint32(head[8:]), binary.BigEndian.Uint32(head[12:])
	if version != snoopV1 || link != snoopH4 {
		return fmt.Errorf("%w: version %d, data link %d; this reader wants version %d, data link %d (H4)", ErrCapture, version, link, snoopV1, snoopH4)
	}
	return nil
}

// next returns the next record, or io.EOF after the last whole one.
func (s *snoopReader) next() (snoopEntry, error) {
	var head [snoopRecord]byte
	if _, err := io.ReadFull(s.in, head[:]); err == io.EOF {
		return snoopEntry{}, io.EOF
	} else if err != nil {
		return snoopEntry{}, fmt.Errorf("%w: record %d has an incomplete header", ErrCapture, s.count+1)
	}
	s.count++
	original, included := binary.BigEndian.Uint32(head[0:]), binary.BigEndian.Uint32(head[4:])
	if included > maxSnoopRecord || included != original {
		return snoopEntry{}, fmt.Errorf("%w: record %d keeps %d of %d bytes; it needs all, and at most %d", ErrCapture, s.count, included, original, maxSnoopRecord)
	}
	// Grow with what really arrives, not with what the header claims.
	body := bytes.NewBuffer(s.buffer[:0])
	if _, err := io.CopyN(body, s.in, int64(included)); err != nil {
		return snoopEntry{}, fmt.Errorf("%w: record %d ends after %d of %d bytes", ErrCapture, s.count, body.Len(), included)
	}
	s.buffer = body.Bytes()
	stamp := int64(binary.BigEndian.Uint64(head[16:]))
	if s.count == 1 {
		s.first = stamp
	}
	received := binary.BigEndian.Uint32(head[8:])&1 != 0
	return snoopEntry{s.count, stamp - s.first, received, s.buffer}, nil
}

// WriteBTSnoopCSV writes every reading of a capture as CSV with the header
// t_seconds,uuid,metric,value,unit; t_seconds counts from the first record.
// Values are exact, or rounded to 12 decimals where no numeral is.
// Values that cannot be decoded do not stop it; they are counted in the error
// that it then returns.
func WriteBTSnoopCSV(r io.Reader, w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"t_seconds", "uuid", "metric", "value", "unit"}); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	var firstBad error
	bad := 0
	for captured, err := range DecodeBTSnoop(r) {
		if errors.Is(err, ErrPayload) {
			if bad++; bad == 1 {
				firstBad = err
			}
			continue
		}
		if err != nil {
			out.Flush()
			return errors.Join(err, out.Error())
		}
		if err := writeCaptured(out, captured); err != nil {
			return err
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	if bad > 0 {
		return fmt.Errorf("%d values left out, the first: %w", bad, firstBad)
	}
	return nil
}

func writeCaptured(out *csv.Writer, captured Captured) error {
	seconds, ok := NewDecimal(captured.Micros, 6)
	if !ok {
		return fmt.Errorf("%w: record %d is %d microseconds from the first", ErrCapture, captured.Record, captured.Micros)
	}
	for _, reading := range captured.Readings {
		m, _ := ByKey(reading.Metric)
		row := []string{seconds.String(), string(captured.UUID), reading.Metric, reading.Value.Plain(), m.UCUM}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("write CSV: %w", err)
		}
	}
	return nil
}
