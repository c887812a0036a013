package wearable

import (
	"fmt"
	"math/big"
)

// coder walks a payload by a layout: a function that names the parts in their
// order. The same layout reads (payload to fields) and writes (fields to payload),
// so that one is the inverse of the other.
//
// While reading, the first fault in a part that must be there ends all (err). A
// fault in an optional part, which has announced, ends what follows it and is a
// drop for each part that is lost so. After a fault the coder yields zeros, so that
// layouts need not check each step.
type coder struct {
	data   []byte
	at     int
	n      *Notification
	writes bool
	// full keeps the fields.
	full bool
	err  error
	// part is the optional part that is being read, "" in those that must be there.
	part string
	// ended: an optional part was cut off.
	ended bool
	// flagsAt is where the flags are in what is written, flagsWide their bytes.
	flagsAt, flagsWide int
	// known are the flags that the layout has asked about.
	known uint32
	// code and state are an observation's type and measurement status.
	code, state uint32
}

// reading tells whether the layout is to draw conclusions from what it has read.
func (c *coder) reading() bool { return !c.writes && c.err == nil }

var zeros [maxObservation]byte

// take returns the next n bytes, or n zeros after a fault.
func (c *coder) take(n int, what string) []byte {
	if c.err == nil && !c.ended && len(c.data)-c.at >= n {
		c.at += n
		return c.data[c.at-n : c.at]
	}
	if c.part != "" && c.err == nil {
		if !c.ended {
			c.ended = true
			c.drop(Drop{Part: c.part, Reason: Cut})
		}
	} else if c.err == nil {
		c.err = fmt.Errorf("it ends within the %s", what)
	}
	return zeros[:n]
}

// must begins parts without which nothing in the payload has a meaning.
func (c *coder) must() {
	c.part = ""
	if c.ended && c.err == nil {
		c.err = fmt.Errorf("it is cut off before what it is about")
	}
}

// has tells whether the part is there that a bit of the flags announces: in the
// payload, or while writing among the fields.
func (c *coder) has(bit int, part string) bool {
	c.known |= 1 << bit
	if c.writes {
		there := c.find(part) != nil
		c.n.Flags &^= 1 << bit
		if there {
			c.n.Flags |= 1 << bit
		}
		c.patchFlags()
		return there
	}
	if c.n.Flags&(1<<bit) == 0 || c.err != nil {
		return false
	}
	if c.ended {
		c.drop(Drop{Part: part, Reason: Cut})
		return false
	}
	c.part = part
	return true
}

// flags begins a payload, or a part of one, with its flags.
func (c *coder) flags(wide int) {
	if c.writes {
		c.flagsAt, c.flagsWide = len(c.data), wide
		c.data = appendUint(c.data, uint64(c.n.Flags), wide)
		return
	}
	c.n.Flags = uint32(littleEndian(c.take(wide, "flags")))
}

func (c *coder) patchFlags() {
	appendUint(c.data[:c.flagsAt], uint64(c.n.Flags), c.flagsWide)
}

// bit returns a flag that announces no part.
func (c *coder) bit(bit int) bool {
	c.known |= 1 << bit
	return c.n.Flags&(1<<bit) != 0
}

func littleEndian(b []byte) uint64 {
	var n uint64
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}

func appendUint(b []byte, n uint64, wide int) []byte {
	for range wide {
		b = append(b, byte(n))
		n >>= 8
	}
	return b
}

// find returns the field of that name, while writing.
func (c *coder) find(name string) *Field {
	for i := range c.n.Fields {
		if f := &c.n.Fields[i]; f.Name == name && !f.derived {
			return f
		}
	}
	return nil
}

// field keeps a part as transmitted.
func (c *coder) field(name string, value any, unit string) {
	if c.full && !c.ended && c.err == nil {
		c.n.Fields = append(c.n.Fields, Field{Name: name, Value: value, Unit: unit})
	}
}

// derived shows what other parts say already.
func (c *coder) derived(name string, value any) {
	if c.full && !c.writes && !c.ended && c.err == nil {
		c.n.Fields = append(c.n.Fields, Field{Name: name, Value: value, derived: true})
	}
}

// written returns the number that a field holds, to be written in so many bytes.
func (c *coder) written(name string, wide int, signed bool) int64 {
	f := c.find(name)
	if f == nil {
		c.fail("%s is missing", name)
		return 0
	}
	var n int64
	switch v := f.Value.(type) {
	case int64:
		n = v
	case Enum:
		n = int64(v.Number)
	case Bits:
		n = int64(v.Set)
	default:
		c.fail("%s is a %T and no whole number", name, f.Value)
		return 0
	}
	low, high := int64(0), int64(1)<<(8*wide)-1
	if signed {
		low, high = -1<<(8*wide-1), 1<<(8*wide-1)-1
	}
	if n < low || n > high {
		c.fail("%s %d does not fit %d bytes", name, n, wide)
	}
	return n
}

