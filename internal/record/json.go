package record

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// DecodeJSON reads exactly one JSON value of at most max bytes into v, a
// pointer to a zero value. Two readers of what it accepts see the same document:
// it refuses what encoding/json would pass over silently, which is unknown
// fields and fields in another spelling (it ignores case), duplicate keys (it
// takes the last), arrays longer or shorter than the Go array they go to, null
// in place of a value that cannot be null, invalid UTF-8 and trailing data.
func DecodeJSON(data []byte, max int, v any) error {
	if len(data) > max {
		return fmt.Errorf("document has %d bytes, the limit is %d", len(data), max)
	}
	if !utf8.Valid(data) {
		return errors.New("document is not UTF-8")
	}
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer {
		return errors.New("documents are decoded into pointers")
	}
	w := &walker{d: json.NewDecoder(bytes.NewReader(data))}
	w.d.UseNumber()
	if err := w.value(t.Elem(), 0); err != nil {
		return err
	}
	if _, err := w.d.Token(); err != io.EOF {
		return errors.New("trailing data after the JSON value")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// maxDepth bounds nesting; no document of ours nests deeper than six.
const maxDepth = 32

// walker reads a JSON text along the Go type that it is meant for.
type walker struct{ d *json.Decoder }

// value reads one value for type t, which is nil where anything goes.
func (w *walker) value(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	token, err := w.d.Token()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	t = shape(t)
	switch token {
	case json.Delim('{'):
		return w.object(t, depth)
	case json.Delim('['):
		return w.array(t, depth)
	case nil:
		if t != nil && !nullable(t) {
			return fmt.Errorf("null is not a %s", t)
		}
	}
	return nil
}

func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	}
	return false
}

var (
	jsonReader = reflect.TypeFor[json.Unmarshaler]()
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// shape returns what is known about values of a type: nothing if the type reads
// itself from a JSON value or may be anything.
func shape(t reflect.Type) reflect.Type {
	if t == nil || t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(jsonReader) {
		return nil
	}
	return t
}

// inner returns the type of the values in a JSON array or object for type t. A
// pointer stands for what it points to.
func inner(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = shape(t.Elem())
	}
	return t
}

func (w *walker) object(t reflect.Type, depth int) error {
	t = inner(t)
	seen := map[string]bool{}
	for w.d.More() {
		token, err := w.d.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		if seen[key] {
			return fmt.Errorf("duplicate key %q", key)
		}
		seen[key] = true
		of, err := member(t, key)
		if err != nil {
			return err
		}
		if err := w.value(of, depth+1); err != nil {
			return err
		}
	}
	_, err := w.d.Token()
	return err
}

// member returns the type of the value under a key.
func member(t reflect.Type, key string) (reflect.Type, error) {
	switch {
	case t == nil:
		return nil, nil
	case t.Kind() == reflect.Map:
		return t.Elem(), nil
	case t.Kind() != reflect.Struct:
		return nil, nil // decoding says what is wrong
	}
	of, ok := field(t, key)
	if !ok {
		return nil, fmt.Errorf("unknown field %q", key)
	}
	return of, nil
}

// field finds the field with exactly this JSON name, embedded structs included.
func field(t reflect.Type, key string) (reflect.Type, bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			if of, ok := field(f.Type, key); ok {
				return of, true
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		if f.IsExported() && tag != "-" && name == key {
			return f.Type, true
		}
	}
	return nil, false
}

func (w *walker) array(t reflect.Type, depth int) error {
	t = inner(t)
	var of reflect.Type
	want := -1
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		if reflect.PointerTo(t).Implements(textReader) {
			return fmt.Errorf("an array is not a %s", t)
		}
		of = t.Elem()
		if t.Kind() == reflect.Array {
			want = t.Len()
		}
	}
	n := 0
	for ; w.d.More(); n++ {
		if err := w.value(of, depth+1); err != nil {
			return err
		}
	}
	if want >= 0 && n != want {
		return fmt.Errorf("array has %d values, it must have %d", n, want)
	}
	_, err := w.d.Token()
	return err
}
