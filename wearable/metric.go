package wearable

import (
	"encoding/json"
	"fmt"
	"slices"
)

const (
	// Slots is the number of metric slots of a day; a metric keeps its slot for
	// ever.
	Slots = 16
	// Buckets is the number of histogram buckets of a metric.
	Buckets = 16
)

// Metric describes one vital sign: how it is named by the standards, its valid
// range and how finely it is kept. Get one from Metrics, ByKey or BySlot; a
// Metric made elsewhere has no units.
type Metric struct {
	// Key names the metric in files, documents and on the command line.
	Key string
	// Slot is its place in sealed rows and day commitments, 0 to 15.
	Slot int
	// Name is for people.
	Name string
	// LOINC is the observation code, UCUM the unit of every value.
	LOINC, UCUM string
	// MDC is the context-free nomenclature code of ISO/IEEE 11073-10101:
	// 65536 * partition + term.
	MDC uint32
	// Resolution is the step of the minute grid; Min and Max bound valid values,
	// both inclusive and multiples of the resolution.
	Resolution, Min, Max Decimal
	// Edges bound the histogram buckets: bucket i holds Edges[i] <= x <
	// Edges[i+1], the last one its upper edge too. Edges[0] is Min and
	// Edges[Buckets] is Max.
	Edges [Buckets + 1]Decimal

	minUnits, maxUnits int64
	edgesUnits         [Buckets + 1]int64
}

// entry is one line of the table as written down: edges in units of the
// resolution, which is 1 / 10^scale.
type entry struct {
	key, name, loinc, ucum string
	mdc                    uint32
	scale                  int
	edges                  [Buckets + 1]int64
}

// The table, in slot order. LOINC codes are those of the FHIR vital signs
// profiles where there is one; skin temperature is 61008-9 (body surface
// temperature, a quantity), not 39106-0, which is a nominal finding. MDC codes:
// ISO/IEEE 11073-10101, partition 2 (SCADA), in order MDC_ECG_HEART_RATE,
// MDC_PULS_OXIM_PULS_RATE, MDC_RESP_RATE, MDC_PULS_OXIM_SAT_O2, MDC_TEMP_BODY,
// MDC_TEMP_SKIN, MDC_PRESS_BLD_NONINV_SYS, MDC_PRESS_BLD_NONINV_DIA,
// MDC_CONC_GLU_GEN, MDC_TEMP_ROOM. Storage temperature is of things, such as a drug in
// its box; no code is made for it, those of a room's temperature come nearest. Buckets
// are narrow where clinical decisions lie and wide where values are rare.
var entries = []entry{
	{
		"heart_rate", "Heart rate", "8867-4", "/min", 147842, 0,
		[...]int64{20, 40, 50, 55, 60, 65, 70, 75, 80, 85, 90, 100, 110, 120, 140, 170, 220},
	},
	{
		"pulse_rate", "Pulse rate", "8889-8", "/min", 149530, 0,
		[...]int64{20, 40, 50, 55, 60, 65, 70, 75, 80, 85, 90, 100, 110, 120, 140, 170, 220},
	},
	{
		"resp_rate", "Respiratory rate", "9279-1", "/min", 151562, 0,
		[...]int64{1, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 40, 60, 80},
	},
	{
		"spo2", "Oxygen saturation", "59408-5", "%", 150456, 1,
		[...]int64{500, 600, 700, 750, 800, 820, 840, 860, 880, 900, 920, 930, 940, 950, 960, 980, 1000},
	},
	{
		"body_temp", "Body temperature", "8310-5", "Cel", 150364, 1,
		[...]int64{300, 320, 340, 350, 355, 360, 365, 370, 375, 380, 385, 390, 395, 400, 410, 420, 450},
	},
	{
		"skin_temp", "Skin temperature", "61008-9", "Cel", 150388, 1,
		[...]int64{100, 150, 200, 220, 240, 260, 280, 290, 300, 310, 320, 330, 340, 350, 360, 380, 450},
	},
	{
		"bp_systolic", "Systolic blood pressure", "8480-6", "mm[Hg]", 150021, 0,
		[...]int64{30, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150, 160, 170, 180, 200, 220, 300},
	},
	{
		"bp_diastolic", "Diastolic blood pressure", "8462-4", "mm[Hg]", 150022, 0,
		[...]int64{10, 30, 40, 50, 55, 60, 65, 70, 75, 80, 85, 90, 100, 110, 120, 140, 200},
	},
	{
		"glucose", "Blood glucose", "2339-0", "mg/dL", 160020, 0,
		[...]int64{10, 40, 54, 70, 80, 90, 100, 110, 120, 140, 160, 180, 200, 250, 300, 400, 600},
	},
	{
		"storage_temp", "Storage temperature", "60832-3", "Cel", 188508, 1,
		[...]int64{-200, -150, -100, -50, -20, 0, 10, 20, 40, 50, 81, 100, 150, 200, 251, 300, 400},
	},
}

