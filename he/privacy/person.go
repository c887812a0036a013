package privacy

import (
	"fmt"

	"github.com/vitalveil/vitalveil/wearable"
)

// PersonCoefficients is the number of coefficients of a metric's person-days.
const PersonCoefficients = 7

// halfShare is what the share within the limits, in thousandths, is centred on.
const halfShare = 500

// PersonSums are sums over person-days of one metric, or one person-day, in units of
// the metric's resolution. Values are centred: Sum, SumSq on the metric's centre, Low
// and High on the middle of their ranges. SumSq has the schema's offset taken off each
// square, Within 500 off each share, so that a sealed day moves a sum by as little as
// can be. The zero value says that there was no day.
type PersonSums struct {
	N, Sum, SumSq        int64
	Low, High            int64
	Within, Below, Above int64 // thousandths
	Buckets              [wearable.Buckets]int64
}

// personFields are laid out so that what can be asked without the rest of its
// coefficient comes first there: the mean without the spread, the share within the
// limits without those outside.
func personFields(m *metric) []Field {
	low, high := m.middles()
	fields := []Field{
		{Name: "n", Kind: KindN, Max: 1},
		{Name: "sum", Kind: KindSum, Max: m.half, Signed: true},
		{Name: "sum_sq", Kind: KindSumSq, Max: m.square(), Signed: true},
		{Name: "within", Kind: KindWithin, Max: halfShare, Signed: true, apart: true},
		{Name: "below", Kind: KindOutside, Max: 1000},
		{Name: "above", Kind: KindOutside, Bucket: 1, Max: 1000},
		{Name: "low", Kind: KindLow, Max: m.person.LowMax - low, Signed: true, apart: true},
		{Name: "high", Kind: KindHigh, Max: m.person.HighMax - high, Signed: true},
	}
	for i := range wearable.Buckets {
		fields = append(fields, Field{Name: fmt.Sprintf("bucket%d", i), Kind: KindBucket, Bucket: i, Max: 1, apart: i == 0})
	}
	return fields
}

// middles are what the 5 % and the 95 % minute of a day are centred on.
func (m *metric) middles() (low, high int64) {
	return floorHalf(m.person.LowMin + m.person.LowMax), floorHalf(m.person.HighMin + m.person.HighMax)
}

// sums is one person-day.
func (m *metric) sums(d wearable.PersonDay) PersonSums {
	low, high := m.middles()
	x := d.Mean - m.center
	p := PersonSums{
		N: 1, Sum: x, SumSq: x*x - m.offset, Low: d.Low - low, High: d.High - high,
		Within: d.Within - halfShare, Below: d.Below, Above: d.Above,
	}
	p.Buckets[d.Bucket] = 1
	return p
}

func (p *PersonSums) place(f Field) *int64 {
	switch f.Kind {
	case KindN:
		return &p.N
	case KindSum:
		return &p.Sum
	case KindSumSq:
		return &p.SumSq
	case KindLow:
		return &p.Low
	case KindHigh:
		return &p.High
	case KindWithin:
		return &p.Within
	case KindOutside:
		if f.Bucket == 0 {
			return &p.Below
		}
		return &p.Above
	default:
		return &p.Buckets[f.Bucket]
	}
}

// personSums are the values of a block's fields.
func (b *block) personSums(values []int64) PersonSums {
	var p PersonSums
	for i, f := range b.fields {
		*p.place(f) = values[i]
	}
	return p
}

// DayRow packs a day of the minute grid into a whole day row: each metric's
// person-day, each pair where both metrics have one, and the patient's own stratum.
// A metric without enough minutes stays zero, and so does the whole row of an empty
// day. Metrics of things are not in it.
func (s *Schema) DayRow(d *wearable.Day, stratum int) ([]Payload, error) {
	if s.unit != 1 {
		return nil, fmt.Errorf("schema %s has no day row", s.Name)
	}
	if len(s.strata) > 0 && (stratum < 0 || stratum >= len(s.strata)) {
		return nil, fmt.Errorf("schema %s has no stratum %d", s.Name, stratum)
	}
	days := map[string]wearable.PersonDay{}
	for _, m := range s.metrics {
		if day, ok := m.PersonDay(d.Columns[m.Slot]); ok {
			days[m.Key] = day
		}
	}
	row := make([]Payload, s.Coefficients())
	for i := range s.blocks {
		b := &s.blocks[i]
		x, ok := days[b.x.Key]
		if !ok {
			continue
		}
		value := b.personValue(x, stratum)
		if b.Shape == ShapePair {
			y, both := days[b.y.Key]
			if !both {
				continue
			}
			value = b.pairOfDay(x, y).value
		}
		copy(row[b.coeffs[0]:], b.pack(value))
	}
	return row, nil
}

// personValue is what a person-day adds to each field of the metric's block, or of its
// block by stratum.
func (b *block) personValue(d wearable.PersonDay, stratum int) func(Field) int64 {
	sums := b.x.sums(d)
	return func(f Field) int64 {
		if b.Shape == ShapeStrata && f.Stratum != stratum {
			return 0
		}
		return *sums.place(f)
	}
}

// pairOfDay is what a person-day of two metrics adds to their pair: squares less their
// offset.
func (b *block) pairOfDay(x, y wearable.PersonDay) PairStats {
	cx, cy := x.Mean-b.x.center, y.Mean-b.y.center
	return PairStats{N: 1, SumX: cx, SumY: cy, SumSqX: cx*cx - b.x.offset, SumSqY: cy*cy - b.y.offset, SumXY: cx * cy}
}

// PersonRow is DayRow of a person-day of one metric alone.
func (s *Schema) PersonRow(slot int, d wearable.PersonDay) ([]Payload, error) {
	b, err := s.shaped(slot, ShapePerson)
	if err != nil {
		return nil, err
	}
	row := make([]Payload, s.Coefficients())
	copy(row[b.coeffs[0]:], b.pack(b.personValue(d, 0)))
	return row, nil
}
