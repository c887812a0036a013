package privacy

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

const (
	// PayloadBits is the width of a coefficient: payloads add up modulo 2^128.
	PayloadBits = 128
	// MinutesPerRow is the largest number of readings of a metric in one row.
	MinutesPerRow = 60
	// RowBits bounds the rows of one sum: every field has room for 2^30 rows.
	RowBits = 30
	// Buckets is the number of histogram buckets that a row carries; the last
	// bucket of the metric is n minus the others.
	Buckets = wearable.Buckets - 1
	// MetricCoefficients is the number of coefficients of one metric.
	MetricCoefficients = 6
)

// Kind says which statistic a field carries.
type Kind int

// The kinds of fields, in units of the metric's resolution, values centred.
const (
	KindN       Kind = iota // number of readings
	KindSum                 // sum of the centred values
	KindSumSq               // sum of their squares
	KindBucket              // number of readings in one histogram bucket
	KindSumX                // of a pair: sum of the first metric's centred values
	KindSumY                // sum of the second's
	KindSumSqX              // sum of the first's squares
	KindSumSqY              // sum of the second's
	KindSumXY               // sum of the products
	KindLow                 // of a person-day: sum of the centred 5 % minutes
	KindHigh                // sum of the centred 95 % minutes
	KindWithin              // sum of the thousandths within the limits, less 500
	KindOutside             // sum of the thousandths below (bucket 0) or above (1)
)

// Field is one statistic's place: its value times 2^Shift is a summand of
// coefficient Coeff, as a balanced digit of Width bits.
type Field struct {
	Name    string
	Kind    Kind
	Bucket  int // for KindBucket and KindOutside
	Coeff   int // index in the row
	Shift   int
	Width   int
	Max     int64 // largest absolute value in one row
	Signed  bool
	Stratum int  `json:",omitempty"` // of a question by stratum
	apart   bool // begins a coefficient of its own
}

// metric is what the schema knows of one metric, in units of its resolution.
type metric struct {
	wearable.Metric
	center int64
	half   int64 // largest |value - center|
	// offset is what every square of a present value is lowered by.
	offset int64
	person wearable.Person // in a day row
}

// block is the place of one question's statistics in a row.
type block struct {
	Question
	x, y   *metric // the question's metrics; y of a pair only
	fields []Field
	coeffs []int
	unit   int64 // how many values one patient has in a row, at most
}

// Schema is the layout of a row. It is immutable and safe for concurrent use.
type Schema struct {
	Name    string
	unit    int64    // values of a patient in one row: minutes of an hour, or one day
	day     *Schema  // of the day row, if any
	metrics []metric // by slot, without gaps
	blocks  []block  // by coefficient
	bySlot  map[int]*block
	byKey   map[string]*block
	zero    int // see ZeroCoefficient
	strata  []string
	digest  record.ID
}

// layout is what a schema consists of.
type layout struct {
	name    string
	metrics []wearable.Metric
	pairs   [][2]string // keys of metrics, by slot
	strata  []string    // names of the strata, if any
	grouped []string    // keys of the metrics with a block for each stratum
	days    bool        // whether a row is a person-day
	day     *layout     // of the day row beside the hours', if any
}

func newSchema(l layout) (*Schema, error) {
	s := &Schema{Name: l.name, unit: MinutesPerRow, strata: l.strata, bySlot: map[int]*block{}, byKey: map[string]*block{}}
	if l.days {
		s.unit = 1
	}
	if l.day != nil {
		var err error
		if s.day, err = newSchema(*l.day); err != nil {
			return nil, err
		}
	}
	for slot, m := range l.metrics {
		if m.Slot != slot {
			return nil, fmt.Errorf("schema %s: metric %s is in slot %d, not %d", l.name, m.Key, m.Slot, slot)
		}
		s.metrics = append(s.metrics, newMetric(m, l.days))
	}
	for i := range s.metrics {
		m := &s.metrics[i]
		shape, fields, want := ShapeMetric, metricFields(m.half), MetricCoefficients
		if l.days {
			shape, fields, want = ShapePerson, personFields(m), PersonCoefficients
		}
		s.add(block{Question: Question{m.Key, m.Slot, shape, []string{m.Key}}, x: m}, fields)
		if b := s.blocks[i]; len(b.coeffs) != want {
			return nil, fmt.Errorf("schema %s: metric %s needs %d coefficients, not %d", l.name, m.Key, len(b.coeffs), want)
		}
	}
	for i, keys := range l.pairs {
		x, y := s.named(keys[0]), s.named(keys[1])
		if x == nil || y == nil || x == y {
			return nil, fmt.Errorf("schema %s: %v is no pair of metrics", l.name, keys)
		}
		s.add(block{Question: Question{PairKey(x.Key, y.Key), pairSlot + i, ShapePair, []string{x.Key, y.Key}}, x: x, y: y}, pairFields(s.unit, x, y))
	}
	for i, key := range l.grouped {
		m := s.named(key)
		if m == nil || len(l.strata) == 0 {
			return nil, fmt.Errorf("schema %s: %s has no strata", l.name, key)
		}
		s.add(block{Question: Question{StrataKey(key), strataSlot + i, ShapeStrata, []string{key}}, x: m}, strataFields(s.unit, m.half, len(l.strata)))
	}
	for i := range s.blocks {
		b := &s.blocks[i]
		if s.bySlot[b.Slot] != nil || s.byKey[b.Key] != nil {
			return nil, fmt.Errorf("schema %s: %s is there twice", l.name, b.Key)
		}
		s.bySlot[b.Slot], s.byKey[b.Key] = b, b
	}
	s.zero = s.questionCoefficients()
	s.digest = s.computeDigest()
	return s, nil
}

