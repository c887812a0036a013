package consent

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// Code systems, and the names that this project has in FHIR resources.
const (
	sysScope         = "http://terminology.hl7.org/CodeSystem/consentscope"
	sysActCode       = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
	sysActReason     = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
	sysParticipation = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
	sysLOINC         = "http://loinc.org"
	sysUCUM          = "http://unitsofmeasure.org"
	sysPatient       = "urn:vitalveil:patient"
	sysMSP           = "urn:vitalveil:msp"
	sysOperation     = "urn:vitalveil:operation"
	extVersion       = "urn:vitalveil:fhir:consent-version"
	extCap           = "urn:vitalveil:fhir:privacy-cap"
	extShare         = "urn:vitalveil:fhir:beyond-share"
	extExact         = "urn:vitalveil:fhir:exact-answers"
	extClaims        = "urn:vitalveil:fhir:claims"
	extPredicate     = "urn:vitalveil:fhir:predicate"
)

// Codes that every consent has.
const (
	scopePrivacy    = "patient-privacy"
	categoryConsent = "59284-0" // LOINC: patient consent
	policyOptOut    = "OPTOUT"
	roleRecipient   = "IRCP"
)

// fhirStatus maps what a patient signs to codes of FHIR's consent-state-codes.
var fhirStatus = map[string]string{
	StatusActive: "active", StatusRevoked: "inactive", StatusInError: "entered-in-error",
}

type fhirConsent struct {
	ResourceType string          `json:"resourceType"`
	ID           record.ID       `json:"id"`
	Text         fhirText        `json:"text"`
	Extension    []fhirExtension `json:"extension"`
	Status       string          `json:"status"`
	Scope        fhirConcept     `json:"scope"`
	Category     []fhirConcept   `json:"category"`
	Patient      fhirReference   `json:"patient"`
	PolicyRule   fhirConcept     `json:"policyRule"`
	Provision    fhirRoot        `json:"provision"`
}

type fhirText struct {
	Status string `json:"status"`
	Div    string `json:"div"`
}

type fhirRoot struct {
	Provision []fhirProvision `json:"provision"`
}

type fhirProvision struct {
	ModifierExtension []fhirExtension `json:"modifierExtension"`
	Type              string          `json:"type"`
	Period            fhirPeriod      `json:"period"`
	Actor             []fhirActor     `json:"actor"`
	Action            []fhirConcept   `json:"action"`
	Purpose           []fhirCoding    `json:"purpose"`
	Code              []fhirConcept   `json:"code"`
	DataPeriod        fhirPeriod      `json:"dataPeriod"`
}

type fhirExtension struct {
	URL              string          `json:"url"`
	Extension        []fhirExtension `json:"extension,omitempty"`
	ValueString      string          `json:"valueString,omitempty"`
	ValueCode        string          `json:"valueCode,omitempty"`
	ValueDecimal     json.Number     `json:"valueDecimal,omitempty"`
	ValuePositiveInt uint32          `json:"valuePositiveInt,omitempty"`
	ValueUnsignedInt *uint32         `json:"valueUnsignedInt,omitempty"`
	ValueBoolean     *bool           `json:"valueBoolean,omitempty"`
	ValueCoding      *fhirCoding     `json:"valueCoding,omitempty"`
	ValueRange       *fhirRange      `json:"valueRange,omitempty"`
	ValueQuantity    *fhirQuantity   `json:"valueQuantity,omitempty"`
}

type fhirConcept struct {
	Coding []fhirCoding `json:"coding"`
}

type fhirCoding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

type fhirReference struct {
	Type       string         `json:"type"`
	Identifier fhirIdentifier `json:"identifier"`
}

type fhirIdentifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

type fhirActor struct {
	Role      fhirConcept   `json:"role"`
	Reference fhirReference `json:"reference"`
}

type fhirPeriod struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// fhirRange is a range whose ends may be missing.
type fhirRange struct {
	Low  *fhirQuantity `json:"low,omitempty"`
	High *fhirQuantity `json:"high,omitempty"`
}

type fhirQuantity struct {
	Value  json.Number `json:"value"`
	System string      `json:"system"`
	Code   string      `json:"code"`
}

// ToFHIR writes a document as a FHIR R4 Consent, from which FromFHIR reads the
// same document. The base policy is OPTOUT with one provision, so that a reader
// takes nothing as permitted that the patient did not permit; what narrows the
// provision beyond FHIR's own elements is in modifier extensions, which a reader
// that does not know them must not pass over. The signature is not in it: it is
// over the document and not over its image in FHIR.
//
// Documents that are not valid, and times before the year 1 or after 9999, are
// errors.
func ToFHIR(d Document) ([]byte, error) {
	if err := Validate(d); err != nil {
		return nil, err
	}
	return imageInFHIR(d)
}

// WithdrawnToFHIR is ToFHIR for a document as it counts after its patient has
// revoked everything (Withdrawn): inactive, if it permits. Of a first version
// FromFHIR does not take that, since nobody signed such a document.
func WithdrawnToFHIR(d Document) ([]byte, error) {
	if err := Validate(d); err != nil {
		return nil, err
	}
	return imageInFHIR(Withdrawn(d))
}

