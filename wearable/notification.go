package wearable

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// MaxPayload is the largest attribute value in bytes (Bluetooth Core
// Specification, volume 3, part F, section 3.2.9).
const MaxPayload = 512

// Sentinels of Decode. Neither goes away by trying again.
var (
	// ErrUnsupported means that no decoder exists for the characteristic: skip
	// it.
	ErrUnsupported = errors.New("no decoder for this characteristic")
	// ErrPayload means that the payload breaks the characteristic's format: drop
	// it whole, nothing in it can be trusted.
	ErrPayload = errors.New("malformed payload")
)

// Reading is one measured value, in the unit of the metric table. It may be out
// of the metric's range: the minute grid drops it then.
type Reading struct {
	// Metric is a key of the metric table.
	Metric string
	Value  Decimal
}

// Drop is a value that a payload announces but does not have, or has marked as
// not measured on the patient.
type Drop struct {
	Metric string
	// Reason is for people: "NaN", "measurement unavailable", ...
	Reason string
}

// Field is one part of a payload as transmitted.
type Field struct {
	Name string
	// Value is a json.Number, a string, a bool, or a slice of numbers or strings.
	Value any
	// Unit is the UCUM unit as transmitted, "" where there is none.
	Unit string
}

// Notification is one decoded GATT value.
type Notification struct {
	UUID     uint16
	Name     string
	Fields   []Field
	Readings []Reading
	Drops    []Drop
	// Timestamp is the sensor's own clock reading, zero where the payload has
	// none. It is in no known time zone, so nothing may rely on it.
	Timestamp Timestamp
}

// Timestamp is a GATT Date Time: year (0 is unknown), month, day (0 is unknown),
// hours, minutes, seconds.
type Timestamp struct {
	Year                              uint16
	Month, Day, Hour, Minute, Seconds uint8
}

// String returns an ISO 8601 local time, with zeros where unknown.
func (t Timestamp) String() string {
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", t.Year, t.Month, t.Day, t.Hour, t.Minute, t.Seconds)
}

// Decode reads one characteristic value. It accepts exactly the length that the
// flags announce; flag bits that the standard reserves are ignored.
func Decode(uuid uint16, payload []byte) (Notification, error) {
	c, name, err := decode(uuid, payload, true)
	if err != nil {
		return Notification{}, err
	}
	return Notification{UUID: uuid, Name: name, Fields: c.fields, Readings: c.readings, Drops: c.drops, Timestamp: c.timestamp}, nil
}

// AppendReadings is Decode without the fields: it appends the readings to dst
// and returns how many announced values had none.
func AppendReadings(dst []Reading, uuid uint16, payload []byte) ([]Reading, int, error) {
	c, _, err := decode(uuid, payload, false)
	if err != nil {
		return dst, 0, err
	}
	return append(dst, c.readings...), len(c.drops), nil
}

func decode(uuid uint16, payload []byte, full bool) (*cursor, string, error) {
	codec := codecOf(uuid)
	if codec == nil {
		return nil, "", fmt.Errorf("%w: %04x", ErrUnsupported, uuid)
	}
	if len(payload) > MaxPayload {
		return nil, "", fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrPayload, codec.name, len(payload), MaxPayload)
	}
	c := &cursor{data: payload, full: full}
	c.readings = c.room[:0]
	codec.decode(c)
	if c.err == nil && c.at < len(c.data) {
		c.err = fmt.Errorf("%d bytes more than its flags announce", len(c.data)-c.at)
	}
	if c.err != nil {
		return nil, "", fmt.Errorf("%w: %s of %d bytes: %w", ErrPayload, codec.name, len(payload), c.err)
	}
	return c, codec.name, nil
}

// cursor walks a payload. After the first fault it yields zeros and keeps the
// fault, so that decoders need not check each step.
type cursor struct {
	data      []byte
	at        int
	err       error
	full      bool
	fields    []Field
	readings  []Reading
	room      [3]Reading
	drops     []Drop
	timestamp Timestamp
}

