package fhir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/claim"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// The first and last moment that FHIR can write.
var (
	firstSecond = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	lastSecond  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
)

const network = "vitalveil-test"

// full uses every part of a document.
func full() consent.Document {
	listed := verifier.Unbounded()
	listed.Lo, listed.Hi, listed.K, listed.MinCount = 40, 60, 60, 60
	listed.HourMask, listed.MeanLo, listed.TrendHi, listed.MinHalf = 0x00ffff, 41, verifier.TrendBias+10, 60
	return consent.Document{
		ID: record.SumID([]byte("consent")), Version: 7, Previous: record.SumID([]byte("previous")), Patient: record.SumID([]byte("patient")),
		Grantee: "HospitalA", Purpose: "HRESCH", Status: consent.StatusActive, Effect: consent.EffectPermit,
		Operations: []string{consent.OpAggregate, consent.OpPredicate}, Metrics: []string{"heart_rate", "spo2"},
		DataFrom: 100, DataUntil: 200, NotBefore: 1000, Expires: 2000, CapMicro: 1_660_001, Exact: true,
		Predicates: []consent.Terms{{Metric: "spo2", Days: 7, Limits: &consent.Limits{
			Hours: 6, Range: &consent.Interval{Lo: 31, Hi: 71, Width: 10}, Mean: &consent.Interval{Lo: 2, Hi: 12, Width: 3},
			Trend: &consent.Interval{Lo: verifier.TrendBias - 15, Hi: verifier.TrendBias + 20, Width: 5},
			K:     consent.Span{Least: 60, Most: 1200}, MinCount: consent.Span{Least: 60, Most: 1440}, OutMax: consent.Span{Least: 30, Most: 1440},
			DayK: consent.Span{Least: 3, Most: 7}, MinHalf: consent.Span{Least: 60, Most: 2000},
		}}, {Metric: "heart_rate", Days: 1, Claim: &listed}},
		Claims: 2,
	}
}

func changed(d consent.Document, change func(*consent.Document)) consent.Document {
	change(&d)
	return d
}

func TestAConsentInFHIR(t *testing.T) {
	raw, err := Write(full())
	if err != nil {
		t.Fatal(err)
	}
	got := tree(t, raw)
	want, err := os.ReadFile("testdata/consent.json")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, tree(t, want)) {
		t.Errorf("testdata/consent.json says otherwise than\n%s", raw)
	}
	back, err := Read(want)
	if err != nil || back.Digest(network) != full().Digest(network) {
		t.Errorf("read as %+v, %v", back, err)
	}
}

// tree reads JSON with numbers as they are written.
func tree(t testing.TB, raw []byte) any {
	t.Helper()
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// anyDocument draws from all documents that FHIR can express.
func anyDocument(t *rapid.T) consent.Document {
	id := func(label string) record.ID { return record.SumID([]byte(rapid.String().Draw(t, label))) }
	between := func(label string, from, until int64) (int64, int64) {
		a := rapid.Int64Range(from, until-1).Draw(t, label)
		return a, rapid.Int64Range(a+1, until).Draw(t, label+" until")
	}
	var keys []string
	for _, m := range wearable.Vitals() {
		keys = append(keys, m.Key)
	}
	d := consent.Document{
		ID: id("id"), Version: rapid.Uint32Range(2, consent.MaxVersion).Draw(t, "version"), Previous: id("previous"), Patient: id("patient"),
		Grantee:    rapid.StringMatching(`[A-Za-z0-9.-]{1,64}`).Draw(t, "grantee"),
		Purpose:    rapid.SampledFrom([]string{"TREAT", "ETREAT", "HRESCH", "CLINTRCH", "PUBHLTH", "HOPERAT", "PATRQT"}).Draw(t, "purpose"),
		Status:     rapid.SampledFrom([]string{consent.StatusActive, consent.StatusRevoked, consent.StatusInError}).Draw(t, "status"),
		Effect:     rapid.SampledFrom([]string{consent.EffectPermit, consent.EffectDeny}).Draw(t, "effect"),
		Operations: some(t, "operations", consent.OpAggregate, consent.OpPredicate, consent.OpShare), Metrics: some(t, "metrics", keys...),
		CapMicro: rapid.Uint64Range(0, consent.MaxCapMicro).Draw(t, "cap"),
	}
	d.NotBefore, d.Expires = between("validity", firstSecond, lastSecond+1)
	d.DataFrom, d.DataUntil = between("data", firstSecond/3600, (lastSecond+1)/3600)
	if d.Effect == consent.EffectPermit && slices.Contains(d.Operations, consent.OpAggregate) {
		d.Exact, d.BeyondShare = rapid.Bool().Draw(t, "exact"), rapid.Bool().Draw(t, "beyond share")
	}
	if d.Effect == consent.EffectPermit && slices.Contains(d.Operations, consent.OpPredicate) && rapid.Bool().Draw(t, "claims") {
		d.Predicates = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) consent.Terms { return anyTerms(t, d.Metrics) }), 1, consent.MaxTerms,
			func(terms consent.Terms) string {
				return fmt.Sprintf("%s %d %v", terms.Metric, terms.Days, terms.Claim != nil)
			}).Draw(t, "predicates")
		d.Claims = rapid.Uint32Range(1, consent.MaxClaims).Draw(t, "how many")
	}
	return d
}

