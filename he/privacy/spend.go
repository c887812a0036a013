package privacy

import "fmt"

// Spending is what one question of a study asks about person-days, and at what loss.
type Spending struct {
	Slot     int
	People   int64 // who will be in the answer
	Want     Want
	RhoMicro uint64
}

const (
	// spare is how many times its need a mean gets at most: then it is worth printing also
	// where half of the days are missing.
	spare = 4
	// column is the part of the people that the 95 % of noise in a column of a
	// histogram that is worth asking is at most.
	column = 0.1
	// fewest is the least that is spent: on who is too few to be answered about, too.
	fewest = 100
)

// SpendByNeed shares a total of micro-zCDP among questions about days days of each
// person: each mean gets what its printed bound needs (RhoByNeed), or all get less. Of what
// is left they get more, up to spare times their need, since days may be missing: half by
// need, and half in equal parts, because those that need little gain most. What is left
// then buys histograms, in the order of the questions.
func (s *Schema) SpendByNeed(all []Spending, days int64, total uint64, pieces int) error {
	if floor := uint64(len(all)) * fewest; total < floor {
		return fmt.Errorf("%d questions cost at least %d micro-zCDP, not %d", len(all), floor, total)
	}
	var needed float64
	for i := range all {
		all[i].Want = WantMean
		need, err := s.spendNeed(all[i], days, pieces)
		if err != nil {
			return err
		}
		needed += need
		all[i].RhoMicro = uint64(need)
	}
	over := float64(total) - needed
	times, part := 1+over/2/needed, over/2/float64(len(all))
	if over < 0 {
		times, part = float64(total)/needed, 0
	}
	left := total
	for i := range all {
		need := float64(all[i].RhoMicro)
		all[i].RhoMicro = max(uint64(min(need*times+part, need*spare)), fewest)
		left -= min(all[i].RhoMicro, left)
	}
	for i, a := range all {
		if b, err := s.block(a.Slot); err != nil || b.Shape != ShapePerson {
			continue
		}
		mean, err := s.spendNeed(a, days, pieces)
		if err != nil {
			return err
		}
		a.Want = WantMean | WantDistribution
		both, err := s.spendNeed(a, days, pieces)
		if err != nil {
			continue // not with all the loss that a query may have
		}
		sigmas := z95 / (column * float64(max(a.People, 1)))
		a.RhoMicro = uint64(max(float64(a.RhoMicro)*both/mean, 3*float64(pieces)/2*sigmas*sigmas*micro)) // the mean stays as good
		if more := a.RhoMicro - all[i].RhoMicro; more <= left && a.RhoMicro <= MaxRhoMicro {
			left -= more
			all[i] = a
		}
	}
	return nil
}

// spendNeed is what a question needs; of hardly anybody, whom no cohort is as small as,
// next to nothing.
func (s *Schema) spendNeed(a Spending, days int64, pieces int) (float64, error) {
	if a.People < 2 {
		return fewest, nil
	}
	need, err := s.RhoByNeed(a.Slot, a.Want, a.People, days, 0, pieces)
	return float64(need), err
}
