package verify

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vitalveil/vitalveil/internal/consortium"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
	"github.com/vitalveil/vitalveil/zk"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

var dayKeys = sync.OnceValues(func() (*zk.Keys, error) { return zk.LoadKeys("", "day", nil) })

// provenAnswer is a network with a circuit and the answer to a request about a day.
func provenAnswer(t *testing.T) (record.Descriptor, record.PredicateState) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a real setup")
	}
	keys, err := dayKeys()
	if err != nil {
		t.Fatal(err)
	}
	asker := consortium.NewKey()
	d := record.Descriptor{Genesis: record.Genesis{Network: "trial", Members: []record.Member{
		{MSP: "HospitalA", SignKey: consortium.Public(asker)}, {MSP: "HospitalB", SignKey: consortium.Public(consortium.NewKey())},
	}, Circuits: []record.Circuit{keys.Circuit()}}}
	codes := make([]uint16, wearable.MinutesPerDay)
	for i := range codes[:700] {
		codes[i] = 41
	}
	root, opening, err := zk.Commit(20089, map[int][]uint16{0: codes})
	if err != nil {
		t.Fatal(err)
	}
	p := record.PredicateState{
		ID: strings.Repeat("ab", 32), Asker: "HospitalA", Consent: record.RandomID(), Roots: []record.ID{root}, Expires: 1735776000,
		Status: record.PredicateAttested, Ask: record.AskPredicate{
			Patient: record.RandomID(), Purpose: "HRESCH", Class: "day", Metric: "heart_rate", FirstDay: 20089, Nonce: record.RandomID(), Bounds: verifier.Unbounded(),
		},
	}
	p.Ask.Bounds.Lo, p.Ask.Bounds.Hi, p.Ask.Bounds.K = 31, 71, 600
	p.Ask.Signature = consortium.Sign(asker, p.Ask.Digest("trial", p.Asker))
	if p.DataDigest, err = verifier.DataDigest(p.Roots); err != nil {
		t.Fatal(err)
	}
	p.Binding = verifier.Binding("trial", p.ID, p.Ask.Nonce, p.Consent, p.Expires, keys.Hash)
	a, err := attestationOf(d.Genesis, p, p.Binding)
	if err != nil {
		t.Fatal(err)
	}
	if p.Proof, err = keys.Prove(t.Context(), a.Statement, []*zk.Opening{opening}); err != nil {
		t.Fatal(err)
	}
	return d, p
}

func written(t *testing.T, name string, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProofIsVerifiedOfflineAndSaidInWords(t *testing.T) {
	d, p := provenAnswer(t)
	network, answer := written(t, "network.json", d), written(t, "answer.json", p)
	var out bytes.Buffer
	export := filepath.Join(t.TempDir(), "claim.json")
	if err := (ProofCommand{Network: network, Answers: []string{answer}, Export: export}).check(&out); err != nil {
		t.Fatal(err)
	}
	for _, words := range []string{"proven", "heart rate was between 50 and 90", "600 of the 1440", p.Roots[0].String(), "HospitalA", "could forge"} {
		if !strings.Contains(out.String(), words) {
			t.Errorf("it does not say %q:\n%s", words, out.String())
		}
	}
	var e exported
	b, err := os.ReadFile(export)
	if err != nil || json.Unmarshal(b, &e) != nil || record.SumID(e.VerifyingKey) != e.KeyHash || !bytes.Equal(e.Proof, p.Proof) {
		t.Errorf("exported: %v", err)
	}
	out.Reset()
	if err := (ProofCommand{Network: network, Answers: []string{answer, written(t, "again.json", p)}}).check(&out); err != nil || strings.Count(out.String(), "counts once") != 1 {
		t.Errorf("the same claim twice: %v\n%s", err, out.String())
	}
}

func TestAttackAnswerThatWasChanged(t *testing.T) {
	d, honest := provenAnswer(t)
	network := written(t, "network.json", d)
	for what, change := range map[string]func(*record.PredicateState){
		"nothing":          func(*record.PredicateState) {},
		"the claim":        func(p *record.PredicateState) { p.Ask.Bounds.K = 601 },
		"the day":          func(p *record.PredicateState) { p.Ask.FirstDay++ },
		"the patient":      func(p *record.PredicateState) { p.Ask.Patient = record.RandomID() },
		"the purpose":      func(p *record.PredicateState) { p.Ask.Purpose = "TREAT" },
		"who asked":        func(p *record.PredicateState) { p.Asker = "HospitalB" },
		"a member's name":  func(p *record.PredicateState) { p.Asker = "HospitalX" },
		"no signature":     func(p *record.PredicateState) { p.Ask.Signature = nil },
		"the metric":       func(p *record.PredicateState) { p.Ask.Metric = "spo2" },
		"no such metric":   func(p *record.PredicateState) { p.Ask.Metric = "mood" },
		"the class":        func(p *record.PredicateState) { p.Ask.Class = "week" },
		"the root":         func(p *record.PredicateState) { p.Roots[0][31] ^= 1 },
		"root and digest":  func(p *record.PredicateState) { p.Roots[0][31] ^= 1; p.DataDigest, _ = verifier.DataDigest(p.Roots) },
		"no root":          func(p *record.PredicateState) { p.Roots = nil },
		"the request":      func(p *record.PredicateState) { p.ID = strings.Repeat("cd", 32) },
		"the consent":      func(p *record.PredicateState) { p.Consent[0] ^= 1 },
		"the binding":      func(p *record.PredicateState) { p.Binding[31] ^= 1 },
		"the proof":        func(p *record.PredicateState) { p.Proof[40] ^= 1 },
		"no proof":         func(p *record.PredicateState) { p.Proof = nil },
		"never answered":   func(p *record.PredicateState) { p.Status = record.PredicateExpired },
		"a vacuous claim":  func(p *record.PredicateState) { p.Ask.Bounds.K = 0 },
		"a proof too long": func(p *record.PredicateState) { p.Proof = append(p.Proof, make([]byte, maxAnswer)...) },
	} {
		p := honest
		p.Roots, p.Proof = append([]record.ID(nil), honest.Roots...), bytes.Clone(honest.Proof)
		change(&p)
		var out bytes.Buffer
		if err := (ProofCommand{Network: network, Answers: []string{written(t, "answer.json", p)}}).check(&out); (err == nil) != (what == "nothing") {
			t.Errorf("%s: %v\n%s", what, err, out.String())
		}
	}
}
