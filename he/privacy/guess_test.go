package privacy

import (
	"math"
	"testing"
)

// TestNoGuessIsRightMoreOften: the best guess from noise that costs exactly rho stays
// below the bound: from Gaussian noise, where it is known, and from discrete noise of small
// variance, counted out.
func TestNoGuessIsRightMoreOften(t *testing.T) {
	last := 0.5
	for _, rho := range []uint64{0, 100, 1_000, 10_000, 50_000, 100_000, 300_000, 1_000_000, 3_000_000, MaxRhoMicro} {
		bound := GuessRight(rho)
		if bound < last || bound > 1 || rho == 0 && bound != 0.5 {
			t.Errorf("rho %d: %.6f after %.6f", rho, bound, last)
		}
		last = bound
		if best := 0.5 * math.Erfc(-math.Sqrt(float64(rho)/micro)); best > bound+1e-12 {
			t.Errorf("rho %d: a guess from Gaussian noise is right %.6f of the time, the bound is %.6f", rho, best, bound)
		}
	}
	for _, c := range []struct{ step, variance float64 }{{1, 0.5}, {1, 2}, {2, 3}, {5, 1}, {10, 400}} {
		// A value is one step from nothing and two from the other, -step.
		rho := c.step * c.step / (2 * c.variance)
		if best, bound := bestGuess(c.step, c.variance), GuessRight(uint64(math.Ceil(rho*micro))); best > bound {
			t.Errorf("step %g, variance %g: a guess is right %.6f of the time, the bound is %.6f", c.step, c.variance, best, bound)
		}
	}
}

// bestGuess is how often the likelier of -step and step is right, seen through discrete
// Gaussian noise.
func bestGuess(step, variance float64) float64 {
	var all, right float64
	reach := 40*math.Sqrt(variance) + 2*step
	for x := -math.Ceil(reach); x <= reach; x++ {
		p := math.Exp(-(x - step) * (x - step) / (2 * variance))
		q := math.Exp(-(x + step) * (x + step) / (2 * variance))
		all += p + q
		right += max(p, q)
	}
	return right / all
}
