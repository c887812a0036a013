package privacy

import "math"

// Epsilon says what rhoMicro micro-zCDP means as (epsilon, delta)-differential
// privacy: the least epsilon of Canonne, Kamath and Steinke 2020 (arXiv:2004.00010),
// Corollary 13, which holds for every rho-zCDP mechanism:
//
//	delta = min over a > 1 of exp((a-1)(a rho - epsilon)) / (a-1) (1 - 1/a)^a.
//
// It is for display; accounting is in zCDP.
func Epsilon(rhoMicro uint64, delta float64) float64 {
	if !(delta > 0 && delta < 1) {
		return math.Inf(1)
	}
	rho := float64(rhoMicro) / micro
	if rho == 0 {
		return 0
	}
	// Solved for epsilon; in log(a-1), so that small rho, whose a is large, is found too.
	at := func(x float64) float64 {
		a := 1 + math.Exp(x)
		return a*rho + (a*math.Log1p(-1/a)-x-math.Log(delta))/(a-1)
	}
	low, high := -20.0, 40.0
	for range 200 { // unimodal: thirds
		x, y := low+(high-low)/3, high-(high-low)/3
		if at(x) < at(y) {
			high = y
		} else {
			low = x
		}
	}
	return max(at((low+high)/2), 0)
}

// RhoFor returns the most micro-zCDP whose Epsilon at delta is at most epsilon, up to
// MaxRhoMicro.
func RhoFor(epsilon, delta float64) uint64 {
	low, high := uint64(0), uint64(MaxRhoMicro)
	for low < high {
		middle := (low + high + 1) / 2
		if Epsilon(middle, delta) <= epsilon {
			low = middle
		} else {
			high = middle - 1
		}
	}
	return low
}
