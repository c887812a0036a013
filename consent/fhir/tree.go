package fhir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// MaxResource bounds a FHIR resource in bytes.
const MaxResource = 64 << 10

// ElementErrors says which elements of a FHIR resource cannot be honoured, and
// why. Nothing of the resource counts; change it or refuse it.
type ElementErrors []ElementError

// ElementError is one of them; Element is its path, as in
// "Consent.provision.provision[0].securityLabel".
type ElementError struct{ Element, Problem string }

func (e ElementErrors) Error() string {
	var b strings.Builder
	for i, p := range e {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.Element + " " + p.Problem)
	}
	return b.String()
}

// maxProblems bounds how many elements one error lists.
const maxProblems = 20

// element is one JSON value with its place. Members and items keep their order,
// so that the same resource gives the same errors everywhere.
type element struct {
	parent *element
	name   string // of a member
	index  int    // of an item
	kind   byte   // { [ " 0 (number), t (boolean) or n (null)
	text   string // of texts, numbers and booleans
	list   []*element
}

// path is made when it is needed: names come from outside and may be long.
func (e *element) path() string {
	switch {
	case e.parent == nil:
		return "Consent"
	case e.parent.kind == '[':
		return e.parent.path() + "[" + strconv.Itoa(e.index) + "]"
	}
	return e.parent.path() + "." + clip(e.name)
}

// parseElements reads JSON strictly: bounded, no member twice, nothing after it.
func parseElements(data []byte) (*element, error) {
	var strict json.RawMessage
	if err := record.DecodeJSON(data, MaxResource, &strict); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	root := &element{}
	return root, root.read(d)
}

// read fills e from the next value; DecodeJSON has bounded its depth.
func (e *element) read(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		e.kind = byte(v)
	case string:
		e.kind, e.text = '"', v
	case json.Number:
		e.kind, e.text = '0', v.String()
	case bool:
		e.kind, e.text = 't', strconv.FormatBool(v)
	default:
		e.kind = 'n'
	}
	if e.kind != '{' && e.kind != '[' {
		return nil
	}
	for d.More() {
		child := &element{parent: e, index: len(e.list)}
		if e.kind == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			child.name, _ = name.(string)
		}
		if err := child.read(d); err != nil {
			return err
		}
		e.list = append(e.list, child)
	}
	_, err = d.Token()
	return err
}

// reading collects what cannot be honoured. Its methods take nil for an element
// whose absence was noted before, and then return nothing.
type reading struct{ problems ElementErrors }

func (r *reading) fail(path, format string, args ...any) {
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, ElementError{path, fmt.Sprintf(format, args...)})
	}
}

// object is an element's members by name.
type object struct {
	of *element
	at map[string]*element
}

// object insists that every member is one of the known ones.
func (r *reading) object(e *element, known ...string) object {
	o := object{of: e, at: map[string]*element{}}
	if e == nil {
		return o
	}
	if e.kind != '{' || len(e.list) == 0 {
		r.fail(e.path(), "is not an object with members")
		o.of = nil
		return o
	}
	for _, m := range e.list {
		if slices.Contains(known, m.name) {
			o.at[m.name] = m
		} else {
			r.fail(m.path(), "is nothing that a consent here can honour")
		}
	}
	return o
}

// need returns a member that must be there.
func (r *reading) need(o object, name string) *element {
	m := o.at[name]
	if m == nil && o.of != nil {
		r.fail(o.of.path()+"."+name, "is missing")
	}
	return m
}

// items returns what is in a list, which is not empty.
func (r *reading) items(e *element) []*element {
	if e == nil {
		return nil
	}
	if e.kind != '[' || len(e.list) == 0 {
		r.fail(e.path(), "is not a list with something in it")
		return nil
	}
	return e.list
}

// single returns the one thing in a list.
func (r *reading) single(e *element) *element {
	list := r.items(e)
	if len(list) == 0 {
		return nil
	}
	for _, more := range list[1:] {
		r.fail(more.path(), "is one more than a consent here can honour")
	}
	return list[0]
}

func (r *reading) text(e *element) string {
	if e == nil {
		return ""
	}
	if e.kind != '"' || e.text == "" {
		r.fail(e.path(), "is not a text")
		return ""
	}
	return e.text
}

// fixed insists on one text.
func (r *reading) fixed(e *element, want string) {
	if got := r.text(e); got != want && got != "" {
		r.fail(e.path(), "is %q, only %q can be honoured", clip(got), want)
	}
}

func (r *reading) id(e *element) record.ID {
	id, err := record.ParseID(r.text(e))
	if err != nil && e != nil {
		r.fail(e.path(), "is not an identifier of this network: %v", err)
	}
	return id
}

// positive reads a positiveInt of FHIR, which has 31 bits.
func (r *reading) positive(e *element) uint32 {
	before := len(r.problems)
	n := r.unsigned(e)
	if e != nil && n == 0 && len(r.problems) == before {
		r.fail(e.path(), "is not positive")
	}
	return n
}

// unsigned reads an unsignedInt of FHIR, which has 31 bits.
func (r *reading) unsigned(e *element) uint32 {
	if e == nil {
		return 0
	}
	n, err := strconv.ParseUint(e.text, 10, 31)
	if e.kind != '0' || err != nil {
		r.fail(e.path(), "is not a whole number")
		return 0
	}
	return uint32(n)
}

func (r *reading) boolean(e *element) bool {
	if e == nil {
		return false
	}
	if e.kind != 't' {
		r.fail(e.path(), "is not true or false")
	}
	return e.text == "true"
}

// coding returns the code of a Coding from this system. Its display is for
// people and says nothing that the code does not.
func (r *reading) coding(e *element, system string) (*element, string) {
	o := r.object(e, "system", "code", "display")
	r.fixed(r.need(o, "system"), system)
	code := r.need(o, "code")
	return code, r.text(code)
}

// concept returns the code of a CodeableConcept, which has one coding: several
// are translations of each other, and whether they are is not known here.
func (r *reading) concept(e *element, system string) (*element, string) {
	return r.coding(r.single(r.need(r.object(e, "coding"), "coding")), system)
}

// reference returns who a logical reference names. A literal one is an address
// of another server, which says nothing here.
func (r *reading) reference(e *element, kind, system string) (*element, string) {
	o := r.object(e, "type", "identifier", "display")
	if m := o.at["type"]; m != nil {
		r.fixed(m, kind)
	}
	id := r.object(r.need(o, "identifier"), "system", "value")
	r.fixed(r.need(id, "system"), system)
	value := r.need(id, "value")
	return value, r.text(value)
}

// period returns the seconds [from, until) of a Period.
func (r *reading) period(e *element) (int64, int64) {
	o := r.object(e, "start", "end")
	return r.second(r.need(o, "start")), r.second(r.need(o, "end")) + 1
}

func (r *reading) second(e *element) int64 {
	s := r.text(e)
	if s == "" {
		return 0
	}
	t, err := parseTime(s)
	if err != nil {
		r.fail(e.path(), "%v", err)
	}
	return t
}

// clip keeps words from outside short in error texts.
func clip(s string) string { return fault.Clip(s, 40) }
