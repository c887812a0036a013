package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

var askMethod = contracts.QueryAsk

func askOf(q Question) record.Ask {
	from, until, err := hoursOf(q.From, q.Until)
	return record.Ask{Study: q.Study, Metric: q.Question, From: must(from, err), Until: until, Rho: must(microOf(q.Rho))}
}

func studyOf(s Study, budget uint64) record.Study {
	from, until, err := hoursOf(s.From, s.Until)
	return record.Study{ID: s.ID, Title: s.Title, Purpose: s.Purpose, Metrics: s.Questions, From: must(from, err), Until: until, MinCohort: s.MinimumCohort, Budget: budget}
}

// The types of R4's MeasureReport, as far as an answer uses them. A validator that reads
// structure only lets a bare number pass for a Quantity; this does not.
var fhirTypes = map[string]map[string]string{
	"MeasureReport": {
		"resourceType": "code", "id": "id", "extension": "Extension*", "status": "code", "type": "code", "measure": "uri", "date": "dateTime",
		"reporter": "Reference", "period": "Period", "group": "Group*",
	},
	"Group":           {"extension": "Extension*", "code": "CodeableConcept", "population": "Population*", "measureScore": "Quantity"},
	"Population":      {"code": "CodeableConcept", "count": "integer"},
	"Quantity":        {"extension": "Extension*", "value": "decimal", "unit": "string", "system": "uri", "code": "code"},
	"Extension":       {"url": "uri", "valueQuantity": "Quantity", "valueCode": "code", "valueDecimal": "decimal", "valueString": "string"},
	"CodeableConcept": {"coding": "Coding*", "text": "string"},
	"Coding":          {"system": "uri", "code": "code"},
	"Reference":       {"display": "string"},
	"Period":          {"start": "dateTime", "end": "dateTime"},
}

func fhirCheck(kind, at string, v any) error {
	if of, many := strings.CutSuffix(kind, "*"); many {
		all, ok := v.([]any)
		if !ok || len(all) == 0 {
			return fmt.Errorf("%s is no list of %s", at, of)
		}
		for i, one := range all {
			if err := fhirCheck(of, fmt.Sprintf("%s[%d]", at, i), one); err != nil {
				return err
			}
		}
		return nil
	}
	fields, complex := fhirTypes[kind]
	if complex {
		object, ok := v.(map[string]any)
		if !ok || len(object) == 0 {
			return fmt.Errorf("%s is no %s but %v", at, kind, v)
		}
		for name, value := range object {
			of, known := fields[name]
			if !known {
				return fmt.Errorf("%s.%s is not a field of %s", at, name, kind)
			}
			if err := fhirCheck(of, at+"."+name, value); err != nil {
				return err
			}
		}
		return nil
	}
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	ok := false
	switch kind {
	case "decimal":
		ok = isNumber && !strings.ContainsAny(number.String(), "eE")
	case "integer":
		_, err := number.Int64()
		ok = isNumber && err == nil
	case "dateTime":
		_, err := time.Parse(time.RFC3339, text)
		ok = isText && err == nil
	case "uri":
		ok = isText && strings.Contains(text, ":")
	case "id":
		ok = isText && len(text) >= 1 && len(text) <= 64 && strings.Trim(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.") == ""
	default:
		ok = isText && text != ""
	}
	if !ok {
		return fmt.Errorf("%s is no %s: %v", at, kind, v)
	}
	return nil
}

func checkReport(raw []byte) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err
	}
	return fhirCheck("MeasureReport", "report", v)
}

func wellTyped(t *testing.T, raw []byte) {
	t.Helper()
	if err := checkReport(raw); err != nil {
		t.Errorf("%v: %s", err, raw)
	}
}

func TestAReportHasScoresThatAreQuantitiesAndNoNumberWhereNoiseHasDrownedIt(t *testing.T) {
	value, low, high := 1e21, 0.0000001, 1e22
	a := Answer{
		Query:  Query{ID: strings.Repeat("a", 64), Question: Question{Question: "heart_rate", From: hour(1), Until: hour(2), Rho: 0.5}},
		People: 12, Counted: "person-days", Standing: "preliminary",
		Figures: []Figure{
			{Name: "mean", Unit: "/min", State: shown, Value: &value, Low: &low, High: &high, PopulationLow: &low, PopulationHigh: &high},
			{Name: "spread", Unit: "/min", State: tooNoisy},
			{Name: "median", Unit: "/min", State: unknown},
		},
	}
	r := reportOf(a, "HospitalA")
	raw := must(json.Marshal(r))
	wellTyped(t, raw)
	if r.Status != "pending" || !strings.Contains(string(raw), `"valueCode":"preliminary"`) {
		t.Errorf("what is preliminary is %s", r.Status)
	}
	if s := r.Group[1].MeasureScore; s.Value != nil || s.Extension[0].ValueCode != "masked" {
		t.Errorf("what noise has drowned has the score %+v", s)
	}
	if s := r.Group[2].MeasureScore; s.Value != nil || s.Extension[0].ValueCode != "unknown" {
		t.Errorf("what nobody measured has the score %+v", s)
	}
	a.Standing = "final"
	if r := reportOf(a, "HospitalA"); r.Status != "complete" {
		t.Errorf("what is final is %s", r.Status)
	}
	// The check itself refuses a bare number in the place of a quantity.
	if err := checkReport([]byte(strings.Replace(string(raw), `"measureScore":{"value":1000000000000000000000,"unit":"/min","system":"http://unitsofmeasure.org","code":"/min"}`, `"measureScore":71.5`, 1))); err == nil {
		t.Error("a bare number passes for a Quantity")
	}
}