// some draws one or more of the values, in any order.
func some(t *rapid.T, label string, values ...string) []string {
	return rapid.Permutation(values).Draw(t, label)[:rapid.IntRange(1, len(values)).Draw(t, label+", how many")]
}

// anyTerms draws a claim about one of the metrics, or limits for claims.
func anyTerms(t *rapid.T, metrics []string) consent.Terms {
	m, _ := wearable.ByKey(rapid.SampledFrom(metrics).Draw(t, "metric"))
	terms := consent.Terms{Metric: m.Key, Days: rapid.Uint32Range(1, verifier.MaxDays).Draw(t, "days")}
	pair := func(label string, least, most uint32) (uint32, uint32) {
		a := rapid.Uint32Range(least, most).Draw(t, label)
		return a, rapid.Uint32Range(a, most).Draw(t, label+" to")
	}
	code, minutes := uint32(m.MaxCode()), uint32(wearable.MinutesPerDay)
	low, high := uint32(verifier.TrendBias)-(code-1), uint32(verifier.TrendBias)+(code-1)
	if rapid.Bool().Draw(t, "listed") {
		b := verifier.Unbounded()
		b.Lo, b.Hi = pair("range", 2, code)
		b.MinCount, b.K = rapid.Uint32Range(1, minutes).Draw(t, "min_count"), rapid.Uint32Range(1, minutes).Draw(t, "k")
		b.OutMax = rapid.Uint32Range(0, verifier.OutMaxOff).Draw(t, "out_max")
		b.DayK = rapid.Uint32Range(1, terms.Days).Draw(t, "day_k")
		switch rapid.IntRange(0, 4).Draw(t, "beside") {
		case 0:
			b.HourMask, b.K, b.MinCount = 1<<rapid.IntRange(0, 23).Draw(t, "hour"), min(b.K, 60), min(b.MinCount, 60)
		case 1:
			b.MeanLo, b.MeanHi = pair("mean", 1, code)
		case 2:
			b.MeanLo = rapid.Uint32Range(1, code).Draw(t, "mean from")
		case 3:
			b.TrendLo, b.TrendHi = pair("trend", low, high)
			b.MinHalf = rapid.Uint32Range(1, minutes/2).Draw(t, "min_half")
		}
		if m, _ := wearable.ByKey(terms.Metric); claim.Check(m, int(terms.Days), b) != nil { // a contradiction
			b.MeanLo, b.MeanHi, b.TrendLo, b.TrendHi, b.MinHalf = verifier.MeanLoOff, verifier.MeanHiOff, verifier.TrendLoOff, verifier.TrendHiOff, 0
		}
		terms.Claim = &b
		return terms
	}
	span := func(label string, least, most uint32) consent.Span {
		a, b := pair(label, least, most)
		return consent.Span{Least: a, Most: b}
	}
	interval := func(label string, least, most uint32) *consent.Interval {
		in := &consent.Interval{}
		in.Lo, in.Hi = pair(label, least, most)
		in.Width = rapid.Uint32Range(0, in.Hi-in.Lo).Draw(t, label+" width")
		return in
	}
	l := &consent.Limits{
		Hours: rapid.Uint32Range(1, 24).Draw(t, "hours"), K: span("k", 1, minutes), MinCount: span("min_count", 0, minutes),
		OutMax: span("out_max", 0, minutes), DayK: span("day_k", 1, terms.Days), MinHalf: span("min_half", 0, minutes*verifier.MaxDays/2),
	}
	about := rapid.IntRange(1, 7).Draw(t, "about")
	if about&1 != 0 {
		l.Range = interval("range", 1, code)
	}
	if about&2 != 0 {
		l.Mean = interval("mean", 1, code)
	}
	if about&4 != 0 {
		l.Trend = interval("trend", low, high)
	}
	terms.Limits = l
	return terms
}

func TestEveryDocumentComesBackFromFHIRAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDocument(t)
		raw, err := Write(d)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Read(raw)
		if err != nil {
			t.Fatalf("%v\n%s", err, raw)
		}
		if back.Digest(network) != d.Digest(network) {
			t.Fatalf("%+v became %+v", d, back)
		}
	})
}

func TestDocumentsThatFHIRCannotExpress(t *testing.T) {
	for name, change := range map[string]func(*consent.Document){
		"invalid":                 func(d *consent.Document) { d.Grantee = "" },
		"valid from before 1":     func(d *consent.Document) { d.NotBefore = firstSecond - 1 },
		"valid beyond 9999":       func(d *consent.Document) { d.Expires = lastSecond + 2 },
		"data from before 1":      func(d *consent.Document) { d.DataFrom = firstSecond/3600 - 1 },
		"data from beyond 9999":   func(d *consent.Document) { d.DataUntil = (lastSecond+1)/3600 + 1 },
		"valid to the last bound": func(d *consent.Document) { d.Expires = consent.MaxTime },
	} {
		if raw, err := Write(changed(full(), change)); err == nil {
			t.Errorf("%s: %s", name, raw)
		}
	}
}

// passedOver are the elements of full() in FHIR that say nothing by themselves.
var passedOver = []string{"Consent.text", "Consent.text.status", "Consent.text.div"}

func says(path string) bool {
	return !slices.Contains(passedOver, path) && !strings.HasSuffix(path, "patient.type") && !strings.HasSuffix(path, "reference.type")
}

// visit calls f with every place in a JSON tree, and a function that puts
// another value there; remove as a value takes a member out.
func visit(v any, path string, put func(any), f func(path string, v any, put func(any))) {
	f(path, v, put)
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			visit(inner, path+"."+k, func(x any) {
				if x == remove {
					delete(v, k)
				} else {
					v[k] = x
				}
			}, f)
		}
	case []any:
		for i, inner := range v {
			visit(inner, fmt.Sprintf("%s[%d]", path, i), func(x any) { v[i] = x }, f)
		}
	}
}

var remove any = new(int)

// Nothing of a resource is dropped: whatever is taken away, changed or added
// anywhere is refused, or makes another document.
func TestNothingInFHIRIsDropped(t *testing.T) {
	raw, err := Write(full())
	if err != nil {
		t.Fatal(err)
	}
	want := full().Digest(network)
	tried := 0
	check := func(root any, what, path string) {
		t.Helper()
		tried++
		b, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		if d, err := Read(b); err == nil && d.Digest(network) == want {
			t.Errorf("%s %s: the same document was read", what, path)
		}
	}
	root := tree(t, raw)
	delete(root.(map[string]any), "text") // it is passed over, and long
	whole, _ := json.Marshal(root)
	visit(root, "Consent", nil, func(path string, v any, put func(any)) {
		if put != nil && says(path) {
			others := []any{nil, "", "other", json.Number("77"), v != true, []any{}, map[string]any{}, []any{"other"}, map[string]any{"a": "b"}}
			if !strings.HasSuffix(path, "]") {
				others = append(others, remove)
			}
			for _, other := range others {
				put(other)
				check(root, fmt.Sprintf("with %v at", other), path)
			}
			put(v)
		}
		switch v := v.(type) {
		case map[string]any:
			for _, name := range []string{"extension", "modifierExtension", "id", "_status", "provision", "securityLabel", "use", "text", "comparator", "Type"} {
				if _, there := v[name]; !there {
					v[name] = "x"
					check(root, "with "+name+" in", path)
					v[name] = []any{map[string]any{"url": "urn:x", "valueBoolean": true}}
					check(root, "with a list "+name+" in", path)
					delete(v, name)
				}
			}
		case []any:
			put(v[1:])
			check(root, "without the first of", path)
			put(append(slices.Clone(v), v[0]))
			check(root, "with a repetition in", path)
			put(append(slices.Clone(v), map[string]any{"url": "urn:x", "valueBoolean": true}))
			check(root, "with one more in", path)
			put(v)
		}
	})
	if b, _ := json.Marshal(root); tried < 500 || !bytes.Equal(b, whole) {
		t.Errorf("after %d changes the resource is %s", tried, b)
	}
}

