package privacy

import (
	"sync"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

// V1 returns the schema "vitals-v1": the nine metrics of package wearable in
// slots 0 to 8, six coefficients each, and the zero coefficient.
func V1() *Schema { return v1() }

var v1 = sync.OnceValue(func() *Schema { return fixed(layout{name: "vitals-v1", metrics: wearable.Vitals()}) })

// V2 returns the schema "vitals-v2": the metrics of vitals-v1 in the first 54
// coefficients, then three for each of five pairs, then six for each of four metrics
// by stratum, and the zero coefficient.
func V2() *Schema { return v2() }

var v2 = sync.OnceValue(func() *Schema {
	return fixed(layout{
		name: "vitals-v2", metrics: wearable.Vitals(), pairs: pairTable, strata: strataTable,
		grouped: groupedTable,
	})
})

// V3 returns the schema "vitals-v3": the hours of vitals-v1 and a day row
// (Schema.Day), in which each of the nine metrics has seven coefficients of
// person-days, then the pairs and the strata of vitals-v2 over person-days, and the
// zero coefficient.
func V3() *Schema { return v3() }

var v3 = sync.OnceValue(func() *Schema {
	return fixed(layout{name: "vitals-v3", metrics: wearable.Vitals(), day: &layout{
		name: "vitals-v3/day", metrics: wearable.Vitals(), days: true, pairs: pairTable, strata: strataTable, grouped: groupedTable,
	}})
})

// groupedTable is the metrics that are asked by stratum.
var groupedTable = []string{"heart_rate", "resp_rate", "spo2", "bp_systolic"}

// pairTable is the pairs of vitals-v2, in the order of their slots. Each is a
// question that a clinician asks and that both metrics' ranges leave room for:
// what drives the heart when breathing quickens; whether the heart makes up for
// low oxygen; whether quick breathing is an answer to it; pulse pressure, through
// the slope of one pressure on the other; and the heart against the skin's
// temperature, where fever and poor circulation part. Body temperature and
// glucose have readings in too few minutes to share one with anything.
var pairTable = [][2]string{
	{"heart_rate", "resp_rate"},
	{"heart_rate", "spo2"},
	{"spo2", "resp_rate"},
	{"bp_systolic", "bp_diastolic"},
	{"heart_rate", "skin_temp"},
}

// strataTable is the strata of vitals-v2: age in completed years by sex. Who is
// in none of the first eight, or does not say, is unstated.
var strataTable = []string{
	"female_0_17", "female_18_44", "female_45_64", "female_65_up",
	"male_0_17", "male_18_44", "male_45_64", "male_65_up",
	Unstated,
}

// Unstated is the stratum of everybody who names none.
const Unstated = "unstated"

func fixed(l layout) *Schema {
	s, err := newSchema(l)
	if err != nil {
		panic(err) // the tables are part of the program
	}
	return s
}

// Schemas returns the schemas that this program knows, the oldest first.
func Schemas() []*Schema { return []*Schema{V1(), V2(), V3()} }

// SchemaByDigest finds the schema that a network's genesis names.
func SchemaByDigest(digest record.ID) (*Schema, bool) {
	for _, s := range Schemas() {
		if s.Digest() == digest {
			return s, true
		}
	}
	return nil, false
}

// SchemaByName finds a schema by its name.
func SchemaByName(name string) (*Schema, bool) {
	for _, s := range Schemas() {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}
