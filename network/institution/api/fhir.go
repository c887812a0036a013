package api

import (
	"encoding/json"
	"strconv"
	"time"
)

// An answer as a FHIR R4 MeasureReport (hl7.org/fhir/R4/measurereport.html). R4 has no
// status for what is preliminary: it is "pending", and an extension says what it is.

const (
	fhirBase    = "urn:vitalveil:fhir:"
	ucum        = "http://unitsofmeasure.org"
	noDataURL   = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
	populations = "http://terminology.hl7.org/CodeSystem/measure-population"
)

// MeasureReport is the part of R4's resource that an answer has.
type MeasureReport struct {
	ResourceType string        `json:"resourceType" enum:"MeasureReport"`
	ID           string        `json:"id"`
	Extension    []Extension   `json:"extension,omitempty"`
	Status       string        `json:"status" enum:"complete,pending"`
	Type         string        `json:"type" enum:"summary"`
	Measure      string        `json:"measure" format:"uri"`
	Date         string        `json:"date"`
	Reporter     Reference     `json:"reporter"`
	Period       Period        `json:"period"`
	Group        []ReportGroup `json:"group"`
}

// Extension has one of its values.
type Extension struct {
	URL           string    `json:"url"`
	ValueQuantity *Quantity `json:"valueQuantity,omitempty"`
	ValueCode     string    `json:"valueCode,omitempty"`
	ValueDecimal  *Decimal  `json:"valueDecimal,omitempty"`
	ValueString   string    `json:"valueString,omitempty"`
}

// Reference is to whom only a name is given.
type Reference struct {
	Display string `json:"display"`
}

// Period is from a moment to another.
type Period struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// ReportGroup is one figure.
type ReportGroup struct {
	Extension    []Extension  `json:"extension,omitempty"`
	Code         Concept      `json:"code"`
	Population   []Population `json:"population,omitempty"`
	MeasureScore *Score       `json:"measureScore,omitempty"`
}

// Concept is a code with words.
type Concept struct {
	Coding []Coding `json:"coding"`
	Text   string   `json:"text"`
}

// Coding is a code of a system.
type Coding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

// Population is how many people.
type Population struct {
	Code  Concept `json:"code"`
	Count int     `json:"count"`
}

// Quantity is a number with a unit.
type Quantity struct {
	Value  Decimal `json:"value"`
	Unit   string  `json:"unit"`
	System string  `json:"system"`
	Code   string  `json:"code"`
}

// Score is a quantity, or says why there is none.
type Score struct {
	Extension []Extension `json:"extension,omitempty"`
	Value     *Decimal    `json:"value,omitempty"`
	Unit      string      `json:"unit,omitempty"`
	System    string      `json:"system,omitempty"`
	Code      string      `json:"code,omitempty"`
}

// Decimal is written without an exponent, which some readers of FHIR refuse.
type Decimal float64

// MarshalJSON writes the shortest text that reads back as the same number.
func (d Decimal) MarshalJSON() ([]byte, error) {
	if b, err := json.Marshal(float64(d)); err != nil { // not a number
		return b, err
	}
	return strconv.AppendFloat(nil, float64(d), 'f', -1, 64), nil
}

func reportOf(a Answer, msp string) MeasureReport {
	r := MeasureReport{
		ResourceType: "MeasureReport", ID: a.Query.ID, Status: "complete", Type: "summary", Measure: fhirBase + "measure:" + a.Counted, Reporter: Reference{msp},
		Date: a.Query.Asked.Format(time.RFC3339), Period: Period{a.Query.From.Format(time.RFC3339), a.Query.Until.Add(-time.Second).Format(time.RFC3339)},
		Extension: []Extension{{URL: fhirBase + "standing", ValueCode: a.Standing}, {URL: fhirBase + "question", ValueString: a.Query.Question.Question}},
	}
	if a.Standing != "final" {
		r.Status = "pending"
	}
	if !a.Query.Exact {
		rho, epsilon := Decimal(a.Query.Rho), Decimal(a.Epsilon)
		r.Extension = append(r.Extension, Extension{URL: fhirBase + "rho", ValueDecimal: &rho}, Extension{URL: fhirBase + "epsilon", ValueDecimal: &epsilon})
	}
	for i, f := range a.Figures {
		g := groupOf(f)
		if i == 0 {
			g.Population = []Population{{Concept{[]Coding{{populations, "initial-population"}}, "people in it"}, a.People}}
		}
		r.Group = append(r.Group, g)
	}
	return r
}

func groupOf(f Figure) ReportGroup {
	text := f.Name
	if f.Group != "" {
		text += ", " + f.Group
	}
	g := ReportGroup{Code: Concept{[]Coding{{fhirBase + "figure", f.Name}}, text}}
	if f.Value == nil {
		reason := "unknown"
		if f.State == tooNoisy {
			reason = "masked" // by noise: there is no number that could be read as one
		}
		g.MeasureScore = &Score{Extension: []Extension{{URL: noDataURL, ValueCode: reason}}}
		return g
	}
	value := Decimal(*f.Value)
	g.MeasureScore = &Score{Value: &value, Unit: f.Unit, System: ucum, Code: f.Unit}
	bound := func(name string, v *float64) {
		if v != nil {
			g.Extension = append(g.Extension, Extension{URL: fhirBase + name, ValueQuantity: &Quantity{Decimal(*v), f.Unit, ucum, f.Unit}})
		}
	}
	bound("noise-low", f.Low)
	bound("noise-high", f.High)
	bound("population-low", f.PopulationLow)
	bound("population-high", f.PopulationHigh)
	return g
}
