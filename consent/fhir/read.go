package fhir

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/wearable"
)

// Read reads a FHIR R4 Consent in the form that Write writes. The document
// is not signed: only the patient can sign it.
//
// It never reads a resource as something narrower or wider than it says. Every
// element that the document has no place for is refused by its path, in an
// ElementErrors; the only ones passed over say nothing about what is permitted:
// meta other than security labels, language, identifier, dateTime, a narrative
// that is generated, and displays of codes and references.
func Read(data []byte) (consent.Document, error) {
	root, err := parseElements(data)
	if err != nil {
		return consent.Document{}, fmt.Errorf("the resource cannot be read: %w", err)
	}
	r := &reading{}
	d := r.consent(root)
	if len(r.problems) > 0 {
		return consent.Document{}, r.problems
	}
	if err := consent.Validate(d); err != nil {
		return consent.Document{}, fmt.Errorf("the resource is not a consent of this network: %w", err)
	}
	return d, nil
}

func (r *reading) consent(root *element) consent.Document {
	var d consent.Document
	o := r.object(root, "resourceType", "id", "meta", "language", "text", "extension", "identifier", "dateTime",
		"status", "scope", "category", "patient", "policyRule", "provision")
	r.fixed(r.need(o, "resourceType"), "Consent")
	d.ID = r.id(r.need(o, "id"))
	r.passedOver(o)
	r.version(r.need(o, "extension"), &d)
	d.Status = r.status(r.need(o, "status"))
	if code, scope := r.concept(r.need(o, "scope"), sysScope); scope != scopePrivacy {
		r.notHonoured(code, scope, scopePrivacy)
	}
	if code, category := r.concept(r.single(r.need(o, "category")), sysLOINC); category != categoryConsent {
		r.notHonoured(code, category, categoryConsent)
	}
	patient, _ := r.reference(r.need(o, "patient"), "Patient", sysPatient)
	d.Patient = r.id(patient)
	if code, policy := r.concept(r.need(o, "policyRule"), sysActCode); policy != policyOptOut {
		r.notHonoured(code, policy, policyOptOut)
	}
	rules := r.object(r.need(o, "provision"), "provision")
	r.rule(r.single(r.need(rules, "provision")), &d)
	return d
}

func (r *reading) notHonoured(e *element, got, want string) {
	if e != nil && got != "" {
		r.fail(e.path(), "is %q, only %q can be honoured", clip(got), want)
	}
}

// passedOver looks at elements that count for nothing, for parts that would.
func (r *reading) passedOver(o object) {
	if meta := o.at["meta"]; meta != nil {
		r.object(meta, "versionId", "lastUpdated", "source", "profile", "tag")
	}
	if text := o.at["text"]; text != nil {
		status := r.need(r.object(text, "status", "div"), "status")
		if s := r.text(status); s != "" && s != "generated" && s != "extensions" && s != "empty" {
			r.fail(status.path(), "is %q: the narrative says more than the elements do", clip(s))
		}
	}
}

func (r *reading) status(e *element) string {
	switch s := r.text(e); s {
	case "active":
		return consent.StatusActive
	case "inactive":
		return consent.StatusRevoked
	case "entered-in-error":
		return consent.StatusInError
	case "":
	default:
		r.fail(e.path(), "is %q, only \"active\", \"inactive\" (revoked) and \"entered-in-error\" can be honoured", clip(s))
	}
	return ""
}

// url returns an extension's name, and nothing for what is none.
func (r *reading) url(e *element) string {
	for _, m := range e.list {
		if e.kind == '{' && m.name == "url" {
			return r.text(m)
		}
	}
	r.fail(e.path(), "is not an extension with a url")
	return ""
}

// version reads the one extension that a consent has outside its provision.
func (r *reading) version(list *element, d *consent.Document) {
	e := r.single(list)
	if e == nil {
		return
	}
	if url := r.url(e); url != extVersion {
		r.fail(e.path(), "is %q, which is unknown here", clip(url))
		return
	}
	parts := r.parts(e, "version", "previous")
	d.Version = r.positive(r.value(parts, "version", "valuePositiveInt"))
	d.Previous = r.id(r.value(parts, "previous", "valueString"))
}

// parts returns the extensions inside an extension, each there once.
func (r *reading) parts(e *element, names ...string) object { return r.someParts(e, names, nil) }

// someParts is parts where some of them may be missing.
func (r *reading) someParts(e *element, needed, optional []string) object {
	inner := r.object(e, "url", "extension")
	o := object{of: r.need(inner, "extension"), at: map[string]*element{}}
	for _, p := range r.items(o.of) {
		switch name := r.url(p); {
		case name == "": // noted
		case !slices.Contains(needed, name) && !slices.Contains(optional, name) || o.at[name] != nil:
			r.fail(p.path(), "is %q, which is unknown here or there twice", clip(name))
		default:
			o.at[name] = p
		}
	}
	return o
}

