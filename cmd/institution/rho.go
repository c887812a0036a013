package institution

import (
	"fmt"
	"math/big"
)

// rho is a privacy loss as people write it, "0.5", kept in micro-zCDP.
type rho uint64

// maxRho bounds what a command takes; the contracts have bounds of their own.
const maxRho = 1000

// UnmarshalText reads a decimal number. What is finer than a millionth, negative or
// no number is refused, and nothing is rounded.
func (r *rho) UnmarshalText(text []byte) error {
	const digits = 20
	n, ok := new(big.Rat).SetString(string(text[:min(len(text), digits)]))
	if !ok || len(text) > digits {
		return fmt.Errorf("%q is not a number such as 0.5", text)
	}
	n.Mul(n, big.NewRat(1_000_000, 1))
	if !n.IsInt() || n.Sign() < 0 || n.Cmp(big.NewRat(maxRho*1_000_000, 1)) > 0 {
		return fmt.Errorf("%s is not between 0 and %d, in steps of a millionth", text, maxRho)
	}
	*r = rho(n.Num().Uint64())
	return nil
}