func (s *Schema) named(key string) *metric {
	i := slices.IndexFunc(s.metrics, func(m metric) bool { return m.Key == key })
	if i < 0 {
		return nil
	}
	return &s.metrics[i]
}

// newMetric is what a schema of hours, or of days, knows of a metric.
func newMetric(m wearable.Metric, days bool) metric {
	if p, ok := m.Person(); ok && days {
		half := max(p.High-p.Centre, p.Centre-p.Low)
		return metric{Metric: m, center: p.Centre, half: half, offset: floorHalf(half * half), person: p}
	}
	center := floorHalf(m.MinUnits() + m.MaxUnits())
	return metric{Metric: m, center: center, half: max(m.MaxUnits()-center, center-m.MinUnits())}
}

// add places the fields of a block, in their order, behind the blocks before; a
// field that does not fit, or that begins a coefficient of its own, opens a new one.
func (s *Schema) add(b block, fields []Field) {
	b.unit = s.unit
	coeff, shift := s.questionCoefficients(), 0
	first := coeff
	for _, f := range fields {
		f.Width = bits.Len64(uint64(f.Max)) + RowBits + 1
		if shift+f.Width > PayloadBits || f.apart && shift > 0 {
			coeff, shift = coeff+1, 0
		}
		f.Coeff, f.Shift = coeff, shift
		shift += f.Width
		b.fields = append(b.fields, f)
	}
	for c := first; c <= coeff; c++ {
		b.coeffs = append(b.coeffs, c)
	}
	s.blocks = append(s.blocks, b)
}

// metricFields are n, sum, a bucket, the sum of squares and the other buckets.
func metricFields(half int64) []Field {
	bucket := func(i int) Field {
		return Field{Name: fmt.Sprintf("bucket%d", i), Kind: KindBucket, Bucket: i, Max: MinutesPerRow}
	}
	fields := []Field{
		{Name: "n", Kind: KindN, Max: MinutesPerRow},
		{Name: "sum", Kind: KindSum, Max: MinutesPerRow * half, Signed: true},
		bucket(0),
		{Name: "sum_sq", Kind: KindSumSq, Max: MinutesPerRow * half * half},
	}
	for i := 1; i < Buckets; i++ {
		fields = append(fields, bucket(i))
	}
	return fields
}

// floorHalf is n/2 rounded towards minus infinity.
func floorHalf(n int64) int64 { return n >> 1 }

// computeDigest binds everything that the meaning of a row depends on.
func (s *Schema) computeDigest() record.ID {
	type field struct {
		Name                string
		Coeff, Shift, Width int
		Max                 int64
	}
	type entry struct {
		Slot       int
		Key, Unit  string
		Resolution string
		Center     int64
		Edges      [wearable.Buckets + 1]int64
		Fields     []field
	}
	type question struct {
		Slot    int
		Key     string
		Metrics []string
		Fields  []field
	}
	entries, more := make([]entry, len(s.metrics)), []question{}
	for _, b := range s.blocks {
		var fields []field
		for _, f := range b.fields {
			fields = append(fields, field{f.Name, f.Coeff, f.Shift, f.Width, f.Max})
		}
		if b.Shape == ShapeMetric || b.Shape == ShapePerson {
			m := b.x
			entries[m.Slot] = entry{m.Slot, m.Key, m.UCUM, m.Resolution.String(), m.center, m.edges(), fields}
			continue
		}
		more = append(more, question{b.Slot, b.Key, b.Metrics, fields})
	}
	parts := []any{s.Name, PayloadBits, entries, s.zero}
	if len(more) > 0 {
		parts = append(parts, more, s.strata)
	}
	if s.day != nil {
		parts = append(parts, s.day.digest)
	}
	if s.unit == 1 {
		persons := make([]wearable.Person, len(s.metrics))
		for i, m := range s.metrics {
			persons[i] = m.person
		}
		parts = append(parts, persons)
	}
	return record.Digest("row-schema/v2", "", parts)
}

