package ceremony

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"
	"github.com/consensys/gnark/backend/groth16/bn254/mpcsetup"
	"github.com/consensys/gnark/backend/witness"
	"github.com/consensys/gnark/constraint"
	bn254cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// small is a circuit with the public inputs of a statement and one commitment, of which
// a ceremony takes no time.
type small struct {
	Public [verifier.PublicInputs]frontend.Variable `gnark:",public"`
	Secret frontend.Variable
}

func (c *small) Define(api frontend.API) error {
	x, err := api.Compiler().(frontend.Committer).Commit(c.Secret, c.Public[0])
	if err != nil {
		return err
	}
	for _, p := range c.Public {
		x = api.Mul(x, api.Add(p, c.Secret))
	}
	api.AssertIsDifferent(x, 0)
	return nil
}

func smallCircuit(t testing.TB) zk.Compiled {
	t.Helper()
	ccs, err := frontend.Compile(ecc.BN254.ScalarField(), r1cs.NewBuilder[constraint.U64], new(small))
	if err != nil {
		t.Fatal(err)
	}
	return zk.Compiled{Class: verifier.Classes()[0], System: ccs.(*bn254cs.R1CS), Digest: record.SumID([]byte("small"))}
}

var members = []string{"HospitalA", "HospitalB", "Patients"}

// begun is a ceremony in which so many have had their turn, each of them in a program
// of its own.
func begun(t testing.TB, turns int) *Ceremony {
	t.Helper()
	dir, circuit := t.TempDir(), smallCircuit(t)
	c, err := start(dir, circuit, members)
	if err != nil {
		t.Fatal(err)
	}
	for i := range turns {
		c = reopened(t, c)
		hash, err := c.Contribute(members[i%len(members)])
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Transcript().Phases[i/len(members)][i%len(members)]; got != hash {
			t.Errorf("turn %d: %s, in the transcript %s", i, hash, got)
		}
	}
	return c
}

