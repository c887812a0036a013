package zk

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/constraint"
	bn254cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// SetupDevelopment marks keys of a setup that one party made: whoever ran it
// could have kept what forges proofs. For demos and tests.
const SetupDevelopment = "development"

// SetupCeremony marks keys that several parties made together (package ceremony): who
// would forge proofs needs what every one of them has forgotten.
const SetupCeremony = "ceremony"

// Origin says how keys were made.
type Origin struct {
	Setup        string    `json:"setup"`                  // SetupDevelopment or SetupCeremony
	Transcript   record.ID `json:"transcript,omitzero"`    // of a ceremony: the digest of its transcript
	Contributors []string  `json:"contributors,omitempty"` // of a ceremony
}

// Keys are the compiled circuit and the keys of one class. Safe for concurrent
// use.
type Keys struct {
	Class        verifier.Class
	VerifyingKey []byte    // as verifier.NewVerifier reads it
	Hash         record.ID // SHA-256 of VerifyingKey
	Constraints  int
	Origin       Origin

	system          *bn254cs.R1CS
	proving         *groth16.ProvingKey
	provingKeyBytes int
	verifier        *verifier.Verifier
}

// Info describes a class's circuit and keys. Sizes are in bytes as stored:
// verifying keys and proofs with compressed points, proving keys without.
type Info struct {
	Class             string    `json:"class"`
	Constraints       int       `json:"constraints"`
	ProofBytes        int       `json:"proof_bytes"`
	ProvingKeyBytes   int       `json:"proving_key_bytes"`
	VerifyingKeyBytes int       `json:"verifying_key_bytes"`
	VerifyingKeyHash  record.ID `json:"verifying_key_hash"`
	Origin
}

// Info returns what `vitalveil circuits --json` prints of a class.
func (k *Keys) Info() Info {
	return Info{
		Class:             k.Class.Name,
		Constraints:       k.Constraints,
		ProofBytes:        verifier.ProofBytes,
		ProvingKeyBytes:   k.provingKeyBytes,
		VerifyingKeyBytes: len(k.VerifyingKey),
		VerifyingKeyHash:  k.Hash,
		Origin:            k.Origin,
	}
}

// sizes are what a class's circuit, proofs and keys measure, as the tests pin them: they
// tell without compiling.
type sizes struct {
	Class             string    `json:"class"`
	Constraints       int       `json:"constraints"`
	Circuit           record.ID `json:"circuit"` // as systemDigest
	ProofBytes        int       `json:"proof_bytes"`
	ProvingKeyBytes   int       `json:"proving_key_bytes"`
	VerifyingKeyBytes int       `json:"verifying_key_bytes"`
}

//go:embed testdata/circuits.golden.json
var pinnedSizes []byte

// SetupNone is what Infos says of a class whose keys are not there.
const SetupNone = "none"

// Infos describes every class. Keys that are in dir are named; those of the classes to
// make are made as by LoadKeys where they are missing; of others there are the sizes,
// without a hash, and SetupNone.
func Infos(dir string, make []string, progress func(string)) ([]Info, error) {
	var pinned []sizes
	if err := json.Unmarshal(pinnedSizes, &pinned); err != nil {
		return nil, err
	}
	for _, class := range make {
		if _, err := verifier.ClassByName(class); err != nil {
			return nil, err
		}
	}
	var infos []Info
	for _, p := range pinned {
		i, err := p.info(dir, slices.Contains(make, p.Class), progress)
		if err != nil {
			return nil, err
		}
		infos = append(infos, i)
	}
	return infos, nil
}

func (p sizes) info(dir string, make bool, progress func(string)) (Info, error) {
	i := Info{
		Class: p.Class, Constraints: p.Constraints, ProofBytes: p.ProofBytes,
		ProvingKeyBytes: p.ProvingKeyBytes, VerifyingKeyBytes: p.VerifyingKeyBytes, Origin: Origin{Setup: SetupNone},
	}
	f, err := readKeyFile(filepath.Join(dir, p.Class+".keys"), p.Class, p.Circuit)
	switch {
	case err == nil:
		i.VerifyingKeyHash, i.Origin = record.SumID(f.verifying), f.header.Origin
		return i, nil
	case make:
		k, err := LoadKeys(dir, p.Class, progress)
		if err != nil {
			return Info{}, err
		}
		return k.Info(), nil
	case errors.Is(err, errCache), errors.Is(err, os.ErrNotExist):
		return i, nil
	}
	return Info{}, err
}

// Circuit returns the class's key as the genesis document of a network names it.
func (k *Keys) Circuit() record.Circuit {
	return record.Circuit{
		Class: k.Class.Name, VerifyingKey: k.VerifyingKey, Hash: k.Hash,
		Setup: k.Origin.Setup, Transcript: k.Origin.Transcript, Contributors: k.Origin.Contributors,
	}
}

// LoadKeys compiles a class's circuit and loads its keys from dir, or runs a
// development setup and keeps the result there for the next time. A cached file
// that is damaged, or of another circuit, is reported and replaced: the new keys
// have another hash, so a network that accepted the old ones refuses proofs made
// with them. Processes that share dir end up with the same keys. With dir ""
// nothing is kept. progress, unless nil, is told what takes time; a setup takes
// seconds.
func LoadKeys(dir, class string, progress func(string)) (*Keys, error) {
	if progress == nil {
		progress = func(string) {}
	}
	progress("compiling circuit " + class)
	c, err := Compile(class)
	if err != nil {
		return nil, err
	}
	f, err := cachedOrNew(dir, class, c.Digest, c.System, progress)
	if err != nil {
		return nil, err
	}
	return f.keys(c.Class, c.System)
}

