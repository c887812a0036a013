package privacy

import (
	"fmt"
	"math/big"
	"slices"
)

// StratumTotals are the opened sums of one stratum: the number of readings and the
// sum of their centred values, in units of the resolution.
type StratumTotals struct {
	N, Sum int64
}

// strataFields are laid out so that two sums and a count share a coefficient: six
// coefficients take nine strata.
func strataFields(unit, half int64, strata int) []Field {
	n := func(i int) Field {
		return Field{Name: fmt.Sprintf("n%d", i), Kind: KindN, Max: unit, Stratum: i}
	}
	sum := func(i int) Field {
		return Field{Name: fmt.Sprintf("sum%d", i), Kind: KindSum, Max: unit * half, Signed: true, Stratum: i}
	}
	var fields []Field
	counts := 0
	for i := 0; i < strata; i += 2 {
		fields = append(fields, sum(i))
		if i+1 < strata {
			fields = append(fields, sum(i+1))
		}
		fields = append(fields, n(counts))
		counts++
	}
	for ; counts < strata; counts++ {
		fields = append(fields, n(counts))
	}
	return fields
}

// Strata returns the names of the strata, in the order of their blocks; none in a
// schema without.
func (s *Schema) Strata() []string { return slices.Clone(s.strata) }

// Stratum finds a stratum by name; an empty name is Unstated. In a schema without
// strata there is only that, and it is 0.
func (s *Schema) Stratum(name string) (int, error) {
	if name == "" {
		name = Unstated
	}
	if len(s.strata) == 0 && name == Unstated {
		return 0, nil
	}
	if i := slices.Index(s.strata, name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("schema %s has no stratum %q", s.Name, name)
}

// EncodeStratum packs the statistics of one metric into the block of one stratum
// (Stratum) of the question in slot; all other strata are zero.
func (s *Schema) EncodeStratum(slot, stratum int, h HourStats) ([]Payload, error) {
	b, err := s.shaped(slot, ShapeStrata)
	if err != nil {
		return nil, err
	}
	if stratum < 0 || stratum >= len(s.strata) {
		return nil, fmt.Errorf("schema %s has no stratum %d", s.Name, stratum)
	}
	if err := b.x.check(h); err != nil {
		return nil, err
	}
	return b.pack(func(f Field) int64 {
		if f.Stratum != stratum {
			return 0
		}
		return h.value(f)
	}), nil
}

// DecodeStrata splits the opened coefficients of a metric by stratum as Decode
// does those of a metric. The totals are in the order of Strata.
func (s *Schema) DecodeStrata(slot int, coeffs []*big.Int) ([]StratumTotals, error) {
	b, err := s.shaped(slot, ShapeStrata)
	if err != nil {
		return nil, err
	}
	values, err := b.unpack(coeffs)
	if err != nil {
		return nil, err
	}
	return b.strataTotals(values, len(s.strata)), nil
}

func (b *block) strataTotals(values []int64, strata int) []StratumTotals {
	out := make([]StratumTotals, strata)
	for i, f := range b.fields {
		if f.Kind == KindN {
			out[f.Stratum].N = values[i]
		} else {
			out[f.Stratum].Sum = values[i]
		}
	}
	return out
}