// take returns the next n bytes, or n zeros after a fault.
func (c *cursor) take(n int, what string) []byte {
	if c.err == nil && len(c.data)-c.at < n {
		c.err = fmt.Errorf("it ends within the %s", what)
	}
	if c.err != nil {
		return make([]byte, n)
	}
	c.at += n
	return c.data[c.at-n : c.at]
}

func (c *cursor) uint8(what string) uint8   { return c.take(1, what)[0] }
func (c *cursor) uint16(what string) uint16 { return binary.LittleEndian.Uint16(c.take(2, what)) }
func (c *cursor) sfloat(what string) Float  { return DecodeSFLOAT(c.uint16(what)) }
func (c *cursor) float(what string) Float {
	return DecodeFLOAT(binary.LittleEndian.Uint32(c.take(4, what)))
}

// field records a part as transmitted.
func (c *cursor) field(name string, value any, unit string) {
	c.fields = append(c.fields, Field{name, value, unit})
}

func (c *cursor) integerField(name string, n int, unit string) {
	if c.full {
		c.field(name, json.Number(fmt.Sprint(n)), unit)
	}
}

func (c *cursor) floatField(name string, f Float, unit string) {
	if !c.full {
		return
	}
	if f.Kind != Number {
		c.field(name, f.String(), unit)
		return
	}
	c.field(name, json.Number(f.String()), unit)
}

func (c *cursor) textField(name, text string) {
	if c.full {
		c.field(name, text, "")
	}
}

// bitsField records the names of the bits that are set.
func (c *cursor) bitsField(name string, bits uint32, names []string) {
	if !c.full {
		return
	}
	set := []string{}
	for i, label := range names {
		if bits&(1<<i) != 0 && label != "" {
			set = append(set, label)
		}
	}
	c.field(name, set, "")
}

// reading records a measured value, converted by factor unless that is nil.
func (c *cursor) reading(metric string, f Float, factor *big.Rat) {
	if f.Kind != Number {
		c.drop(metric, f.String())
		return
	}
	value, ok := f.Decimal()
	if factor != nil {
		value, ok = f.times(factor)
	}
	if !ok {
		c.drop(metric, "out of any range")
		return
	}
	c.readings = append(c.readings, Reading{metric, value})
}

func (c *cursor) drop(metric, reason string) {
	c.drops = append(c.drops, Drop{metric, reason})
}

// discard turns every reading into a drop: the payload marks them as not
// measured on the patient.
func (c *cursor) discard(reason string) {
	for _, r := range c.readings {
		c.drop(r.Metric, reason)
	}
	c.readings = c.readings[:0]
}

// dateTime reads the seven bytes of a GATT Date Time (0x2A08).
func (c *cursor) dateTime(name string) {
	b := c.take(7, name)
	if c.err != nil {
		return
	}
	t := Timestamp{binary.LittleEndian.Uint16(b), b[2], b[3], b[4], b[5], b[6]}
	if !t.plausible() {
		c.err = fmt.Errorf("%s %v does not exist", name, t)
		return
	}
	c.timestamp = t
	c.textField(name, t.String())
}

// plausible applies the ranges of the standard: a year is 0 or from the
// Gregorian calendar's first, 1582, to 9999.
func (t Timestamp) plausible() bool {
	if t.Year != 0 && (t.Year < 1582 || t.Year > 9999) {
		return false
	}
	if t.Month > 12 || t.Day > 31 || t.Hour > 23 || t.Minute > 59 || t.Seconds > 59 {
		return false
	}
	if t.Month == 0 || t.Day == 0 {
		return true
	}
	year := int(t.Year)
	if year == 0 {
		year = 2000
	}
	date := time.Date(year, time.Month(t.Month), int(t.Day), 0, 0, 0, 0, time.UTC)
	return date.Day() == int(t.Day)
}
