package wearable

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
)

// MaxPayload is the largest attribute value in bytes (Bluetooth Core
// Specification, volume 3, part F, section 3.2.9).
const MaxPayload = 512

// Sentinels of Decode. None goes away by trying again.
var (
	// ErrUnsupported means that no decoder exists for the characteristic: skip
	// it.
	ErrUnsupported = errors.New("no decoder for this characteristic")
	// ErrPayload means that what the characteristic is about cannot be read, or
	// not be trusted: drop the payload whole.
	ErrPayload = errors.New("malformed payload")
)

// Reading is one measured value, in the unit of the metric table. It may be out
// of the metric's range: the minute grid drops it then.
type Reading struct {
	// Metric is a key of the metric table.
	Metric string
	Value  Decimal
}

// Reason says why a part of a payload does not count. Reasons are few, so that
// they can be counted; Drop.Detail has the rest.
type Reason uint8

// The reasons.
const (
	// NotANumber to ReservedValue are the special values of IEEE 11073 floats.
	NotANumber Reason = iota + 1
	NotAtResolution
	AboveAll
	BelowAll
	ReservedValue
	// Unmeasured: the sensor says that the value is none, or was not measured on
	// the person: no skin contact, demonstration, failed.
	Unmeasured
	// ControlSolution was in the meter, not blood.
	ControlSolution
	// TooLarge: a number with more digits than any metric has.
	TooLarge
	// Cut: the payload ends within this part, or before it.
	Cut
	// NoSuchTime: a date or time that does not exist.
	NoSuchTime
	// Surplus: bytes behind the last part that the flags announce.
	Surplus
	// UnknownForm: a part in a form that is not read here.
	UnknownForm
	// AnotherUnit: a value in a unit that its metric is not converted from.
	AnotherUnit
)

var reasonNames = [...]string{
	NotANumber: "NaN", NotAtResolution: "NRes", AboveAll: "+INF", BelowAll: "-INF", ReservedValue: "reserved",
	Unmeasured: "not measured", ControlSolution: "control solution", TooLarge: "out of any range", Cut: "cut off",
	NoSuchTime: "no such time", Surplus: "surplus bytes", UnknownForm: "unknown form", AnotherUnit: "another unit",
}

// Reasons returns all reasons, for tables of counts.
func Reasons() []Reason {
	all := make([]Reason, 0, len(reasonNames))
	for r := NotANumber; int(r) < len(reasonNames); r++ {
		all = append(all, r)
	}
	return all
}

// String returns the reason for people.
func (r Reason) String() string {
	if r == 0 || int(r) >= len(reasonNames) {
		return fmt.Sprintf("reason %d", uint8(r))
	}
	return reasonNames[r]
}

// Drop is a part that a payload announces but does not have, or that does not
// count. What stands before it counts all the same.
type Drop struct {
	// Part names the field; where the part is a measured value, Metric is its
	// metric.
	Part, Metric string
	Reason       Reason
	// Detail is for people, "" where the reason says all.
	Detail string
}

// String returns what the drop is about, why, and the detail.
func (d Drop) String() string {
	what := d.Metric
	if what == "" {
		what = d.Part
	}
	if d.Detail == "" {
		return what + " " + d.Reason.String()
	}
	return what + " " + d.Reason.String() + ": " + d.Detail
}

// Record says when a value was measured and on whom, as far as the payload tells:
// what a bridge needs to file a record out of a sensor's memory to its own minute.
type Record struct {
	// Time is the sensor's own clock reading, zero where the payload has none.
	Time Timestamp
	// Minutes are to be added to Time. A glucose meter's user moves his clock so;
	// a continuous monitor sends the minutes since its session began, and no Time.
	Minutes int
	// Zone is how many minutes the sensor's clock is ahead of UTC, where it is
	// ZoneKnown. Otherwise no time zone is known.
	Zone      int16
	ZoneKnown bool
	// SinceSession: Time is missing, Minutes count from the session's start, which
	// UUIDSessionStart tells.
	SinceSession bool
	// Age is how many minutes before its arrival the value was measured, for sensors
	// that say so and have no clock.
	Age int
	// Stored: the value comes from the sensor's memory and is not of now.
	Stored bool
	// ClockUnset: the sensor says that its clock was never set.
	ClockUnset bool
	// Sequence numbers the records of a memory, where it is Numbered.
	Sequence uint32
	Numbered bool
	// User is the number of the person in the sensor, where it is UserKnown.
	User      uint8
	UserKnown bool
}

// Local returns the time of the measurement by the sensor's clock, as if that
// showed UTC, and false where the payload has no whole date.
func (r Record) Local() (time.Time, bool) {
	t := r.Time
	if t.Year == 0 || t.Month == 0 || t.Day == 0 || !t.exists() {
		return time.Time{}, false
	}
	at := time.Date(int(t.Year), time.Month(t.Month), int(t.Day), int(t.Hour), int(t.Minute), int(t.Seconds), 0, time.UTC)
	return at.Add(time.Duration(r.Minutes) * time.Minute), true
}

// Instant is Local in truth: false also where the time zone is not known, or the
// sensor says that its clock was never set.
func (r Record) Instant() (time.Time, bool) {
	at, ok := r.Local()
	return at.Add(-time.Duration(r.Zone) * time.Minute), ok && r.ZoneKnown && !r.ClockUnset
}

