package api_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/record"
)

// mirrors pairs the ledger documents with the messages that carry them; what is
// part of one of these is not repeated.
var mirrors = []struct {
	doc any // pointer to a zero document
	msg proto.Message
}{
	{&record.Genesis{}, &apiv1.Genesis{}},
	{&record.EnrolPatient{}, &apiv1.EnrolPatient{}},
	{&record.Patient{}, &apiv1.Patient{}},
	{&consent.SignedKeys{}, &apiv1.SignedKeys{}},
	{&record.ErasureState{}, &apiv1.ErasureState{}},
	{&record.SignedErasureReport{}, &apiv1.SignedErasureReport{}},
	{&record.EnrolDevice{}, &apiv1.EnrolDevice{}},
	{&record.DeviceState{}, &apiv1.DeviceState{}},
	{&record.SignedRetirement{}, &apiv1.SignedRetirement{}},
	{&record.SignedPointer{}, &apiv1.SignedPointer{}},
	{&record.Receipt{}, &apiv1.Receipt{}},
	{&record.PredicateState{}, &apiv1.PredicateState{}},
	{&record.Attest{}, &apiv1.Attest{}},
	{&consent.Signed{}, &apiv1.SignedConsent{}},
}

func TestMessagesMirrorDocumentsFieldForField(t *testing.T) {
	for _, m := range mirrors {
		compare(t, reflect.TypeOf(m.doc).Elem(), m.msg.ProtoReflect().Descriptor())
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
	for _, m := range mirrors {
		rapid.Check(t, func(t *rapid.T) {
			doc := reflect.New(reflect.TypeOf(m.doc).Elem())
			fill(t, doc.Elem())
			msg := m.msg.ProtoReflect().New().Interface()
			if err := api.ToMessage(doc.Interface(), msg); err != nil {
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
			back := reflect.New(doc.Elem().Type())
			if err := api.FromMessage(msg, back.Interface()); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(doc.Interface(), back.Interface()) {
				t.Fatalf("%+v became %+v", doc.Elem(), back.Elem())
			}
		})
	}
}

// TestEveryDocumentIsConverted: whoever adds a message that mirrors a document finds
// out here that it is not among the mirrors.
func TestEveryDocumentIsConverted(t *testing.T) {
	converted := map[protoreflect.FullName]bool{}
	var walk func(protoreflect.MessageDescriptor)
	walk = func(m protoreflect.MessageDescriptor) {
		converted[m.FullName()] = true
		for i := range m.Fields().Len() {
			if f := m.Fields().Get(i); f.Kind() == protoreflect.MessageKind {
				walk(f.Message())
			}
		}
	}
	for _, m := range mirrors {
		walk(m.msg.ProtoReflect().Descriptor())
	}
	all := apiv1.File_vitalveil_v1_documents_proto.Messages()
	for i := range all.Len() {
		if name := all.Get(i).FullName(); !converted[name] {
			t.Errorf("%s is in no pair of mirrors", name)
		}
	}
}

// TestDocumentsWithEveryFieldSetAreConvertedBothWays: nothing is left out, and nothing
// that is set arrives unset.
func TestDocumentsWithEveryFieldSetAreConvertedBothWays(t *testing.T) {
	for _, m := range mirrors {
		doc := reflect.New(reflect.TypeOf(m.doc).Elem())
		set(t, doc.Elem())
		msg := m.msg.ProtoReflect().New()
		if err := api.ToMessage(doc.Interface(), msg.Interface()); err != nil {
			t.Errorf("%T: %v", m.doc, err)
			continue
		}
		everySet(t, msg)
		back := reflect.New(doc.Elem().Type())
		if err := api.FromMessage(msg.Interface(), back.Interface()); err != nil {
			t.Errorf("%T: %v", m.doc, err)
		}
		if !reflect.DeepEqual(doc.Interface(), back.Interface()) {
			t.Errorf("%+v became %+v", doc.Elem(), back.Elem())
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
		var p record.Pointer
		if err := api.FromMessage(&apiv1.Pointer{Device: bad, Kind: "row"}, &p); err == nil {
			t.Errorf("%q became an identifier", bad)
		}
	}
	var p record.Pointer
	if err := api.FromMessage(&apiv1.Pointer{Correction: 256}, &p); err == nil {
		t.Error("correction 256 fits a byte")
	}
}

func TestPointerMessageIsToMessage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s record.SignedPointer
		fill(t, reflect.ValueOf(&s).Elem())
		want := &apiv1.SignedPointer{}
		if err := api.ToMessage(s, want); err != nil {
			t.Fatal(err)
		}
		if got := api.PointerMessage(s); !proto.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}
