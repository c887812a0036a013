package gateway

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitalveil/vitalveil/internal/fault"
)

var errNoMessage = fault.New(fault.Invalid, "the body is not the message of this route")

// scanWire is scan for a body in the wire format: a message whose fields are all known
// and stand in their order, each once but for those of lists, with at most so many items
// in all of its lists together. What it lets through hides nothing and is small enough to
// be parsed; the parser insists on the rest.
func scanWire(body []byte, d protoreflect.MessageDescriptor, items int) error {
	return scanMessage(body, d, &items)
}

func scanMessage(body []byte, d protoreflect.MessageDescriptor, items *int) error {
	last := protowire.Number(0)
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 || n != protowire.SizeTag(number) {
			return errNoMessage
		}
		f := d.Fields().ByNumber(number)
		if f == nil || kind != wireType(f) {
			return fault.New(fault.Invalid, "the body has a field %d that %s does not have", number, d.Name())
		}
		if number < last || number == last && !f.IsList() {
			return fault.New(fault.Invalid, "%s is repeated or out of its place in the body", f.Name())
		}
		last, body = number, body[n:]
		size, inner := consumeValue(f, kind, body)
		if size < 0 {
			return errNoMessage
		}
		if f.IsList() {
			*items--
		}
		if f.IsPacked() {
			*items -= size // no item is shorter than a byte
		}
		if *items < 0 {
			return errManyItems
		}
		if f.Message() != nil {
			if err := scanMessage(inner, f.Message(), items); err != nil {
				return err
			}
		}
		body = body[size:]
	}
	return nil
}

// wireType is how the values of a field are encoded.
func wireType(f protoreflect.FieldDescriptor) protowire.Type {
	switch f.Kind() {
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	}
	if f.IsPacked() {
		return protowire.BytesType
	}
	return protowire.VarintType // no message that comes in has numbers of a fixed length
}

// consumeValue returns how long the value of a field is, and its content where it has a
// length of its own. The size is negative where the value is cut off, or could be written
// shorter, or is a number that a parser would cut to the size of its field.
func consumeValue(f protoreflect.FieldDescriptor, kind protowire.Type, body []byte) (int, []byte) {
	if kind == protowire.VarintType {
		return consumeNumber(f.Kind(), body), nil
	}
	inner, size := protowire.ConsumeBytes(body)
	if size != protowire.SizeBytes(len(inner)) {
		return -1, nil
	}
	for rest := inner; f.IsPacked() && len(rest) > 0; {
		n := consumeNumber(f.Kind(), rest)
		if n < 0 {
			return -1, nil
		}
		rest = rest[n:]
	}
	return size, inner
}

func consumeNumber(kind protoreflect.Kind, body []byte) int {
	v, size := protowire.ConsumeVarint(body)
	fits := true
	switch kind {
	case protoreflect.BoolKind:
		fits = v <= 1
	case protoreflect.Uint32Kind, protoreflect.Sint32Kind:
		fits = v <= math.MaxUint32
	case protoreflect.Int32Kind, protoreflect.EnumKind:
		fits = int64(v) == int64(int32(v))
	}
	if !fits || size != protowire.SizeVarint(v) {
		return -1
	}
	return size
}