func (c *coder) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// number is a whole number of that many bytes.
func (c *coder) number(name string, wide int, unit string) int64 {
	if c.writes {
		n := c.written(name, wide, false)
		c.data = appendUint(c.data, uint64(n), wide)
		return n
	}
	n := int64(littleEndian(c.take(wide, name)))
	if c.full {
		c.field(name, n, unit)
	}
	return n
}

// signed is a whole number in two's complement.
func (c *coder) signed(name string, wide int, unit string) int64 {
	if c.writes {
		n := c.written(name, wide, true)
		c.data = appendUint(c.data, uint64(n), wide)
		return n
	}
	shift := 64 - 8*wide
	n := int64(littleEndian(c.take(wide, name))<<shift) >> shift
	if c.full {
		c.field(name, n, unit)
	}
	return n
}

// list is the rest of the payload as whole numbers, one at least.
func (c *coder) list(name string, wide int, unit string) {
	if c.writes {
		c.writeList(name, wide)
		return
	}
	var all []int64
	for more := true; more && !c.ended && c.err == nil; more = c.at < len(c.data) {
		n := int64(littleEndian(c.take(wide, name)))
		if c.full && !c.ended {
			all = append(all, n)
		}
	}
	// What stands whole before a cut counts.
	if c.full && c.err == nil && len(all) > 0 {
		c.n.Fields = append(c.n.Fields, Field{Name: name, Value: all, Unit: unit})
	}
}

func (c *coder) writeList(name string, wide int) {
	all, ok := c.find(name).Value.([]int64)
	if !ok || len(all) == 0 {
		c.fail("%s is no list of numbers", name)
		return
	}
	for _, n := range all {
		if n < 0 || n >= 1<<(8*wide) {
			c.fail("%s: %d does not fit %d bytes", name, n, wide)
			return
		}
		c.data = appendUint(c.data, uint64(n), wide)
	}
}

// enum is a number that stands for something.
func (c *coder) enum(name string, wide int, names []string) int {
	if c.writes {
		n := c.written(name, wide, false)
		c.data = appendUint(c.data, uint64(n), wide)
		return int(n)
	}
	n := int(littleEndian(c.take(wide, name)))
	c.enumField(name, n, names)
	return n
}

func (c *coder) enumField(name string, n int, names []string) {
	if c.full {
		c.field(name, Enum{uint32(n), nameOf(n, names)}, "")
	}
}

// nibbles is a byte of two enumerations, the low half first.
func (c *coder) nibbles(low, high string, lowNames, highNames []string) (int, int) {
	if c.writes {
		l, h := c.written(low, 1, false), c.written(high, 1, false)
		if l > 15 || h > 15 {
			c.fail("%s and %s have half a byte each", low, high)
		}
		c.data = append(c.data, byte(l)|byte(h)<<4)
		return int(l), int(h)
	}
	b := c.take(1, low)[0]
	c.enumField(low, int(b&15), lowNames)
	c.enumField(high, int(b>>4), highNames)
	return int(b & 15), int(b >> 4)
}

// nameOf returns the meaning of an enumeration's value.
func nameOf(n int, names []string) string {
	if n < len(names) && names[n] != "" {
		return names[n]
	}
	return fmt.Sprintf("reserved (%d)", n)
}

// bits are flags with names.
func (c *coder) bits(name string, wide int, names []string) uint32 {
	if c.writes {
		n := c.written(name, wide, false)
		c.data = appendUint(c.data, uint64(n), wide)
		return uint32(n)
	}
	n := uint32(littleEndian(c.take(wide, name)))
	if c.full {
		set := []string{}
		for i, label := range names {
			if n&(1<<i) != 0 && label != "" {
				set = append(set, label)
			}
		}
		c.field(name, Bits{n, set}, "")
	}
	return n
}

// firstOf names the lowest bit that is set, "" where none is.
func firstOf(bits uint32, names []string) string {
	for i, name := range names {
		if bits&(1<<i) != 0 {
			return name
		}
	}
	return ""
}

// sfloat and float are decimal floats of 2 and 4 bytes.
func (c *coder) sfloat(name, unit string) Float { return c.decimalFloat(name, 2, unit) }

func (c *coder) float(name, unit string) Float { return c.decimalFloat(name, 4, unit) }

func (c *coder) decimalFloat(name string, wide int, unit string) Float {
	if c.writes {
		f, ok := c.floatOf(name)
		raw, fits := f.raw(wide)
		if !ok || !fits {
			c.fail("%s does not fit a float of %d bytes", name, wide)
			return f
		}
		c.data = appendUint(c.data, uint64(raw), wide)
		return f
	}
	raw := littleEndian(c.take(wide, name))
	f := DecodeFLOAT(uint32(raw))
	if wide == 2 {
		f = DecodeSFLOAT(uint16(raw))
	}
	if c.full {
		c.field(name, f, unit)
	}
	return f
}

func (c *coder) floatOf(name string) (Float, bool) {
	if f := c.find(name); f != nil {
		v, ok := f.Value.(Float)
		return v, ok
	}
	return Float{Kind: NaN}, true
}

