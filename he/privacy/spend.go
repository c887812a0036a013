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
	// spare is how many times its need a mean gets where there is enough: then it is
	// worth printing also where a third of the days are missing.
	spare = 2.25
	// column is the part of the people that the 95 % of noise in a column of a
	// histogram that is worth asking is at most.
	column = 0.1
	// fewest is the least that is spent: on who is too few to be answered about, too.
	fewest = 100
)

// SpendByNeed shares a total of micro-zCDP among questions about days days of each
// person: each mean gets what its printed bound needs (RhoByNeed), or spare times as much,
// as far as the total goes. What is left buys histograms, in the order of the questions.
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
	times := min(float64(total)/needed, spare)
	left := total
	for i := range all {
		all[i].RhoMicro = max(uint64(float64(all[i].RhoMicro)*times), fewest)
		left -= min(all[i].RhoMicro, left)
	}
	for i, a := range all {
		if b, err := s.block(a.Slot); err != nil || b.Shape != ShapePerson {
			continue
		}
		a.Want = WantMean | WantDistribution
		need, err := s.spendNeed(a, days, pieces)
		if err != nil {
			continue // not with all the loss that a query may have
		}
		sigmas := z95 / (column * float64(max(a.People, 1)))
		a.RhoMicro = uint64(max(need*times, 3*float64(pieces)/2*sigmas*sigmas*micro, fewest))
		if more := a.RhoMicro - min(all[i].RhoMicro, a.RhoMicro); more <= left && a.RhoMicro <= MaxRhoMicro {
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
