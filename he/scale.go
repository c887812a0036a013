package he

import (
	"math/big"
	"math/bits"

	"github.com/vitalveil/vitalveil/he/privacy"
)

// scaler computes x = floor((Q*m + u) / 2^128) modulo each prime in words, for a
// payload m and an addend u in [0, 2^128). With r = (Q*m + u) mod 2^128 we have
// Q*m + u = x*2^128 + r, and Q is 0 modulo each prime q, so
//
//	x = (u - r) / 2^128  (mod q).
//
// u = 2^127 rounds to nearest. A uniform u rounds up with the probability of the
// fraction, so that the rounding error has mean zero whatever m is and errors of
// many equal rows do not add up. m and m + 2^128 give the same residues, so the
// sign of a payload takes care of itself.
type scaler struct {
	qLo, qHi uint64 // Q mod 2^128
	primes   []scalePrime
}

type scalePrime struct {
	q      uint64
	wrap   uint64 // 2^128 mod q
	invert uint64 // 2^-128 mod q
}

// halfway is the addend that rounds to nearest.
var halfway = [2]uint64{0, 1 << 63}

func newScaler(primes []uint64) scaler {
	q := product(primes)
	low := new(big.Int).And(q, new(big.Int).SetUint64(^uint64(0)))
	high := new(big.Int).And(new(big.Int).Rsh(q, 64), new(big.Int).SetUint64(^uint64(0)))
	s := scaler{qLo: low.Uint64(), qHi: high.Uint64()}
	for _, p := range primes {
		mod := new(big.Int).SetUint64(p)
		wrap := new(big.Int).Mod(new(big.Int).Lsh(big.NewInt(1), 128), mod)
		s.primes = append(s.primes, scalePrime{p, wrap.Uint64(), new(big.Int).ModInverse(wrap, mod).Uint64()})
	}
	return s
}

func product(primes []uint64) *big.Int {
	q := big.NewInt(1)
	for _, p := range primes {
		q.Mul(q, new(big.Int).SetUint64(p))
	}
	return q
}

// difference is u - r modulo 2^128, and whether r was the larger.
func (s *scaler) difference(m privacy.Payload, u [2]uint64) (lo, hi, borrow uint64) {
	rHi, rLo := bits.Mul64(s.qLo, m[0])
	rHi += s.qLo*m[1] + s.qHi*m[0]
	rLo, carry := bits.Add64(rLo, u[0], 0)
	rHi, _ = bits.Add64(rHi, u[1], carry)
	lo, borrow = bits.Sub64(u[0], rLo, 0)
	hi, borrow = bits.Sub64(u[1], rHi, borrow)
	return lo, hi, borrow
}

// residue finishes for one prime.
func (p *scalePrime) residue(lo, hi, borrow uint64) uint64 {
	d := rem128(hi, lo, p.q)
	d += -borrow & (p.q - p.wrap)
	d = reduceOnce(d, p.q)
	return mulMod(d, p.invert, p.q)
}

// rem128 is (hi*2^64 + lo) mod q.
func rem128(hi, lo, q uint64) uint64 { return bits.Rem64(hi%q, lo, q) }

// mulMod is a*b mod q, for a, b < q.
func mulMod(a, b, q uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return bits.Rem64(hi, lo, q)
}

// reduceOnce is x mod q for x < 2q, q < 2^63.
func reduceOnce(x, q uint64) uint64 {
	x -= q
	return x + q&-(x>>63)
}

// crt puts residues together.
type crt struct {
	q, half *big.Int
	factors []*big.Int // congruent to 1 modulo its prime, 0 modulo the others
}

func newCRT(primes []uint64) crt {
	c := crt{q: product(primes)}
	c.half = new(big.Int).Rsh(c.q, 1)
	for _, p := range primes {
		mod := new(big.Int).SetUint64(p)
		rest := new(big.Int).Div(c.q, mod)
		inverse := new(big.Int).ModInverse(new(big.Int).Mod(rest, mod), mod)
		c.factors = append(c.factors, rest.Mul(rest, inverse))
	}
	return c
}

// lift returns the number in [0, Q) with these residues.
func (c *crt) lift(residues []uint64) *big.Int {
	x := new(big.Int)
	for i, r := range residues {
		x.Add(x, new(big.Int).Mul(c.factors[i], new(big.Int).SetUint64(r)))
	}
	return x.Mod(x, c.q)
}

// unscale splits x in [0, Q) into the payload round(T*x/Q), centred, and the
// distance of x from that payload's place.
func (c *crt) unscale(x *big.Int) (payload, distance *big.Int) {
	payload = new(big.Int).Lsh(x, privacy.PayloadBits)
	payload.Add(payload, c.half).Div(payload, c.q)
	place := new(big.Int).Mul(payload, c.q)
	place.Add(place, new(big.Int).Lsh(big.NewInt(1), privacy.PayloadBits-1)).Rsh(place, privacy.PayloadBits)
	return privacy.Centre(payload), place.Sub(x, place)
}
