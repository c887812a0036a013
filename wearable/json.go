package wearable

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// readingJSON is a reading in the output of `vitalveil wearable decode`.
type readingJSON struct {
	Metric string      `json:"metric"`
	Value  json.Number `json:"value"`
	Unit   string      `json:"unit"`
	// Exact is the fraction that Value rounds, where no numeral is exact.
	Exact string `json:"exact,omitempty"`
	// OutOfRange: the minute grid will not take it.
	OutOfRange bool `json:"out_of_range,omitempty"`
}

type dropJSON struct {
	Metric string `json:"metric,omitempty"`
	Part   string `json:"part,omitempty"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// recordJSON is what a bridge goes by to file a record to its minute.
type recordJSON struct {
	Local      string  `json:"local,omitempty"`
	Instant    string  `json:"instant,omitempty"`
	Minutes    *int    `json:"minutes_since_session,omitempty"`
	Age        int     `json:"age_minutes,omitempty"`
	Stored     bool    `json:"stored,omitempty"`
	ClockUnset bool    `json:"clock_unset,omitempty"`
	Sequence   *uint32 `json:"sequence,omitempty"`
	User       *uint8  `json:"user,omitempty"`
}

func (r Record) json() *recordJSON {
	out := &recordJSON{Age: r.Age, Stored: r.Stored, ClockUnset: r.ClockUnset}
	if at, ok := r.Local(); ok {
		out.Local = at.Format("2006-01-02T15:04:05")
	}
	if at, ok := r.Instant(); ok {
		out.Instant = at.Format("2006-01-02T15:04:05Z")
	}
	if r.SinceSession {
		out.Minutes = &r.Minutes
	}
	if r.Numbered {
		out.Sequence = &r.Sequence
	}
	if r.UserKnown {
		out.User = &r.User
	}
	if *out == (recordJSON{}) {
		return nil
	}
	return out
}

// fieldsJSON is an object in the payload's own order.
type fieldsJSON []Field

// MarshalJSON writes name and value pairs. Names are distinct by construction.
func (f fieldsJSON) MarshalJSON() ([]byte, error) {
	return orderedObject(f, func(field Field) any { return shown(field.Value) })
}

// shown returns a field's value as JSON shows it.
func shown(value any) any {
	switch v := value.(type) {
	case Float:
		if v.Kind != Number {
			return v.String()
		}
		return json.Number(v.String())
	case Decimal:
		return json.Number(v.Plain())
	case Timestamp:
		return v.String()
	case Enum:
		return v.Name
	case Bits:
		return v.Names
	case []byte:
		return hex.EncodeToString(v)
	}
	return value
}

// unitsJSON gives the transmitted unit of each field that has one.
type unitsJSON []Field

// MarshalJSON writes name and unit pairs.
func (u unitsJSON) MarshalJSON() ([]byte, error) {
	return orderedObject(u, func(field Field) any { return field.Unit })
}

func orderedObject(fields []Field, value func(Field) any) ([]byte, error) {
	var out bytes.Buffer
	out.WriteByte('{')
	for i, field := range fields {
		if i > 0 {
			out.WriteByte(',')
		}
		text, err := json.Marshal(value(field))
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", field.Name, err)
		}
		fmt.Fprintf(&out, "%q:%s", field.Name, text)
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// MarshalJSON writes the stable form of `vitalveil wearable decode`: uuid, name,
// fields as transmitted with their units, readings in the table's units, what was
// dropped and why, what the payload says about when and whom, and further
// measurements in the same value. Numbers are exact decimal literals; a reading
// that no literal can hold (kilopascals, most Fahrenheit) is rounded to 12 decimals
// and has the fraction in "exact".
func (n Notification) MarshalJSON() ([]byte, error) {
	out := struct {
		UUID      UUID           `json:"uuid"`
		Name      string         `json:"name"`
		Fields    fieldsJSON     `json:"fields"`
		Units     unitsJSON      `json:"units"`
		Readings  []readingJSON  `json:"readings"`
		Dropped   []dropJSON     `json:"dropped,omitempty"`
		Record    *recordJSON    `json:"record,omitempty"`
		Following []Notification `json:"following,omitempty"`
	}{UUID: n.UUID, Name: n.Name, Fields: n.Fields, Readings: []readingJSON{}, Record: n.Record.json(), Following: n.Following}
	for _, f := range n.Fields {
		if f.Unit != "" {
			out.Units = append(out.Units, f)
		}
	}
	for _, r := range n.Readings {
		m := lookup(r.Metric)
		entry := readingJSON{Metric: r.Metric, Value: json.Number(r.Value.Plain()), Unit: m.UCUM, OutOfRange: !m.InRange(r.Value)}
		if !r.Value.Finite() {
			entry.Exact = r.Value.String()
		}
		out.Readings = append(out.Readings, entry)
	}
	for _, d := range n.Drops {
		out.Dropped = append(out.Dropped, dropJSON{d.Metric, d.Part, d.Reason.String(), d.Detail})
	}
	return json.Marshal(out)
}

// DecodeJSON decodes a payload in hexadecimal and returns its JSON form,
// indented: what `vitalveil wearable decode UUID HEX` prints.
func DecodeJSON(uuid, payload string) ([]byte, error) {
	id, err := ParseUUID(uuid)
	if err != nil {
		return nil, err
	}
	raw, err := ParsePayload(payload)
	if err != nil {
		return nil, err
	}
	n, err := Decode(id, raw)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(n, "", "  ")
}
