package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
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
	w.Tick(start + 86400)
	keys := []string{"heart_rate", "heart_rate*spo2", "spo2@stratum"}
	w.Must(hospitalA, contracts.StudyCreate, pairStudy(keys...))
	for _, key := range keys {
		var q record.QueryState
		w.Must(hospitalA, contracts.QueryAsk, record.Ask{Study: "pairs", Metric: key, From: startHour, Until: startHour + 24, Rho: 500_000}, &q)
		if q.Ask.Metric != key || q.Status != record.QueryAsked {
			t.Errorf("asked %q, recorded %+v", key, q)
		}
	}
	var s record.StudyState
	w.Read(hospitalA, contracts.StudyGet, "pairs", &s)
	if s.Spent != 1_500_000 {
		t.Errorf("three questions cost %d", s.Spent)
	}
}

// TestAttackQuestionsOfAnotherSchema: what the network's rows do not carry cannot
// be studied, nor asked beside the study.
func TestAttackQuestionsOfAnotherSchema(t *testing.T) {
	w := newWorld(t)
	w.Tick(start + 86400)
	for _, key := range []string{"heart_rate*spo2", "heart_rate@stratum"} {
		w.Refuses(fault.Invalid, "vitals-v1", hospitalA, contracts.StudyCreate, pairStudy(key))
	}
	w = newWorld(t, withPairs)
	w.Tick(start + 86400)
	for _, key := range []string{"spo2*heart_rate", "heart_rate*glucose", "glucose@stratum", "heart_rate@female_65_up", "heart_rate*spo2@stratum"} {
		w.Refuses(fault.Invalid, "unknown", hospitalA, contracts.StudyCreate, pairStudy(key))
	}
	w.Refuses(fault.Invalid, "once", hospitalA, contracts.StudyCreate, pairStudy("heart_rate*spo2", "heart_rate*spo2"))
	w.Must(hospitalA, contracts.StudyCreate, pairStudy("heart_rate"))
	w.Refuses(fault.Invalid, "not one of the study's", hospitalA, contracts.QueryAsk,
		record.Ask{Study: "pairs", Metric: "heart_rate*spo2", From: startHour, Until: startHour + 24, Rho: 500_000})
}

// TestAttackExactStrata: an exact study cannot ask by stratum; the count of a
// small one would show who is in it.
func TestAttackExactStrata(t *testing.T) {
	w := newWorld(t, withPairs)
	s := pairStudy("heart_rate*spo2", "heart_rate@stratum")
	s.Exact, s.Budget = true, 0
	w.Refuses(fault.Invalid, "never answered exactly", hospitalA, contracts.StudyCreate, s)
	s.Metrics = s.Metrics[:1]
	w.Must(hospitalA, contracts.StudyCreate, s)
}

// TestAttackWrongSchemaDigest: a network cannot begin with a schema that this
// version does not know.
func TestAttackWrongSchemaDigest(t *testing.T) {
	for _, digest := range []record.ID{{}, record.SumID([]byte("vitals-v2")), record.SumID([]byte("vitals-v3"))} {
		w := emptyWorld(t)
		w.Genesis.Schema = digest
		w.Refuses(fault.Invalid, "schema", hospitalA, contracts.RegistryInit, w.Genesis)
	}
}
