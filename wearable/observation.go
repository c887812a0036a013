package wearable

import (
	"errors"
	"fmt"
	"math/big"
	"time"
)

// maxObservation bounds an observation of a generic sensor, joined from segments.
const maxObservation = 4096

// ErrSegment means that a segment of an observation does not follow the one
// before: what was gathered is lost, the next first segment begins anew.
var ErrSegment = errors.New("a segment is missing")

// Segments joins the segments in which a generic sensor sends an observation
// (Generic Health Sensor Service 1.0, section 3.2.1): the first byte of each has
// "first" and "last" in its low bits, above them a counter. One is for one
// characteristic of one connection. It is not safe for concurrent use.
type Segments struct {
	whole []byte
	next  byte
}

// Add takes one segment. It returns the whole observation with the last one, in the
// form of a single segment that Decode reads, and nil before. What it returns is
// valid until the next call.
func (s *Segments) Add(segment []byte) ([]byte, error) {
	if len(segment) == 0 {
		s.whole = s.whole[:0]
		return nil, fmt.Errorf("%w: one is empty", ErrSegment)
	}
	head := segment[0]
	first, last, counter := head&1 != 0, head&2 != 0, head>>2
	switch {
	case first:
		s.whole = append(s.whole[:0], 3|counter<<2)
	case len(s.whole) == 0 || counter != s.next:
		s.whole = s.whole[:0]
		return nil, ErrSegment
	}
	if len(s.whole)+len(segment)-1 > maxObservation {
		s.whole = s.whole[:0]
		return nil, fmt.Errorf("%w: the observation has more than %d bytes", ErrSegment, maxObservation)
	}
	s.whole = append(s.whole, segment[1:]...)
	s.next = (counter + 1) & 0x3F
	if !last {
		return nil, nil
	}
	whole := s.whole
	s.whole = s.whole[:0]
	return whole, nil
}

// liveObservation and storedObservation are 0x2B8B and 0x2BDD (Generic Health
// Sensor Service 1.0, sections 3.2 and 3.3), whole: Segments joins what comes in
// parts.
func liveObservation(c *coder) {
	c.segment()
	c.observation(0)
}

func storedObservation(c *coder) {
	c.segment()
	c.sequence("record_number", 4)
	c.n.Record.Stored = true
	c.observation(0)
}

func (c *coder) segment() {
	const single = 3
	if head := c.bits("segment", 1, []string{"first", "last"}); !c.writes && c.err == nil && head&single != single {
		c.fail("it is a part of an observation, to be joined with the others")
	}
}

// Classes of observations.
const (
	classNumeric  = 1
	classCompound = 7
	classBundle   = 255
)

var observationClasses = []string{
	1: "numeric", 2: "simple discrete", 3: "string", 4: "sample array", 5: "compound discrete", 6: "compound discrete event",
	7: "compound", 8: "TLV", 255: "bundle",
}

// observation is one observation of ISO/IEEE 11073-10206 in the form of the Generic
// Health Sensor Service: class, length, flags, optional attributes, value. depth is
// 1 within a bundle, which may not hold bundles.
func (c *coder) observation(depth int) {
	class := c.enum("class", 1, observationClasses)
	start := c.span()
	c.flags(2)
	c.attributes()
	c.must()
	switch class {
	case classNumeric:
		c.numeric("", c.code)
	case classCompound:
		c.compound()
	case classBundle:
		if depth > 0 {
			c.fail("it is a bundle within a bundle")
			return
		}
		c.bundle()
	default:
		c.opaque("value", class)
	}
	c.close(start)
	if status := c.state & observationInvalid; c.reading() && status != 0 {
		c.discard(Unmeasured, firstOf(status, observationStatus))
		for i := range c.n.Following {
			sub := coder{n: &c.n.Following[i]}
			sub.discard(Unmeasured, firstOf(status, observationStatus))
		}
	}
}

// span begins what has its length in front, in two bytes. While reading it returns
// where that ends, while writing where the length is.
func (c *coder) span() int {
	if c.writes {
		c.data = append(c.data, 0, 0)
		return len(c.data) - 2
	}
	length := int(littleEndian(c.take(2, "length")))
	if c.err == nil && length > len(c.data)-c.at {
		c.fail("it says that it has %d bytes more, and has %d", length, len(c.data)-c.at)
	}
	return c.at + length
}

