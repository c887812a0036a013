package wearable

import (
	"bytes"
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
}

type dropJSON struct {
	Metric string `json:"metric"`
	Reason string `json:"reason"`
}

// fieldsJSON is an object in the payload's own order.
type fieldsJSON []Field

// MarshalJSON writes name and value pairs. Names are distinct by construction.
func (f fieldsJSON) MarshalJSON() ([]byte, error) {
	return orderedObject(f, func(field Field) any { return field.Value })
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
// fields as transmitted with their units, readings in the table's units, and
// what was dropped. Numbers are exact decimal literals; a reading that no
// literal can hold (kilopascals, most Fahrenheit) is rounded to 12 decimals and
// has the fraction in "exact".
func (n Notification) MarshalJSON() ([]byte, error) {
	out := struct {
		UUID     string        `json:"uuid"`
		Name     string        `json:"name"`
		Fields   fieldsJSON    `json:"fields"`
		Units    unitsJSON     `json:"units"`
		Readings []readingJSON `json:"readings"`
		Dropped  []dropJSON    `json:"dropped,omitempty"`
	}{UUID: fmt.Sprintf("%04x", n.UUID), Name: n.Name, Fields: n.Fields, Readings: []readingJSON{}}
	for _, f := range n.Fields {
		if f.Unit != "" {
			out.Units = append(out.Units, f)
		}
	}
	for _, r := range n.Readings {
		m, _ := ByKey(r.Metric)
		entry := readingJSON{Metric: r.Metric, Value: json.Number(r.Value.Plain()), Unit: m.UCUM}
		if !r.Value.Finite() {
			entry.Exact = r.Value.String()
		}
		out.Readings = append(out.Readings, entry)
	}
	for _, d := range n.Drops {
		out.Dropped = append(out.Dropped, dropJSON(d))
	}
	return json.Marshal(out)
}

// DecodeJSON decodes a payload in hexadecimal and returns its JSON form,
// indented: what `vitalveil wearable decode UUID HEX` prints.
func DecodeJSON(uuid, payload string) ([]byte, error) {
	short, err := ParseUUID(uuid)
	if err != nil {
		return nil, err
	}
	raw, err := ParsePayload(payload)
	if err != nil {
		return nil, err
	}
	n, err := Decode(short, raw)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(n, "", "  ")
}
