package consent

import (
	"encoding/json"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// What may be claimed, in FHIR: bounds are quantities in the metric's unit, numbers
// of minutes and days unsignedInt. Each of these has one place in Terms, so what is
// written is read as the same terms.

func unsigned(url string, n uint32) fhirExtension {
	return fhirExtension{URL: url, ValueUnsignedInt: &n}
}

func fhirTerms(t Terms) fhirExtension {
	m, _ := wearable.ByKey(t.Metric)
	e := fhirExtension{URL: extPredicate, Extension: []fhirExtension{
		{URL: "metric", ValueCoding: &fhirCoding{sysLOINC, m.LOINC}},
		{URL: "days", ValuePositiveInt: t.Days},
	}}
	if t.Claim != nil {
		e.Extension = append(e.Extension, fhirExtension{URL: "claim", Extension: fhirClaim(*t.Claim, m)})
	}
	if t.Limits != nil {
		e.Extension = append(e.Extension, fhirExtension{URL: "limits", Extension: fhirLimits(*t.Limits, m)})
	}
	return e
}

func fhirClaim(b record.Bounds, m wearable.Metric) []fhirExtension {
	parts := []fhirExtension{{URL: "hours", ValueString: hourDigits(b.HourMask)}, {URL: "range", ValueRange: &fhirRange{
		Low: quantity(m, b.Lo, false), High: quantity(m, b.Hi, false),
	}}}
	for _, s := range (Limits{}).spans(&b) {
		parts = append(parts, unsigned(s.name, s.n))
	}
	mean, trend := &fhirRange{}, &fhirRange{}
	if b.MeanLo != verifier.MeanLoOff {
		mean.Low = quantity(m, b.MeanLo, false)
	}
	if b.MeanHi != verifier.MeanHiOff {
		mean.High = quantity(m, b.MeanHi, false)
	}
	if b.TrendLo != verifier.TrendLoOff {
		trend.Low = quantity(m, b.TrendLo, true)
	}
	if b.TrendHi != verifier.TrendHiOff {
		trend.High = quantity(m, b.TrendHi, true)
	}
	if verifier.MeanBounded(b) {
		parts = append(parts, fhirExtension{URL: "mean", ValueRange: mean})
	}
	if verifier.TrendBounded(b) {
		parts = append(parts, fhirExtension{URL: "trend", ValueRange: trend})
	}
	return parts
}

func fhirLimits(l Limits, m wearable.Metric) []fhirExtension {
	parts := []fhirExtension{{URL: "hours", ValuePositiveInt: l.Hours}}
	intervals := l.intervals()
	for i, p := range partsOf(record.Bounds{}, m) {
		if in := intervals[i]; in != nil {
			parts = append(parts, fhirExtension{URL: p.name, Extension: []fhirExtension{
				{URL: "within", ValueRange: &fhirRange{Low: quantity(m, in.Lo, i == 2), High: quantity(m, in.Hi, i == 2)}},
				{URL: "width", ValueQuantity: difference(m, in.Width)},
			}})
		}
	}
	for _, s := range l.spans(&record.Bounds{}) {
		parts = append(parts, fhirExtension{URL: s.name, Extension: []fhirExtension{unsigned("least", s.of.Least), unsigned("most", s.of.Most)}})
	}
	return parts
}

func quantity(m wearable.Metric, bound uint32, trend bool) *fhirQuantity {
	return &fhirQuantity{Value: json.Number(boundValue(m, bound, trend)), System: sysUCUM, Code: m.UCUM}
}

func difference(m wearable.Metric, codes uint32) *fhirQuantity {
	return &fhirQuantity{Value: json.Number(m.Value(int64(codes)).String()), System: sysUCUM, Code: m.UCUM}
}

// hourDigits writes an hour mask as 24 digits, the first for the hour from 00:00
// UTC: 1 where the hour counts.
func hourDigits(mask uint32) string {
	var b strings.Builder
	for h := range hoursPerDay {
		b.WriteByte('0' + byte(mask>>h&1))
	}
	return b.String()
}

func (r *reading) terms(e *element) Terms {
	parts := r.someParts(e, []string{"metric", "days"}, []string{"claim", "limits"})
	var t Terms
	m := r.metric(r.coding(r.value(parts, "metric", "valueCoding"), sysLOINC))
	t.Metric = m.Key
	t.Days = r.positive(r.value(parts, "days", "valuePositiveInt"))
	if claim := parts.at["claim"]; claim != nil {
		t.Claim = r.claim(claim, m)
	}
	if limits := parts.at["limits"]; limits != nil {
		t.Limits = r.limits(limits, m)
	}
	return t
}

func (r *reading) claim(e *element, m wearable.Metric) *record.Bounds {
	b := &record.Bounds{
		MeanLo: verifier.MeanLoOff, MeanHi: verifier.MeanHiOff, TrendLo: verifier.TrendLoOff, TrendHi: verifier.TrendHiOff,
	}
	parts := r.someParts(e, append([]string{"hours", "range"}, spanNames...), []string{"mean", "trend"})
	b.HourMask = r.hourMask(r.value(parts, "hours", "valueString"))
	r.between(r.value(parts, "range", "valueRange"), m, false, &b.Lo, &b.Hi)
	for i, to := range []*uint32{&b.K, &b.MinCount, &b.OutMax, &b.DayK, &b.MinHalf} {
		*to = r.unsigned(r.value(parts, spanNames[i], "valueUnsignedInt"))
	}
	if parts.at["mean"] != nil {
		r.within(r.value(parts, "mean", "valueRange"), m, false, &b.MeanLo, &b.MeanHi)
	}
	if parts.at["trend"] != nil {
		r.within(r.value(parts, "trend", "valueRange"), m, true, &b.TrendLo, &b.TrendHi)
	}
	return b
}

func (r *reading) limits(e *element, m wearable.Metric) *Limits {
	l := &Limits{}
	parts := r.someParts(e, append([]string{"hours"}, spanNames...), partNames)
	l.Hours = r.positive(r.value(parts, "hours", "valuePositiveInt"))
	for i, to := range []**Interval{&l.Range, &l.Mean, &l.Trend} {
		if p := parts.at[partNames[i]]; p != nil {
			*to = r.interval(p, m, i == 2)
		}
	}
	for i, to := range []*Span{&l.K, &l.MinCount, &l.OutMax, &l.DayK, &l.MinHalf} {
		inner := r.parts(r.need(parts, spanNames[i]), "least", "most")
		to.Least = r.unsigned(r.value(inner, "least", "valueUnsignedInt"))
		to.Most = r.unsigned(r.value(inner, "most", "valueUnsignedInt"))
	}
	return l
}

func (r *reading) interval(e *element, m wearable.Metric, trend bool) *Interval {
	in := &Interval{}
	inner := r.parts(e, "within", "width")
	r.between(r.value(inner, "within", "valueRange"), m, trend, &in.Lo, &in.Hi)
	units := r.units(r.value(inner, "width", "valueQuantity"), m)
	if units < 0 || units > 2*int64(m.MaxCode()) {
		r.fail(inner.at["width"].path(), "is out of the metric's range")
		return in
	}
	in.Width = uint32(units)
	return in
}

// between reads a range with both ends, within one whose ends may be missing; the
// ends keep what they were then, but one of them is there.
func (r *reading) between(e *element, m wearable.Metric, trend bool, lo, hi *uint32) {
	o := r.object(e, "low", "high")
	*lo, *hi = r.bound(r.need(o, "low"), m, trend), r.bound(r.need(o, "high"), m, trend)
}

func (r *reading) within(e *element, m wearable.Metric, trend bool, lo, hi *uint32) {
	o := r.object(e, "low", "high") // has a member
	if low := o.at["low"]; low != nil {
		*lo = r.bound(low, m, trend)
	}
	if high := o.at["high"]; high != nil {
		*hi = r.bound(high, m, trend)
	}
}

// bound reads one bound of a claim. Validate checks that it is possible.
func (r *reading) bound(e *element, m wearable.Metric, trend bool) uint32 {
	units := r.units(e, m)
	if m.Key == "" || e == nil {
		return 0 // noted
	}
	if !trend {
		code, ok := m.Code(units)
		if !ok {
			r.fail(e.path()+".value", "is out of the metric's range")
		}
		return uint32(code)
	}
	if units <= -verifier.TrendBias || units >= verifier.TrendBias {
		r.fail(e.path()+".value", "is out of the metric's range")
		return 0
	}
	return uint32(units + verifier.TrendBias)
}

// units reads a quantity in the metric's unit, in steps of its resolution.
func (r *reading) units(e *element, m wearable.Metric) int64 {
	o := r.object(e, "value", "unit", "system", "code")
	r.fixed(r.need(o, "system"), sysUCUM)
	value, code := r.need(o, "value"), r.need(o, "code")
	if m.Key == "" || value == nil {
		return 0 // noted
	}
	r.fixed(code, m.UCUM)
	return r.exact(value, m.Resolution.Rat())
}

func (r *reading) hourMask(e *element) uint32 {
	digits, mask := r.text(e), uint32(0)
	if digits == "" {
		return 0 // noted
	}
	for h := range len(digits) {
		switch c := digits[h]; {
		case len(digits) != hoursPerDay || c != '0' && c != '1':
			r.fail(e.path(), "is not 24 digits 0 or 1, one for each hour")
			return 0
		case c == '1':
			mask |= 1 << h
		}
	}
	return mask
}
