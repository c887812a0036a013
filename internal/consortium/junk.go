package consortium

import (
	"math/big"
	"math/rand/v2"
	"slices"

	"github.com/vitalveil/vitalveil/he"
)

// Junk is bytes in the form of a row that no key opens: canonical, with a random number
// in each residue.
func Junk(params *he.Params, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	p := params.Profile()
	bits := new(big.Int)
	for i := params.Schema().Coefficients()*len(p.Primes) - 1; i >= 0; i-- {
		bits.Lsh(bits, uint(p.ResidueBits)).Or(bits, new(big.Int).SetUint64(r.Uint64N(p.Primes[i%len(p.Primes)])))
	}
	row := bits.FillBytes(make([]byte, params.RowBytes()))
	slices.Reverse(row)
	if err := params.CheckRow(row); err != nil {
		panic(err) // it would not be taken for a row
	}
	return row
}
