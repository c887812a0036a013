package zk

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
)

func TestTheProverTakesTheKeysThatTheNetworkAccepted(t *testing.T) {
	k := dayKeys(t)
	s, openings := rich(t)
	p := NewProver(keyDir, []record.Circuit{{Class: "of another version"}, k.Circuit()})
	proof, err := p.Prove(t.Context(), s, openings)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.verifier.Verify(s, proof); err != nil {
		t.Error(err)
	}
	other := k.Circuit()
	other.Hash[0] ^= 1
	for words, p := range map[string]*Prover{
		"not those":     NewProver(keyDir, []record.Circuit{other}),
		"no circuit":    NewProver(keyDir, nil),
		"no such file":  NewProver(t.TempDir(), []record.Circuit{k.Circuit()}),
		"circuit for 1": NewProver(keyDir, []record.Circuit{{Class: "week"}}),
	} {
		if _, err := p.Prove(t.Context(), s, openings); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want an error about %q", err, words)
		}
	}
}
