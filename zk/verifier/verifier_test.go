package verifier

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bn254"
	"github.com/consensys/gnark-crypto/ecc/bn254/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bn254"

	"github.com/vitalveil/vitalveil/internal/record"
)

func TestVerifyAcceptsTheProof(t *testing.T) {
	for _, c := range Classes() {
		f, v := readFixtureOf(t, c.Name)
		if err := v.Verify(f.Statement, f.Proof); err != nil {
			t.Fatal(err)
		}
		if v.Class() != c || v.KeyHash() != record.SumID(f.VerifyingKey) {
			t.Errorf("class %+v, key %s", v.Class(), v.KeyHash())
		}
	}
}

// Every public input takes part: with any of them changed, alone, the same proof
// must fail, below the checks that might hide a circuit that ignores one.
func TestEveryPublicInputIsUsed(t *testing.T) {
	for _, c := range Classes() {
		t.Run(c.Name, func(t *testing.T) { testEveryPublicInput(t, c.Name) })
	}
}

func testEveryPublicInput(t *testing.T, class string) {
	f, v := readFixtureOf(t, class)
	p, err := parseProof(f.Proof)
	if err != nil {
		t.Fatal(err)
	}
	in, err := f.Statement.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	if err := groth16.Verify(p, &v.key, copied(in)); err != nil {
		t.Fatal(err)
	}
	names := []string{
		"DataDigest", "Binding", "Slot", "FirstDay", "HourMask", "Lo", "Hi", "K", "OutMax", "MinCount",
		"DayK", "MeanLo", "MeanHi", "TrendLo", "TrendHi", "MinHalf",
	}
	if len(in) != len(names) || len(in) != PublicInputs {
		t.Fatalf("%d public inputs, want %d", len(in), len(names))
	}
	for i, name := range names {
		for _, by := range []int64{1, -1, 2, 1 << 20} {
			mutated := copied(in)
			var d Element
			d.SetInt64(by)
			mutated[i].Add(&mutated[i], &d)
			if err := groth16.Verify(p, &v.key, mutated); err == nil {
				t.Errorf("%s changed by %d: the proof still verifies", name, by)
			}
		}
	}
}

// copied copies public inputs; gnark appends to the slice it is given.
func copied(in []Element) fr.Vector { return append(fr.Vector(nil), in...) }

// edits change one thing each in the statement of the day's fixture.
var edits = map[string]func(*Statement){
	"data digest":    func(s *Statement) { s.DataDigest[31] ^= 1 },
	"binding":        func(s *Statement) { s.Binding[31] ^= 1 },
	"slot":           func(s *Statement) { s.Slot = 1 },
	"first day":      func(s *Statement) { s.FirstDay++ },
	"negative day":   func(s *Statement) { s.FirstDay = -s.FirstDay },
	"hour mask":      func(s *Statement) { s.HourMask = AllHours },
	"lo":             func(s *Statement) { s.Lo-- },
	"hi":             func(s *Statement) { s.Hi++ },
	"k":              func(s *Statement) { s.K-- },
	"out_max":        func(s *Statement) { s.OutMax++ },
	"min_count":      func(s *Statement) { s.MinCount-- },
	"mean_lo":        func(s *Statement) { s.MeanLo-- },
	"mean_lo off":    func(s *Statement) { s.MeanLo = MeanLoOff },
	"mean_hi":        func(s *Statement) { s.MeanHi++ },
	"trend_lo":       func(s *Statement) { s.TrendLo-- },
	"trend_hi":       func(s *Statement) { s.TrendHi++ },
	"trend_hi off":   func(s *Statement) { s.TrendHi = TrendHiOff },
	"min_half":       func(s *Statement) { s.MinHalf-- },
	"another claim":  func(s *Statement) { s.Bounds = Unbounded(); s.Lo, s.Hi, s.K = 1, 1, 1 },
	"another person": func(s *Statement) { s.DataDigest, _ = DataDigest([]record.ID{{31: 7}}) },
}

func TestVerifyRefusesEveryOtherStatement(t *testing.T) {
	f, v := readFixture(t)
	for name, edit := range edits {
		s := f.Statement
		edit(&s)
		if err := v.Verify(s, f.Proof); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v, want ErrProof", name, err)
		}
	}
}

// A statement that holds without data is refused whatever the proof: the check
// runs first, even before the proof is looked at.
func TestAttackVacuousStatementIsRefusedBeforeTheProof(t *testing.T) {
	f, v := readFixture(t)
	for name, edit := range map[string]func(*Statement){
		"mean":  func(s *Statement) { s.MinCount = 0 },
		"trend": func(s *Statement) { s.MinHalf = 0 },
		"count": func(s *Statement) { s.Bounds = Unbounded(); s.Lo, s.Hi = 1, 2 },
		"days":  func(s *Statement) { s.DayK = 0 },
		"week":  func(s *Statement) { s.DayK = 2 },
		"slot":  func(s *Statement) { s.Slot = 15 },
	} {
		s := f.Statement
		edit(&s)
		err := v.Verify(s, nil)
		if err == nil || errors.Is(err, ErrProof) || errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want a refusal of the statement", name, err)
		}
	}
}

// Anyone can turn a valid proof into another one of the same statement. So a
// ledger that refused repeated proofs by their hash would let a proof be used
// again; Binding is in the statement and cannot be changed.
func TestAttackMalleatedProofVerifiesSoBindingIsTheReplayKey(t *testing.T) {
	f, v := readFixture(t)
	other := rerandomised(t, f.Proof, 3)
	if bytes.Equal(other, f.Proof) {
		t.Fatal("the proof did not change")
	}
	if err := v.Verify(f.Statement, other); err != nil {
		t.Errorf("the other proof of the same statement: %v", err)
	}
	s := f.Statement
	s.Binding = Binding("channel", "another request", record.ID{}, record.ID{}, 0, v.KeyHash())
	if err := v.Verify(s, other); !errors.Is(err, ErrProof) {
		t.Errorf("under another binding: %v, want ErrProof", err)
	}
}

