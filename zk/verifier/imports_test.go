package verifier

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Chaincode verifies and must not be able to prove: this package neither imports
// nor drags in the circuit, the circuit builder or the gadgets. (gnark keeps its
// prover and verifier of one curve in one package, and that package refers to
// frontend for types; nothing of either is called.)
func TestNoProverIsLinked(t *testing.T) {
	imports := list(t, "{{join .Imports \"\\n\"}}", ".")
	for _, p := range imports {
		if strings.HasPrefix(p, "github.com/consensys/gnark/frontend") || strings.HasPrefix(p, "github.com/consensys/gnark/constraint") ||
			strings.HasPrefix(p, "github.com/consensys/gnark/std") {
			t.Errorf("imports %s", p)
		}
	}
	if !slices.Contains(imports, "github.com/consensys/gnark/backend/groth16/bn254") {
		t.Fatalf("the list of imports is not this package's: %v", imports)
	}
	for _, p := range list(t, "{{.ImportPath}}", "-deps", ".") {
		switch {
		case p == "github.com/vitalveil/vitalveil/zk",
			strings.HasPrefix(p, "github.com/consensys/gnark/frontend/cs/"),
			strings.HasPrefix(p, "github.com/consensys/gnark/std/permutation"),
			strings.HasPrefix(p, "github.com/consensys/gnark/std/rangecheck"),
			strings.HasPrefix(p, "github.com/consensys/gnark/test"),
			strings.HasSuffix(p, "/mpcsetup"):
			t.Errorf("depends on %s", p)
		}
		if own, ok := strings.CutPrefix(p, "github.com/vitalveil/vitalveil/"); ok &&
			!slices.Contains([]string{"zk/verifier", "wearable", "internal/record"}, own) {
			t.Errorf("depends on %s", p)
		}
	}
}

func list(t *testing.T, format string, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-f", format}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	return strings.Fields(string(out))
}
