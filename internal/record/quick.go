package record

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Unmarshal is json.Unmarshal into v, a pointer to a zero value. A document in the plain
// form that json.Marshal gives it, as those of ledgers have, is read in one pass; every
// other one is left to json.Unmarshal.
func Unmarshal(data []byte, v any) error {
	if quick(data, v) {
		return nil
	}
	return json.Unmarshal(data, v)
}

// quick reads a document into what v points to, or leaves a zero value there and returns
// false. It takes what json.Marshal writes of the type, without spaces, escapes and
// whatever is not ASCII, with the keys in the order of the fields: in it nothing is
// unknown, twice, of another length or in another spelling.
func quick(data []byte, v any) bool {
	to := reflect.ValueOf(v)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return false
	}
	read := readerOf(to.Type().Elem())
	if read == nil {
		return false
	}
	r := &plain{text: data}
	if read(r, to.Elem()) && r.at == len(data) {
		return true
	}
	to.Elem().SetZero()
	return false
}

// plain is a text that is read from its beginning.
type plain struct {
	text []byte
	at   int
}

func (r *plain) take(s string) bool {
	if len(r.text)-r.at < len(s) || string(r.text[r.at:r.at+len(s)]) != s {
		return false
	}
	r.at += len(s)
	return true
}

// quoted takes a string and returns what is between its quotes.
func (r *plain) quoted() ([]byte, bool) {
	if !r.take(`"`) {
		return nil, false
	}
	n := bytes.IndexByte(r.text[r.at:], '"')
	if n < 0 {
		return nil, false
	}
	s := r.text[r.at : r.at+n]
	for _, c := range s {
		if c < ' ' || c > '~' || c == '\\' {
			return nil, false
		}
	}
	r.at += n + 1
	return s, true
}

// integer takes the digits of a whole number.
func (r *plain) integer() []byte {
	from := r.at
	r.take("-")
	first := r.at
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	if r.at-first > 1 && r.text[first] == '0' {
		return nil
	}
	return r.text[from:r.at]
}

// reader reads a value of one type, which is zero before.
type reader func(*plain, reflect.Value) bool

var readers sync.Map // of reader by reflect.Type; types are as many as the program has

func readerOf(t reflect.Type) reader {
	if read, ok := readers.Load(t); ok {
		return read.(reader)
	}
	read := reads(t, nil)
	readers.Store(t, read)
	return read
}

// reads returns the reader of a type within others; nil where only json.Unmarshal knows:
// of types that read themselves, have themselves inside or take anything.
func reads(t reflect.Type, within []reflect.Type) reader {
	if t == reflect.TypeFor[ID]() {
		return readID
	}
	p := reflect.PointerTo(t)
	if len(within) == maxDepth || slices.Contains(within, t) || p.Implements(jsonReader) || p.Implements(textReader) {
		return nil
	}
	within = append(slices.Clip(within), t)
	switch t.Kind() {
	case reflect.Bool:
		return readBool
	case reflect.String:
		return readString
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return readInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return readUint
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[byte]() {
			return readBytes
		}
		return readsList(reads(t.Elem(), within))
	case reflect.Array:
		return readsList(reads(t.Elem(), within))
	case reflect.Pointer:
		return readsPointer(reads(t.Elem(), within))
	case reflect.Struct:
		return readsStruct(t, within)
	}
	return nil
}

func readID(r *plain, v reflect.Value) bool {
	s, ok := r.quoted()
	return ok && v.Addr().Interface().(*ID).UnmarshalText(s) == nil
}

func readBool(r *plain, v reflect.Value) bool {
	yes := r.take("true")
	v.SetBool(yes)
	return yes || r.take("false")
}

func readString(r *plain, v reflect.Value) bool {
	s, ok := r.quoted()
	v.SetString(string(s))
	return ok
}

func readInt(r *plain, v reflect.Value) bool {
	n, err := strconv.ParseInt(string(r.integer()), 10, 64)
	v.SetInt(n)
	return err == nil && !v.OverflowInt(n)
}

func readUint(r *plain, v reflect.Value) bool {
	n, err := strconv.ParseUint(string(r.integer()), 10, 64)
	v.SetUint(n)
	return err == nil && !v.OverflowUint(n)
}

func readBytes(r *plain, v reflect.Value) bool {
	if r.take("null") {
		return true
	}
	s, ok := r.quoted()
	if !ok {
		return false
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(b, s)
	v.SetBytes(b[:n])
	return err == nil
}

// readsList reads a slice, or an array, of as many elements as it has.
func readsList(each reader) reader {
	if each == nil {
		return nil
	}
	return func(r *plain, v reflect.Value) bool {
		slice := v.Kind() == reflect.Slice
		if slice && r.take("null") {
			return true
		}
		if !r.take("[") {
			return false
		}
		n := 0
		for ; !r.take("]"); n++ {
			if n > 0 && !r.take(",") {
				return false
			}
			if slice {
				v.Grow(1)
				v.SetLen(n + 1)
				v.Index(n).SetZero()
			}
			if n >= v.Len() || !each(r, v.Index(n)) {
				return false
			}
		}
		if slice && n == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		return n == v.Len()
	}
}

func readsPointer(to reader) reader {
	if to == nil {
		return nil
	}
	return func(r *plain, v reflect.Value) bool {
		if r.take("null") {
			return true
		}
		v.Set(reflect.New(v.Type().Elem()))
		return to(r, v.Elem())
	}
}

// field is one of a struct: its key as it is written, with the colon.
type field struct {
	key   string
	index int
	read  reader
}

func readsStruct(t reflect.Type, within []reflect.Type) reader {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() && !f.Anonymous || name == "-" && options == "" {
			continue
		}
		read := reads(f.Type, within)
		if f.Anonymous || read == nil || options != "" && options != "omitempty" && options != "omitzero" {
			return nil
		}
		if name == "" {
			name = f.Name
		}
		key := `"` + name + `":`
		for _, other := range fields {
			if other.key == key {
				return nil
			}
		}
		fields = append(fields, field{key, i, read})
	}
	return func(r *plain, v reflect.Value) bool {
		if !r.take("{") {
			return false
		}
		next := 0
		for n := 0; !r.take("}"); n++ {
			if n > 0 && !r.take(",") {
				return false
			}
			for next < len(fields) && !r.take(fields[next].key) {
				next++
			}
			if next == len(fields) || !fields[next].read(r, v.Field(fields[next].index)) {
				return false
			}
			next++
		}
		return true
	}
}
