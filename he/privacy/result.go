package privacy

import (
	"fmt"
	"math/big"
)

// Result is the answer to a query: one of the four releases, as the question's
// shape says.
type Result struct {
	Metric  *Release       `json:"metric,omitempty"`
	Persons *PersonRelease `json:"persons,omitempty"`
	Pair    *PairRelease   `json:"pair,omitempty"`
	Strata  *StrataRelease `json:"strata,omitempty"`
	// Values are what was opened, field by field in packing order: centred sums
	// with the noise of all pieces; 0 for what was not asked of person-days.
	Values []int64 `json:"values"`
}

// ResultDays is Result of a question about person-days: of people persons, with days days
// each.
func (s *Schema) ResultDays(slot int, opened []*big.Int, people, days int64, plan *Plan, pieces int) (Result, error) {
	b, err := s.block(slot)
	if err != nil {
		return Result{}, err
	}
	if b.Shape != ShapePerson {
		return s.Result(slot, opened, plan, pieces)
	}
	p, err := s.ReleaseDays(slot, opened, people, plan, days, pieces)
	if err != nil {
		return Result{}, err
	}
	r := Result{Persons: &p, Values: make([]int64, len(b.fields))}
	for i, f := range b.fields {
		r.Values[i] = *p.Raw.place(f)
	}
	return r, nil
}

// Result turns the opened coefficients of the question in slot into figures. plan
// is nil for an exact release; pieces is the number of pieces whose noise is in
// the coefficients.
func (s *Schema) Result(slot int, opened []*big.Int, plan *Plan, pieces int) (Result, error) {
	b, err := s.block(slot)
	if err != nil {
		return Result{}, err
	}
	values, err := b.unpack(opened)
	if err != nil {
		return Result{}, err
	}
	r := Result{Values: values}
	switch b.Shape {
	case ShapeMetric:
		var m Release
		m, err = s.Release(slot, b.totals(values), plan, pieces)
		r.Metric = &m
	case ShapePair:
		var p PairRelease
		p, err = s.ReleasePair(slot, b.pairTotals(values), plan, pieces)
		r.Pair = &p
	case ShapeStrata:
		var g StrataRelease
		g, err = s.ReleaseStrata(slot, b.strataTotals(values, len(s.strata)), plan, pieces)
		r.Strata = &g
	default:
		err = fmt.Errorf("%s has no release", b.Key)
	}
	if err != nil {
		return Result{}, err
	}
	return r, nil
}
