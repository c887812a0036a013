package zk

import (
	"fmt"
	"math/big"

	"github.com/consensys/gnark/constraint/solver"
)

// Hints are computed outside the circuit and are the prover's to choose; nothing
// may rest on them that the circuit does not check.
func init() { solver.RegisterHint(inRangeHint, dayPassesHint) }

// inRangeHint takes Lo, Hi and readings, and gives a bit for each reading.
func inRangeHint(_ *big.Int, in, out []*big.Int) error {
	if len(in) != len(out)+2 {
		return fmt.Errorf("in-range hint: %d inputs for %d outputs", len(in), len(out))
	}
	for i, v := range in[2:] {
		out[i].SetUint64(0)
		if v.Cmp(in[0]) >= 0 && v.Cmp(in[1]) <= 0 {
			out[i].SetUint64(1)
		}
	}
	return nil
}

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
