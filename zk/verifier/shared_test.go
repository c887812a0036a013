package verifier

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/wearable"
)

var update = flag.Bool("update", false, "rewrite the golden vectors")

const newYear = 20089 // 2025-01-01

// fixture is a real key, statement and proof; the tests of package zk make it,
// because this package cannot prove.
type fixture struct {
	Class        string    `json:"class"`
	Circuit      record.ID `json:"circuit"`
	VerifyingKey []byte    `json:"verifying_key"`
	Statement    Statement `json:"statement"`
	Proof        []byte    `json:"proof"`
}

func readFixture(t testing.TB) (fixture, *Verifier) { return readFixtureOf(t, "day") }

func readFixtureOf(t testing.TB, class string) (fixture, *Verifier) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + class + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(f.Class, f.VerifyingKey, record.SumID(f.VerifyingKey))
	if err != nil {
		t.Fatal(err)
	}
	return f, v
}

func metric(t testing.TB, key string) wearable.Metric {
	t.Helper()
	m, ok := wearable.ByKey(key)
	if !ok {
		t.Fatalf("no metric %s", key)
	}
	return m
}
