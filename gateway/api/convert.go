package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitalveil/vitalveil/internal/record"
)

// maxDocument bounds one converted document; the largest is a genesis with its
// verifying keys.
const maxDocument = 16 << 20

// ToMessage copies a ledger document into the message that mirrors it, field by
// field under the JSON names. A field that the message lacks is an error.
func ToMessage(doc any, m proto.Message) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%T does not fit %s: %w", doc, m.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
}

// FromMessage copies a message into the ledger document that it mirrors; doc is
// a pointer. Fields are strict: identifiers must have their canonical text form.
// Absent lists become nil.
func FromMessage(m proto.Message, doc any) error {
	b := appendMessage(nil, m.ProtoReflect())
	if err := record.DecodeJSON(b, maxDocument, doc); err != nil {
		return fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

// appendMessage writes the JSON form that encoding/json reads into the ledger
// documents. It differs from protojson in writing 64-bit integers as numbers.
func appendMessage(b []byte, m protoreflect.Message) []byte {
	b = append(b, '{')
	start := len(b)
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, string(f.Name())), ':')
		if f.IsList() {
			b = appendList(b, f, m.Get(f).List())
		} else {
			b = appendValue(b, f, m.Get(f))
		}
	}
	return append(b, '}')
}

func appendList(b []byte, f protoreflect.FieldDescriptor, l protoreflect.List) []byte {
	b = append(b, '[')
	for i := range l.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, f, l.Get(i))
	}
	return append(b, ']')
}

func appendValue(b []byte, f protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return appendMessage(b, v.Message())
	case protoreflect.BytesKind:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.Int64Kind, protoreflect.Int32Kind:
		return strconv.AppendInt(b, v.Int(), 10)
	case protoreflect.Uint64Kind, protoreflect.Uint32Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	default: // strings; no message of ours has floats, enumerations or maps
		s, _ := json.Marshal(v.String())
		return append(b, s...)
	}
}
