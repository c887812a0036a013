package privacy

import (
	"fmt"
	"math"
)

// Forecast is what the noise of an answer about person-days will be, said before asking:
// of a mean; of each group's mean, by stratum; of a correlation, where Unit is empty.
type Forecast struct {
	Metric   string  `json:"metric"` // the question's key
	Unit     string  `json:"unit"`
	People   int64   `json:"people"`
	Days     int64   `json:"days"`
	RhoMicro uint64  `json:"rho_micro"`
	Half     float64 `json:"half"`  // of the 95 % interval of the noise
	Print    float64 `json:"print"` // the half interval that is worth printing
	Usable   bool    `json:"usable"`
	// WorthOf is the number of people of whom an exact answer would be as good, if
	// people differ as much as they usually do.
	WorthOf float64 `json:"worth_of"`
}

// printCorrelation is the half interval of a correlation that is worth printing.
const printCorrelation = 0.1

// Forecast says what interval the answer to the question in slot will have if people
// persons with days days each are asked for want, which has the mean, at a loss of
// rhoMicro. It takes all days to have readings, means to lie a quarter of their reach from
// the centre, and strata to be equally large; these are guesses, and cost some percent
// where they are wrong. No budget is touched.
func (s *Schema) Forecast(slot int, want Want, people, days int64, rhoMicro uint64, pieces int) (Forecast, error) {
	b, err := s.block(slot)
	if err != nil {
		return Forecast{}, err
	}
	if people < 1 || pieces < 1 || !want.has(WantMean|WantSpread) {
		return Forecast{}, fmt.Errorf("%s: a forecast is about the mean of at least one person and noise of at least one piece", b.Key)
	}
	plan, err := s.PlanDays(slot, want, days, rhoMicro)
	if err != nil {
		return Forecast{}, err
	}
	f := Forecast{Metric: b.Key, People: people, Days: days, RhoMicro: rhoMicro}
	group, sd, spread := float64(people), 0.0, 1.0
	if b.Shape == ShapePair {
		// Of the five sums that noise is in, the products' decides: it is relative to the
		// product of two spreads, which is small beside that of two ranges.
		products := newDays(b.x, &PersonRelease{}, plan, pieces).noise(KindSumXY)
		sd = math.Sqrt(products) / (group * float64(days) * float64(b.x.person.Spread*b.y.person.Spread))
		f.Print = printCorrelation
	} else {
		m := b.x
		if b.Shape == ShapeStrata {
			group = max(group/float64(len(s.strata)), 1)
		}
		d := newDays(m, &PersonRelease{People: people, Days: days, Raw: PersonSums{N: people * days}}, plan, pieces)
		offset := float64(m.half) / 4
		sd = math.Sqrt(d.noise(KindSum)+offset*offset*d.vn) / (group * float64(days)) * d.res
		spread = float64(m.person.Spread) * d.res
		f.Unit, f.Print = m.UCUM, m.Value(m.person.Print).Float64()
	}
	f.Half, f.WorthOf = z95*sd, group*spread*spread/(spread*spread+group*sd*sd)
	f.Usable = f.Half <= f.Print
	return f, nil
}

// Need is what it would take to have half an interval of at most Half.
type Need struct {
	Half float64 `json:"half"`
	// People are so many as would do at the same loss.
	People int64 `json:"people"`
	// RhoMicro would do with the same people; 0 where no query may cost that much.
	RhoMicro uint64 `json:"rho_micro"`
}

// Need says what would bring a forecast's interval down to half; 0 stands for what is
// worth printing.
func (f Forecast) Need(half float64) Need {
	if half == 0 {
		half = f.Print
	}
	n := Need{Half: half}
	n.People = int64(math.Ceil(float64(f.People) * f.Half / half))
	// The noise's variance falls with rho, but for the rounding of variances.
	if need := math.Ceil(float64(f.RhoMicro) * f.Half * f.Half / (half * half) * 1.005); need <= MaxRhoMicro {
		n.RhoMicro = max(uint64(need), 100)
	}
	return n
}

// RhoByNeed returns the loss in micro-zCDP at which Forecast promises half an interval
// of at most half; 0 stands for what is worth printing. It fails where that is more
// than a query may cost.
func (s *Schema) RhoByNeed(slot int, want Want, people, days int64, half float64, pieces int) (uint64, error) {
	if half < 0 || math.IsNaN(half) {
		return 0, fmt.Errorf("no interval is as small as %g", half)
	}
	f, err := s.Forecast(slot, want, people, days, 1_000_000, pieces)
	if err != nil {
		return 0, err
	}
	n := f.Need(half)
	if n.RhoMicro == 0 {
		return 0, fmt.Errorf("%s to +- %g needs more than rho %d of %d people: ask for more people, or be content with less", f.Metric, n.Half, MaxRhoMicro/micro, people)
	}
	return n.RhoMicro, nil
}