func imageInFHIR(d Document) ([]byte, error) {
	rule, err := fhirRule(d)
	if err != nil {
		return nil, err
	}
	status := fhirStatus[d.Status]
	return json.Marshal(fhirConsent{
		ResourceType: "Consent", ID: d.ID, Status: status,
		Text: fhirText{Status: "generated", Div: narrative(d, rule)},
		Extension: []fhirExtension{{URL: extVersion, Extension: []fhirExtension{
			{URL: "version", ValuePositiveInt: d.Version}, {URL: "previous", ValueString: d.Previous.String()},
		}}},
		Scope:    concept(sysScope, scopePrivacy),
		Category: []fhirConcept{concept(sysLOINC, categoryConsent)},
		Patient:  fhirReference{Type: "Patient", Identifier: fhirIdentifier{sysPatient, d.Patient.String()}},
		// Silent on what it does not name, a denial too.
		PolicyRule: concept(sysActCode, policyOptOut),
		Provision:  fhirRoot{Provision: []fhirProvision{rule}},
	})
}

func concept(system, code string) fhirConcept {
	return fhirConcept{Coding: []fhirCoding{{System: system, Code: code}}}
}

func fhirRule(d Document) (fhirProvision, error) {
	p := fhirProvision{
		ModifierExtension: []fhirExtension{
			{URL: extCap, ValueDecimal: rho(d.CapMicro)},
			{URL: extShare, ValueBoolean: &d.BeyondShare},
			{URL: extExact, ValueBoolean: &d.Exact},
			{URL: extClaims, ValueUnsignedInt: &d.Claims},
		},
		Type: d.Effect,
		Actor: []fhirActor{{
			Role:      concept(sysParticipation, roleRecipient),
			Reference: fhirReference{Type: "Organization", Identifier: fhirIdentifier{sysMSP, d.Grantee}},
		}},
		Purpose: []fhirCoding{{sysActReason, d.Purpose}},
	}
	for _, op := range d.Operations {
		p.Action = append(p.Action, concept(sysOperation, op))
	}
	for _, key := range d.Metrics {
		m, _ := wearable.ByKey(key) // known: the document is valid
		p.Code = append(p.Code, concept(sysLOINC, m.LOINC))
	}
	for _, t := range d.Predicates {
		p.ModifierExtension = append(p.ModifierExtension, fhirTerms(t))
	}
	var err error
	if p.Period, err = period(d.NotBefore, d.Expires); err != nil {
		return p, fmt.Errorf("validity: %w", err)
	}
	if p.DataPeriod, err = period(d.DataFrom*hourSeconds, d.DataUntil*hourSeconds); err != nil {
		return p, fmt.Errorf("data period: %w", err)
	}
	return p, nil
}

// period writes [from, until). The end of a FHIR period is part of it, to the
// precision that it is written with: here the last second.
func period(from, until int64) (fhirPeriod, error) {
	start, ok := formatTime(from)
	end, ends := formatTime(until - 1)
	if !ok || !ends {
		return fhirPeriod{}, errors.New("FHIR writes years from 1 to 9999 only")
	}
	return fhirPeriod{Start: start, End: end}, nil
}

// rho writes micro-zCDP in whole zCDP.
func rho(micro uint64) json.Number {
	return json.Number(fmt.Sprintf("%d.%06d", micro/1_000_000, micro%1_000_000))
}

// narrative says the provision in words. Every word comes from a closed list or,
// like an MSP ID, has no character that XHTML would read otherwise.
func narrative(d Document, p fhirProvision) string {
	purpose, _ := PurposeByCode(d.Purpose)
	var b strings.Builder
	fmt.Fprintf(&b, `<div xmlns="http://www.w3.org/1999/xhtml"><p>`)
	switch d.Status {
	case StatusRevoked:
		b.WriteString("Revoked. ")
	case StatusInError:
		b.WriteString("Entered in error. ")
	}
	verb := "may"
	if d.Effect == EffectDeny {
		verb = "may not"
	}
	var names []string
	for _, key := range d.Metrics {
		m, _ := wearable.ByKey(key)
		names = append(names, m.Name)
	}
	fmt.Fprintf(&b, "%s %s use %s (%s) of %s to %s for %s, from %s to %s.", d.Grantee, verb, strings.Join(names, ", "),
		strings.Join(d.Operations, ", "), p.DataPeriod.Start, p.DataPeriod.End, purpose.Name, p.Period.Start, p.Period.End)
	if d.Effect == EffectPermit {
		fmt.Fprintf(&b, " Privacy loss of at most rho = %s", rho(d.CapMicro))
		if d.BeyondShare {
			b.WriteString(", also beyond an equal share of the network's cap")
		}
		b.WriteString(".")
	}
	if d.Exact {
		b.WriteString(" Statistics without privacy noise too, which protect nothing.")
	}
	for _, text := range d.Texts() {
		b.WriteString(" " + text)
	}
	return b.String() + "</p></div>"
}
