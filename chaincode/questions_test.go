package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

func withPairs(g *record.Genesis) { g.Schema = privacy.V2().Digest() }

func pairStudy(keys ...string) record.Study {
	return record.Study{
		ID: "pairs", Title: "Two at a time", Purpose: "HRESCH", Metrics: keys,
		From: startHour, Until: startHour + 48, MinCohort: 11, Budget: 2_000_000,
	}
}

// TestPairsAndStrataAreAskedLikeMetrics: each question is debited what it was
// asked with.
func TestPairsAndStrataAreAskedLikeMetrics(t *testing.T) {
	w := newWorld(t, withPairs)
	w.tick(start + 86400)
	keys := []string{"heart_rate", "heart_rate*spo2", "spo2@stratum"}
	w.must(hospitalA, "Study:Create", pairStudy(keys...), nil)
	for _, key := range keys {
		var q record.QueryState
		w.must(hospitalA, "Query:Ask", record.Ask{Study: "pairs", Metric: key, From: startHour, Until: startHour + 24, Rho: 500_000}, &q)
		if q.Ask.Metric != key || q.Status != record.QueryAsked {
			t.Errorf("asked %q, recorded %+v", key, q)
		}
	}
	var s record.StudyState
	w.read(hospitalA, "Study:Get", "pairs", &s)
	if s.Spent != 1_500_000 {
		t.Errorf("three questions cost %d", s.Spent)
	}
}

// TestAttackQuestionsOfAnotherSchema: what the network's rows do not carry cannot
// be studied, nor asked beside the study.
func TestAttackQuestionsOfAnotherSchema(t *testing.T) {
	w := newWorld(t)
	w.tick(start + 86400)
	for _, key := range []string{"heart_rate*spo2", "heart_rate@stratum"} {
		w.refuses(fault.Invalid, "vitals-v1", hospitalA, "Study:Create", pairStudy(key))
	}
	w = newWorld(t, withPairs)
	w.tick(start + 86400)
	for _, key := range []string{"spo2*heart_rate", "heart_rate*glucose", "glucose@stratum", "heart_rate@female_65_up", "heart_rate*spo2@stratum"} {
		w.refuses(fault.Invalid, "unknown", hospitalA, "Study:Create", pairStudy(key))
	}
	w.refuses(fault.Invalid, "once", hospitalA, "Study:Create", pairStudy("heart_rate*spo2", "heart_rate*spo2"))
	w.must(hospitalA, "Study:Create", pairStudy("heart_rate"), nil)
	w.refuses(fault.Invalid, "not one of the study's", hospitalA, "Query:Ask",
		record.Ask{Study: "pairs", Metric: "heart_rate*spo2", From: startHour, Until: startHour + 24, Rho: 500_000})
}

// TestAttackExactStrata: an exact study cannot ask by stratum; the count of a
// small one would show who is in it.
func TestAttackExactStrata(t *testing.T) {
	w := newWorld(t, withPairs)
	s := pairStudy("heart_rate*spo2", "heart_rate@stratum")
	s.Exact, s.Budget = true, 0
	w.refuses(fault.Invalid, "never answered exactly", hospitalA, "Study:Create", s)
	s.Metrics = s.Metrics[:1]
	w.must(hospitalA, "Study:Create", s, nil)
}

// TestAttackWrongSchemaDigest: a network cannot begin with a schema that this
// version does not know.
func TestAttackWrongSchemaDigest(t *testing.T) {
	for _, digest := range []record.ID{{}, record.SumID([]byte("vitals-v2")), record.SumID([]byte("vitals-v3"))} {
		w := emptyWorld(t)
		w.genesis.Schema = digest
		w.refuses(fault.Invalid, "schema", hospitalA, "Registry:Init", w.genesis)
	}
}
