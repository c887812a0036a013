package zk

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"

	bn254cs "github.com/consensys/gnark/constraint/bn254"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend/cs"
	"go.uber.org/goleak"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

var update = flag.Bool("update", false, "rewrite the golden files and the verifier's fixture")

const (
	newYear   = 20089 // 2025-01-01
	heartRate = 0
	spo2      = 3
	glucose   = 8
)

// keyDir holds the keys that all tests of this run share.
var keyDir string

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "zk-keys-")
	if err != nil {
		panic(err)
	}
	keyDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var (
	sharedDayKeys  = sync.OnceValues(func() (*Keys, error) { return LoadKeys(keyDir, "day", nil) })
	sharedWeekKeys = sync.OnceValues(func() (*Keys, error) { return LoadKeys(keyDir, "week", nil) })
)

// soak is set for the long tests.
var soak = os.Getenv("VITALVEIL_SOAK") != ""

// keysOf are real keys. Making those of a day takes seconds, so short runs skip what
// needs them; those of a week take half a minute.
func keysOf(t testing.TB, class string) *Keys {
	t.Helper()
	once := sharedDayKeys
	switch {
	case testing.Short():
		t.Skip("needs a real setup")
	case class == "week" && !soak:
		t.Skip("keys of a week are made with VITALVEIL_SOAK=1")
	case class == "week":
		once = sharedWeekKeys
	}
	k, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func dayKeys(t testing.TB) *Keys { return keysOf(t, "day") }

var (
	sharedDay  = sync.OnceValues(func() (*bn254cs.R1CS, error) { return compile(1) })
	sharedWeek = sync.OnceValues(func() (*bn254cs.R1CS, error) { return compile(7) })
)

// system is the compiled circuit for 1 or 7 days; short runs skip the latter.
func system(t testing.TB, days int) *bn254cs.R1CS {
	t.Helper()
	once := sharedDay
	if days == 7 {
		if testing.Short() {
			t.Skip("the circuit for 7 days is large")
		}
		once = sharedWeek
	}
	system, err := once()
	if err != nil {
		t.Fatal(err)
	}
	return system
}

// challenge stands in for the commitment that the prover makes while solving: a
// hash of what is committed to, so that it cannot be foreseen either. The last input is
// gnark's mask, which is left out: a prover may choose it.
func challenge(field *big.Int, in, out []*big.Int) error {
	h := sha256.New()
	for _, x := range in[:len(in)-1] {
		h.Write(x.FillBytes(make([]byte, 32)))
	}
	out[0].Mod(new(big.Int).SetBytes(h.Sum(nil)), field)
	return nil
}

// solve tells whether the circuit accepts a witness, without proving.
func solve(t testing.TB, c *circuit, opts ...solver.Option) error {
	t.Helper()
	w, err := fullWitness(c)
	if err != nil {
		t.Fatal(err)
	}
	opts = append(opts, solver.OverrideHint(solver.GetHintID(cs.Bsb22CommitmentComputePlaceholder), challenge))
	return system(t, len(c.Days)).IsSolved(w, opts...)
}

// accepts is solve for an honest witness.
func accepts(t testing.TB, s verifier.Statement, openings []*Opening, opts ...solver.Option) bool {
	t.Helper()
	c, err := assign(s, openings)
	if err != nil {
		t.Fatal(err)
	}
	return solve(t, c, opts...) == nil
}

// commitDays commits to one column of a metric for each day.
func commitDays(t testing.TB, slot int, columns ...[]uint16) (record.ID, []*Opening) {
	t.Helper()
	var roots []record.ID
	var openings []*Opening
	for d, codes := range columns {
		root, o, err := Commit(newYear+int64(d), map[int][]uint16{slot: codes})
		if err != nil {
			t.Fatal(err)
		}
		roots, openings = append(roots, root), append(openings, o)
	}
	digest, err := verifier.DataDigest(roots)
	if err != nil {
		t.Fatal(err)
	}
	return digest, openings
}

// about makes a statement on committed columns.
func about(t testing.TB, slot int, b record.Bounds, columns ...[]uint16) (verifier.Statement, []*Opening) {
	t.Helper()
	digest, openings := commitDays(t, slot, columns...)
	return verifier.Statement{
		DataDigest: digest, Slot: slot, FirstDay: newYear, Bounds: b,
		Binding: verifier.Binding("test", "request 1", record.SumID([]byte("nonce")), record.ID{}, 1735776000, record.ID{}),
	}, openings
}

// column is a day with runs of codes: {from, until, code} in minutes.
func column(runs ...[3]int) []uint16 {
	codes := make([]uint16, wearable.MinutesPerDay)
	for _, r := range runs {
		for i := r[0]; i < r[1]; i++ {
			codes[i] = uint16(r[2])
		}
	}
	return codes
}

// bounds edits verifier.Unbounded, of which the range is codes 31..71 (heart
// rate 50..90).
func bounds(edit func(*record.Bounds)) record.Bounds {
	b := verifier.Unbounded()
	b.Lo, b.Hi, b.MinCount = 31, 71, 1
	edit(&b)
	return b
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is missing: run go test -update", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s differs.\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}
