package privacy

import (
	"fmt"
	"math/bits"
	"sync"

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
	KindN      Kind = iota // number of readings
	KindSum                // sum of the centred values
	KindSumSq              // sum of their squares
	KindBucket             // number of readings in one histogram bucket
)

// Field is one statistic's place: its value times 2^Shift is a summand of
// coefficient Coeff, as a balanced digit of Width bits.
type Field struct {
	Name   string
	Kind   Kind
	Bucket int // for KindBucket
	Coeff  int // index in the row
	Shift  int
	Width  int
	Max    int64 // largest absolute value in one row
	Signed bool
}

// metric is what the schema knows of one metric, in units of its resolution.
type metric struct {
	wearable.Metric
	center int64
	half   int64 // largest |value - center|
	fields []Field
	coeffs []int
}

// Schema is the layout of a row. It is immutable and safe for concurrent use.
type Schema struct {
	Name    string
	metrics []metric // by slot, without gaps
	digest  record.ID
}

// V1 returns the schema "vitals-v1": the nine metrics of package wearable in
// slots 0 to 8, six coefficients each.
func V1() *Schema { return v1() }

var v1 = sync.OnceValue(func() *Schema {
	s, err := newSchema("vitals-v1", wearable.Metrics())
	if err != nil {
		panic(err) // the table is part of the program
	}
	return s
})

func newSchema(name string, table []wearable.Metric) (*Schema, error) {
	s := &Schema{Name: name}
	for slot, m := range table {
		if m.Slot != slot {
			return nil, fmt.Errorf("schema %s: metric %s is in slot %d, not %d", name, m.Key, m.Slot, slot)
		}
		laid, err := layOut(m)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		s.metrics = append(s.metrics, laid)
	}
	s.digest = s.computeDigest()
	return s, nil
}

// layOut places the fields of a metric in the order n, sum, bucket, sum of
// squares, the other buckets; a field that does not fit opens a new coefficient.
func layOut(w wearable.Metric) (metric, error) {
	m := metric{Metric: w, center: floorHalf(w.MinUnits() + w.MaxUnits())}
	m.half = max(w.MaxUnits()-m.center, m.center-w.MinUnits())
	coeff, shift := w.Slot*MetricCoefficients, 0
	for _, f := range fieldsOf(m.half) {
		f.Width = bits.Len64(uint64(f.Max)) + RowBits + 1
		if shift+f.Width > PayloadBits {
			coeff, shift = coeff+1, 0
		}
		f.Coeff, f.Shift = coeff, shift
		shift += f.Width
		m.fields = append(m.fields, f)
	}
	for c := w.Slot * MetricCoefficients; c <= coeff; c++ {
		m.coeffs = append(m.coeffs, c)
	}
	if len(m.coeffs) != MetricCoefficients {
		return metric{}, fmt.Errorf("metric %s needs %d coefficients, not %d", w.Key, len(m.coeffs), MetricCoefficients)
	}
	return m, nil
}

func fieldsOf(half int64) []Field {
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
	entries := make([]entry, len(s.metrics))
	for i, m := range s.metrics {
		e := entry{m.Slot, m.Key, m.UCUM, m.Resolution.String(), m.center, m.EdgesUnits(), nil}
		for _, f := range m.fields {
			e.Fields = append(e.Fields, field{f.Name, f.Coeff, f.Shift, f.Width, f.Max})
		}
		entries[i] = e
	}
	return record.Digest("row-schema/v1", "", []any{s.Name, PayloadBits, entries})
}

// Digest identifies the layout; a network's genesis names it.
func (s *Schema) Digest() record.ID { return s.digest }

// Coefficients returns the number of coefficients of a row, 54 in V1.
func (s *Schema) Coefficients() int { return len(s.metrics) * MetricCoefficients }

// Slots returns the number of metrics; their slots are 0 to Slots()-1.
func (s *Schema) Slots() int { return len(s.metrics) }

// MetricCoefficients returns the row coefficients of the metric in slot, in
// ascending order, or nil if the schema has no such slot.
func (s *Schema) MetricCoefficients(slot int) []int {
	m, err := s.metric(slot)
	if err != nil {
		return nil
	}
	return append([]int(nil), m.coeffs...)
}

// Fields returns the fields of the metric in slot, in packing order, or nil if
// the schema has no such slot.
func (s *Schema) Fields(slot int) []Field {
	m, err := s.metric(slot)
	if err != nil {
		return nil
	}
	return append([]Field(nil), m.fields...)
}

// Center returns what is subtracted from every value of the metric in slot, in
// units of its resolution, before it is summed; 0 if there is no such slot.
func (s *Schema) Center(slot int) int64 {
	m, err := s.metric(slot)
	if err != nil {
		return 0
	}
	return m.center
}

func (s *Schema) metric(slot int) (*metric, error) {
	if slot < 0 || slot >= len(s.metrics) {
		return nil, fmt.Errorf("schema %s has no metric in slot %d", s.Name, slot)
	}
	return &s.metrics[slot], nil
}
