package privacy

import "math/big"

// PersonSummary is a PersonRelease as reports give it to other programs: figures in the
// metric's unit or as shares of 1; nil for what was not asked and for what is too noisy,
// since any number would be read as one.
type PersonSummary struct {
	People       int64            `json:"people"`         // in the cohort
	PersonDays   float64          `json:"person_days"`    // that have a value
	PersonDaysSD float64          `json:"person_days_sd"` // of the noise, as every sd here but SD
	Mean         *float64         `json:"mean"`
	MeanSD       *float64         `json:"mean_sd"`
	MeanCI95     *[2]float64      `json:"mean_ci95"`
	Population   *[2]float64      `json:"population_ci95"`
	SD           *float64         `json:"sd"` // between person-days
	Below        *float64         `json:"below"`
	Within       *float64         `json:"within"`
	Above        *float64         `json:"above"`
	Histogram    *SummaryCounts   `json:"histogram"`
	WorthOf      float64          `json:"worth_of"`
	Usable       bool             `json:"usable"`
	Rho          float64          `json:"rho"` // that was asked with; 0 of an exact answer
	Exact        *UncentredTotals `json:"exact,omitempty"`
}

// SummaryCounts is a histogram of person-days by their mean, as in PersonHistogram.
type SummaryCounts struct {
	Edges  []string  `json:"edges"`
	Counts []float64 `json:"counts"`
}

// UncentredTotals are exact sums over person-days in units of the metric's resolution, as
// anybody computes them from readings.
type UncentredTotals struct {
	N     *big.Int `json:"n"`
	Sum   *big.Int `json:"sum"`
	SumSq *big.Int `json:"sum_sq"`
}

// Summary is the release in short; rhoMicro is what was asked with.
func (r *PersonRelease) Summary(rhoMicro uint64) PersonSummary {
	s := PersonSummary{
		People: r.People, PersonDays: r.PersonDays.Value, PersonDaysSD: r.PersonDays.SD, Population: r.Population,
		SD: r.Spread.printed(), Below: r.Below.printed(), Within: r.Within.printed(), Above: r.Above.printed(),
		WorthOf: r.WorthOf, Usable: r.Usable, Rho: float64(rhoMicro) / micro,
	}
	if s.Mean = r.Mean.printed(); s.Mean != nil {
		s.MeanSD, s.MeanCI95 = &r.Mean.SD, &r.Mean.CI95
	}
	if h := r.Histogram; h != nil {
		s.Histogram = &SummaryCounts{h.Edges[:], h.Counts[:]}
	}
	if r.Exact {
		s.Exact, s.Rho = r.uncentred(), 0
	}
	return s
}

// printed is the value of a figure that was asked and is not too noisy.
func (f *PersonFigure) printed() *float64 {
	if f == nil || f.TooNoisy {
		return nil
	}
	return &f.Value
}

// uncentred takes the centre, and what the schema takes off each square, out of the sums.
func (r *PersonRelease) uncentred() *UncentredTotals {
	m, _ := V3().Day().metric(r.Slot)
	n, c, sum := big.NewInt(r.Raw.N), big.NewInt(m.center), big.NewInt(r.Raw.Sum)
	times := func(a, b *big.Int) *big.Int { return new(big.Int).Mul(a, b) }
	squares := times(n, big.NewInt(m.offset+m.center*m.center))
	squares.Add(squares, big.NewInt(r.Raw.SumSq)).Add(squares, times(big.NewInt(2*m.center), sum))
	return &UncentredTotals{N: n, Sum: new(big.Int).Add(sum, times(n, c)), SumSq: squares}
}
