package record

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

type everything struct {
	ID     ID         `json:"id"`
	Yes    bool       `json:"yes,omitempty"`
	Text   string     `json:"text"`
	Small  int8       `json:"small"`
	Large  uint64     `json:"large"`
	Bytes  []byte     `json:"bytes"`
	Keys   [][]byte   `json:"keys"`
	Ranges [][2]int64 `json:"ranges"`
	More   *T         `json:"more"`
	List   []*T       `json:"list"`
	Hidden int        `json:"-"`
	Named  []struct{ By string }
}

// plainly holds that a document is read in one pass, as json.Unmarshal reads it.
func plainly[V any](t *testing.T, in V) {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var got, want V
	if !quick(raw, &got) {
		t.Fatalf("not in one pass: %s", raw)
	}
	if err := json.Unmarshal(raw, &want); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v, %v", got, want, err)
	}
}

func TestDocumentsOfLedgersAreReadInOnePass(t *testing.T) {
	key := make([]byte, 33)
	plainly(t, EnrolPatient{Inception: Inception{ConsentKeys: [][]byte{key, key}}, Signature: key, Vouchers: []VoucherSignature{{By: "A", Signature: key}}})
	plainly(t, EnrolDevice{Device: Device{Key: key, Metrics: []string{"heart"}, SeedHashes: []ID{{}, RandomID()}}})
	plainly(t, AcknowledgeSeeds{Devices: []ID{RandomID()}})
	plainly(t, Anchor{Pointers: []SignedPointer{{Signature: key}}})
	plainly(t, everything{})
	plainly(t, everything{
		ID: RandomID(), Yes: true, Text: "a text", Small: math.MinInt8, Large: math.MaxUint64, Bytes: []byte{}, Keys: [][]byte{nil, key},
		Ranges: [][2]int64{{-1, 2}}, More: &T{A: 1}, List: []*T{nil, {}}, Named: []struct{ By string }{},
	})
}

// FuzzQuick holds that what is read in one pass is what json.Unmarshal reads, and
// nothing that DecodeJSON refuses.
func FuzzQuick(f *testing.F) {
	for _, text := range []string{
		`{"id":"` + ID{}.String() + `","yes":true,"text":"x","small":-0,"large":10,"bytes":"AA==","keys":["",null],"ranges":[[1,2],[3,4]],"more":{"a":1},"list":[null],"Named":[{"By":""}]}`,
		`{"small":128}`, `{"small":01}`, `{"small":-}`, `{"small":1.0}`, `{"small":1e1}`, `{"large":-1}`, `{"text":"\u0041"}`, "{\"text\":\"\xff\"}", "{\"text\":\"\n\"}", `{"yes":nulls}`,
		`{"ranges":[[1]]}`, `{"ranges":[[1,2,3]]}`, `{"ranges":[[1,2],]}`, `{"ranges":[,[1,2]]}`, `{"bytes":"AA="}`, `{"bytes":"A\nA="}`, `{"list":[{"a":1,"a":2}]}`,
		`{"text":"a","text":"b"}`, `{"text":"a","id":null}`, `{"small":1,}`, `{"small":1}}`, `{"small":1} `, `{"more":null,"list":null}`, `{"-":1}`, `{"small":1`, `{`, `null`, ``,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got, want, strict everything
		if !quick(data, &got) {
			if !reflect.DeepEqual(got, everything{}) {
				t.Fatalf("something stays: %+v", got)
			}
			return
		}
		if err := json.Unmarshal(data, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v, %v", got, want, err)
		}
		w := &walker{text: data}
		if err := w.value(reflect.TypeFor[everything](), 0); err != nil {
			t.Fatal(err)
		}
		if err := DecodeJSON(data, len(data), &strict); err != nil {
			t.Fatal(err)
		}
	})
}