// edges bound the buckets of the schema's histogram.
func (m *metric) edges() [wearable.Buckets + 1]int64 {
	if m.person.High > m.person.Low {
		return m.person.Edges
	}
	return m.EdgesUnits()
}

// Daily tells whether the rows are person-days and not hours.
func (s *Schema) Daily() bool { return s.unit == 1 }

// Day returns the schema of the day row that is sealed beside the hours', nil where
// there is none.
func (s *Schema) Day() *Schema { return s.day }

// Digest identifies the layout; a network's genesis names it.
func (s *Schema) Digest() record.ID { return s.digest }

// Coefficients returns the number of coefficients of a row: 55 in V1 and V3, 94 in
// V2, 98 in V3's day row.
func (s *Schema) Coefficients() int { return s.zero + 1 }

// ZeroCoefficient returns the coefficient that no question has and that holds zero
// in every row, the last. Where a sum does not open, a device whose rows hold
// something else there is found by it, and nothing else is opened.
func (s *Schema) ZeroCoefficient() int { return s.zero }

// questionCoefficients is the number of coefficients that questions have.
func (s *Schema) questionCoefficients() int {
	if len(s.blocks) == 0 {
		return 0
	}
	last := s.blocks[len(s.blocks)-1].coeffs
	return last[len(last)-1] + 1
}

// Slots returns the number of metrics; their slots are 0 to Slots()-1. Pairs and
// strata have slots of their own (Questions).
func (s *Schema) Slots() int { return len(s.metrics) }

// MetricCoefficients returns the row coefficients of the question in slot, be it
// a metric, a pair or a metric by stratum, in ascending order, or nil if the
// schema has no such slot.
func (s *Schema) MetricCoefficients(slot int) []int {
	if b := s.bySlot[slot]; b != nil {
		return slices.Clone(b.coeffs)
	}
	return nil
}

// Fields returns the fields of the question in slot, in packing order, or nil if
// the schema has no such slot.
func (s *Schema) Fields(slot int) []Field {
	if b := s.bySlot[slot]; b != nil {
		return slices.Clone(b.fields)
	}
	return nil
}

// Center returns what is subtracted from every value of the metric in slot, in
// units of its resolution, before it is summed; 0 if there is no such metric.
func (s *Schema) Center(slot int) int64 {
	if slot < 0 || slot >= len(s.metrics) {
		return 0
	}
	return s.metrics[slot].center
}

// block returns the block in slot.
func (s *Schema) block(slot int) (*block, error) {
	if b := s.bySlot[slot]; b != nil {
		return b, nil
	}
	return nil, fmt.Errorf("schema %s has nothing in slot %d", s.Name, slot)
}

// shaped returns the block in slot if it has the shape.
func (s *Schema) shaped(slot int, shape Shape) (*block, error) {
	b, err := s.block(slot)
	if err == nil && b.Shape != shape {
		return nil, fmt.Errorf("%s is %s, not %s", b.Key, b.Shape, shape)
	}
	return b, err
}

func (s *Schema) metric(slot int) (*metric, error) {
	if slot < 0 || slot >= len(s.metrics) {
		return nil, fmt.Errorf("schema %s has no metric in slot %d", s.Name, slot)
	}
	return &s.metrics[slot], nil
}

// counted is what the count of a block counts.
func (b *block) counted() string {
	if b.unit == 1 {
		return "person-days"
	}
	return "minutes"
}

// reach is how far apart two values that are summed up can be, in the metric's unit.
func (m *metric) reach() float64 {
	if m.person.High > m.person.Low {
		return m.Value(m.person.High - m.person.Low).Float64()
	}
	return m.Max.Float64() - m.Min.Float64()
}
