package wearable

import (
	"errors"
	"fmt"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

const (
	// MaxDigits is the largest number of significant digits of a Decimal.
	MaxDigits = 18
	// maxNumeral bounds a numeral before it is looked at: a sign, a leading
	// zero, a point and the digits.
	maxNumeral = MaxDigits + 3
)

// ErrDecimal is wrapped by every refusal of ParseDecimal. The input is at
// fault; trying again does not help.
var ErrDecimal = errors.New("not a plain decimal number")

// Decimal is an exact number: a decimal numeral of at most MaxDigits digits,
// divided by a whole number where a unit conversion left one (68 [degF] is 20
// Cel, but 98.7 [degF] is 667/18 Cel). The zero value is 0. Values are kept in
// lowest terms, so == compares numbers.
type Decimal struct {
	coef  int64
	scale uint8
	// over is the divisor less one, so that the zero value divides by 1.
	over int64
}

var pow10 = [MaxDigits + 1]int64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
}

// NewDecimal returns coef / 10^scale, and false where that needs more than
// MaxDigits digits before or after the point.
func NewDecimal(coef int64, scale int) (Decimal, bool) {
	for scale < 0 {
		if coef == 0 {
			return Decimal{}, true
		}
		hi, lo := bits.Mul64(magnitude(coef), 10)
		if hi != 0 || lo >= uint64(pow10[MaxDigits]) {
			return Decimal{}, false
		}
		coef *= 10
		scale++
	}
	for scale > 0 && coef%10 == 0 {
		if coef == 0 {
			return Decimal{}, true
		}
		coef /= 10
		scale--
	}
	if scale > MaxDigits || magnitude(coef) >= uint64(pow10[MaxDigits]) {
		return Decimal{}, false
	}
	return Decimal{coef: coef, scale: uint8(scale)}, true
}

// Int returns the whole number n, which must be below 10^18 in magnitude;
// larger numbers are clamped there.
func Int(n int64) Decimal {
	return Decimal{coef: max(min(n, pow10[MaxDigits]-1), 1-pow10[MaxDigits])}
}

// ParseDecimal reads a plain numeral such as "-17.8" or "0.023065": an optional
// minus sign, digits without superfluous leading zeros, and optionally a point
// followed by digits. Exponents, plus signs, blanks and more than MaxDigits
// digits are refused.
func ParseDecimal(s string) (Decimal, error) {
	if len(s) == 0 || len(s) > maxNumeral {
		return Decimal{}, fmt.Errorf("%w: %d characters, want 1 to %d", ErrDecimal, len(s), maxNumeral)
	}
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !allDigits(whole) || point && !allDigits(fraction) {
		return Decimal{}, fmt.Errorf("%w: %q", ErrDecimal, s)
	}
	if len(whole) > 1 && whole[0] == '0' {
		return Decimal{}, fmt.Errorf("%w: %q has a leading zero", ErrDecimal, s)
	}
	if len(fraction) > MaxDigits {
		return Decimal{}, fmt.Errorf("%w: %q has more than %d digits", ErrDecimal, s, MaxDigits)
	}
	coef, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil || coef >= pow10[MaxDigits] {
		return Decimal{}, fmt.Errorf("%w: %q has more than %d digits", ErrDecimal, s, MaxDigits)
	}
	if negative {
		coef = -coef
	}
	d, _ := NewDecimal(coef, len(fraction))
	return d, nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return uint64(-n)
	}
	return uint64(n)
}

// Finite tells whether d is a plain decimal numeral, without a divisor.
func (d Decimal) Finite() bool { return d.over == 0 }

// Cmp compares numbers exactly: -1 where d < e, 0 where equal, 1 where d > e.
func (d Decimal) Cmp(e Decimal) int {
	if d.over == 0 && e.over == 0 {
		a, okA := timesPow10(d.coef, e.scale)
		b, okB := timesPow10(e.coef, d.scale)
		if okA && okB {
			switch {
			case a < b:
				return -1
			case a > b:
				return 1
			}
			return 0
		}
	}
	return d.Rat().Cmp(e.Rat())
}

