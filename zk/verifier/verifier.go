package verifier

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bn254"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/logger"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

func init() { logger.Disable() }

const (
	g1Bytes = bn254.SizeOfG1AffineCompressed
	g2Bytes = bn254.SizeOfG2AffineCompressed

	// ProofBytes is the length of every proof: points A, B and C, the number of
	// commitments (always 1), the commitment and its proof of knowledge.
	ProofBytes = 2*g1Bytes + g2Bytes + 4 + 2*g1Bytes

	// maxKeyBytes bounds a verifying key before it is looked at.
	maxKeyBytes = 4096
)

// ErrProof says that the bytes are a proof in form, but not of this statement
// under this key. Asking again with the same bytes never helps.
var ErrProof = errors.New("the proof does not prove the statement")

// ErrMalformed says that the bytes are not a proof.
var ErrMalformed = errors.New("not a proof")

// ErrKey says that a verifying key is not the one the network accepted, or not
// one of this version. The caller must not fall back to another key.
var ErrKey = errors.New("verifying key refused")

// Verifier verifies the proofs of one circuit class under one key. It is safe
// for concurrent use.
type Verifier struct {
	class Class
	key   groth16.VerifyingKey
	hash  record.ID
}

// NewVerifier reads a verifying key whose SHA-256 must be want, the hash that
// the network accepted. Nothing is parsed before the hash is right: gnark's
// parser is for keys that one trusts. Errors wrap ErrKey.
func NewVerifier(class string, vk []byte, want record.ID) (*Verifier, error) {
	c, err := ClassByName(class)
	if err != nil {
		return nil, err
	}
	if len(vk) == 0 || len(vk) > maxKeyBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, the limit is %d", ErrKey, len(vk), maxKeyBytes)
	}
	got := record.SumID(vk)
	if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return nil, fmt.Errorf("%w: its hash is %s, the network accepted %s", ErrKey, got.Short(), want.Short())
	}
	if err := checkKeyShape(vk); err != nil {
		return nil, err
	}
	v := &Verifier{class: c, hash: got}
	n, err := v.key.ReadFrom(bytes.NewReader(vk))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	if n != int64(len(vk)) {
		return nil, fmt.Errorf("%w: %d bytes after the key", ErrKey, int64(len(vk))-n)
	}
	return v, nil
}

// keyBytes is the length of a verifying key whose commitment is hashed with no public
// input: alpha, beta, beta, gamma, delta, delta; a count and K; a count of one, a count
// and the inputs' numbers, 8 bytes each; a count of one and two points.
const (
	keyPoints   = 3*g1Bytes + 3*g2Bytes
	keyK        = 1 + PublicInputs + 1
	keyInputs   = keyPoints + 4 + keyK*g1Bytes
	keyBytes    = keyInputs + 4 + 4 + 4 + 2*g2Bytes
	inputNumber = 8
)

// checkKeyShape refuses keys that are not of a circuit with the public inputs of a
// statement and one commitment. gnark's parser and verifier take counts and numbers from
// a key, so all of them are looked at first.
func checkKeyShape(vk []byte) error {
	wrong := fmt.Errorf("%w: it is not of a predicate circuit", ErrKey)
	if len(vk) < keyBytes {
		return wrong
	}
	count := func(at int) int { return int(binary.BigEndian.Uint32(vk[at:])) }
	committed := count(keyInputs + 4)
	if count(keyPoints) != keyK || count(keyInputs) != 1 || committed > PublicInputs ||
		len(vk) != keyBytes+inputNumber*committed || count(keyInputs+8+inputNumber*committed) != 1 {
		return wrong
	}
	for i := range committed {
		if n := binary.BigEndian.Uint64(vk[keyInputs+8+inputNumber*i:]); n < 1 || n > PublicInputs {
			return wrong
		}
	}
	return nil
}

// Class returns the circuit class.
func (v *Verifier) Class() Class { return v.class }

// KeyHash returns the SHA-256 of the verifying key.
func (v *Verifier) KeyHash() record.ID { return v.hash }

// Verify accepts a proof of exactly this statement. It runs Statement.Check, so
// that nothing vacuous is ever accepted. A proof that is malformed gives
// ErrMalformed, one that does not verify ErrProof.
func (v *Verifier) Verify(s Statement, proof []byte) error {
	e, err := v.equation(Claim{s, proof})
	if err != nil {
		return err
	}
	return v.holds(e)
}

// equation checks a claim's form.
func (v *Verifier) equation(c Claim) (equation, error) {
	m, ok := wearable.BySlot(c.Statement.Slot)
	if !ok {
		return equation{}, fmt.Errorf("no metric has slot %d", c.Statement.Slot)
	}
	if err := c.Statement.Check(v.class.Days, m); err != nil {
		return equation{}, err
	}
	in, err := c.Statement.Inputs()
	if err != nil {
		return equation{}, err
	}
	p, err := parseProof(c.Proof)
	return equation{proof: p, inputs: in}, err
}

// holds verifies one proof.
func (v *Verifier) holds(e equation) error {
	if err := groth16.Verify(e.proof, &v.key, e.inputs); err != nil {
		return ErrProof
	}
	return nil
}

// parseProof reads the compressed points one by one. gnark's own reader is for input
// that one trusts: it takes sizes from what it reads.
func parseProof(b []byte) (*groth16.Proof, error) {
	if len(b) != ProofBytes {
		return nil, fmt.Errorf("%w: it has %d bytes, a proof has %d", ErrMalformed, len(b), ProofBytes)
	}
	const count = 2*g1Bytes + g2Bytes
	if n := binary.BigEndian.Uint32(b[count:]); n != 1 {
		return nil, fmt.Errorf("%w: it announces %d commitments, a proof has 1", ErrMalformed, n)
	}
	p := &groth16.Proof{Commitments: make([]bn254.G1Affine, 1)}
	for _, point := range []struct {
		name string
		at   int
		to   *bn254.G1Affine
	}{
		{"A", 0, &p.Ar},
		{"C", g1Bytes + g2Bytes, &p.Krs},
		{"commitment", count + 4, &p.Commitments[0]},
		{"proof of knowledge", count + 4 + g1Bytes, &p.CommitmentPok},
	} {
		if n, err := point.to.SetBytes(b[point.at : point.at+g1Bytes]); err != nil || n != g1Bytes {
			return nil, fmt.Errorf("%w: point %s is not a compressed point of the curve", ErrMalformed, point.name)
		}
	}
	if n, err := p.Bs.SetBytes(b[g1Bytes : g1Bytes+g2Bytes]); err != nil || n != g2Bytes {
		return nil, fmt.Errorf("%w: point B is not a compressed point of the curve", ErrMalformed)
	}
	return p, nil
}
