package privacy

import (
	"errors"
	"fmt"
	"io"
	"math/big"
)

// maxVarianceBits bounds the variance of a sample, and with it the work.
const maxVarianceBits = 160

// maxTries bounds every rejection loop. Each try succeeds with probability above
// 1/4, so a stream of random bytes never comes near; a broken one ends there.
const maxTries = 4096

var errStream = errors.New("the random stream is not random: a rejection loop does not end")

// SampleDiscreteGaussian draws an integer x with probability proportional to
// exp(-x^2 / (2 variance)), exactly: algorithms 1 to 3 of Canonne, Kamath and
// Steinke 2020 (arXiv:2004.00010) in integers only, without a floating-point
// number, a table or a cut tail. The sample is a function of the stream r alone,
// so that holders of the same key draw the same noise.
//
// It takes time that depends on the sample and the stream: run it where the time
// is not seen by those from whom the noise is to be kept.
func SampleDiscreteGaussian(r io.Reader, variance *big.Int) (*big.Int, error) {
	if variance == nil || variance.Sign() < 0 || variance.BitLen() > maxVarianceBits {
		return nil, fmt.Errorf("the variance of discrete Gaussian noise must be from 0 to 2^%d", maxVarianceBits)
	}
	if variance.Sign() == 0 {
		return new(big.Int), nil
	}
	c := &coin{r: r}
	// Algorithm 3: from a discrete Laplace with scale t = floor(sigma) + 1, keep
	// y with probability exp(-(|y| - variance/t)^2 / (2 variance)).
	t := new(big.Int).Sqrt(variance)
	t.Add(t, one)
	den := new(big.Int).Mul(t, t)
	den.Mul(den, variance).Lsh(den, 1)
	for range maxTries {
		y, err := c.laplace(t)
		if err != nil {
			return nil, err
		}
		num := new(big.Int).Abs(y)
		num.Mul(num, t).Sub(num, variance)
		num.Mul(num, num)
		keep, err := c.bernoulliExp(num, den)
		if err != nil {
			return nil, err
		}
		if keep {
			return y, nil
		}
	}
	return nil, errStream
}

var one = big.NewInt(1)

// coin turns a byte stream into exact random decisions.
type coin struct {
	r   io.Reader
	buf []byte
}

// below draws uniformly from [0, n), n >= 1, by rejection.
func (c *coin) below(n *big.Int) (*big.Int, error) {
	bits := new(big.Int).Sub(n, one).BitLen()
	if bits == 0 {
		return new(big.Int), nil
	}
	size := (bits + 7) / 8
	if cap(c.buf) < size {
		c.buf = make([]byte, size)
	}
	b := c.buf[:size]
	x := new(big.Int)
	for range maxTries {
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, fmt.Errorf("read the random stream: %w", err)
		}
		b[0] &= 0xff >> (8*size - bits)
		if x.SetBytes(b).Cmp(n) < 0 {
			return x, nil
		}
	}
	return nil, errStream
}

// bernoulli is true with probability num/den, 0 <= num <= den.
func (c *coin) bernoulli(num, den *big.Int) (bool, error) {
	x, err := c.below(den)
	if err != nil {
		return false, err
	}
	return x.Cmp(num) < 0, nil
}

// bernoulliExp is true with probability exp(-num/den) (algorithm 1).
func (c *coin) bernoulliExp(num, den *big.Int) (bool, error) {
	whole, part := new(big.Int).QuoRem(num, den, new(big.Int))
	for whole.Sign() > 0 {
		ok, err := c.bernoulliExpSmall(one, one)
		if err != nil || !ok {
			return false, err
		}
		whole.Sub(whole, one)
	}
	return c.bernoulliExpSmall(part, den)
}

// bernoulliExpSmall is bernoulliExp for num <= den: with g = num/den it counts
// successes of probability g/1, g/2, g/3, ... and looks at the parity.
func (c *coin) bernoulliExpSmall(num, den *big.Int) (bool, error) {
	scaled := new(big.Int)
	for k := int64(1); k < maxTries; k++ {
		ok, err := c.bernoulli(num, scaled.Add(scaled, den))
		if err != nil {
			return false, err
		}
		if !ok {
			return k%2 == 1, nil
		}
	}
	return false, errStream
}

// laplace draws y with probability proportional to exp(-|y|/t) (algorithm 2 with
// s = 1).
func (c *coin) laplace(t *big.Int) (*big.Int, error) {
	for range maxTries {
		u, err := c.below(t)
		if err != nil {
			return nil, err
		}
		keep, err := c.bernoulliExp(u, t)
		if err != nil {
			return nil, err
		}
		if !keep {
			continue
		}
		v, err := c.geometric()
		if err != nil {
			return nil, err
		}
		y := v.Mul(v, t)
		y.Add(y, u)
		negative, err := c.bernoulli(one, big.NewInt(2))
		if err != nil {
			return nil, err
		}
		if negative && y.Sign() == 0 {
			continue
		}
		if negative {
			y.Neg(y)
		}
		return y, nil
	}
	return nil, errStream
}

// geometric draws v >= 0 with probability proportional to exp(-v).
func (c *coin) geometric() (*big.Int, error) {
	for v := int64(0); v < maxTries; v++ {
		ok, err := c.bernoulliExpSmall(one, one)
		if err != nil {
			return nil, err
		}
		if !ok {
			return big.NewInt(v), nil
		}
	}
	return nil, errStream
}