// ReadKeys compiles a class's circuit and loads its keys from dir, which has them: it makes
// none, since a network takes no proofs by others than those that it accepted.
func ReadKeys(dir, class string) (*Keys, error) {
	c, err := Compile(class)
	if err != nil {
		return nil, err
	}
	f, err := readKeyFile(filepath.Join(dir, class+".keys"), class, c.Digest)
	if err != nil {
		return nil, fmt.Errorf("keys of circuit %s: %w", class, err)
	}
	return f.keys(c.Class, c.System)
}

// Compiled is a class's circuit as constraints.
type Compiled struct {
	Class  verifier.Class
	System *bn254cs.R1CS
	Digest record.ID // names the circuit: SHA-256 of its serialised form
}

// Compile turns the circuit of a class into constraints, always the same.
func Compile(class string) (Compiled, error) {
	c, err := verifier.ClassByName(class)
	if err != nil {
		return Compiled{}, err
	}
	system, err := compile(c.Days)
	if err != nil {
		return Compiled{}, err
	}
	digest, err := systemDigest(system)
	return Compiled{c, system, digest}, err
}

// SaveKeys keeps keys of the circuit in dir, from where LoadKeys, ReadKeys and Prover
// take them. Keys that are there already are not replaced.
func (c Compiled) SaveKeys(dir string, o Origin, pk *groth16.ProvingKey, vk *groth16.VerifyingKey) (*Keys, error) {
	f, err := newKeyFile(keyHeader{Class: c.Class.Name, Circuit: c.Digest, Origin: o}, pk, vk)
	if err != nil {
		return nil, err
	}
	keys, err := f.keys(c.Class, c.System)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, c.Class.Name+".keys")
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("there are keys in %s already", path), err)
	}
	return keys, f.write(path)
}

// cachedOrNew returns the key file of dir, making it if need be. The lock keeps
// two processes from making two.
func cachedOrNew(dir, class string, digest record.ID, system *bn254cs.R1CS, progress func(string)) (*keyFile, error) {
	if dir == "" {
		return setup(class, digest, system, progress)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("key cache: %w", err)
	}
	path := filepath.Join(dir, class+".keys")
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("key cache: %w", err)
	}
	defer unlock()
	f, err := readKeyFile(path, class, digest)
	if err == nil {
		progress("loaded keys of circuit " + class)
		return f, nil
	}
	if errors.Is(err, errCache) {
		progress(fmt.Sprintf("replacing cached keys of circuit %s: %v", class, err))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("key cache: %w", err)
	}
	if f, err = setup(class, digest, system, progress); err != nil {
		return nil, err
	}
	if err := f.write(path); err != nil {
		return nil, fmt.Errorf("key cache: %w", err)
	}
	return f, nil
}

// compile turns the circuit for so many days into constraints.
func compile(days int) (*bn254cs.R1CS, error) {
	ccs, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder[constraint.U64], newCircuit(days))
	if err != nil {
		return nil, fmt.Errorf("compile the circuit for %d days: %w", days, err)
	}
	system, ok := ccs.(*bn254cs.R1CS)
	if !ok {
		return nil, fmt.Errorf("compile the circuit for %d days: got a %T", days, ccs)
	}
	return system, nil
}

// systemDigest names a compiled circuit: SHA-256 of its serialised form.
func systemDigest(system *bn254cs.R1CS) (record.ID, error) {
	h := sha256.New()
	if _, err := system.WriteTo(h); err != nil {
		return record.ID{}, fmt.Errorf("serialise the circuit: %w", err)
	}
	return record.ID(h.Sum(nil)), nil
}

// setup runs Groth16's setup alone, in this process.
func setup(class string, digest record.ID, system *bn254cs.R1CS, progress func(string)) (*keyFile, error) {
	progress("development setup of circuit " + class + " (whoever runs it could forge proofs)")
	var pk groth16.ProvingKey
	var vk groth16.VerifyingKey
	if err := groth16.Setup(system, &pk, &vk); err != nil {
		return nil, fmt.Errorf("setup of circuit %s: %w", class, err)
	}
	header := keyHeader{Class: class, Circuit: digest, Origin: Origin{Setup: SetupDevelopment}}
	return newKeyFile(header, &pk, &vk)
}

func newKeyFile(header keyHeader, pk *groth16.ProvingKey, vk *groth16.VerifyingKey) (*keyFile, error) {
	var verifying, proving bytes.Buffer
	if _, err := vk.WriteTo(&verifying); err != nil {
		return nil, err
	}
	if _, err := pk.WriteRawTo(&proving); err != nil {
		return nil, err
	}
	return &keyFile{header: header, verifying: verifying.Bytes(), proving: proving.Bytes(), parsed: pk}, nil
}

// keys makes ready what a key file holds.
func (f *keyFile) keys(c verifier.Class, system *bn254cs.R1CS) (*Keys, error) {
	k := &Keys{
		Class: c, VerifyingKey: f.verifying, Hash: record.SumID(f.verifying),
		Constraints: system.GetNbConstraints(), Origin: f.header.Origin,
		system: system, proving: f.parsed, provingKeyBytes: len(f.proving),
	}
	if k.proving == nil {
		k.proving = new(groth16.ProvingKey)
		// The file's hash was right, so the points need no check.
		if _, err := k.proving.UnsafeReadFrom(bytes.NewReader(f.proving)); err != nil {
			return nil, fmt.Errorf("proving key of circuit %s: %w", c.Name, err)
		}
	}
	var err error
	k.verifier, err = verifier.NewVerifier(c.Name, k.VerifyingKey, k.Hash)
	return k, err
}
