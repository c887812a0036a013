package record

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// DecodeJSON reads exactly one JSON value of at most max bytes into v, a
// pointer to a zero value. Two readers of what it accepts see the same document:
// it refuses what encoding/json would pass over silently, which is unknown
// fields and fields in another spelling (it ignores case), duplicate keys (it
// takes the last), arrays longer or shorter than the Go array they go to, null
// in place of a value that cannot be null, invalid UTF-8, half of a surrogate pair and
// trailing data.
func DecodeJSON(data []byte, max int, v any) error {
	if len(data) > max {
		return fmt.Errorf("document has %d bytes, the limit is %d", len(data), max)
	}
	if quick(data, v) {
		return nil
	}
	if !utf8.Valid(data) {
		return errors.New("document is not UTF-8")
	}
	t := reflect.TypeOf(v)
	if t == nil || t.Kind() != reflect.Pointer {
		return errors.New("documents are decoded into pointers")
	}
	w := &walker{text: data}
	if err := w.value(t.Elem(), 0); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// maxDepth bounds nesting; no document of ours nests deeper than six.
const maxDepth = 32

// walker goes through a JSON text along the Go type that it is meant for. It looks at
// the structure alone, and of a text that is no JSON it says anything: decoding refuses
// that.
type walker struct {
	text []byte
	at   int
}

var errCutShort = errors.New("document ends in the middle")

// next is the next byte that is no space, without taking it; 0 at the end.
func (w *walker) next() byte {
	for ; w.at < len(w.text); w.at++ {
		switch c := w.text[w.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take takes the next byte if it is c.
func (w *walker) take(c byte) bool {
	if w.next() != c {
		return false
	}
	w.at++
	return true
}

// value walks over one value for type t, which is nil where anything goes.
func (w *walker) value(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch c := w.next(); c {
	case '{':
		return w.object(inner(t), depth)
	case '[':
		return w.array(inner(t), depth)
	case '"':
		_, err := w.quoted()
		return err
	case 0:
		return errCutShort
	default:
		if c == 'n' && t != nil && !known(t).takesNull {
			return fmt.Errorf("null is not a %s", t)
		}
		for w.at < len(w.text) && !ends(w.text[w.at]) {
			w.at++
		}
	}
	return nil
}

// ends reports whether a byte ends a number or a word.
func ends(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\r', '\n':
		return true
	}
	return false
}

// quoted takes a string and returns it as it is written.
func (w *walker) quoted() ([]byte, error) {
	from := w.at
	if n := bytes.IndexByte(w.text[from+1:], '"'); n >= 0 && bytes.IndexByte(w.text[from+1:from+1+n], '\\') < 0 {
		w.at += n + 2
		return w.text[from:w.at], nil
	}
	for w.at++; w.at < len(w.text); w.at++ {
		switch w.text[w.at] {
		case '\\':
			if err := w.escape(); err != nil {
				return nil, err
			}
		case '"':
			w.at++
			return w.text[from:w.at], nil
		}
	}
	return nil, errCutShort
}

// escape goes to the end of an escape. Half of a surrogate pair is no character: some
// readers would refuse it, some keep it, and decoding would put another in its place.
func (w *walker) escape() error {
	first, ok := w.unit()
	if !ok {
		w.at++
		return nil
	}
	w.at += 5
	if !utf16.IsSurrogate(first) {
		return nil
	}
	w.at++
	second, ok := w.unit()
	if !ok || utf16.DecodeRune(first, second) == unicode.ReplacementChar {
		return errors.New("half of a surrogate pair is not a character")
	}
	w.at += 5
	return nil
}

// unit is the UTF-16 code unit that is escaped here, if one is.
func (w *walker) unit() (rune, bool) {
	digits, ok := bytes.CutPrefix(w.text[min(w.at, len(w.text)):], []byte(`\u`))
	if !ok || len(digits) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	return rune(v), err == nil
}

// key takes a string that is a key, and the colon after it.
func (w *walker) key() (string, error) {
	if w.next() != '"' {
		return "", errors.New("a key is missing")
	}
	raw, err := w.quoted()
	if err != nil {
		return "", err
	}
	key := string(raw[1 : len(raw)-1])
	if bytes.IndexByte(raw, '\\') >= 0 {
		if err := json.Unmarshal(raw, &key); err != nil {
			return "", err
		}
	}
	if !w.take(':') {
		return "", errors.New("a colon is missing")
	}
	return key, nil
}

// keys are those of one object, most of which have a few.
type keys struct {
	few  []string
	many map[string]bool
}

// add reports whether a key is new.
func (k *keys) add(key string) bool {
	if len(k.few) < 32 {
		fresh := !slices.Contains(k.few, key)
		k.few = append(k.few, key)
		return fresh
	}
	if k.many == nil {
		k.many = map[string]bool{}
		for _, few := range k.few {
			k.many[few] = true
		}
	}
	fresh := !k.many[key]
	k.many[key] = true
	return fresh
}

func (w *walker) object(t reflect.Type, depth int) error {
	w.at++
	var seen keys
	for n := 0; !w.take('}'); n++ {
		if n > 0 && !w.take(',') {
			return errors.New("a comma is missing")
		}
		key, err := w.key()
		if err != nil {
			return err
		}
		if !seen.add(key) {
			return fmt.Errorf("duplicate key %q", key)
		}
		of, err := member(t, key)
		if err != nil {
			return err
		}
		if err := w.value(of, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) array(t reflect.Type, depth int) error {
	var of reflect.Type
	want := -1
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		if known(t).readsText {
			return fmt.Errorf("an array is not a %s", t)
		}
		of = t.Elem()
		if t.Kind() == reflect.Array {
			want = t.Len()
		}
	}
	w.at++
	n := 0
	for ; !w.take(']'); n++ {
		if n > 0 && !w.take(',') {
			return errors.New("a comma is missing")
		}
		if err := w.value(of, depth+1); err != nil {
			return err
		}
	}
	if want >= 0 && n != want {
		return fmt.Errorf("array has %d values, it must have %d", n, want)
	}
	return nil
}

// inner returns the type of the values in a JSON array or object for type t, nil where
// nothing is known. A pointer stands for what it points to.
func inner(t reflect.Type) reflect.Type {
	for t != nil && !known(t).readsItself && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && known(t).readsItself {
		return nil
	}
	return t
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
	of, ok := known(t).fields[key]
	if !ok {
		return nil, fmt.Errorf("unknown field %q", key)
	}
	return of, nil
}

// traits is what is known about values of a type.
type traits struct {
	readsItself bool // from any JSON value, or may be anything
	readsText   bool // from a JSON string
	takesNull   bool
	fields      map[string]reflect.Type // of a struct, by their JSON names
}

var (
	jsonReader = reflect.TypeFor[json.Unmarshaler]()
	textReader = reflect.TypeFor[encoding.TextUnmarshaler]()
	allTraits  sync.Map // of *traits by reflect.Type; types are as many as the program has
)

func known(t reflect.Type) *traits {
	if k, ok := allTraits.Load(t); ok {
		return k.(*traits)
	}
	p := reflect.PointerTo(t)
	k := &traits{
		readsItself: t.Kind() == reflect.Interface || p.Implements(jsonReader), readsText: p.Implements(textReader),
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		k.takesNull = true
	case reflect.Struct:
		k.fields = map[string]reflect.Type{}
		addFields(k.fields, t)
	}
	k.takesNull = k.takesNull || k.readsItself
	allTraits.Store(t, k)
	return k
}

// addFields adds the fields of a struct, those of embedded structs behind its own.
func addFields(to map[string]reflect.Type, t reflect.Type) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, _, _ := strings.Cut(tag, ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			embedded = append(embedded, f.Type)
			continue
		}
		if name == "" {
			name = f.Name
		}
		if _, taken := to[name]; f.IsExported() && tag != "-" && !taken {
			to[name] = f.Type
		}
	}
	for _, e := range embedded {
		addFields(to, e)
	}
}