// scaled is a whole number in steps of a unit: coef / 10^scale. The largest one
// stands for a measurement that failed, where the characteristic has such.
func (c *coder) scaled(name string, step Decimal, unit string, fails bool) {
	if c.writes {
		c.writeScaled(name, step)
		return
	}
	n := int64(littleEndian(c.take(2, name)))
	if fails && n == 0xFFFF && c.reading() && !c.ended {
		c.drop(Drop{Part: name, Reason: Unmeasured, Detail: "measurement unsuccessful"})
	}
	if c.full {
		value, _ := NewDecimal(n*step.coef, int(step.scale))
		c.field(name, value, unit)
	}
}

func (c *coder) writeScaled(name string, step Decimal) {
	f := c.find(name)
	if f == nil {
		c.fail("%s is missing", name)
		return
	}
	value, ok := f.Value.(Decimal)
	steps := new(big.Rat).Quo(value.Rat(), step.Rat())
	if !ok || !steps.IsInt() || steps.Sign() < 0 || steps.Num().BitLen() > 16 {
		c.fail("%s %v is no whole number of %v from 0 to 65535", name, f.Value, step)
		return
	}
	c.data = appendUint(c.data, steps.Num().Uint64(), 2)
}

// time is the seven bytes of a GATT Date Time (0x2A08), the time of the record.
func (c *coder) time(name string) {
	if c.writes {
		f := c.find(name)
		if f == nil {
			c.fail("%s is missing", name)
			return
		}
		t, ok := f.Value.(Timestamp)
		if !ok {
			c.fail("%s is a %T and no time", name, f.Value)
		}
		c.data = t.appendTo(c.data)
		return
	}
	t := timestampFrom(c.take(7, name))
	if c.ended || c.err != nil {
		return
	}
	if !t.exists() {
		c.drop(Drop{Part: name, Reason: NoSuchTime, Detail: t.String()})
		return
	}
	c.n.Record.Time = t
	if c.full {
		c.field(name, t, "")
	}
}

// user is the number of the person in the sensor; 255 is nobody known.
func (c *coder) user(name string) {
	n := c.number(name, 1, "")
	if c.reading() && !c.ended && n != 0xFF {
		c.n.Record.User, c.n.Record.UserKnown = uint8(n), true
	}
}

// sequence numbers the record within the sensor's memory.
func (c *coder) sequence(name string, wide int) {
	n := c.number(name, wide, "")
	c.n.Record.Sequence, c.n.Record.Numbered = uint32(n), true
}

// text is the rest of the payload, in UTF-8.
func (c *coder) text(name string) {
	if c.writes {
		if f := c.find(name); f != nil {
			s, _ := f.Value.(string)
			c.data = append(c.data, s...)
		}
		return
	}
	if c.full {
		c.field(name, string(c.data[c.at:]), "")
	}
	c.at = len(c.data)
}

// bytes are kept as they are.
func (c *coder) bytes(name string, n int) {
	if c.writes {
		f := c.find(name)
		if f == nil {
			c.fail("%s is missing", name)
			return
		}
		b, _ := f.Value.([]byte)
		c.data = append(c.data, b...)
		return
	}
	b := c.take(n, name)
	if c.full {
		c.field(name, append([]byte{}, b...), "")
	}
}

// rest drops what is behind the last part: bytes that a reserved flag may
// announce, or that should not be there.
func (c *coder) rest() {
	const part = "surplus"
	if c.writes || c.err != nil || c.ended || c.at >= len(c.data) {
		return
	}
	detail := fmt.Sprintf("%d", len(c.data)-c.at)
	if c.n.Flags&^c.known != 0 {
		detail += ", which a reserved flag may announce"
	}
	c.drop(Drop{Part: part, Reason: Surplus, Detail: detail})
	c.at = len(c.data)
}

// measured is a value of a metric, converted by factor unless that is nil.
func (c *coder) measured(metric string, f Float, factor *big.Rat) {
	if !c.reading() || c.ended {
		return
	}
	if f.Kind != Number {
		c.drop(Drop{Metric: metric, Reason: f.Kind.reason()})
		return
	}
	value, ok := f.Decimal()
	if factor != nil {
		value, ok = f.times(factor)
	}
	c.value(metric, value, ok)
}

func (c *coder) value(metric string, value Decimal, ok bool) {
	if !ok {
		c.drop(Drop{Metric: metric, Reason: TooLarge})
		return
	}
	c.n.Readings = append(c.n.Readings, Reading{metric, value})
}

func (c *coder) drop(d Drop) { c.n.Drops = append(c.n.Drops, d) }

// discard turns every reading into a drop: the payload says that they are none.
func (c *coder) discard(reason Reason, detail string) {
	for _, r := range c.n.Readings {
		c.drop(Drop{Metric: r.Metric, Reason: reason, Detail: detail})
	}
	c.n.Readings = c.n.Readings[:0]
}
