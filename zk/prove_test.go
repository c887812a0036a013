package zk

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

// rich is a statement in which every bound says something.
func rich(t testing.TB) (verifier.Statement, []*Opening) {
	t.Helper()
	return about(t, heartRate, bounds(func(b *record.Bounds) {
		b.HourMask = 1<<24 - 2 // all but the first hour
		b.K, b.OutMax, b.MinCount = 150, 100, 180
		b.MeanLo, b.MeanHi = 40, 60
		trend(10, 30, 90)(b)
	}), twoHalves(40, 60))
}

func TestProofOfATrueStatementVerifies(t *testing.T) {
	s, openings := rich(t)
	testProof(t, dayKeys(t), s, openings)
}

// richWeek is a statement about a week in which every bound says something.
func richWeek(t testing.TB) (verifier.Statement, []*Opening) {
	t.Helper()
	days := week(map[int][]uint16{})
	for d := range days {
		days[d] = twoHalves(40+2*d, 50+2*d)
	}
	days[5] = column([3]int{0, 100, 90})
	return about(t, heartRate, bounds(func(b *record.Bounds) {
		b.HourMask = 1<<24 - 2
		b.K, b.OutMax, b.MinCount, b.DayK = 150, 10, 180, 6
		b.MeanLo, b.MeanHi = 40, 60
		trend(5, 15, 300)(b)
	}), days...)
}

func TestProofOfATrueWeekVerifies(t *testing.T) {
	k := keysOf(t, "week")
	s, openings := richWeek(t)
	testProof(t, k, s, openings)
}

func testProof(t *testing.T, k *Keys, s verifier.Statement, openings []*Opening) {
	t.Helper()
	proof, err := k.Prove(t.Context(), s, openings)
	if err != nil {
		t.Fatal(err)
	}
	v, err := verifier.NewVerifier(k.Class.Name, k.VerifyingKey, k.Hash)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(s, proof); err != nil {
		t.Error(err)
	}
	for name, edit := range map[string]func(*verifier.Statement){
		"a weaker bound":  func(s *verifier.Statement) { s.K-- },
		"another binding": func(s *verifier.Statement) { s.Binding[31] ^= 1 },
		"another day":     func(s *verifier.Statement) { s.FirstDay++ },
	} {
		other := s
		edit(&other)
		if err := v.Verify(other, proof); !errors.Is(err, verifier.ErrProof) {
			t.Errorf("%s: %v, want ErrProof", name, err)
		}
	}
	if *update {
		writeFixture(t, k, s, proof)
	}
}

// writeFixture keeps a key, a statement and a proof for the tests of package
// verifier, which cannot prove.
func writeFixture(t *testing.T, k *Keys, s verifier.Statement, proof []byte) {
	t.Helper()
	digest, err := systemDigest(k.system)
	if err != nil {
		t.Fatal(err)
	}
	fixture, err := json.MarshalIndent(map[string]any{
		"class": k.Class.Name, "circuit": digest, "verifying_key": k.VerifyingKey, "statement": s, "proof": proof,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, fixturePath(k.Class.Name), append(fixture, '\n'))
}

func fixturePath(class string) string { return "verifier/testdata/" + class + ".json" }

func TestVerifierFixturesAreOfTheseCircuits(t *testing.T) {
	for _, c := range verifier.Classes() {
		data, err := os.ReadFile(fixturePath(c.Name))
		if err != nil {
			t.Fatal(err)
		}
		var fixture struct{ Circuit record.ID }
		if err := json.Unmarshal(data, &fixture); err != nil {
			t.Fatal(err)
		}
		digest, err := systemDigest(system(t, c.Days))
		if err != nil {
			t.Fatal(err)
		}
		if fixture.Circuit != digest && !*update {
			t.Errorf("%s is of another circuit: run VITALVEIL_SOAK=1 go test -run TestProofOf -update", fixturePath(c.Name))
		}
	}
}

// ErrFalse and the other refusals come before anything is proven, so that they
// need no real keys.
func TestProveRefuses(t *testing.T) {
	k := &Keys{Class: verifier.Class{Name: "day", Days: 1}}
	b := bounds(func(b *record.Bounds) { b.K = 6 })
	s, openings := about(t, heartRate, b, column([3]int{0, 5, 50}))
	if _, err := k.Prove(t.Context(), s, openings); !errors.Is(err, ErrFalse) {
		t.Errorf("a false statement: %v, want ErrFalse", err)
	}
	s, openings = about(t, heartRate, b, column([3]int{0, 6, 50}))
	_, foreign := about(t, heartRate, b, column([3]int{0, 6, 50}))
	for name, openings := range map[string][]*Opening{
		"openings of another commitment": foreign,
		"no opening":                     nil,
		"a nil opening":                  {nil},
		"one too many":                   {openings[0], openings[0]},
	} {
		if _, err := k.Prove(t.Context(), s, openings); !errors.Is(err, ErrOpenings) {
			t.Errorf("%s: %v, want ErrOpenings", name, err)
		}
	}
	later := s
	later.FirstDay++
	if _, err := k.Prove(t.Context(), later, openings); !errors.Is(err, ErrOpenings) {
		t.Errorf("another day: %v, want ErrOpenings", err)
	}
	s.Slot = 15
	if _, err := k.Prove(t.Context(), s, openings); err == nil {
		t.Error("a slot without a metric is proven about")
	}
}

func TestProveStopsWhenCancelled(t *testing.T) {
	s, openings := rich(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k := &Keys{Class: verifier.Class{Name: "day", Days: 1}}
	if _, err := k.Prove(ctx, s, openings); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestExplainNamesPartsWithoutFigures(t *testing.T) {
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) {
		b.K, b.MeanHi = 99, 40
		trend(1, 2, 7)(b)
	}), column([3]int{0, 100, 80}, [3]int{720, 726, 100}))
	failed, err := Explain(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	want := []Part{PartDays, PartMean, PartTrend, PartHalves}
	if len(failed) != len(want) {
		t.Fatalf("failed: %v, want %v", failed, want)
	}
	for i := range want {
		if failed[i] != want[i] {
			t.Errorf("failed: %v, want %v", failed, want)
		}
	}
}

// An unsatisfied circuit makes gnark print the values around the constraint.
func TestErrorsCarryNoReadings(t *testing.T) {
	k := dayKeys(t)
	s, openings := about(t, heartRate, bounds(func(b *record.Bounds) { b.K = 7 }), column([3]int{0, 6, 57}))
	w, err := newWitness(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.prove(w)
	if err == nil {
		t.Fatal("a false statement is proven")
	}
	if regexp.MustCompile(`[0-9]`).MatchString(err.Error()) {
		t.Errorf("the error carries figures: %v", err)
	}
}

func BenchmarkProve(b *testing.B) {
	k := dayKeys(b)
	s, openings := rich(b)
	for b.Loop() {
		if _, err := k.Prove(b.Context(), s, openings); err != nil {
			b.Fatal(err)
		}
	}
}
