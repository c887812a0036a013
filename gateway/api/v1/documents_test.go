package apiv1

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/internal/record"
)

// pair is a message of documents.proto with the document that it mirrors. The list of
// all of them is generated with the converters.
type pair struct {
	doc  reflect.Type
	msg  proto.Message // an empty one
	to   func(doc any) (proto.Message, error)
	from func(proto.Message) (any, error)
}

// pairOf is a pair in which every document fits its message.
func pairOf[D any, M proto.Message](to func(D) M, from func(M) (D, error)) pair {
	return narrowPairOf(func(d D) (M, error) { return to(d), nil }, from)
}

func narrowPairOf[D any, M proto.Message](to func(D) (M, error), from func(M) (D, error)) pair {
	return pair{
		doc: reflect.TypeFor[D](), msg: reflect.New(reflect.TypeFor[M]().Elem()).Interface().(proto.Message),
		to:   func(doc any) (proto.Message, error) { return to(doc.(D)) },
		from: func(m proto.Message) (any, error) { return from(m.(M)) },
	}
}

func TestMessagesMirrorDocumentsFieldForField(t *testing.T) {
	for _, p := range pairs {
		compare(t, p.doc, p.msg.ProtoReflect().Descriptor())
	}
}

// compare insists on the same names and on nothing more on either side.
func compare(t *testing.T, doc reflect.Type, msg protoreflect.MessageDescriptor) {
	t.Helper()
	var names []string
	for i := range doc.NumField() {
		f := doc.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
		field := msg.Fields().ByName(protoreflect.Name(name))
		if field == nil {
			t.Errorf("%s has %s, which %s lacks", doc, name, msg.FullName())
			continue
		}
		inner := f.Type
		for inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if field.Kind() == protoreflect.MessageKind {
			compare(t, inner, field.Message())
		}
	}
	for i := range msg.Fields().Len() {
		if name := string(msg.Fields().Get(i).Name()); !slices.Contains(names, name) {
			t.Errorf("%s has %s, which %s lacks", msg.FullName(), name, doc)
		}
	}
}

func TestDocumentsSurviveTheirMessages(t *testing.T) {
	for _, p := range pairs {
		rapid.Check(t, func(t *rapid.T) {
			doc := reflect.New(p.doc).Elem()
			fill(t, doc)
			msg, err := p.to(doc.Interface())
			if err != nil {
				t.Fatal(err)
			}
			wire, err := proto.Marshal(msg)
			if err != nil {
				t.Fatal(err)
			}
			proto.Reset(msg)
			if err := proto.Unmarshal(wire, msg); err != nil {
				t.Fatal(err)
			}
			back, err := p.from(msg)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(doc.Interface(), back) {
				t.Fatalf("%+v became %+v", doc, back)
			}
		})
	}
}

// TestMessagesAreTheJSONOfTheirDocuments: a reader of either finds the same under the
// same names.
func TestMessagesAreTheJSONOfTheirDocuments(t *testing.T) {
	for _, p := range pairs {
		rapid.Check(t, func(t *rapid.T) {
			doc := reflect.New(p.doc).Elem()
			fill(t, doc)
			msg, err := p.to(doc.Interface())
			if err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(doc.Interface())
			if err != nil {
				t.Fatal(err)
			}
			same := p.msg.ProtoReflect().New().Interface()
			if err := protojson.Unmarshal(b, same); err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(msg, same) {
				t.Fatalf("%v, as JSON %v", msg, same)
			}
		})
	}
}

// TestEveryDocumentIsConverted: whoever adds a message that mirrors a document finds
// out here that it has no converters.
func TestEveryDocumentIsConverted(t *testing.T) {
	all := File_vitalveil_v1_documents_proto.Messages()
	for i := range all.Len() {
		name := all.Get(i).FullName()
		if !slices.ContainsFunc(pairs, func(p pair) bool { return p.msg.ProtoReflect().Descriptor().FullName() == name }) {
			t.Errorf("%s is in no pair", name)
		}
	}
}

// TestDocumentsWithEveryFieldSetAreConvertedBothWays: nothing is left out, and nothing
// that is set arrives unset.
func TestDocumentsWithEveryFieldSetAreConvertedBothWays(t *testing.T) {
	for _, p := range pairs {
		doc := reflect.New(p.doc).Elem()
		set(t, doc)
		msg, err := p.to(doc.Interface())
		if err != nil {
			t.Errorf("%s: %v", p.doc, err)
			continue
		}
		everySet(t, msg.ProtoReflect())
		back, err := p.from(msg)
		if err != nil {
			t.Errorf("%s: %v", p.doc, err)
		}
		if !reflect.DeepEqual(doc.Interface(), back) {
			t.Errorf("%+v became %+v", doc, back)
		}
	}
}

// set gives every field of a document a value that is not its zero value.
func set(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			set(t, v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(t, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		set(t, v.Index(0))
		set(t, v.Index(1))
	case reflect.Array:
		for i := range v.Len() {
			set(t, v.Index(i))
		}
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		t.Fatalf("no values of %s", v.Type())
	}
}

// everySet insists that a message, and what it is made of, has every field.
func everySet(t *testing.T, m protoreflect.Message) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case !m.Has(f):
			t.Errorf("%s was not set", f.FullName())
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			everySet(t, m.Get(f).List().Get(0).Message())
		default:
			everySet(t, m.Get(f).Message())
		}
	}
}

// fill draws a value of any document type. Lists are never empty but not nil:
// a message does not tell these two apart.
func fill(t *rapid.T, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Pointer: // an optional document
		if rapid.Bool().Draw(t, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem())
		}
	case reflect.Array: // an identifier
		reflect.Copy(v, reflect.ValueOf(rapid.SliceOfN(rapid.Byte(), v.Len(), v.Len()).Draw(t, "id")))
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "length")
		if n == 0 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			if e := v.Index(i); e.Kind() == reflect.Slice { // a key in a list is there
				e.SetBytes(rapid.SliceOfN(rapid.Byte(), 1, 4).Draw(t, "bytes"))
			} else {
				fill(t, e)
			}
		}
	case reflect.String:
		v.SetString(rapid.String().Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int:
		v.SetInt(int64(rapid.Int32Min(0).Draw(t, "count")))
	case reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "number"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	case reflect.Uint32:
		v.SetUint(uint64(rapid.Uint32().Draw(t, "number")))
	case reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, "number"))
	default:
		t.Fatalf("no values of %s", v.Type())
	}
}

func TestIdentifiersAreCanonicalOrRefused(t *testing.T) {
	for _, bad := range []string{"ab", strings.Repeat("A", 64), strings.Repeat("0", 65), strings.Repeat("g", 64)} {
		if _, err := (&Pointer{Device: bad, Kind: "row"}).Record(); err == nil {
			t.Errorf("%q became an identifier", bad)
		}
	}
	if _, err := (&Device{SeedHashes: []string{""}}).Record(); err == nil {
		t.Error("an empty text in a list became an identifier")
	}
	if _, err := (&Pointer{Correction: 256}).Record(); err == nil {
		t.Error("correction 256 fits a byte")
	}
	if m, err := ReceiptOf(record.Receipt{Leaf: -1}); err == nil {
		t.Errorf("leaf -1 became %d", m.Leaf)
	}
}
