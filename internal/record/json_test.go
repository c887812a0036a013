package record

import (
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"
)

type inside struct {
	Deep []Pointer `json:"deep"`
}

type sample struct {
	inside
	ID     ID           `json:"id"`
	Count  int64        `json:"count"`
	Bytes  []byte       `json:"bytes"`
	Ranges [][2]int64   `json:"ranges"`
	Free   any          `json:"free"`
	Table  map[string]T `json:"table"`
	Number *big.Int     `json:"number"`
	Next   *sample      `json:"next"`
}

type T struct {
	A int `json:"a"`
}

func TestDecodeJSONReadsWhatEncodingWrote(t *testing.T) {
	in := sample{
		inside: inside{Deep: []Pointer{{Device: RandomID(), Kind: KindRow, Index: -3}}},
		ID:     RandomID(), Count: -1, Bytes: []byte{1, 2}, Ranges: [][2]int64{{1, 2}, {3, 4}},
		Free: "x", Table: map[string]T{"Any Key": {A: 1}}, Number: big.NewInt(77), Next: &sample{Count: 5},
	}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out sample
	if err := DecodeJSON(raw, 10_000, &out); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got %+v, want %+v", out, in)
	}
}

func TestDecodeJSONRefuses(t *testing.T) {
	id := RandomID().String()
	for name, text := range map[string]string{
		"an unknown field":           `{"count":1,"more":2}`,
		"a duplicate key":            `{"count":1,"count":2}`,
		"a key in other letters":     `{"Count":1}`,
		"both spellings":             `{"count":1,"COUNT":2}`,
		"a folded letter":            `{"rangeſ":[]}`,
		"a duplicate further in":     `{"table":{"x":{"a":1,"a":2}}}`,
		"a duplicate anywhere":       `{"free":[{"a":1,"a":2}]}`,
		"an escaped duplicate":       `{"count":1,"co\u0075nt":2}`,
		"an unknown field inside":    `{"deep":[{"device":"` + id + `","kinds":"row"}]}`,
		"an unknown field in a map":  `{"table":{"x":{"b":1}}}`,
		"an unknown field behind *":  `{"next":{"b":1}}`,
		"a pair of one":              `{"ranges":[[1]]}`,
		"a pair of three":            `{"ranges":[[1,2,3]]}`,
		"trailing data":              `{"count":1} {}`,
		"a trailing bracket":         `{"count":1}]`,
		"a fraction":                 `{"count":1.0}`,
		"a number out of range":      `{"count":9223372036854775808}`,
		"null for a number":          `{"count":null}`,
		"null for an identifier":     `{"id":null}`,
		"null alone":                 `null`,
		"an array for an identifier": `{"id":[1,2]}`,
		"a short identifier":         `{"id":"00"}`,
		"upper-case identifiers":     `{"id":"` + strings.ToUpper(SumID(nil).String()) + `"}`,
		"nothing":                    ``,
		"half of it":                 `{"count":`,
		"invalid UTF-8":              "{\"free\":\"\xff\"}",
		"deep nesting":               `{"free":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		"more bytes than allowed":    `{"free":"` + strings.Repeat("x", 500) + `"}`,
	} {
		var out sample
		if err := DecodeJSON([]byte(text), 400, &out); err == nil {
			t.Errorf("accepted %s: %s", name, text)
		}
	}
}

// FuzzDecodeJSON holds that a document that is accepted is accepted again in the
// form that this package writes, and says the same.
func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"id":"` + ID{}.String() + `","count":3,"ranges":[[1,2]],"table":{"k":{"a":1}},"next":{"count":1}}`))
	f.Add([]byte(`{"count":1,"COUNT":2}`))
	f.Add([]byte(`{"free":[{"a":{"a":null}},{"b":[]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second sample
		if DecodeJSON(data, 1<<16, &first) != nil {
			return
		}
		raw, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := DecodeJSON(raw, 1<<20, &second); err != nil {
			t.Fatalf("own form refused: %v\n%s", err, raw)
		}
		again, err := json.Marshal(second)
		if err != nil {
			t.Fatal(err)
		}
		if string(again) != string(raw) {
			t.Fatalf("%s became %s", raw, again)
		}
	})
}

func FuzzDecodeAnchor(f *testing.F) {
	f.Add([]byte(`{"pointers":[{"pointer":{"device":"` + ID{}.String() + `","kind":"row","index":1,"correction":0,"blob":"` +
		ID{}.String() + `","commitment":"` + ID{}.String() + `"},"signature":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a Anchor
		if DecodeJSON(data, 1<<16, &a) == nil {
			for _, p := range a.Pointers {
				p.Pointer.Digest("net")
			}
		}
	})
}

// TestAttackHalfACharacter: a text that decodes to other characters than it has is no
// document, since another reader would see another text.
func TestAttackHalfACharacter(t *testing.T) {
	for _, text := range []string{`\ud800`, `\udc00`, `\uD83Dx`, `\ud83d\u0041`, `\ude00\ud83d`, `\ud83d\ud83d`, `\ud83d\n`, `\ud83d`, `x\\\ud83d`} {
		for _, document := range []string{`{"free":"` + text + `"}`, `{"table":{"` + text + `":{"a":1}}}`, `{"free":{"` + text + `":[1]}}`} {
			var out sample
			if err := DecodeJSON([]byte(document), 400, &out); err == nil {
				t.Errorf("%s was taken, as %+v", document, out)
			}
		}
	}
	for text, want := range map[string]string{`\ud83d\ude00`: "😀", `\\ud83d`: `\ud83d`, `\ufffd`: "\ufffd", `\"\\\ud83d\uDE00\"`: `"\😀"`} {
		var out sample
		if err := DecodeJSON([]byte(`{"free":"`+text+`"}`), 400, &out); err != nil || out.Free != want {
			t.Errorf("%s: %q, %v", text, out.Free, err)
		}
	}
}