// edit changes the resource of full() at a path such as "provision.provision.0.type".
func edit(t *testing.T, path string, value any) []byte {
	t.Helper()
	raw, err := Write(full())
	if err != nil {
		t.Fatal(err)
	}
	root := tree(t, raw)
	at := root
	steps := strings.Split(path, ".")
	for i, s := range steps {
		last := i == len(steps)-1
		switch v := at.(type) {
		case map[string]any:
			if last {
				v[s] = value
				if value == remove {
					delete(v, s)
				}
			}
			at = v[s]
		case []any:
			n := int(s[0] - '0')
			if last {
				v[n] = value
			}
			at = v[n]
		}
	}
	b, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func concepts(system, code string) any {
	return map[string]any{"coding": []any{map[string]any{"system": system, "code": code}}}
}

// rule is the path of the one provision, as edit and as errors write it.
const rule, ruleElement = "provision.provision.0.", "Consent.provision.provision[0]."

func TestWhatCannotBeHonouredIsRefusedByName(t *testing.T) {
	exception := []any{map[string]any{"type": "deny", "purpose": []any{map[string]any{"system": sysActReason, "code": "TREAT"}}}}
	unknown := []any{map[string]any{"url": "http://example.org/only-on-sundays", "valueBoolean": true}}
	party := map[string]any{"reference": "Organization/1"}
	for _, c := range []struct {
		path    string
		value   any
		element string
	}{
		{"modifierExtension", unknown, "Consent.modifierExtension"},
		{"implicitRules", "http://example.org", "Consent.implicitRules"},
		{"contained", []any{map[string]any{"resourceType": "Patient"}}, "Consent.contained"},
		{"extension", unknown, "Consent.extension[0]"},
		{"status", "draft", "Consent.status"},
		{"status", "proposed", "Consent.status"},
		{"status", "rejected", "Consent.status"},
		{"_status", map[string]any{"extension": unknown}, "Consent._status"},
		{"scope", concepts(sysScope, "treatment"), "Consent.scope.coding[0].code"},
		{"scope", concepts("http://example.org", scopePrivacy), "Consent.scope.coding[0].system"},
		{"category", []any{concepts(sysLOINC, "59284-0"), concepts(sysActCode, "INFAO")}, "Consent.category[1]"},
		{"patient", map[string]any{"reference": "Patient/f001"}, "Consent.patient.reference"},
		{"performer", []any{party}, "Consent.performer"},
		{"organization", []any{party}, "Consent.organization"},
		{"sourceAttachment", map[string]any{"title": "Terms"}, "Consent.sourceAttachment"},
		{"policy", []any{map[string]any{"uri": "http://example.org"}}, "Consent.policy"},
		{"policyRule", concepts(sysActCode, "OPTIN"), "Consent.policyRule.coding[0].code"},
		{"policyRule", remove, "Consent.policyRule"},
		{"verification", []any{map[string]any{"verified": false}}, "Consent.verification"},
		{"meta", map[string]any{"security": []any{map[string]any{"code": "R"}}}, "Consent.meta.security"},
		{"meta", map[string]any{}, "Consent.meta"},
		{"text.status", "additional", "Consent.text.status"},
		{"patient.type", "Group", "Consent.patient.type"},
		{"extension.0.extension.0.valuePositiveInt", "7", "Consent.extension[0].extension[0].valuePositiveInt"},
		{"extension.0.extension.0.valuePositiveInt", json.Number("-7"), "Consent.extension[0].extension[0].valuePositiveInt"},
		{"provision.type", "permit", "Consent.provision.type"},
		{"provision.period", map[string]any{"start": "2016"}, "Consent.provision.period"},
		{"provision.modifierExtension", unknown, "Consent.provision.modifierExtension"},
		{"provision.provision", append(exception, exception...), "Consent.provision.provision[1]"},
		{rule + "provision", exception, ruleElement + "provision"},
		{rule + "securityLabel", []any{map[string]any{"code": "R"}}, ruleElement + "securityLabel"},
		{rule + "class", []any{map[string]any{"code": "Observation"}}, ruleElement + "class"},
		{rule + "data", []any{map[string]any{"meaning": "related"}}, ruleElement + "data"},
		{rule + "type", "allow", ruleElement + "type"},
		{rule + "type", remove, ruleElement + "type"},
		{rule + "modifierExtension.0", unknown[0], ruleElement + "modifierExtension[0]"},
		{rule + "modifierExtension.0.valueDecimal", json.Number("0.0000005"), ruleElement + "modifierExtension[0].valueDecimal"},
		{rule + "modifierExtension.0.valueDecimal", json.Number("-1"), ruleElement + "modifierExtension[0].valueDecimal"},
		{rule + "modifierExtension.1.valueBoolean", "true", ruleElement + "modifierExtension[1].valueBoolean"},
		{rule + "modifierExtension.2.valueBoolean", json.Number("1"), ruleElement + "modifierExtension[2].valueBoolean"},
		{rule + "modifierExtension.3.valueUnsignedInt", json.Number("-1"), ruleElement + "modifierExtension[3].valueUnsignedInt"},
		{rule + "modifierExtension.5.extension.2.extension.0.valueString", "11111111111111110000000", ruleElement + "modifierExtension[5].extension[2].extension[0].valueString"},
		{rule + "modifierExtension.5.extension.2.extension.0.valueString", "111111111111111100000002", ruleElement + "modifierExtension[5].extension[2].extension[0].valueString"},
		{rule + "modifierExtension.0.valueDecimal", "1", ruleElement + "modifierExtension[0].valueDecimal"},
		{rule + "modifierExtension.5.extension.2.extension.1.valueRange.low.comparator", "<", ruleElement + "modifierExtension[5].extension[2].extension[1].valueRange.low.comparator"},
		{rule + "modifierExtension.5.extension.2.extension.1.valueRange.low.value", json.Number("50.5"), ruleElement + "modifierExtension[5].extension[2].extension[1].valueRange.low.value"},
		{rule + "modifierExtension.5.extension.2.extension.1.valueRange.low.value", json.Number("19"), ruleElement + "modifierExtension[5].extension[2].extension[1].valueRange.low.value"},
		{rule + "modifierExtension.5.extension.2.extension.1.valueRange.high.code", "Hz", ruleElement + "modifierExtension[5].extension[2].extension[1].valueRange.high.code"},
		{rule + "modifierExtension.4.extension.2.extension.3.extension.0.valueRange.low.value", json.Number("-131073"), ruleElement + "modifierExtension[4].extension[2].extension[3].extension[0].valueRange.low.value"},
		{rule + "actor.0.role", concepts(sysParticipation, "CST"), ruleElement + "actor[0].role.coding[0].code"},
		{rule + "actor.0.reference", party, ruleElement + "actor[0].reference.reference"},
		{rule + "actor.0.reference.identifier.value", json.Number("77"), ruleElement + "actor[0].reference.identifier.value"},
		{rule + "action.0", concepts("http://terminology.hl7.org/CodeSystem/consentaction", "access"), ruleElement + "action[0].coding[0].system"},
		{rule + "purpose.0.code", "HMARKT", ruleElement + "purpose[0].code"},
		{rule + "code.0", concepts(sysLOINC, "29463-7"), ruleElement + "code[0].coding[0].code"},
		{rule + "code.0.text", "heart rate at night", ruleElement + "code[0].text"},
		{rule + "period.end", remove, ruleElement + "period.end"},
		{rule + "period.start", "2016-01-01", ruleElement + "period.start"},
		{rule + "period.start", "2016", ruleElement + "period.start"},
		{rule + "period.start", "2016-02-30T00:00:00Z", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01T00:00:00", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01T00:00:00.500Z", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01T24:00:00Z", ruleElement + "period.start"},
		{rule + "period.start", "2016-12-31T23:59:60Z", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01t00:00:00Z", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01T00:00:00z", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01T00:00:00+1400", ruleElement + "period.start"},
		{rule + "period.start", "2016-01-01T00:00:00+14:01", ruleElement + "period.start"},
		{rule + "period.start", "0000-01-01T00:00:00Z", ruleElement + "period.start"},
		{rule + "dataPeriod.start", "1970-01-05T04:00:01Z", ruleElement + "dataPeriod"},
		{rule + "dataPeriod.end", "1970-01-09T08:00:00Z", ruleElement + "dataPeriod"},
	} {
		_, err := Read(edit(t, c.path, c.value))
		var refused ElementErrors
		if !errors.As(err, &refused) || !slices.ContainsFunc(refused, func(e ElementError) bool { return e.Element == c.element }) {
			t.Errorf("%v at %s: %v, want %s named", c.value, c.path, err, c.element)
		}
	}
}

func TestAResourceWithoutACapIsRefused(t *testing.T) {
	terms := termsOf(full().Predicates[0])
	_, err := Read(edit(t, rule+"modifierExtension", []any{terms}))
	var refused ElementErrors
	if !errors.As(err, &refused) || refused[0].Element != ruleElement+"modifierExtension" || !strings.Contains(err.Error(), extCap) {
		t.Errorf("without a cap: %v", err)
	}
}

func TestOtherWaysToSayTheSameInFHIR(t *testing.T) {
	want := full().Digest(network)
	for _, c := range []struct {
		path  string
		value any
	}{
		{"meta", map[string]any{"versionId": "3", "lastUpdated": "2026-01-01T00:00:00Z", "tag": []any{map[string]any{"code": "x"}}}},
		{"language", "nl"},
		{"identifier", []any{map[string]any{"value": "42"}}},
		{"dateTime", "2016"},
		{"text", remove},
		{"patient.display", "P. van de Heuvel"},
		{"patient.type", remove},
		{rule + "code.0.coding.0.display", "Heart rate"},
		{rule + "modifierExtension.0.valueDecimal", json.Number("1.6600010")},
		{rule + "modifierExtension.5.extension.2.extension.1.valueRange.low.value", json.Number("59.0")},
		{rule + "modifierExtension.5.extension.2.extension.1.valueRange.low.unit", "beats/minute"},
		{rule + "period.start", "1970-01-01T01:16:40+01:00"},
		{rule + "period.start", "1969-12-31T12:46:40-11:30"},
	} {
		d, err := Read(edit(t, c.path, c.value))
		if err != nil || d.Digest(network) != want {
			t.Errorf("%v at %s: %+v, %v", c.value, c.path, d, err)
		}
	}
}

func TestAttackResourcesThatTwoReadersReadDifferently(t *testing.T) {
	raw, err := Write(full())
	if err != nil {
		t.Fatal(err)
	}
	s := string(raw)
	for name, bad := range map[string]string{
		"a status twice":         strings.Replace(s, `"status":"active"`, `"status":"inactive","status":"active"`, 1),
		"a type twice":           strings.Replace(s, `"type":"permit"`, `"type":"deny","t\u0079pe":"permit"`, 1),
		"something after it":     s + s,
		"cut off":                s[:len(s)-1],
		"larger than is read":    strings.Replace(s, `"status"`, `"language":"`+strings.Repeat("x", MaxResource)+`","status"`, 1),
		"nested without end":     strings.Repeat(`{"provision":`, 100) + strings.Repeat(`}`, 100),
		"invalid in the end":     strings.Replace(s, full().Patient.String(), record.ID{}.String(), 1),
		"a list":                 "[" + s + "]",
		"nothing":                "",
		"another kind":           strings.Replace(s, `"Consent"`, `"Patient"`, 1),
		"an array of everything": `{"resourceType":["Consent"]}`,
	} {
		if d, err := Read([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", name, d)
		}
	}
	many, err := json.Marshal(map[string]any{"provision": map[string]any{"provision": slices.Repeat([]any{"x"}, 10_000)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(many); err == nil || len(err.Error()) > 10_000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestTimesAreThoseOfTheCalendar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.Int64Range(firstSecond, lastSecond).Draw(t, "seconds")
		want := time.Unix(s, 0).UTC().Format(time.RFC3339)
		if got, ok := formatTime(s); !ok || got != want {
			t.Fatalf("%d is %s, not %s", s, want, got)
		}
		zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "zone"))
		text := time.Unix(s, 0).In(zone).Format("2006-01-02T15:04:05-07:00")
		if len(text) != len("2006-01-02T15:04:05-07:00") || text[:4] == "0000" {
			return // beyond the years that FHIR writes
		}
		if got, err := parseTime(text); err != nil || got != s {
			t.Fatalf("%s is %d, not %d (%v)", text, s, got, err)
		}
	})
}

// refusals of the Consent examples of FHIR R4, which come with the specification.
// None of them says to whom, for which metrics and how much in terms that a
// document has, so none can be one.
var refusals = map[string][]string{
	"consent-example.json": {
		"organization", "sourceAttachment", "id", "extension", "patient.reference", "patient.identifier", "policyRule.coding[0].code",
		"provision.period", "provision.provision",
	},
	"consent-example-grantor.json": {
		"organization", "sourceAttachment", "id", "extension", "category[0].coding[0].system", "category[0].coding[0].code",
		"patient.reference", "patient.identifier", "provision.actor", "provision.action", "provision.provision",
	},
	"consent-example-notOrg.json": {
		"organization", "sourceAttachment", "id", "extension", "patient.reference", "patient.identifier", "policyRule.coding[0].code",
		"provision.type", "provision.actor", "provision.action", "provision.provision",
	},
	"consent-example-notTime.json": {
		"organization", "sourceAttachment", "id", "extension", "patient.reference", "patient.identifier", "policyRule.coding[0].code",
		"provision.period", "provision.provision",
	},
}

func TestExamplesOfTheSpecification(t *testing.T) {
	const dir = "../../../shared/data/fhir"
	read := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var kind struct{ ResourceType string }
		if json.Unmarshal(raw, &kind) != nil || kind.ResourceType != "Consent" {
			return nil
		}
		read[e.Name()] = true
		_, err = Read(raw)
		t.Logf("%s: %v", e.Name(), err)
		if err == nil {
			t.Errorf("%s is read as a consent here", e.Name())
		}
		want, known := refusals[e.Name()]
		if !known {
			return nil
		}
		var refused ElementErrors
		errors.As(err, &refused)
		var got []string
		for _, p := range refused {
			got = append(got, strings.TrimPrefix(p.Element, "Consent."))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: refused are %q, want %q", e.Name(), got, want)
		}
		return nil
	})
	if err != nil {
		t.Skipf("NOT RUN: the examples of the specification are not at %s: %v", dir, err)
	}
	for name := range refusals {
		if !read[name] {
			t.Errorf("%s is not there", name)
		}
	}
	if len(read) < 12 {
		t.Logf("NOT READ: only %d Consents are at %s, the specification has 12", len(read), dir)
	}
}

func FuzzFromFHIR(f *testing.F) {
	raw, err := Write(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"resourceType":"Consent","provision":{"provision":[{"provision":[{}]}]}}`))
	f.Add([]byte(strings.Replace(string(raw), `"value":50`, `"value":-0.1`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Read(data)
		if err != nil {
			return
		}
		again, err := Write(d)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", d, err)
		}
		back, err := Read(again)
		if err != nil || back.Digest(network) != d.Digest(network) {
			t.Fatalf("%+v became %+v, %v", d, back, err)
		}
	})
}

func BenchmarkFromFHIR(b *testing.B) {
	raw, err := Write(full())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Read(raw); err != nil {
			b.Fatal(err)
		}
	}
}