var table = buildTable()

func buildTable() []Metric {
	metrics := make([]Metric, len(entries))
	for slot, e := range entries {
		m := Metric{Key: e.key, Slot: slot, Name: e.name, LOINC: e.loinc, UCUM: e.ucum, MDC: e.mdc}
		m.Resolution, _ = NewDecimal(1, e.scale)
		for i, units := range e.edges {
			m.Edges[i], _ = NewDecimal(units, e.scale)
		}
		m.Min, m.Max = m.Edges[0], m.Edges[Buckets]
		m.minUnits, m.maxUnits, m.edgesUnits = e.edges[0], e.edges[Buckets], e.edges
		metrics[slot] = m
	}
	return metrics
}

// Metrics returns the table, sorted by slot.
func Metrics() []Metric { return slices.Clone(table) }

// ByKey finds a metric by its key.
func ByKey(key string) (Metric, bool) {
	m := lookup(key)
	if m == nil {
		return Metric{}, false
	}
	return *m, true
}

// BySlot finds a metric by its slot.
func BySlot(slot int) (Metric, bool) {
	if slot < 0 || slot >= len(table) {
		return Metric{}, false
	}
	return table[slot], true
}

// lookup is ByKey without the copy.
func lookup(key string) *Metric {
	for i := range table {
		if table[i].Key == key {
			return &table[i]
		}
	}
	return nil
}

// MinUnits returns Min in units of the resolution.
func (m Metric) MinUnits() int64 { return m.minUnits }

// MaxUnits returns Max in units of the resolution.
func (m Metric) MaxUnits() int64 { return m.maxUnits }

// EdgesUnits returns Edges in units of the resolution.
func (m Metric) EdgesUnits() [Buckets + 1]int64 { return m.edgesUnits }

// MaxCode returns the largest code of the minute grid, which is also the number
// of codes that are not 0 (missing).
func (m Metric) MaxCode() uint16 { return uint16(m.maxUnits - m.minUnits + 1) }

// Code returns the grid code of a value in units of the resolution, and false
// where that is out of range.
func (m Metric) Code(units int64) (uint16, bool) {
	if units < m.minUnits || units > m.maxUnits {
		return 0, false
	}
	return uint16(units - m.minUnits + 1), true
}

// Units returns the value of a code, in units of the resolution. Code 0 means
// missing and has no value: check for it, and for MaxCode, first.
func (m Metric) Units(code uint16) int64 { return m.minUnits + int64(code) - 1 }

// Value returns units of the resolution as a number in the metric's unit.
func (m Metric) Value(units int64) Decimal {
	d, _ := NewDecimal(units, int(m.Resolution.scale))
	return d
}

// Bucket returns the histogram bucket of a value in units of the resolution,
// 0 to 15, and false where that is out of range.
func (m Metric) Bucket(units int64) (int, bool) {
	if units < m.minUnits || units > m.maxUnits {
		return 0, false
	}
	return bucketOf(m.edgesUnits, units), true
}

// InRange tells whether a sample may enter the grid.
func (m Metric) InRange(v Decimal) bool { return v.Cmp(m.Min) >= 0 && v.Cmp(m.Max) <= 0 }

// metricJSON is the stable form of `vitalveil metrics --json`.
type metricJSON struct {
	Key        string               `json:"key"`
	Slot       int                  `json:"slot"`
	LOINC      string               `json:"loinc"`
	UCUM       string               `json:"ucum"`
	MDC        uint32               `json:"mdc"`
	Resolution Decimal              `json:"resolution"`
	Min        Decimal              `json:"min"`
	Max        Decimal              `json:"max"`
	Edges      [Buckets + 1]Decimal `json:"edges"`
	Person     *personJSON          `json:"person,omitempty"`
}

// MarshalJSON writes the stable form; decimals are strings.
func (m Metric) MarshalJSON() ([]byte, error) {
	return json.Marshal(metricJSON{m.Key, m.Slot, m.LOINC, m.UCUM, m.MDC, m.Resolution, m.Min, m.Max, m.Edges, m.personJSON()})
}

// MetricsJSON returns the table as a JSON array, indented, sorted by slot.
func MetricsJSON() ([]byte, error) {
	text, err := json.MarshalIndent(table, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the metric table: %w", err)
	}
	return text, nil
}
