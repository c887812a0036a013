// Package ceremony makes the keys of a circuit class by several parties, over files that
// go from one to the next.
//
// Entry points: Start begins one, Open reads one; Ceremony.Contribute adds a party's
// secrets, Ceremony.Verify checks everything that was contributed, Ceremony.Seal makes the
// keys, and Ceremony.VerifyNetwork holds a network to them. Whoever has the directory can do
// the last three and gets the same.
//
// # How
//
// The multi-party computation of Bowe, Gabizon and Miers (ePrint 2017/1050) as gnark has
// it (backend/groth16/bn254/mpcsetup). Everybody named contributes once to each of two
// phases, in the order named: powers of a secret that serve all circuits of a size, then
// what is this circuit's. Each contribution proves that it continues the one before it,
// and its challenge is the hash of that.
//
// # Trust
//
// The keys are as safe as one contributor who used good randomness and forgot it: a
// forger would need the secrets of all. Nobody can prove to have forgotten; whoever
// contributes should do so on a machine that keeps no memory image, and check that the
// sealed transcript has the contribution's hash. Files of others are hostile input:
// their length and every count in them is compared with what this circuit needs before
// they are parsed. There is no public beacon at the end of a phase: Kohlweiss, Maller,
// Siim and Volkhov (Snarky Ceremonies, ASIACRYPT 2021) show that Groth16 needs none.
//
// # Promise
//
// A crash in the middle of a contribution leaves the ceremony as it was: a file counts
// once the transcript names it. A directory in which anything was changed verifies not.
package ceremony

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unicode"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
	"github.com/vitalveil/vitalveil/zk"
)

// Limits of a transcript.
const (
	MinContributors = 2
	MaxContributors = 16
	maxName         = 64
	maxTranscript   = 1 << 16
	transcriptFile  = "transcript.json"
)

// Transcript is what a ceremony consists of.
type Transcript struct {
	Class        string         `json:"class"`
	Circuit      record.ID      `json:"circuit"`      // as zk.Compiled names it
	Contributors []string       `json:"contributors"` // in the order of their turns
	Phases       [2][]record.ID `json:"phases"`       // SHA-256 of each contribution, by turn
}

// Digest is what the ledger keeps of a ceremony.
func (t Transcript) Digest() record.ID { return record.Digest("ceremony-transcript/v1", "", t) }

// check refuses transcripts that are not well formed.
func (t Transcript) check() error {
	n := len(t.Contributors)
	if n < MinContributors || n > MaxContributors || record.Repeats(t.Contributors) {
		return fmt.Errorf("a ceremony has %d to %d contributors, each named once", MinContributors, MaxContributors)
	}
	for _, name := range t.Contributors {
		if !ValidName(name) {
			return fmt.Errorf("%q does not name a contributor: 1 to %d printable characters", name, maxName)
		}
	}
	if len(t.Phases[0]) > n || len(t.Phases[1]) > n || len(t.Phases[1]) > 0 && len(t.Phases[0]) < n {
		return errors.New("the transcript has contributions out of turn")
	}
	return nil
}

// ValidName tells whether a contributor may be named so.
func ValidName(name string) bool {
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// Ceremony is an open directory.
type Ceremony struct {
	dir        string
	circuit    zk.Compiled
	transcript Transcript
}

// Start begins a ceremony in a directory, which it makes.
func Start(dir, class string, contributors []string) (*Ceremony, error) {
	circuit, err := zk.Compile(class)
	if err != nil {
		return nil, err
	}
	return start(dir, circuit, contributors)
}

func start(dir string, circuit zk.Compiled, contributors []string) (*Ceremony, error) {
	c := &Ceremony{dir, circuit, Transcript{Class: circuit.Class.Name, Circuit: circuit.Digest, Contributors: contributors}}
	if err := c.transcript.check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.path(transcriptFile)); !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("%s has a ceremony already", dir), err)
	}
	return c, c.save()
}

// Open reads a ceremony, whose transcript is of this program's circuit. It verifies no
// contribution.
func Open(dir string) (*Ceremony, error) {
	t, err := readTranscript(dir)
	if err != nil {
		return nil, err
	}
	circuit, err := zk.Compile(t.Class)
	if err != nil {
		return nil, err
	}
	return open(dir, circuit, t)
}

func open(dir string, circuit zk.Compiled, t Transcript) (*Ceremony, error) {
	if t.Circuit != circuit.Digest {
		return nil, fmt.Errorf("the ceremony in %s is of another version of circuit %s", dir, t.Class)
	}
	return &Ceremony{dir, circuit, t}, nil
}

func readTranscript(dir string) (Transcript, error) {
	var t Transcript
	path := filepath.Join(dir, transcriptFile)
	b, err := readFile(path, maxTranscript)
	if err != nil {
		return t, err
	}
	if err := record.DecodeJSON(b, maxTranscript, &t); err != nil {
		return t, fmt.Errorf("%s: %w", path, err)
	}
	return t, t.check()
}

