// Package fhir writes consents as FHIR R4 (4.0.1) Consent resources and reads them back.
//
// Entry points: Write, WriteWithdrawn and Read. docs/fhir-divergences.md says where the
// form departs from the standard.
//
// Trust: none. What Read gives is not signed, and no rule is ever taken for less or
// more than it says: what has no place in a consent here is refused by its path.
//
// Promise: what Write has written is read as the same document, by later versions too.
package fhir

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/consent/words"
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

// statusCodes maps what a patient signs to codes of FHIR's consent-state-codes.
var statusCodes = map[string]string{
	consent.StatusActive: "active", consent.StatusRevoked: "inactive", consent.StatusInError: "entered-in-error",
}

type resource struct {
	ResourceType string      `json:"resourceType"`
	ID           record.ID   `json:"id"`
	Text         text        `json:"text"`
	Extension    []extension `json:"extension"`
	Status       string      `json:"status"`
	Scope        concept     `json:"scope"`
	Category     []concept   `json:"category"`
	Patient      reference   `json:"patient"`
	PolicyRule   concept     `json:"policyRule"`
	Provision    root        `json:"provision"`
}

type text struct {
	Status string `json:"status"`
	Div    string `json:"div"`
}

type root struct {
	Provision []provision `json:"provision"`
}

type provision struct {
	ModifierExtension []extension `json:"modifierExtension"`
	Type              string      `json:"type"`
	Period            period      `json:"period"`
	Actor             []actor     `json:"actor"`
	Action            []concept   `json:"action"`
	Purpose           []coding    `json:"purpose"`
	Code              []concept   `json:"code"`
	DataPeriod        period      `json:"dataPeriod"`
}

type extension struct {
	URL              string      `json:"url"`
	Extension        []extension `json:"extension,omitempty"`
	ValueString      string      `json:"valueString,omitempty"`
	ValueCode        string      `json:"valueCode,omitempty"`
	ValueDecimal     json.Number `json:"valueDecimal,omitempty"`
	ValuePositiveInt uint32      `json:"valuePositiveInt,omitempty"`
	ValueUnsignedInt *uint32     `json:"valueUnsignedInt,omitempty"`
	ValueBoolean     *bool       `json:"valueBoolean,omitempty"`
	ValueCoding      *coding     `json:"valueCoding,omitempty"`
	ValueRange       *interval   `json:"valueRange,omitempty"`
	ValueQuantity    *quantity   `json:"valueQuantity,omitempty"`
}

type concept struct {
	Coding []coding `json:"coding"`
}

type coding struct {
	System string `json:"system"`
	Code   string `json:"code"`
}

type reference struct {
	Type       string     `json:"type"`
	Identifier identifier `json:"identifier"`
}

type identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

type actor struct {
	Role      concept   `json:"role"`
	Reference reference `json:"reference"`
}

type period struct {
	Start string `json:"start"`
	End   string `json:"end"`
}

// interval is a range whose ends may be missing.
type interval struct {
	Low  *quantity `json:"low,omitempty"`
	High *quantity `json:"high,omitempty"`
}

type quantity struct {
	Value  json.Number `json:"value"`
	System string      `json:"system"`
	Code   string      `json:"code"`
}

// Write writes a document as a FHIR R4 Consent, from which Read reads the
// same document. The base policy is OPTOUT with one provision, so that a reader
// takes nothing as permitted that the patient did not permit; what narrows the
// provision beyond FHIR's own elements is in modifier extensions, which a reader
// that does not know them must not pass over. The signature is not in it: it is
// over the document and not over its image in FHIR.
//
// Documents that are not valid, and times before the year 1 or after 9999, are
// errors.
func Write(d consent.Document) ([]byte, error) {
	if err := consent.Validate(d); err != nil {
		return nil, err
	}
	return image(d)
}

// WriteWithdrawn is Write for a document as it counts after its patient has
// revoked everything (consent.Withdrawn): inactive, if it permits. Of a first version
// Read does not take that, since nobody signed such a document.
func WriteWithdrawn(d consent.Document) ([]byte, error) {
	if err := consent.Validate(d); err != nil {
		return nil, err
	}
	return image(consent.Withdrawn(d))
}