// Field is one part of a payload as transmitted.
type Field struct {
	// Name is distinct within a notification.
	Name string
	// Value is an int64, a Float, a Decimal, a Timestamp, an Enum, a Bits, a
	// []int64, a string, or []byte for what is not read further.
	Value any
	// Unit is the UCUM unit as transmitted, "" where there is none.
	Unit string
	// derived fields are in the flags or other fields already.
	derived bool
}

// Enum is a number that stands for something.
type Enum struct {
	Number uint32
	// Name is "reserved (n)" where the standard has none.
	Name string
}

// Bits are flags, of which the standard names some.
type Bits struct {
	Set   uint32
	Names []string
}

// Notification is one decoded GATT value.
type Notification struct {
	UUID UUID
	Name string
	// Flags are the payload's own. Encode sets those that announce parts by what
	// Fields has; units and the like are as they are here.
	Flags    uint32
	Fields   []Field
	Readings []Reading
	Drops    []Drop
	Record   Record
	// Following are further measurements in the same value: continuous glucose
	// monitors send several in one, generic sensors bundle them.
	Following []Notification
}

// All yields n and what follows it in the same value, each a measurement with a
// Record of its own.
func (n *Notification) All() iter.Seq[*Notification] {
	return func(yield func(*Notification) bool) {
		if !yield(n) {
			return
		}
		for i := range n.Following {
			if !yield(&n.Following[i]) {
				return
			}
		}
	}
}

// Int returns a whole number, an enumeration's number or bits by the field's name.
func (n *Notification) Int(name string) (int64, bool) {
	for i := range n.Fields {
		if n.Fields[i].Name != name {
			continue
		}
		switch v := n.Fields[i].Value.(type) {
		case int64:
			return v, true
		case Enum:
			return int64(v.Number), true
		case Bits:
			return int64(v.Set), true
		}
	}
	return 0, false
}

// Timestamp is a GATT Date Time: year (0 is unknown), month, day (0 is unknown),
// hours, minutes, seconds.
type Timestamp struct {
	Year                              uint16
	Month, Day, Hour, Minute, Seconds uint8
}

// TimestampOf returns what a clock shows at that time in the time's own zone.
func TimestampOf(t time.Time) Timestamp {
	return Timestamp{uint16(t.Year()), uint8(t.Month()), uint8(t.Day()), uint8(t.Hour()), uint8(t.Minute()), uint8(t.Second())}
}

// String returns an ISO 8601 local time, with zeros where unknown.
func (t Timestamp) String() string {
	return fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", t.Year, t.Month, t.Day, t.Hour, t.Minute, t.Seconds)
}

func timestampFrom(b []byte) Timestamp {
	return Timestamp{binary.LittleEndian.Uint16(b), b[2], b[3], b[4], b[5], b[6]}
}

func (t Timestamp) appendTo(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint16(b, t.Year), t.Month, t.Day, t.Hour, t.Minute, t.Seconds)
}

// exists applies the ranges of the standard: a year is 0 or from the Gregorian
// calendar's first, 1582, to 9999.
func (t Timestamp) exists() bool {
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

// Decode reads one characteristic value, with all fields. What its flags announce
// and it does not have, or has in a form that cannot be, is in Drops; an error
// means that the measurement itself cannot be read.
func Decode(uuid UUID, payload []byte) (Notification, error) {
	var d Decoder
	n, err := d.decode(uuid, payload, true)
	if err != nil {
		return Notification{}, err
	}
	return *n, nil
}

// Decoder decodes without fields and, in the long run, without allocation: what a
// bridge needs. It is not safe for concurrent use.
type Decoder struct {
	c coder
	n Notification
}

// Decode is Decode without the fields. What it returns is valid until the next
// call.
func (d *Decoder) Decode(uuid UUID, payload []byte) (*Notification, error) {
	return d.decode(uuid, payload, false)
}

func (d *Decoder) decode(uuid UUID, payload []byte, full bool) (*Notification, error) {
	p := characteristicOf(uuid)
	if p == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, uuid)
	}
	if limit := p.limit(); len(payload) > limit {
		return nil, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrPayload, p.Name, len(payload), limit)
	}
	d.n = Notification{UUID: uuid, Name: p.Name, Readings: d.n.Readings[:0], Drops: d.n.Drops[:0]}
	d.c = coder{data: payload, n: &d.n, full: full}
	p.layout(&d.c)
	d.c.rest()
	if d.c.err != nil {
		return nil, fmt.Errorf("%w: %s of %d bytes: %w", ErrPayload, p.Name, len(payload), d.c.err)
	}
	return &d.n, nil
}

// Encode writes the payload of a notification: of each field that the layout has
// room for, in its order. Readings, Drops and Record play no part. For whatever
// Decode reads without a drop, Encode gives the same bytes again.
func Encode(n Notification) ([]byte, error) {
	p := characteristicOf(n.UUID)
	if p == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, n.UUID)
	}
	c := coder{n: &n, writes: true, full: true, flagsAt: -1}
	p.layout(&c)
	c.rest()
	if c.err != nil {
		return nil, fmt.Errorf("encode %s: %w", p.Name, c.err)
	}
	if limit := p.limit(); len(c.data) > limit {
		return nil, fmt.Errorf("encode %s: %d bytes, at most %d are allowed", p.Name, len(c.data), limit)
	}
	return c.data, nil
}
