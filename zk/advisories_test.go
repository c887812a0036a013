package zk

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Published advisories of gnark, and what answers them. Those about the verifier's input
// are answered by guards of package verifier: GHSA-q3hw-3gm4-w5cr (CVE-2024-45039, more
// than one commitment) and GHSA-cph5-3pgr-c82g (CVE-2024-50354, memory by counts in keys
// and proofs). The others are here.

// GHSA-rjjm-x32p-m3f7 and GHSA-498w-5j49-vqjg (CVE-2023-44378; range checks and binary
// decomposition, fixed in 0.9), GHSA-9xcg-3q8v-7fq6 (CVE-2024-45040, commitments that do
// not hide, fixed in 0.11) and GHSA-3mvx-pp85-pm65 (hints that too little constrains,
// fixed in 0.16.2) are of older versions than the one that is pinned.
func TestGnarkIsPinnedAboveItsAdvisories(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}{{with .Replace}} replaced{{end}}", "github.com/consensys/gnark", "github.com/consensys/gnark-crypto").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, []string{"v0.16.3", "v0.21.0"}) {
		t.Errorf("gnark and gnark-crypto are %v: read their advisories, compare goldens and key hashes, then pin the new versions here", got)
	}
}

// GHSA-95v9-hv42-pwrj (CVE-2025-57801, signatures), GHSA-3mvx-pp85-pm65 (std/math/uints,
// std/math/emulated), CVE-2025-58157 (scalar multiplication, std/algebra) and
// GHSA-7p92-x423-vwj6 (PLONK) are about parts that no circuit of ours uses. Of the
// library's gadgets there are range checks, bits, and what these link.
func TestNoGadgetOfAnAdvisoryIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	allowed := []string{"std/rangecheck", "std/multicommit", "std/math/bits", "std/gkrapi/gkr", "std/internal/fieldextension", "std/internal/logderivarg", "std/internal/mimc"}
	for dep := range strings.FieldsSeq(string(out)) {
		part, gnark := strings.CutPrefix(dep, "github.com/consensys/gnark/")
		if gnark && strings.HasPrefix(part, "std/") && !slices.Contains(allowed, part) || strings.HasPrefix(part, "backend/plonk") {
			t.Errorf("the circuit links %s", dep)
		}
	}
}

// GHSA-9xcg-3q8v-7fq6: what a proof's commitment is to could be guessed, if it were not
// masked. Two proofs of one statement from the same readings have nothing in common.
func TestAttackGuessWhatIsCommittedTo(t *testing.T) {
	k := dayKeys(t)
	s, openings := rich(t)
	var proofs [2][]byte
	for i := range proofs {
		var err error
		if proofs[i], err = k.Prove(t.Context(), s, openings); err != nil {
			t.Fatal(err)
		}
	}
	for name, part := range map[string][2]int{"A": {0, 32}, "B": {32, 96}, "C": {96, 128}, "commitment": {132, 164}, "proof of knowledge": {164, 196}} {
		if bytes.Equal(proofs[0][part[0]:part[1]], proofs[1][part[0]:part[1]]) {
			t.Errorf("%s is the same in two proofs", name)
		}
	}
}
