package privacy

import (
	"fmt"
	"math"
)

// Forecast is what a mean over person-days will be worth, said before asking.
type Forecast struct {
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	People   int64   `json:"people"`
	Days     int64   `json:"days"`
	RhoMicro uint64  `json:"rho_micro"`
	Half     float64 `json:"half"`  // of the 95 % interval of the noise in the mean
	Print    float64 `json:"print"` // the half interval that is worth printing
	Usable   bool    `json:"usable"`
	// WorthOf is the number of people of whom an exact mean would be as good, if
	// people differ as much as they usually do.
	WorthOf float64 `json:"worth_of"`
}

// Forecast says what interval the mean of the metric in slot will have if people
// persons with days days each are asked for want at a loss of rhoMicro. It takes all
// days to have readings and the mean to lie a quarter of its reach from the centre;
// both are guesses, and cost some percent where they are wrong. No budget is touched.
func (s *Schema) Forecast(slot int, want Want, people, days int64, rhoMicro uint64, pieces int) (Forecast, error) {
	b, err := s.shaped(slot, ShapePerson)
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
	m := b.x
	d := newDays(m, &PersonRelease{People: people, Days: days, Raw: PersonSums{N: people * days}}, plan, pieces)
	offset := float64(m.half) / 4
	sd := math.Sqrt(d.noise(KindSum)+offset*offset*d.vn) / float64(people*days) * d.res
	spread := float64(m.person.Spread) * d.res
	f := Forecast{
		Metric: m.Key, Unit: m.UCUM, People: people, Days: days, RhoMicro: rhoMicro, Half: z95 * sd, Print: m.Value(m.person.Print).Float64(),
		WorthOf: float64(people) * spread * spread / (spread*spread + float64(people)*sd*sd),
	}
	f.Usable = f.Half <= f.Print
	return f, nil
}

// RhoByNeed returns the loss in micro-zCDP at which Forecast promises half an interval
// of at most half; 0 stands for the metric's printed bound. It fails where that is more
// than a query may cost.
func (s *Schema) RhoByNeed(slot int, want Want, people, days int64, half float64, pieces int) (uint64, error) {
	const trial = 1_000_000
	f, err := s.Forecast(slot, want, people, days, trial, pieces)
	if err != nil {
		return 0, err
	}
	if half == 0 {
		half = f.Print
	}
	// The noise's variance falls with rho, but for the rounding of variances.
	need := math.Ceil(trial * f.Half * f.Half / (half * half) * 1.005)
	if !(half > 0) || need > MaxRhoMicro {
		return 0, fmt.Errorf("%s to +- %g needs more than rho %d of %d people: ask for more people, or be content with less", f.Metric, half, MaxRhoMicro/micro, people)
	}
	return max(uint64(need), 100), nil
}
