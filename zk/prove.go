package zk

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/backend"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/witness"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend"

	"github.com/vitalveil/vitalveil/zk/verifier"
)

// Prove makes a proof of the statement, from the openings of its days, the first
// day first. It returns ErrFalse, wrapped, when the statement does not hold. It
// takes a second or more of all processors; the context is looked at before the
// heavy step and after. Errors carry nothing of the data but whether the
// statement holds.
func (k *Keys) Prove(ctx context.Context, s verifier.Statement, openings []*Opening) ([]byte, error) {
	if len(openings) != k.Class.Days {
		return nil, fmt.Errorf("%w: class %s needs %d, got %d", ErrOpenings, k.Class.Name, k.Class.Days, len(openings))
	}
	holds, err := Holds(s, openings)
	if err != nil {
		return nil, err
	}
	if !holds {
		return nil, ErrFalse
	}
	w, err := newWitness(s, openings)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	proof, err := k.prove(w)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// A fault while proving must not leave this process: Groth16 proofs computed
	// wrongly may reveal the witness.
	if err := k.verifier.Verify(s, proof); err != nil {
		return nil, fmt.Errorf("the finished proof does not verify: %w", err)
	}
	return proof, nil
}

// prove makes the proof of a full witness.
func (k *Keys) prove(w witness.Witness, opts ...solver.Option) ([]byte, error) {
	p, err := groth16.Prove(k.system, k.proving, w, backend.WithSolverOptions(opts...))
	if err != nil {
		// gnark's error names values of the witness, so it goes no further.
		return nil, errors.New("the circuit is not satisfied by this witness")
	}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		return nil, err
	}
	if b.Len() != verifier.ProofBytes {
		return nil, fmt.Errorf("the proof has %d bytes, not %d", b.Len(), verifier.ProofBytes)
	}
	return b.Bytes(), nil
}

// newWitness fills in the circuit.
func newWitness(s verifier.Statement, openings []*Opening) (witness.Witness, error) {
	c, err := assign(s, openings)
	if err != nil {
		return nil, err
	}
	return fullWitness(c)
}

func fullWitness(c *circuit) (witness.Witness, error) {
	w, err := frontend.NewWitness(c, ecc.BN254.ScalarField())
	if err != nil {
		// As above: the cause may name values.
		return nil, errors.New("the witness is incomplete")
	}
	return w, nil
}

func assign(s verifier.Statement, openings []*Opening) (*circuit, error) {
	c := newCircuit(len(openings))
	in, err := s.Inputs()
	if err != nil {
		return nil, err
	}
	for i, to := range []*frontend.Variable{
		&c.DataDigest, &c.Binding, &c.Slot, &c.FirstDay, &c.HourMask, &c.Lo, &c.Hi, &c.K, &c.OutMax,
		&c.MinCount, &c.DayK, &c.MeanLo, &c.MeanHi, &c.TrendLo, &c.TrendHi, &c.MinHalf,
	} {
		*to = in[i]
	}
	for d, o := range openings {
		if err := o.assign(s.Slot, &c.Days[d]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// assign fills in the private inputs of one day.
func (o *Opening) assign(slot int, in *dayInputs) error {
	tree, err := o.tree()
	if err != nil {
		return err
	}
	path, err := tree.Path(slot)
	if err != nil {
		return err
	}
	for l, row := range path {
		for i := range row {
			in.Path[l][i] = row[i]
		}
	}
	for i, code := range o.day.Codes(slot) {
		in.Readings[i] = code
	}
	columnSalt, err := o.columnSalt(slot)
	if err != nil {
		return err
	}
	daySalt, err := o.daySalt()
	if err != nil {
		return err
	}
	in.ColumnSalt, in.DaySalt = columnSalt, daySalt
	return nil
}