// timesPow10 returns n * 10^k where that fits an int64.
func timesPow10(n int64, k uint8) (int64, bool) {
	hi, lo := bits.Mul64(magnitude(n), uint64(pow10[k]))
	if hi != 0 || lo >= 1<<63 {
		return 0, false
	}
	if n < 0 {
		return -int64(lo), true
	}
	return int64(lo), true
}

// Rat returns d as a new big.Rat.
func (d Decimal) Rat() *big.Rat {
	den := big.NewInt(pow10[d.scale])
	if d.over != 0 {
		den.Mul(den, big.NewInt(d.over+1))
	}
	return new(big.Rat).SetFrac(big.NewInt(d.coef), den)
}

// DecimalFromRat returns r exactly, and false where it needs more digits than a
// Decimal has.
func DecimalFromRat(r *big.Rat) (Decimal, bool) {
	if r.Num().BitLen() > 512 || r.Denom().BitLen() > 512 {
		return Decimal{}, false
	}
	num, den := new(big.Int).Set(r.Num()), new(big.Int).Set(r.Denom())
	twos := stripFactor(den, 2)
	fives := stripFactor(den, 5)
	scale := max(twos, fives)
	num.Mul(num, power(2, scale-twos))
	num.Mul(num, power(5, scale-fives))
	if !num.IsInt64() || !den.IsInt64() {
		return Decimal{}, false
	}
	d, ok := NewDecimal(num.Int64(), scale)
	d.over = den.Int64() - 1
	return d, ok
}

func power(base int64, exponent int) *big.Int {
	return new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(exponent)), nil)
}

// stripFactor divides n by p as often as that leaves no remainder.
func stripFactor(n *big.Int, p int64) int {
	prime, quotient, remainder := big.NewInt(p), new(big.Int), new(big.Int)
	count := 0
	for {
		quotient.QuoRem(n, prime, remainder)
		if remainder.Sign() != 0 {
			return count
		}
		n.Set(quotient)
		count++
	}
}

// FloorDiv returns the largest whole number not above d / n, for n > 0: the
// minute of a time in seconds is FloorDiv(60), also before 1970. Where n is not
// positive it returns 0.
func (d Decimal) FloorDiv(n int64) int64 {
	if n <= 0 {
		return 0
	}
	r := d.Rat()
	den := new(big.Int).Mul(r.Denom(), big.NewInt(n))
	// Div rounds to the floor, the divisor being positive.
	return den.Div(r.Num(), den).Int64()
}

// String returns the shortest exact form: "97", "-17.8", or "667/18" where no
// decimal numeral is exact.
func (d Decimal) String() string {
	if d.over != 0 {
		return d.Rat().RatString()
	}
	if d.scale == 0 {
		return strconv.FormatInt(d.coef, 10)
	}
	return pointed(d.coef, int(d.scale))
}

// pointed prints coef / 10^scale with exactly scale digits after the point.
func pointed(coef int64, scale int) string {
	digits := strconv.FormatUint(magnitude(coef), 10)
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if coef < 0 {
		return "-" + digits
	}
	return digits
}

// Plain returns a plain numeral for people and for formats without fractions:
// exact where d is a numeral, else rounded to 12 digits after the point.
func (d Decimal) Plain() string {
	if d.over == 0 {
		return d.String()
	}
	return d.Rat().FloatString(12)
}

// Float64 returns the nearest float, for display alone.
func (d Decimal) Float64() float64 {
	f, _ := d.Rat().Float64()
	return f
}

// MarshalText returns String, so that a Decimal is a JSON string.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDecimal reads; fractions are refused.
func (d *Decimal) UnmarshalText(text []byte) error {
	parsed, err := ParseDecimal(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