// readFile reads a file of a directory that others have had: one that is no file, such as
// a pipe, would be waited for without end.
func readFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	return state.ReadFile(path, most)
}

func (c *Ceremony) path(name string) string { return filepath.Join(c.dir, name) }

func (c *Ceremony) save() error {
	b, err := json.MarshalIndent(c.transcript, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(c.path(transcriptFile), append(b, '\n'))
}

// Transcript returns what has been contributed.
func (c *Ceremony) Transcript() Transcript { return c.transcript }

// Turn returns the phase, 1 or 2, and whose turn it is; 0 once everybody had theirs.
func (c *Ceremony) Turn() (int, string) {
	for phase, done := range c.transcript.Phases {
		if len(done) < len(c.transcript.Contributors) {
			return phase + 1, c.transcript.Contributors[len(done)]
		}
	}
	return 0, ""
}

// Contribute verifies what has been contributed, adds the secrets of who has the turn,
// and forgets them. It returns the contribution's hash, by which its maker finds it in
// the transcript.
func (c *Ceremony) Contribute(name string) (record.ID, error) {
	phase, turn := c.Turn()
	switch {
	case phase == 0:
		return record.ID{}, errors.New("everybody has contributed: seal the ceremony")
	case turn != name:
		return record.ID{}, fmt.Errorf("it is the turn of %q, in phase %d", turn, phase)
	}
	last, err := c.replay()
	if err != nil {
		return record.ID{}, err
	}
	var b bytes.Buffer
	if phase == 1 {
		last.first.Contribute()
		_, err = last.first.WriteTo(&b)
	} else {
		last.second.Contribute()
		_, err = last.second.WriteTo(&b)
	}
	if err != nil {
		return record.ID{}, err
	}
	hash := record.SumID(b.Bytes())
	done := &c.transcript.Phases[phase-1]
	if err := state.WriteFile(c.path(fileName(phase, len(*done))), b.Bytes()); err != nil {
		return record.ID{}, err
	}
	*done = append(*done, hash)
	return hash, c.save()
}

func fileName(phase, turn int) string { return fmt.Sprintf("phase%d-%02d", phase, turn+1) }

// Verify checks every contribution made so far.
func (c *Ceremony) Verify() error {
	_, err := c.replay()
	return err
}

// Seal verifies a complete ceremony and keeps the keys that come out of it in a
// directory of keys, where there must be none of the class.
func (c *Ceremony) Seal(keys string) (*zk.Keys, error) {
	proving, verifying, err := c.keys()
	if err != nil {
		return nil, err
	}
	return c.circuit.SaveKeys(keys, zk.Origin{
		Setup: zk.SetupCeremony, Transcript: c.transcript.Digest(), Contributors: c.transcript.Contributors,
	}, proving, verifying)
}

// VerifyNetwork verifies a complete ceremony and that its keys are those that a network
// takes proofs by. Which ceremony a key is of is the word of who founded the network: a key
// of anybody's own could have the name of this transcript.
func (c *Ceremony) VerifyNetwork(g record.Genesis) error {
	_, verifying, err := c.keys()
	if err != nil {
		return err
	}
	var key bytes.Buffer
	if _, err := verifying.WriteTo(&key); err != nil {
		return err
	}
	for _, k := range g.Circuits {
		switch {
		case k.Class != c.transcript.Class:
		case k.Hash != record.SumID(key.Bytes()) || !bytes.Equal(k.VerifyingKey, key.Bytes()):
			return fmt.Errorf("network %q has another key of class %s than this ceremony made", g.Network, k.Class)
		case k.Setup != zk.SetupCeremony || k.Transcript != c.transcript.Digest() || !slices.Equal(k.Contributors, c.transcript.Contributors):
			return fmt.Errorf("network %q says otherwise of how its key of class %s was made than this ceremony does", g.Network, k.Class)
		default:
			return nil
		}
	}
	return fmt.Errorf("network %q has no key of class %s", g.Network, c.transcript.Class)
}

// keys verifies a complete ceremony and makes its keys, always the same.
func (c *Ceremony) keys() (*groth16.ProvingKey, *groth16.VerifyingKey, error) {
	if phase, turn := c.Turn(); phase != 0 {
		return nil, nil, fmt.Errorf("not everybody has contributed: it is the turn of %q, in phase %d", turn, phase)
	}
	last, err := c.replay()
	if err != nil {
		return nil, nil, err
	}
	pk, vk := last.second.Seal(&last.commons, &last.evaluations, nil)
	proving, ok := pk.(*groth16.ProvingKey)
	verifying, ok2 := vk.(*groth16.VerifyingKey)
	if !ok || !ok2 {
		return nil, nil, fmt.Errorf("the ceremony gave a %T and a %T", pk, vk)
	}
	return proving, verifying, nil
}

// progress is where verified contributions have led to. second and what it rests on are
// there once the first phase is complete.
type progress struct {
	first       *mpcsetup.Phase1
	commons     mpcsetup.SrsCommons
	second      *mpcsetup.Phase2
	evaluations mpcsetup.Phase2Evaluations
}

// replay verifies each contribution against the one before it, from the beginning.
func (c *Ceremony) replay() (*progress, error) {
	size := ecc.NextPowerOfTwo(uint64(c.circuit.System.GetNbConstraints()))
	p := &progress{first: mpcsetup.NewPhase1(size)}
	for turn := range c.transcript.Phases[0] {
		b, err := c.contribution(1, turn, firstShape(int(size)))
		if err != nil {
			return nil, err
		}
		next := new(mpcsetup.Phase1)
		if err := follow(b, next.ReadFrom, func() error { return p.first.Verify(next) }); err != nil {
			return nil, c.refuse(1, turn, err)
		}
		p.first = next
	}
	if len(c.transcript.Phases[0]) < len(c.transcript.Contributors) {
		return p, nil
	}
	p.commons = p.first.Seal(nil)
	p.second = new(mpcsetup.Phase2)
	p.evaluations = p.second.Initialize(c.circuit.System, &p.commons)
	for turn := range c.transcript.Phases[1] {
		b, err := c.contribution(2, turn, secondShape(p.second))
		if err != nil {
			return nil, err
		}
		next := new(mpcsetup.Phase2)
		if err := follow(b, next.ReadFrom, func() error { return p.second.Verify(next) }); err != nil {
			return nil, c.refuse(2, turn, err)
		}
		p.second = next
	}
	return p, nil
}

func (c *Ceremony) refuse(phase, turn int, err error) error {
	return fmt.Errorf("phase %d, contribution of %q: %w", phase, c.transcript.Contributors[turn], err)
}

// follow parses a contribution, all of it, and verifies that it continues the one before.
func follow(b []byte, read func(io.Reader) (int64, error), verify func() error) error {
	n, err := read(bytes.NewReader(b))
	if err == nil && n != int64(len(b)) {
		err = fmt.Errorf("%d bytes follow it", int64(len(b))-n)
	}
	if err != nil {
		return err
	}
	return verify()
}

// contribution reads a file that the transcript names and that has the shape.
func (c *Ceremony) contribution(phase, turn int, want shape) ([]byte, error) {
	b, err := readFile(c.path(fileName(phase, turn)), int64(want.length))
	if err == nil && record.SumID(b) != c.transcript.Phases[phase-1][turn] {
		err = errors.New("the file is not the one whose hash is in the transcript")
	}
	if err == nil {
		err = want.check(b)
	}
	if err != nil {
		return nil, c.refuse(phase, turn, err)
	}
	return b, nil
}

// shape is the length of a contribution and the counts that stand in it, by offset:
// gnark's reader takes both from what it reads.
type shape struct {
	length int
	counts map[int][]byte
}

func (s shape) check(b []byte) error {
	if len(b) != s.length {
		return fmt.Errorf("it has %d bytes, a contribution has %d", len(b), s.length)
	}
	for at, want := range s.counts {
		if !bytes.Equal(b[at:at+len(want)], want) {
			return errors.New("it is not of this circuit")
		}
	}
	return nil
}

const (
	g1 = bn254.SizeOfG1AffineCompressed
	g2 = bn254.SizeOfG2AffineCompressed
	// proofBytes is a proof of an update: a point of each group.
	proofBytes = g1 + g2
	// challengeBytes is a hash with its length.
	challengeBytes = 1 + 32
)

// firstShape is that of powers: three proofs, the size, beta, 2n-2 powers of tau in G1
// and n-1 in G2, n of each of alpha and beta, the challenge.
func firstShape(n int) shape {
	at := 3 * proofBytes
	return shape{
		length: at + 8 + g2 + (2*n-2)*g1 + (n-1)*g2 + 2*n*g1 + challengeBytes,
		counts: map[int][]byte{at: binary.BigEndian.AppendUint64(nil, uint64(n))},
	}.withChallenge()
}

// withChallenge adds the length of the challenge, which is the end of a contribution.
func (s shape) withChallenge() shape {
	s.counts[s.length-challengeBytes] = []byte{challengeBytes - 1}
	return s
}

// secondShape is that of what follows p: the number of commitments, delta, the private
// inputs and the powers of t with their counts, delta, the bases of the commitment with
// their count, sigma, two proofs, the challenge.
func secondShape(p *mpcsetup.Phase2) shape {
	count := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	private, powers, bases := len(p.Parameters.G1.PKK), len(p.Parameters.G1.Z), len(p.Parameters.G1.SigmaCKK[0])
	s := shape{counts: map[int][]byte{0: {0, 1}}}
	at := 2 + g1
	s.counts[at] = count(private)
	at += 4 + private*g1
	s.counts[at] = count(powers)
	at += 4 + powers*g1 + g2
	s.counts[at] = count(bases)
	s.length = at + 4 + bases*g1 + g2 + 2*proofBytes + challengeBytes
	return s.withChallenge()
}
