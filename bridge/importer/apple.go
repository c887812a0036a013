package importer

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"time"
)

// Apple Health writes export.xml: one element a record, all of them below the root. What a
// workout or a correlation (a blood pressure) is made of is listed within it again, and is
// not read there.
func isApple(p part) bool {
	return bytes.Contains(p.head, []byte("<!DOCTYPE HealthData")) || bytes.Contains(p.head, []byte("<HealthData"))
}

// appleTypes are the records that are readings, with their units.
var appleTypes = map[string]struct {
	metric string
	units  map[string]scale
}{
	"HeartRate":              {"heart_rate", appleRates},
	"RespiratoryRate":        {"resp_rate", appleRates},
	"OxygenSaturation":       {"spo2", map[string]scale{"%": hundred}}, // a fraction, whatever the unit says
	"BodyTemperature":        {"body_temp", map[string]scale{"degC": same, "degF": fahrenheit, "K": kelvin}},
	"BloodPressureSystolic":  {"bp_systolic", applePressures},
	"BloodPressureDiastolic": {"bp_diastolic", applePressures},
	"BloodGlucose":           {"glucose", map[string]scale{"mg/dL": same, "mmol/L": perMmol}},
}

var (
	appleRates     = map[string]scale{"count/min": same, "count/s": sixty}
	applePressures = map[string]scale{"mmHg": same, "kPa": perKPa}
)

const (
	appleTime   = "2006-01-02 15:04:05 -0700"
	applePrefix = "HKQuantityTypeIdentifier"
	maxDepth    = 64
)

func readApple(r *reading, _ part, in *parts) error {
	d := xml.NewDecoder(in)
	depth := 0
	for {
		in.next()
		token, err := d.Token()
		if errors.Is(err, io.EOF) && depth == 0 {
			return nil
		}
		if err != nil {
			return damaged(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return damaged(errors.New("elements within elements without end"))
			}
			if depth == 2 && t.Name.Local == "Record" {
				if err := r.appleRecord(t.Attr); err != nil {
					return err
				}
			}
		case xml.EndElement:
			depth--
		}
	}
}

// appleRecord reads the attributes of one record.
func (r *reading) appleRecord(attributes []xml.Attr) error {
	var kind, unit, value, start, end, source string
	for _, a := range attributes {
		switch a.Name.Local {
		case "type":
			kind = a.Value
		case "unit":
			unit = a.Value
		case "value":
			value = a.Value
		case "startDate":
			start = a.Value
		case "endDate":
			end = a.Value
		case "sourceName":
			source = a.Value
		}
	}
	of, ok := appleTypes[strings.TrimPrefix(kind, applePrefix)]
	if !ok {
		return nil
	}
	if strings.HasPrefix(unit, "mmol<") { // mmol<180.15588...>/L: the molar mass is named
		unit = "mmol/L"
	}
	convert, ok := of.units[unit]
	if !ok {
		r.drop(DropUnit)
		return nil
	}
	v, ok := decimal(value)
	if ok {
		v, ok = convert.of(v)
	}
	if !ok {
		r.drop(DropValue)
		return nil
	}
	from, err := time.Parse(appleTime, start)
	until, uerr := time.Parse(appleTime, end)
	at, ok := secondsOf(from)
	switch {
	case err != nil || uerr != nil || !ok || until.Before(from):
		r.drop(DropTime)
		return nil
	case until.Sub(from) > time.Hour:
		r.drop(DropSummary)
		return nil
	}
	return r.emit(Reading{Metric: of.metric, Time: at, Value: v, Device: source})
}
