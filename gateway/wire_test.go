package gateway

import (
	"net/http"
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/vitalveil/vitalveil/gateway/api"
	apiv1 "github.com/vitalveil/vitalveil/gateway/api/v1"
	"github.com/vitalveil/vitalveil/internal/fault"
)

func (w *world) wire(target string, body []byte) *http.Request {
	r := w.request("POST", target, body)
	r.Header.Set("Content-Type", api.MediaWire)
	return r
}

func TestADocumentInTheWireFormatIsTheSameOperation(t *testing.T) {
	w := newWorld(t)
	m := apiv1.SignedConsentOf(w.enrolled().consent())
	wire, err := proto.Marshal(m)
	w.ok(err)
	asJSON, err := protojson.Marshal(m)
	w.ok(err)
	first, answer := w.raw(w.wire("/v1/consents", wire))
	if first.StatusCode != http.StatusAccepted || first.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s %s: %s", first.Status, first.Header.Get("Content-Type"), answer)
	}
	second, answer := w.raw(w.request("POST", "/v1/consents", asJSON))
	if second.StatusCode/100 != 2 || second.Header.Get("Location") != first.Header.Get("Location") {
		t.Errorf("%s at %s, not at %s: %s", second.Status, second.Header.Get("Location"), first.Header.Get("Location"), answer)
	}
}

// TestAttackBodiesInTheWireFormat: nothing is taken that two readers could understand
// differently, and nothing is built of too many parts.
func TestAttackBodiesInTheWireFormat(t *testing.T) {
	w := newWorld(t)
	m := apiv1.SignedConsentOf(w.enrolled().consent())
	good, err := proto.Marshal(m)
	w.ok(err)
	asJSON, err := protojson.Marshal(m)
	w.ok(err)
	inner, err := proto.Marshal(m.Document)
	w.ok(err)
	field := func(n protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), content)
	}
	many := slices.Clone(inner)
	for range 1000 {
		many = append(many, field(16, nil)...) // predicates
	}
	for what, body := range map[string][]byte{
		"JSON":                           asJSON,
		"half of it":                     good[:len(good)/2],
		"an unknown field":               append(slices.Clone(good), field(99, nil)...),
		"an unknown field further in":    field(1, append(slices.Clone(inner), field(99, nil)...)),
		"a field twice":                  append(slices.Clone(good), field(3, m.Signature)...),
		"a document twice":               append(field(1, inner), good...),
		"fields in another order":        append(field(3, m.Signature), field(1, inner)...),
		"a text as a number":             protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 7),
		"a group":                        protowire.AppendTag(protowire.AppendTag(nil, 1, protowire.StartGroupType), 1, protowire.EndGroupType),
		"a text that is not UTF-8":       field(1, field(1, []byte{0xff})),
		"more items than there may be":   field(1, many),
		"a length beyond the body":       append(protowire.AppendTag(nil, 1, protowire.BytesType), 0xff, 0xff, 0xff, 0xff, 0x0f),
		"nothing where much is required": {},
	} {
		resp, answer := w.raw(w.wire("/v1/consents", body))
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s: %s %s", what, resp.Status, answer)
		}
	}
	r := w.request("POST", "/v1/consents", good) // said to be JSON
	resp, answer := w.raw(r)
	problem(t, resp, answer, http.StatusBadRequest, fault.Invalid)
}

// FuzzScanWire: what is let through either cannot be parsed or has no more items than
// it may, and nothing that is unknown.
func FuzzScanWire(f *testing.F) {
	up := &apiv1.Upload{Blobs: [][]byte{{1}}, Pointers: []*apiv1.SignedPointer{{Pointer: &apiv1.Pointer{Kind: "row", Index: -1}, Signature: []byte{2}}}}
	seed, err := proto.Marshal(up)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(append(seed, seed...))
	f.Fuzz(func(t *testing.T, body []byte) {
		const most = 3
		m := &apiv1.Upload{}
		if scanWire(body, m.ProtoReflect().Descriptor(), most) != nil || proto.Unmarshal(body, m) != nil {
			return
		}
		if n := len(m.Blobs) + len(m.Pointers); n > most {
			t.Errorf("%d items", n)
		}
		noUnknown(t, m.ProtoReflect())
	})
}

func noUnknown(t *testing.T, m protoreflect.Message) {
	t.Helper()
	if len(m.GetUnknown()) > 0 {
		t.Errorf("%s has unknown fields", m.Descriptor().Name())
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				noUnknown(t, v.List().Get(i).Message())
			}
		default:
			noUnknown(t, v.Message())
		}
		return true
	})
}

// TestAttackNumbersThatAreCutToSize: a number that is too long for its field is cut by the
// parser, and one that is written longer than need be has other bytes, so neither is let
// through.
func TestAttackNumbersThatAreCutToSize(t *testing.T) {
	pointer := (&apiv1.Pointer{}).ProtoReflect().Descriptor()
	keys := (&apiv1.PatientKeys{}).ProtoReflect().Descriptor()
	number := func(d protoreflect.MessageDescriptor, name protoreflect.Name, value ...byte) []byte {
		return append(protowire.AppendTag(nil, d.Fields().ByName(name).Number(), protowire.VarintType), value...)
	}
	for what, c := range map[string]struct {
		of   protoreflect.MessageDescriptor
		body []byte
	}{
		"a number beyond 32 bits":   {pointer, number(pointer, "correction", 0x81, 0x80, 0x80, 0x80, 0x10)},
		"a number with a zero end":  {pointer, number(pointer, "correction", 0x81, 0x00)},
		"a field with a zero end":   {pointer, []byte{0x8a, 0x00, 0x00}},
		"a length with a zero end":  {pointer, []byte{0x0a, 0x81, 0x00, 'x'}},
		"a word that is not 0 or 1": {keys, number(keys, "revoke_all", 2)},
	} {
		if err := scanWire(c.body, c.of, 10); err == nil {
			t.Errorf("%s is let through", what)
		}
	}
	for _, m := range []proto.Message{
		&apiv1.Pointer{Index: -1, Correction: 1<<32 - 1}, &apiv1.PatientKeys{RevokeAll: true, Version: 1 << 31}, &apiv1.DeviceState{},
	} {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := scanWire(body, m.ProtoReflect().Descriptor(), 10); err != nil {
			t.Errorf("%v: %v", m, err)
		}
	}
}