func (c *coder) close(at int) {
	if c.writes {
		appendUint(c.data[:at], uint64(len(c.data)-at-2), 2)
		return
	}
	if c.err != nil {
		return
	}
	if c.at > at {
		c.fail("it has %d bytes more than its length says", c.at-at)
	} else if c.at < at {
		c.drop(Drop{Part: "surplus", Reason: Surplus, Detail: fmt.Sprint(at - c.at)})
		c.at = at
	}
}

// attributes are the optional parts before the value.
func (c *coder) attributes() {
	if c.has(0, "observation_type") {
		c.code = uint32(c.number("observation_type", 4, ""))
	}
	if c.has(1, "timestamp") {
		c.elapsedTime("timestamp")
	}
	if c.has(2, "duration") {
		c.float("duration", "s")
	}
	if c.has(3, "measurement_status") {
		status := c.bits("measurement_status", 2, observationStatus)
		c.state = status
		c.n.Record.Stored = c.n.Record.Stored || status&observationStored != 0
	}
	if c.has(4, "object_id") {
		c.number("object_id", 4, "")
	}
	if c.has(5, "patient") {
		c.user("patient")
	}
	for i, list := range []string{"supplemental", "derived_from", "has_member"} {
		if c.has(6+i, list) {
			c.counted(list)
		}
	}
	if c.has(9, "tlvs") {
		c.tlvs("tlvs")
	}
}

const (
	// observationInvalid: invalid, not available, calibrating, test, demonstration.
	observationInvalid = 1<<0 | 1<<2 | 1<<3 | 1<<4 | 1<<5
	observationStored  = 1 << 6
)

// observationStatus is MeasurementStatus of ISO/IEEE 11073-20601, which the service
// takes over bit by bit.
var observationStatus = []string{
	"invalid", "questionable", "not available", "calibrating", "test data", "demonstration data", "from storage",
	"fully qualified", "validated", "early indication", "ongoing",
}

// counted is a list of codes with their number in front.
func (c *coder) counted(name string) {
	if c.writes {
		all, ok := c.find(name).Value.([]int64)
		if !ok || len(all) > 255 {
			c.fail("%s is no list of at most 255 numbers", name)
			return
		}
		c.data = append(c.data, byte(len(all)))
		for _, n := range all {
			c.data = appendUint(c.data, uint64(n), 4)
		}
		return
	}
	count := int(c.take(1, name)[0])
	all := []int64{}
	for range count {
		all = append(all, int64(littleEndian(c.take(4, name))))
	}
	if c.full {
		c.field(name, all, "")
	}
}

// tlvs are attributes of kinds that are not known here: type, length, format and
// value each.
func (c *coder) tlvs(name string) {
	if c.writes {
		c.bytes(name, 0)
		return
	}
	start := c.at
	for range c.take(1, name)[0] {
		head := c.take(7, name)
		c.take(min(int(littleEndian(head[4:6])), maxObservation), name)
	}
	if c.full && !c.ended && c.err == nil {
		c.field(name, append([]byte{}, c.data[start:c.at]...), "")
	}
}

// Flags of an elapsed time (Elapsed Time Service 1.0, section 3.1).
const (
	elapsedTicks    = 1 << 0
	elapsedUTC      = 1 << 1
	elapsedZone     = 1 << 4
	elapsedTimeline = 1 << 5
)

// elapsedTime is nine bytes: flags, 48 bits of time since 2000, how the clock was
// set, time zone in quarters of an hour.
func (c *coder) elapsedTime(name string) {
	if c.writes {
		c.bytes(name, 9)
		return
	}
	b := c.take(9, name)
	if c.ended || c.err != nil {
		return
	}
	if c.full {
		c.field(name, append([]byte{}, b...), "")
	}
	flags, count, zone := b[0], int64(littleEndian(b[1:7])), 15*int16(int8(b[8]))
	units := [4]int64{1, 10, 1000, 10_000} // in a second: bits 2 and 3
	per := units[flags>>2&3]
	if flags&elapsedTicks != 0 || count/per > 1<<33 {
		return
	}
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(count/per) * time.Second)
	c.n.Record.Time = TimestampOf(at)
	c.derived(name+"_time", at.Format(time.RFC3339))
	switch {
	case flags&elapsedUTC != 0:
		c.n.Record.ZoneKnown = true
	case flags&elapsedZone != 0:
		c.n.Record.Zone, c.n.Record.ZoneKnown = zone, true
	}
	// A time line before the present one: the clock has been set since.
	c.n.Record.ClockUnset = flags&elapsedTimeline == 0
}

