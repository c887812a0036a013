package zk

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
)

// quotients makes quotients whose constraints quotient * divisor = dividend have the
// quotient, which is a large number, as their first factor and the divisor as their
// second: see permute for what that saves. gnark's API chooses factors by itself, so
// this adds constraints by the interface for blueprints.
type quotients struct {
	api frontend.API
	id  constraint.BlueprintID
}

func newQuotients(api frontend.API) quotients {
	return quotients{api, api.Compiler().AddBlueprint(&constraint.BlueprintGenericR1C{})}
}

// of returns a[i]/b[i]. None may be a Go constant. Where b[i] is zero nothing is said
// unless a[i] is not: then there is no quotient, and no proof.
func (q quotients) of(a, b []frontend.Variable) ([]frontend.Variable, error) {
	in := append(append([]frontend.Variable(nil), a...), b...)
	out, err := q.api.Compiler().NewHint(quotientsHint, len(a), in...)
	if err != nil {
		return nil, err
	}
	for i := range out {
		q.assertProduct(out[i], b[i], a[i])
	}
	return out, nil
}

// inverses returns 1/b[i].
func (q quotients) inverses(b []frontend.Variable) ([]frontend.Variable, error) {
	ones := make([]frontend.Variable, len(b))
	for i, v := range b {
		ones[i] = q.api.Add(q.api.Sub(v, v), 1) // a one that is no Go constant
	}
	return q.of(ones, b)
}

// assertProduct adds the constraint a b = c.
func (q quotients) assertProduct(a, b, c frontend.Variable) {
	compiler := q.api.Compiler()
	calldata, terms := []uint32{0}, []uint32(nil)
	for _, v := range []frontend.Variable{a, b, c} {
		var one []uint32
		compiler.ToCanonicalVariable(v).Compress(&one)
		calldata, terms = append(calldata, one[0]), append(terms, one[1:]...)
	}
	calldata = append(calldata, terms...)
	calldata[0] = uint32(len(calldata))
	compiler.AddInstruction(q.id, calldata)
}

// quotientsHint takes dividends, then divisors. A quotient by zero is 0.
func quotientsHint(_ *big.Int, in, out []*big.Int) error {
	divisors := make([]fr.Element, len(out))
	for i := range divisors {
		divisors[i].SetBigInt(in[len(out)+i])
	}
	for i, inverse := range fr.BatchInvert(divisors) {
		var a fr.Element
		a.SetBigInt(in[i])
		a.Mul(&a, &inverse).BigInt(out[i])
	}
	return nil
}