func image(d consent.Document) ([]byte, error) {
	rule, err := ruleOf(d)
	if err != nil {
		return nil, err
	}
	status := statusCodes[d.Status]
	return json.Marshal(resource{
		ResourceType: "Consent", ID: d.ID, Status: status,
		Text: text{Status: "generated", Div: `<div xmlns="http://www.w3.org/1999/xhtml"><p>` + narrative(d, rule) + "</p></div>"},
		Extension: []extension{{URL: extVersion, Extension: []extension{
			{URL: "version", ValuePositiveInt: d.Version}, {URL: "previous", ValueString: d.Previous.String()},
		}}},
		Scope:    conceptOf(sysScope, scopePrivacy),
		Category: []concept{conceptOf(sysLOINC, categoryConsent)},
		Patient:  reference{Type: "Patient", Identifier: identifier{sysPatient, d.Patient.String()}},
		// Silent on what it does not name, a denial too.
		PolicyRule: conceptOf(sysActCode, policyOptOut),
		Provision:  root{Provision: []provision{rule}},
	})
}

func conceptOf(system, code string) concept {
	return concept{Coding: []coding{{System: system, Code: code}}}
}

func ruleOf(d consent.Document) (provision, error) {
	p := provision{
		ModifierExtension: []extension{
			{URL: extCap, ValueDecimal: rho(d.CapMicro)},
			{URL: extShare, ValueBoolean: &d.BeyondShare},
			{URL: extExact, ValueBoolean: &d.Exact},
			{URL: extClaims, ValueUnsignedInt: &d.Claims},
		},
		Type: d.Effect,
		Actor: []actor{{
			Role:      conceptOf(sysParticipation, roleRecipient),
			Reference: reference{Type: "Organization", Identifier: identifier{sysMSP, d.Grantee}},
		}},
		Purpose: []coding{{sysActReason, d.Purpose}},
	}
	for _, op := range d.Operations {
		p.Action = append(p.Action, conceptOf(sysOperation, op))
	}
	for _, key := range d.Metrics {
		m, _ := wearable.ByKey(key) // known: the document is valid
		p.Code = append(p.Code, conceptOf(sysLOINC, m.LOINC))
	}
	for _, t := range d.Predicates {
		p.ModifierExtension = append(p.ModifierExtension, termsOf(t))
	}
	var err error
	if p.Period, err = periodOf(d.NotBefore, d.Expires); err != nil {
		return p, fmt.Errorf("validity: %w", err)
	}
	if p.DataPeriod, err = periodOf(d.DataFrom*hourSeconds, d.DataUntil*hourSeconds); err != nil {
		return p, fmt.Errorf("data period: %w", err)
	}
	return p, nil
}

// period writes [from, until). The end of a FHIR period is part of it, to the
// precision that it is written with: here the last second.
func periodOf(from, until int64) (period, error) {
	start, ok := formatTime(from)
	end, ends := formatTime(until - 1)
	if !ok || !ends {
		return period{}, errors.New("FHIR writes years from 1 to 9999 only")
	}
	return period{Start: start, End: end}, nil
}

// rho writes micro-zCDP in whole zCDP.
func rho(micro uint64) json.Number {
	return json.Number(fmt.Sprintf("%d.%06d", micro/1_000_000, micro%1_000_000))
}

// narrative has no character that XHTML would read otherwise: every word comes from a
// closed list or, like an MSP ID, has none.
func narrative(d consent.Document, p provision) string {
	purpose, _ := consent.PurposeByCode(d.Purpose)
	var b strings.Builder
	switch d.Status {
	case consent.StatusRevoked:
		b.WriteString("Revoked. ")
	case consent.StatusInError:
		b.WriteString("Entered in error. ")
	}
	verb := "may"
	if d.Effect == consent.EffectDeny {
		verb = "may not"
	}
	var names []string
	for _, key := range d.Metrics {
		m, _ := wearable.ByKey(key)
		names = append(names, m.Name)
	}
	fmt.Fprintf(&b, "%s %s use %s (%s) of %s to %s for %s, from %s to %s.", d.Grantee, verb, strings.Join(names, ", "),
		strings.Join(d.Operations, ", "), p.DataPeriod.Start, p.DataPeriod.End, purpose.Name, p.Period.Start, p.Period.End)
	if d.Effect == consent.EffectPermit {
		fmt.Fprintf(&b, " Privacy loss of at most rho = %s", rho(d.CapMicro))
		if d.BeyondShare {
			b.WriteString(", also beyond an equal share of the network's cap")
		}
		b.WriteString(".")
	}
	if d.Exact {
		b.WriteString(" Statistics without privacy noise too, which protect nothing.")
	}
	for _, text := range words.Claims(d) {
		b.WriteString(" " + text)
	}
	return b.String()
}