// numeric is a unit and a decimal float.
func (c *coder) numeric(prefix string, kind uint32) {
	unit := uint32(c.number(prefix+"unit", 2, ""))
	value := c.float(prefix+"value", unitNames[unit])
	if !c.reading() {
		return
	}
	for i := range table {
		if table[i].MDC == kind {
			c.ofMetric(&table[i], unit, value)
		}
	}
}

// MDC units (ISO/IEEE 11073-10101).
const (
	mdcPercent   = 544
	mdcPerMinute = 2784
	mdcBeats     = 2720
	mdcMgPerDL   = 2130
	mdcMmolPerL  = 4722
	mdcMMHg      = 3872
	mdcKPa       = 3843
	mdcCelsius   = 6048
	mdcDegF      = 4416
)

var unitNames = map[uint32]string{
	mdcPercent: unitPercent, mdcPerMinute: unitPerMinute, mdcBeats: unitPerMinute, mdcMgPerDL: "mg/dL", mdcMmolPerL: "mmol/L",
	mdcMMHg: unitMMHg, mdcKPa: unitKPa, mdcCelsius: unitCelsius, mdcDegF: unitDegF,
}

// unitFactors convert to the metric table's units.
var unitFactors = map[uint32]*big.Rat{mdcMmolPerL: mgdLPerMmolL, mdcKPa: mmHgPerKPa}

func (c *coder) ofMetric(m *Metric, unit uint32, value Float) {
	into := map[string]string{"mmol/L": "mg/dL", unitKPa: unitMMHg, unitDegF: unitCelsius}
	name := unitNames[unit]
	if converted, ok := into[name]; ok {
		name = converted
	}
	switch {
	case name != m.UCUM:
		c.drop(Drop{Metric: m.Key, Reason: AnotherUnit, Detail: fmt.Sprintf("MDC unit %d", unit)})
	case unit == mdcDegF && value.Kind == Number:
		c.fahrenheit(m.Key, value)
	default:
		c.measured(m.Key, value, unitFactors[unit])
	}
}

// compound is several values of one observation, such as blood pressure. Values
// that are no numbers have forms of their own and end what is read.
func (c *coder) compound() {
	count := int(c.number("components", 1, ""))
	for i := 1; i <= count && c.err == nil; i++ {
		prefix := fmt.Sprintf("component_%d_", i)
		kind := uint32(c.number(prefix+"type", 4, ""))
		form := c.number(prefix+"form", 1, "")
		if form != classNumeric {
			c.opaque("rest", classCompound)
			return
		}
		c.numeric(prefix, kind)
	}
}

// opaque is the rest of the observation, kept as it is.
func (c *coder) opaque(name string, class int) {
	if c.writes {
		c.bytes(name, 0)
		return
	}
	if c.err != nil {
		return
	}
	c.drop(Drop{Part: name, Reason: UnknownForm, Detail: nameOf(class, observationClasses)})
	c.bytes(name, len(c.data)-c.at)
}

// bundle is several observations with common attributes.
func (c *coder) bundle() {
	count := int(c.number("observations", 1, ""))
	if c.writes {
		for i := range c.n.Following {
			sub := coder{n: &c.n.Following[i], writes: true, full: true, flagsAt: -1}
			sub.observation(1)
			c.data, c.err = append(c.data, sub.data...), firstError(c.err, sub.err)
		}
		return
	}
	for i := range count {
		if c.err != nil {
			return
		}
		length := 0
		if rest := c.data[c.at:]; len(rest) >= 3 {
			length = 3 + int(littleEndian(rest[1:3]))
		}
		if length == 0 || length > len(c.data)-c.at {
			c.drop(Drop{Part: fmt.Sprintf("observation %d of %d", i+1, count), Reason: Cut})
			c.at = len(c.data)
			return
		}
		n := Notification{UUID: c.n.UUID, Name: c.n.Name, Record: c.n.Record}
		sub := coder{data: c.data[c.at : c.at+length], n: &n, full: c.full}
		sub.observation(1)
		c.at += length
		if sub.err != nil {
			c.drop(Drop{Part: fmt.Sprintf("observation %d of %d", i+1, count), Reason: UnknownForm, Detail: sub.err.Error()})
			continue
		}
		c.n.Following = append(c.n.Following, n)
	}
}
