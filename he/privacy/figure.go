package privacy

import "math/big"

// Figure is one number that follows from released sums. SD and the interval
// describe the privacy noise alone, by the delta method; both are trivial in an
// exact release. A figure that is not Defined has no value.
type Figure struct {
	Defined bool       `json:"defined"`
	Value   float64    `json:"value"`
	SD      float64    `json:"sd"`
	CI95    [2]float64 `json:"ci95"`
	// TooNoisy says that noise has drowned the figure, or is so strong that the
	// delta method's interval cannot be relied on.
	TooNoisy bool `json:"too_noisy"`
}

// newFigure is a value with the standard deviation of its noise.
func newFigure(value *big.Rat, variance *big.Rat) Figure {
	v, _ := value.Float64()
	return figureOf(v, root(variance))
}

func figureOf(v, sd float64) Figure {
	return Figure{Defined: true, Value: v, SD: sd, CI95: [2]float64{v - z95*sd, v + z95*sd}}
}

// clip keeps the interval to where the true value can be.
func (f *Figure) clip(low, high float64) {
	f.CI95[0], f.CI95[1] = max(f.CI95[0], low), min(f.CI95[1], high)
}

// Text is the figure in words: the value with half its interval.
func (f Figure) Text() string {
	switch {
	case f.TooNoisy:
		return TooNoisy
	case !f.Defined:
		return "unknown"
	case f.SD == 0:
		return Round(f.Value, 0)
	}
	return Round(f.Value, f.SD) + " +- " + Round(z95*f.SD, f.SD)
}

// weak reports whether a denominator may be near zero: below four standard
// deviations of its noise. From there on its relative error is at most a quarter
// and the delta method, which drops the square of that, good to about a
// sixteenth.
func weak(value, variance *big.Rat) bool {
	return value.Sign() <= 0 || mul(value, value).Cmp(mul(big.NewRat(16, 1), variance)) < 0
}
