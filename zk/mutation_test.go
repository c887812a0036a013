package zk

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutations take one identity or check out of the circuit each. old stands once in file.
var mutations = []struct{ what, file, old, new string }{
	{"identity (1), readings against the histogram", "histogram.go", "api.AssertIsEqual(read[half], total(api, counted))", "_, _ = read[half], counted"},
	{"identity (2), edges against the histogram", "histogram.go", "api.AssertIsEqual(total(api, wanted), total(api, there))", "_, _ = wanted, there"},
	{"12 bits of the count from Lo on", "histogram.go", "h.m.checker.Check(h.fromLo, keyShift)", ""},
	{"12 bits of the count above Hi", "histogram.go", "h.m.checker.Check(h.aboveHi, keyShift)", ""},
	{"the histogram in the challenge", "histogram.go", "committed = append(committed, at...)", ""},
	{"the last count's zero", "histogram.go", "h.halves[half] = append(at, 0)", "h.halves[half] = append(at, at[0])"},
	{"quotients", "quotients.go", "q.assertProduct(out[i], b[i], a[i])", "_ = i"},
	{"a day's bit is a bit", "circuit.go", "m.api.AssertIsBoolean(bit[0])", ""},
	{"a day that passes meets its bounds", "circuit.go", "m.checker.Check(m.api.Mul(bit[0], s), countBits)", "_ = s"},
	{"days that pass are enough", "circuit.go", "m.notLess(passed, c.DayK, countBits)", ""},
	{"the digest", "circuit.go", "api.AssertIsEqual(m.dataDigest(roots), c.DataDigest)", "m.dataDigest(roots)"},
	{"the mean's lower bound", "circuit.go", "m.notLess(all.sum, m.api.Mul(m.MeanLo, all.present), sumBits)", ""},
	{"the mean's upper bound", "circuit.go", "m.notLess(m.api.Mul(m.MeanHi, all.present), all.sum, sumBits)", ""},
	{"the first half's readings", "circuit.go", "m.notLess(first.present, m.MinHalf, countBits)", ""},
	{"the second half's readings", "circuit.go", "m.notLess(second.present, m.MinHalf, countBits)", ""},
	{"the trend's lower bound", "circuit.go", "m.notLess(difference, m.api.Mul(m.api.Sub(m.TrendLo, verifier.TrendBias), both), crossBits)", ""},
	{"the trend's upper bound", "circuit.go", "m.notLess(m.api.Mul(m.api.Sub(m.TrendHi, verifier.TrendBias), both), difference, crossBits)", ""},
	{"Lo is a code", "circuit.go", "m.checker.Check(m.api.Sub(m.Lo, 1), countBits)", ""},
	{"widths of trend bounds", "circuit.go", "m.checker.Check(m.TrendHi, trendBits)", ""},
}

// A circuit without any one of its checks is found out by the tests of boundaries and
// attacks. Each is compiled anew, so this takes minutes.
func TestEveryCheckOfTheCircuitIsMissed(t *testing.T) {
	if !soak {
		t.Skip("compiles the package many times: VITALVEIL_SOAK=1")
	}
	for _, m := range mutations {
		t.Run(m.what, func(t *testing.T) {
			out, err := withMutation(t, m.file, m.old, m.new)
			if err == nil {
				t.Errorf("no test misses it:\n%s", out)
			} else if !strings.Contains(out, "--- FAIL") {
				t.Errorf("the tests did not run: %v\n%s", err, out)
			}
		})
	}
}

// withMutation runs the tests of boundaries and attacks on the package with one
// place changed.
func withMutation(t *testing.T, file, before, after string) (string, error) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), before) != 1 {
		t.Fatalf("%s does not have %q once", file, before)
	}
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, file), filepath.Join(dir, "overlay.json")
	original, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{mutant: []byte(strings.Replace(string(source), before, after, 1)), overlay: replace} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("go", "test", "-overlay", overlay, "-vet=off", "-run", "^(TestBoundaries|TestAttack.*)$", "-skip", "^TestAttackGuess", ".").CombinedOutput()
	return string(out), err
}
