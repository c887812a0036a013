package fhir

import (
	"encoding/json"
	"strings"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// What may be claimed, in FHIR: bounds are quantities in the metric's unit, numbers
// of minutes and days unsignedInt. Each of these has one place in consent.Terms, so what is
// written is read as the same terms.

// What a claim may bound, and the numbers that it has beside, by their names in FHIR.
var (
	aspects = []string{"range", "mean", "trend"}
	numbers = []string{"k", "min_count", "out_max", "day_k", "min_half"}
)

// trendAspect is the place of the trend, whose bounds are differences.
const trendAspect = 2

func intervalsOf(l *consent.Limits) [3]**consent.Interval {
	return [3]**consent.Interval{&l.Range, &l.Mean, &l.Trend}
}

func spansOf(l *consent.Limits) [5]*consent.Span {
	return [5]*consent.Span{&l.K, &l.MinCount, &l.OutMax, &l.DayK, &l.MinHalf}
}

func numbersOf(b *record.Bounds) [5]*uint32 {
	return [5]*uint32{&b.K, &b.MinCount, &b.OutMax, &b.DayK, &b.MinHalf}
}

func unsigned(url string, n uint32) extension {
	return extension{URL: url, ValueUnsignedInt: &n}
}

func termsOf(t consent.Terms) extension {
	m, _ := wearable.ByKey(t.Metric)
	e := extension{URL: extPredicate, Extension: []extension{
		{URL: "metric", ValueCoding: &coding{sysLOINC, m.LOINC}},
		{URL: "days", ValuePositiveInt: t.Days},
	}}
	if t.Claim != nil {
		e.Extension = append(e.Extension, extension{URL: "claim", Extension: claimOf(*t.Claim, m)})
	}
	if t.Limits != nil {
		e.Extension = append(e.Extension, extension{URL: "limits", Extension: limitsOf(*t.Limits, m)})
	}
	return e
}

func claimOf(b record.Bounds, m wearable.Metric) []extension {
	parts := []extension{{URL: "hours", ValueString: hourDigits(b.HourMask)}, {URL: "range", ValueRange: &interval{
		Low: quantityOf(m, b.Lo, false), High: quantityOf(m, b.Hi, false),
	}}}
	for i, n := range numbersOf(&b) {
		parts = append(parts, unsigned(numbers[i], *n))
	}
	mean, trend := &interval{}, &interval{}
	if b.MeanLo != verifier.MeanLoOff {
		mean.Low = quantityOf(m, b.MeanLo, false)
	}
	if b.MeanHi != verifier.MeanHiOff {
		mean.High = quantityOf(m, b.MeanHi, false)
	}
	if b.TrendLo != verifier.TrendLoOff {
		trend.Low = quantityOf(m, b.TrendLo, true)
	}
	if b.TrendHi != verifier.TrendHiOff {
		trend.High = quantityOf(m, b.TrendHi, true)
	}
	if verifier.MeanBounded(b) {
		parts = append(parts, extension{URL: "mean", ValueRange: mean})
	}
	if verifier.TrendBounded(b) {
		parts = append(parts, extension{URL: "trend", ValueRange: trend})
	}
	return parts
}

func limitsOf(l consent.Limits, m wearable.Metric) []extension {
	parts := []extension{{URL: "hours", ValuePositiveInt: l.Hours}}
	for i, at := range intervalsOf(&l) {
		if in := *at; in != nil {
			parts = append(parts, extension{URL: aspects[i], Extension: []extension{
				{URL: "within", ValueRange: &interval{Low: quantityOf(m, in.Lo, i == trendAspect), High: quantityOf(m, in.Hi, i == trendAspect)}},
				{URL: "width", ValueQuantity: difference(m, int64(in.Width))},
			}})
		}
	}
	for i, s := range spansOf(&l) {
		parts = append(parts, extension{URL: numbers[i], Extension: []extension{unsigned("least", s.Least), unsigned("most", s.Most)}})
	}
	return parts
}

func quantityOf(m wearable.Metric, bound uint32, trend bool) *quantity {
	if trend {
		return difference(m, int64(bound)-verifier.TrendBias)
	}
	return difference(m, m.Units(uint16(bound)))
}

func difference(m wearable.Metric, units int64) *quantity {
	return &quantity{Value: json.Number(m.Value(units).String()), System: sysUCUM, Code: m.UCUM}
}

// hourDigits writes an hour mask as 24 digits, the first for the hour from 00:00
// UTC: 1 where the hour counts.
func hourDigits(mask uint32) string {
	var b strings.Builder
	for h := range 24 {
		b.WriteByte('0' + byte(mask>>h&1))
	}
	return b.String()
}

func (r *reading) terms(e *element) consent.Terms {
	parts := r.someParts(e, []string{"metric", "days"}, []string{"claim", "limits"})
	var t consent.Terms
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
	parts := r.someParts(e, append([]string{"hours", "range"}, numbers...), []string{"mean", "trend"})
	b.HourMask = r.hourMask(r.value(parts, "hours", "valueString"))
	r.between(r.value(parts, "range", "valueRange"), m, false, &b.Lo, &b.Hi)
	for i, to := range numbersOf(b) {
		*to = r.unsigned(r.value(parts, numbers[i], "valueUnsignedInt"))
	}
	if parts.at["mean"] != nil {
		r.within(r.value(parts, "mean", "valueRange"), m, false, &b.MeanLo, &b.MeanHi)
	}
	if parts.at["trend"] != nil {
		r.within(r.value(parts, "trend", "valueRange"), m, true, &b.TrendLo, &b.TrendHi)
	}
	return b
}

func (r *reading) limits(e *element, m wearable.Metric) *consent.Limits {
	l := &consent.Limits{}
	parts := r.someParts(e, append([]string{"hours"}, numbers...), aspects)
	l.Hours = r.positive(r.value(parts, "hours", "valuePositiveInt"))
	for i, to := range intervalsOf(l) {
		if p := parts.at[aspects[i]]; p != nil {
			*to = r.interval(p, m, i == trendAspect)
		}
	}
	for i, to := range spansOf(l) {
		inner := r.parts(r.need(parts, numbers[i]), "least", "most")
		to.Least = r.unsigned(r.value(inner, "least", "valueUnsignedInt"))
		to.Most = r.unsigned(r.value(inner, "most", "valueUnsignedInt"))
	}
	return l
}

func (r *reading) interval(e *element, m wearable.Metric, trend bool) *consent.Interval {
	in := &consent.Interval{}
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

// bound reads one bound of a claim. consent.Validate checks that it is possible.
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
		case len(digits) != 24 || c != '0' && c != '1':
			r.fail(e.path(), "is not 24 digits 0 or 1, one for each hour")
			return 0
		case c == '1':
			mask |= 1 << h
		}
	}
	return mask
}
