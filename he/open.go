package he

import (
	"errors"
	"fmt"
	"math/big"
)

// ErrOpen says that a sum and its shares do not belong together: the parties
// derived different cohorts, or a row or a share is not what it should be. Ask
// the other holders of each piece and compare bytes.
var ErrOpen = errors.New("the shares do not open this sum")

// Open opens a sum with one share of every piece, by piece number. It returns the
// signed totals of the asked coefficients, in their order, each in
// [-2^127, 2^127), for privacy.Schema.Decode. A coefficient that lies further
// from a payload than flood and errors allow gives ErrOpen, wrapped; so wrong
// shares are likely to be noticed here, and those that are not in Decode.
func (p *Params) Open(sum *Sum, shares map[int][]byte) ([]*big.Int, error) {
	if sum == nil || sum.params.kind != p.kind {
		return nil, fmt.Errorf("the sum was made under another profile, or of other rows")
	}
	if sum.rows == 0 {
		return nil, fmt.Errorf("the sum has no rows")
	}
	pieces := p.sharing.Pieces()
	if len(shares) != pieces {
		return nil, fmt.Errorf("opening needs one share of each of the %d pieces, not %d shares", pieces, len(shares))
	}
	sum.reduce()
	total := append([]uint64(nil), sum.acc...)
	for piece := range pieces {
		share, ok := shares[piece]
		if !ok {
			return nil, fmt.Errorf("there is no share of piece %d", piece)
		}
		residues, err := p.unpack(share, len(sum.coeffs))
		if err != nil {
			return nil, fmt.Errorf("share of piece %d: %w", piece, err)
		}
		for i, r := range residues {
			total[i] = reduceOnce(total[i]+r, sum.primes[i])
		}
	}
	return p.round(sum, total)
}

func (p *Params) round(sum *Sum, total []uint64) ([]*big.Int, error) {
	bound := p.profile.distanceBound(p.sharing.Pieces(), sum.rows)
	out := make([]*big.Int, len(sum.coeffs))
	primes := len(p.profile.Primes)
	for j := range out {
		payload, distance := p.crt.unscale(p.crt.lift(total[j*primes : (j+1)*primes]))
		if distance.CmpAbs(bound) > 0 {
			return nil, fmt.Errorf("coefficient %d: %w", sum.coeffs[j], ErrOpen)
		}
		out[j] = payload
	}
	return out, nil
}