func reopened(t testing.TB, c *Ceremony) *Ceremony {
	t.Helper()
	transcript, err := readTranscript(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err = open(c.dir, c.circuit, transcript)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestThreeMembersMakeKeysThatProve(t *testing.T) {
	c := begun(t, 6)
	if phase, _ := c.Turn(); phase != 0 {
		t.Fatalf("it is still phase %d", phase)
	}
	if err := c.Verify(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	keys, err := c.Seal(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := reopened(t, c).Seal(t.TempDir())
	if err != nil || again.Hash != keys.Hash {
		t.Errorf("who seals it again gets other keys: %v", err)
	}
	circuit := keys.Circuit()
	if circuit.Setup != zk.SetupCeremony || circuit.Transcript != c.Transcript().Digest() || len(circuit.Contributors) != 3 {
		t.Errorf("the genesis would say: %+v", circuit)
	}
	if _, err := c.Seal(dir); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("keys were replaced: %v", err)
	}
	proves(t, c)
}

// proves makes a proof with the ceremony's keys and verifies it.
func proves(t *testing.T, c *Ceremony) {
	t.Helper()
	last, err := c.replay()
	if err != nil {
		t.Fatal(err)
	}
	pk, vk := last.second.Seal(&last.commons, &last.evaluations, nil)
	full, err := witness.New(ecc.BN254.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	values := make(chan any, verifier.PublicInputs+1)
	var public fr.Vector
	for i := range verifier.PublicInputs + 1 {
		e := fr.NewElement(uint64(i + 7))
		public = append(public, e)
		values <- e
	}
	close(values)
	if err := full.Fill(verifier.PublicInputs, 1, values); err != nil {
		t.Fatal(err)
	}
	proof, err := groth16.Prove(c.circuit.System, pk.(*groth16.ProvingKey), full)
	if err != nil {
		t.Fatal(err)
	}
	public = public[:verifier.PublicInputs]
	if err := groth16.Verify(proof, vk.(*groth16.VerifyingKey), append(fr.Vector(nil), public...)); err != nil {
		t.Errorf("a proof does not verify: %v", err)
	}
	public[3].SetUint64(1)
	if groth16.Verify(proof, vk.(*groth16.VerifyingKey), public) == nil {
		t.Error("a proof of something else verifies")
	}
}

func TestTurnsAreTakenInOrder(t *testing.T) {
	c := begun(t, 1)
	for _, name := range []string{"HospitalA", "Patients", "Nobody", ""} {
		if _, err := c.Contribute(name); err == nil || !strings.Contains(err.Error(), `turn of "HospitalB"`) {
			t.Errorf("%q contributes: %v", name, err)
		}
	}
	if _, err := c.Seal(t.TempDir()); err == nil {
		t.Error("sealed before everybody has contributed")
	}
	for what, names := range map[string][]string{
		"one": {"A"}, "nobody": nil, "the same twice": {"A", "B", "A"}, "an empty name": {"A", ""},
		"a line": {"A", "B\n"}, "a long name": {"A", strings.Repeat("B", maxName+1)}, "too many": strings.Split("abcdefghijklmnopq", ""),
	} {
		if _, err := start(t.TempDir(), c.circuit, names); err == nil {
			t.Errorf("%s can hold a ceremony", what)
		}
	}
	if _, err := start(c.dir, c.circuit, members); err == nil {
		t.Error("a ceremony that is under way was begun anew")
	}
}

// A file that the transcript does not name yet was left by who was killed: the turn is
// taken again.
func TestAKilledContributionIsMadeAgain(t *testing.T) {
	c := begun(t, 2)
	if err := os.WriteFile(c.path(fileName(1, 2)), []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = reopened(t, c)
	if err := c.Verify(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Contribute("Patients"); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(); err != nil {
		t.Fatal(err)
	}
}

// Whatever is changed in a directory is found, also where the transcript is made to fit.
func TestAttackChangedContribution(t *testing.T) {
	c := begun(t, 6)
	files := map[string][]byte{}
	for phase := 1; phase <= 2; phase++ {
		for turn := range members {
			b, err := os.ReadFile(c.path(fileName(phase, turn)))
			if err != nil {
				t.Fatal(err)
			}
			files[fileName(phase, turn)] = b
		}
	}
	foreign := begun(t, 6)
	for what, change := range map[string]func(phase int, b []byte) []byte{
		"a point": func(_ int, b []byte) []byte { b[2*proofBytes] ^= 0x20; return b },
		"a proof of the update": func(phase int, b []byte) []byte {
			if phase == 2 {
				b[len(b)-challengeBytes-1] ^= 1
			} else {
				b[g1-1] ^= 1
			}
			return b
		},
		"the challenge":    func(_ int, b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"no challenge":     func(_ int, b []byte) []byte { b[len(b)-challengeBytes] = 0; return b },
		"a byte more":      func(_ int, b []byte) []byte { return append(b, 0) },
		"a byte fewer":     func(_ int, b []byte) []byte { return b[1:] },
		"nothing":          func(int, []byte) []byte { return nil },
		"a count":          func(phase int, b []byte) []byte { b[map[int]int{1: 3 * proofBytes, 2: 2 + g1}[phase]] = 0x7f; return b },
		"the number 65535": func(_ int, b []byte) []byte { b[0], b[1] = 0xff, 0xff; return b },
		"another's": func(phase int, _ []byte) []byte {
			b, err := os.ReadFile(foreign.path(fileName(phase, 1)))
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
		"the one before it, again":  func(phase int, _ []byte) []byte { return bytes.Clone(files[fileName(phase, 0)]) },
		"the one after it, skipped": func(phase int, _ []byte) []byte { return bytes.Clone(files[fileName(phase, 2)]) },
	} {
		for phase := 1; phase <= 2; phase++ {
			name := fileName(phase, 1)
			changed := change(phase, bytes.Clone(files[name]))
			if err := os.WriteFile(c.path(name), changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := c.Verify(); err == nil || !strings.Contains(err.Error(), `"HospitalB"`) {
				t.Errorf("%s in phase %d: %v, want it found at HospitalB", what, phase, err)
			}
			fits := reopened(t, c)
			fits.transcript.Phases[phase-1][1] = record.SumID(changed)
			if err := fits.Verify(); err == nil {
				t.Errorf("%s in phase %d, with a transcript that fits: it verifies", what, phase)
			}
			if _, err := fits.Seal(t.TempDir()); err == nil {
				t.Errorf("%s in phase %d, with a transcript that fits: it is sealed", what, phase)
			}
			if err := os.WriteFile(c.path(name), files[name], 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Verify(); err != nil {
		t.Fatalf("restored: %v", err)
	}
}

// Who repeats what the one before had, with no secrets added, has not contributed: the
// proof of an update must be of the new challenge.
func TestAttackContributionWithoutSecrets(t *testing.T) {
	c := begun(t, 1)
	last, err := c.replay()
	if err != nil {
		t.Fatal(err)
	}
	next := new(mpcsetup.Phase1)
	var b bytes.Buffer
	if _, err := last.first.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := next.ReadFrom(bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	next.Challenge = nil // which gnark would fill in
	if err := last.first.Verify(next); err == nil {
		t.Error("the contribution before counts twice")
	}
}

func TestAttackTranscriptOfAnotherCircuit(t *testing.T) {
	c := begun(t, 0)
	transcript := c.Transcript()
	other := c.circuit
	other.Digest[0] ^= 1
	if _, err := open(c.dir, other, transcript); err == nil {
		t.Error("a ceremony of another circuit is opened")
	}
	for what, text := range map[string]string{
		"out of turn":  `{"class":"day","circuit":"` + other.Digest.String() + `","contributors":["A","B"],"phases":[[],["` + other.Digest.String() + `"]]}`,
		"a field more": `{"class":"day","circuit":"` + other.Digest.String() + `","contributors":["A","B"],"phases":[[],[]],"more":1}`,
		"no JSON":      `day`,
		"too long":     strings.Repeat(" ", maxTranscript+1),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, transcriptFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil {
			t.Errorf("%s: it is opened", what)
		}
	}
}

// The ceremonies of the real circuits, by the functions that the commands call.
func TestACeremonyOfADay(t *testing.T)  { testCeremony(t, "day") }
func TestACeremonyOfAWeek(t *testing.T) { testCeremony(t, "week") }

func testCeremony(t *testing.T, class string) {
	if os.Getenv("VITALVEIL_SOAK") == "" {
		t.Skip("takes minutes: set VITALVEIL_SOAK=1")
	}
	dir, keyDir := t.TempDir(), t.TempDir()
	if _, err := Start(dir, class, members); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, name := range members {
			c, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Contribute(name); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s has contributed", name)
		}
	}
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := c.Seal(keyDir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := zk.ReadKeys(keyDir, class)
	if err != nil || keys.Hash != sealed.Hash || keys.Origin.Transcript != c.Transcript().Digest() {
		t.Fatalf("the keys read back: %v", err)
	}
	codes := make([]uint16, verifier.ReadingsPerDay)
	for i := range codes[:600] {
		codes[i] = 50
	}
	var roots []record.ID
	var openings []*zk.Opening
	for day := range int64(keys.Class.Days) {
		root, o, err := zk.Commit(20089+day, map[int][]uint16{0: codes})
		if err != nil {
			t.Fatal(err)
		}
		roots, openings = append(roots, root), append(openings, o)
	}
	s := verifier.Statement{FirstDay: 20089, Bounds: verifier.Unbounded()}
	s.Lo, s.Hi, s.K, s.DayK = 31, 71, 600, uint32(keys.Class.Days)
	s.Binding = verifier.Binding("channel", "request", record.ID{1}, record.ID{2}, 3, keys.Hash)
	if s.DataDigest, err = verifier.DataDigest(roots); err != nil {
		t.Fatal(err)
	}
	proof, err := keys.Prove(t.Context(), s, openings)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.NewVerifier(class, keys.VerifyingKey, keys.Hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(s, proof); err != nil {
		t.Errorf("a proof with keys of the ceremony: %v", err)
	}
}

// Who founds a network has a key made alone and gives it the name of the ceremony that the
// members held.
func TestAttackAKeyUnderTheNameOfACeremony(t *testing.T) {
	c := begun(t, 6)
	keys, err := c.Seal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := begun(t, 6).Seal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*record.Circuit){
		"nothing":          func(*record.Circuit) {},
		"the key":          func(k *record.Circuit) { k.VerifyingKey, k.Hash = other.VerifyingKey, other.Hash },
		"the key's bytes":  func(k *record.Circuit) { k.VerifyingKey = other.VerifyingKey },
		"the transcript":   func(k *record.Circuit) { k.Transcript = other.Origin.Transcript },
		"a contributor":    func(k *record.Circuit) { k.Contributors = []string{"HospitalA", "HospitalB", "HospitalC"} },
		"how it was made":  func(k *record.Circuit) { k.Setup = zk.SetupDevelopment },
		"what it is about": func(k *record.Circuit) { k.Class = "week" },
		"whose key it is":  func(k *record.Circuit) { *k = other.Circuit() },
		"no contributors":  func(k *record.Circuit) { k.Contributors = nil },
		"no transcript":    func(k *record.Circuit) { k.Transcript = record.ID{} },
		"an empty key":     func(k *record.Circuit) { k.VerifyingKey = nil },
		"another order":    func(k *record.Circuit) { k.Contributors = []string{"HospitalB", "HospitalA", "Patients"} },
	} {
		k := keys.Circuit()
		change(&k)
		if err := c.VerifyNetwork(record.Genesis{Network: "trial", Circuits: []record.Circuit{k}}); (err == nil) != (what == "nothing") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if begun(t, 5).VerifyNetwork(record.Genesis{Circuits: []record.Circuit{keys.Circuit()}}) == nil {
		t.Error("a ceremony that is not complete has keys")
	}
}
