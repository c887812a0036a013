package verifier

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	groth16 "github.com/consensys/gnark/backend/groth16/bn254"

	"github.com/vitalveil/vitalveil/internal/record"
)

// The second verifier shares no code with this package. Of honest claims and of changed
// ones it says the same.
func TestTheSecondVerifierSaysTheSame(t *testing.T) {
	run := secondVerifier(t)
	for _, class := range Classes() {
		f, v := readFixtureOf(t, class.Name)
		cases := map[string]Claim{"honest": {f.Statement, f.Proof}, "rerandomised": {f.Statement, rerandomised(t, f.Proof, 5)}}
		for name, edit := range edits {
			s := f.Statement
			edit(&s)
			cases[name] = Claim{s, f.Proof}
		}
		for name, edit := range map[string]func(*groth16.Proof){
			"A":                  func(p *groth16.Proof) { p.Ar.Neg(&p.Ar) },
			"B":                  func(p *groth16.Proof) { p.Bs.Double(&p.Bs) },
			"C":                  func(p *groth16.Proof) { p.Krs.Double(&p.Krs) },
			"commitment":         func(p *groth16.Proof) { p.Commitments[0].Neg(&p.Commitments[0]) },
			"proof of knowledge": func(p *groth16.Proof) { p.CommitmentPok.Double(&p.CommitmentPok) },
			"both": func(p *groth16.Proof) {
				p.Commitments[0].Double(&p.Commitments[0])
				p.CommitmentPok.Double(&p.CommitmentPok)
			},
		} {
			cases["proof: "+name] = Claim{f.Statement, edited(t, f.Proof, edit)}
		}
		cases["cut short"], cases["longer"] = Claim{f.Statement, f.Proof[1:]}, Claim{f.Statement, append(f.Proof[:ProofBytes:ProofBytes], 0)}
		cases["not compressed"], cases["two commitments"] = Claim{f.Statement, unflagged(f.Proof, 0)}, Claim{f.Statement, withCount(f.Proof, 2)}
		vacuous := f.Statement
		vacuous.K, vacuous.MinCount = 0, 0
		cases["vacuous"] = Claim{vacuous, f.Proof}
		for name, said := range run(f, cases) {
			alone := v.Verify(cases[name].Statement, cases[name].Proof)
			if (said == "proven") != (alone == nil) {
				t.Errorf("%s, %s: %q, and here: %v", class.Name, name, said, alone)
			}
		}
	}
}

// secondVerifier builds the program once, and runs it on claims under a fixture's key. It
// needs what "npm install" in zk/second fetches, and fetches nothing itself.
func secondVerifier(t *testing.T) func(fixture, map[string]Claim) map[string]string {
	t.Helper()
	source, err := filepath.Abs("../second")
	if err != nil {
		t.Fatal(err)
	}
	node, err := exec.LookPath("node")
	esbuild := filepath.Join(source, "node_modules", ".bin", "esbuild")
	if _, missing := os.Stat(esbuild); err != nil || missing != nil {
		t.Skip("SKIPPED: the second verifier needs node, and \"npm install\" in zk/second")
	}
	program := filepath.Join(t.TempDir(), "verify.mjs")
	build := exec.Command(esbuild, "verify.ts", "--bundle", "--format=esm", "--platform=neutral", "--external:node:fs", "--outfile="+program)
	build.Dir = source
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return func(f fixture, cases map[string]Claim) map[string]string {
		t.Helper()
		dir := t.TempDir()
		hash := record.SumID(f.VerifyingKey)
		names, args := map[string]string{}, []string{program, hex.EncodeToString(hash[:])}
		for name, c := range cases {
			b, err := json.Marshal(fixture{f.Class, f.Circuit, f.VerifyingKey, c.Statement, c.Proof})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, record.SumID([]byte(name)).Short())
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			names[path], args = name, append(args, path)
		}
		out, err := exec.Command(node, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		said := map[string]string{}
		for line := range strings.Lines(string(out)) {
			path, what, _ := strings.Cut(strings.TrimSpace(line), ": ")
			said[names[path]] = what
		}
		if len(said) != len(cases) || said["honest"] != "proven" {
			t.Fatalf("it said of %d claims:\n%s", len(said), out)
		}
		return said
	}
}
