package zk

import (
	"math/big"

	"github.com/consensys/gnark/constraint/solver"
)

// Hints are computed outside the circuit and are the prover's to choose; nothing
// may rest on them that the circuit does not check.
func init() { solver.RegisterHint(atLeastHint, edgesHint, quotientsHint, dayPassesHint) }

// dayPassesHint takes differences that must not be negative, and gives 1 if none
// is: a negative one is an element in the field's upper half.
func dayPassesHint(field *big.Int, in, out []*big.Int) error {
	half := new(big.Int).Rsh(field, 1)
	out[0].SetUint64(1)
	for _, v := range in {
		if v.Cmp(half) > 0 {
			out[0].SetUint64(0)
		}
	}
	return nil
}