// A proof is taken in one form only: its length, the number of its commitments and the
// encoding of every point are checked before anything is made of them.
func TestAttackProofOfAnotherShape(t *testing.T) {
	f, v := readFixture(t)
	for name, proof := range map[string][]byte{
		"no commitment":     withCount(f.Proof, 0),
		"two commitments":   withCount(f.Proof, 2),
		"nothing":           nil,
		"a byte too few":    f.Proof[:ProofBytes-1],
		"a byte too many":   append(bytes.Clone(f.Proof), 0),
		"uncompressed":      uncompressed(t, f.Proof),
		"zeros":             make([]byte, ProofBytes),
		"x beyond the base": withCount(bytes.Repeat([]byte{0xbf}, ProofBytes), 1),
		"A not compressed":  unflagged(f.Proof, 0),
		"B not compressed":  unflagged(f.Proof, 32),
		"C not compressed":  unflagged(f.Proof, 96),
		"a commitment not":  unflagged(f.Proof, 132),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := v.Verify(f.Statement, proof)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<16 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

func withCount(proof []byte, n uint32) []byte {
	b := bytes.Clone(proof)
	binary.BigEndian.PutUint32(b[128:], n)
	return b
}

// uncompressed is the same proof with its points in full.
func uncompressed(t *testing.T, proof []byte) []byte {
	t.Helper()
	p, err := parseProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := p.WriteRawTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unflagged takes from the point at an offset the mark that it is compressed.
func unflagged(proof []byte, at int) []byte {
	b := bytes.Clone(proof)
	b[at] &= 0x3f
	return b
}

func TestVerifyRefusesEveryChangedByte(t *testing.T) {
	f, v := readFixture(t)
	for i := range f.Proof {
		b := bytes.Clone(f.Proof)
		b[i] ^= 1
		if err := v.Verify(f.Statement, b); err == nil {
			t.Errorf("byte %d changed: it still verifies", i)
		}
	}
}

// The identity is a point of the curve; a proof of identities proves nothing.
func TestVerifyRefusesIdentityPoints(t *testing.T) {
	f, v := readFixture(t)
	p := groth16.Proof{Commitments: make([]bn254.G1Affine, 1)}
	var b bytes.Buffer
	if _, err := p.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(f.Statement, b.Bytes()); !errors.Is(err, ErrProof) {
		t.Errorf("got %v, want ErrProof", err)
	}
}

// A verifying key is trusted by its hash alone.
func TestAttackForeignVerifyingKey(t *testing.T) {
	f, _ := readFixture(t)
	want := record.SumID(f.VerifyingKey)
	foreign := bytes.Clone(f.VerifyingKey)
	foreign[0] ^= 0x20 // the other root: still a point
	longer := append(bytes.Clone(f.VerifyingKey), 0)
	huge := make([]byte, maxKeyBytes+1)
	truncated := f.VerifyingKey[:len(f.VerifyingKey)-1]
	for name, c := range map[string]struct {
		class string
		vk    []byte
		want  record.ID
	}{
		"another key":                   {"day", foreign, want},
		"another hash":                  {"day", f.VerifyingKey, record.SumID(foreign)},
		"no key":                        {"day", nil, record.SumID(nil)},
		"too large":                     {"day", huge, record.SumID(huge)},
		"accepted, but with more bytes": {"day", longer, record.SumID(longer)},
		"accepted, but cut short":       {"day", truncated, record.SumID(truncated)},
	} {
		if _, err := NewVerifier(c.class, c.vk, c.want); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	if _, err := NewVerifier("year", f.VerifyingKey, want); err == nil {
		t.Error("a class that is not registered has a verifier")
	}
}

// A key that the network did accept, but of another circuit.
func TestVerifyingKeyOfAnotherCircuitIsRefused(t *testing.T) {
	f, v := readFixture(t)
	other := v.key
	other.G1.K = other.G1.K[:len(other.G1.K)-1]
	var b bytes.Buffer
	if _, err := other.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if _, err := NewVerifier(f.Class, b.Bytes(), record.SumID(b.Bytes())); !errors.Is(err, ErrKey) {
		t.Errorf("got %v, want ErrKey", err)
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	f, v := readFixture(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 3 {
				if err := v.Verify(f.Statement, f.Proof); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

func FuzzVerify(f *testing.F) {
	fix, v := readFixture(f)
	f.Add(fix.Proof)
	f.Add(fix.Proof[:164])
	f.Add(make([]byte, ProofBytes))
	f.Fuzz(func(t *testing.T, proof []byte) {
		if len(proof) > maxInput {
			return
		}
		if n := allocated(func() { v.Verify(fix.Statement, proof) }); n > maxAllocated {
			t.Errorf("%d bytes allocated", n)
		}
		p, err := parseProof(proof)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), proof) {
			t.Fatalf("a proof has two forms: %v", err)
		}
		if err := v.Verify(fix.Statement, proof); err == nil && !bytes.Equal(proof, fix.Proof) {
			t.Error("another proof verifies")
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f, v := readFixture(b)
	for b.Loop() {
		if err := v.Verify(f.Statement, f.Proof); err != nil {
			b.Fatal(err)
		}
	}
}
