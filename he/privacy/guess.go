package privacy

import "math"

// GuessRight bounds how often a guess about a person is right after answers that have cost
// rhoMicro micro-zCDP in all: which of two values a figure of that person had, both as
// likely as the other beforehand, guessed by somebody who knows everybody else's. Without
// any answer it is 1/2. It is an upper bound for whatever was asked, and whatever was
// asked next because of what came out.
//
// To take one value for another is two steps from neighbour to neighbour, and so four times
// the loss (Bun and Steinke 2016, arXiv:1605.02065, Proposition 27). It bounds the
// Kullback-Leibler divergence between what is seen of either value (ibid., Definition 1,
// at order 1), which bounds the total variation distance TV, by Pinsker's inequality where
// the loss is small and by Bretagnolle and Huber's (Zeitschrift fuer
// Wahrscheinlichkeitstheorie 47 (1979) 119) where it is large. No guess between two is right
// more often than (1 + TV)/2.
func GuessRight(rhoMicro uint64) float64 {
	divergence := 4 * float64(rhoMicro) / micro
	tv := min(math.Sqrt(divergence/2), math.Sqrt(-math.Expm1(-divergence)))
	return (1 + tv) / 2
}