// value returns the value of one part.
func (r *reading) value(parts object, name, kind string) *element {
	p := r.need(parts, name)
	return r.need(r.object(p, "url", kind), kind)
}

func (r *reading) rule(e *element, d *consent.Document) {
	o := r.object(e, "modifierExtension", "type", "period", "actor", "action", "purpose", "code", "dataPeriod")
	switch kind := r.need(o, "type"); r.text(kind) {
	case "permit":
		d.Effect = consent.EffectPermit
	case "deny":
		d.Effect = consent.EffectDeny
	case "":
	default:
		r.fail(kind.path(), "is neither \"permit\" nor \"deny\"")
	}
	d.NotBefore, d.Expires = r.period(r.need(o, "period"))
	d.Grantee = r.actor(r.single(r.need(o, "actor")))
	for _, a := range r.items(r.need(o, "action")) {
		_, op := r.concept(a, sysOperation)
		d.Operations = append(d.Operations, op)
	}
	code, purpose := r.coding(r.single(r.need(o, "purpose")), sysActReason)
	if _, known := consent.PurposeByCode(purpose); !known && purpose != "" {
		r.fail(code.path(), "is %q, for which no consent can be given here", clip(purpose))
	}
	d.Purpose = purpose
	for _, c := range r.items(r.need(o, "code")) {
		m := r.metric(r.concept(c, sysLOINC))
		d.Metrics = append(d.Metrics, m.Key)
	}
	d.DataFrom, d.DataUntil = r.hours(r.need(o, "dataPeriod"))
	r.modifiers(r.need(o, "modifierExtension"), d)
}

// hours returns the hours [from, until) of a Period, which has no part of one.
func (r *reading) hours(e *element) (int64, int64) {
	before := len(r.problems)
	from, until := r.period(e)
	if e != nil && before == len(r.problems) && (from%hourSeconds != 0 || until%hourSeconds != 0) {
		r.fail(e.path(), "does not begin and end with a full hour of UTC")
	}
	return wearable.HourOf(from), wearable.HourOf(until)
}

func (r *reading) actor(e *element) string {
	o := r.object(e, "role", "reference")
	if code, role := r.concept(r.need(o, "role"), sysParticipation); role != roleRecipient {
		r.notHonoured(code, role, roleRecipient)
	}
	_, msp := r.reference(r.need(o, "reference"), "Organization", sysMSP)
	return msp
}

func (r *reading) metric(e *element, loinc string) wearable.Metric {
	for _, m := range wearable.Vitals() {
		if m.LOINC == loinc {
			return m
		}
	}
	if loinc != "" {
		r.fail(e.path(), "is %q, which is not a metric here", clip(loinc))
	}
	return wearable.Metric{}
}

// modifiers reads what narrows a provision beyond FHIR's own elements. Each has to
// be there but predicates, of which there may be none or several.
func (r *reading) modifiers(list *element, d *consent.Document) {
	once := map[string]*element{}
	for _, e := range r.items(list) {
		switch url := r.url(e); {
		case url == extPredicate:
			d.Predicates = append(d.Predicates, r.terms(e))
		case slices.Contains([]string{extCap, extShare, extExact, extClaims}, url) && once[url] == nil:
			once[url] = e
		default:
			r.fail(e.path(), "is %q, which is unknown here or there twice", clip(url))
		}
	}
	value := func(url, kind string) *element {
		if once[url] == nil && list != nil {
			r.fail(list.path(), "has no %s", url)
		}
		return r.need(r.object(once[url], "url", kind), kind)
	}
	d.CapMicro = r.micro(value(extCap, "valueDecimal"))
	d.BeyondShare = r.boolean(value(extShare, "valueBoolean"))
	d.Exact = r.boolean(value(extExact, "valueBoolean"))
	d.Claims = r.unsigned(value(extClaims, "valueUnsignedInt"))
}

// exact reads a number as a whole multiple of step.
func (r *reading) exact(e *element, step *big.Rat) int64 {
	if e == nil {
		return 0
	}
	v, err := wearable.ParseDecimal(e.text)
	if e.kind != '0' || err != nil {
		r.fail(e.path(), "is not a plain decimal number")
		return 0
	}
	n := new(big.Rat).Quo(v.Rat(), step)
	if !n.IsInt() || !n.Num().IsInt64() {
		r.fail(e.path(), "is not a multiple of %s", step.RatString())
		return 0
	}
	return n.Num().Int64()
}

// micro reads zCDP as micro-zCDP.
func (r *reading) micro(e *element) uint64 {
	n := r.exact(e, big.NewRat(1, 1_000_000))
	if n < 0 {
		r.fail(e.path(), "is negative")
		return 0
	}
	return uint64(n)
}
