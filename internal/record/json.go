package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// DecodeJSON reads exactly one JSON value of at most max bytes into v. It
// refuses unknown fields, duplicate keys (which encoding/json would resolve
// silently, so that two readers could see two documents) and trailing data.
func DecodeJSON(data []byte, max int, v any) error {
	if len(data) > max {
		return fmt.Errorf("document has %d bytes, the limit is %d", len(data), max)
	}
	if err := uniqueKeys(data); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("trailing data after the JSON value")
	}
	return nil
}

// maxDepth bounds nesting; no document of ours nests deeper than six.
const maxDepth = 32

// scope is one open object or array.
type scope struct {
	keys    map[string]bool // nil in an array
	wantKey bool
}

func uniqueKeys(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []*scope
	for {
		t, err := d.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(open) > 0 && open[len(open)-1].keys != nil && open[len(open)-1].wantKey {
			if key, ok := t.(string); ok {
				s := open[len(open)-1]
				if s.keys[key] {
					return fmt.Errorf("duplicate key %q", key)
				}
				s.keys[key], s.wantKey = true, false
				continue
			}
		}
		switch t {
		case json.Delim('{'):
			open = append(open, &scope{keys: map[string]bool{}, wantKey: true})
		case json.Delim('['):
			open = append(open, &scope{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
			closeValue(open)
		default:
			closeValue(open)
		}
		if len(open) > maxDepth {
			return fmt.Errorf("nested deeper than %d", maxDepth)
		}
	}
}

// closeValue notes that a value has ended: in an object a key comes next.
func closeValue(open []*scope) {
	if len(open) > 0 {
		open[len(open)-1].wantKey = true
	}
}
