package chaincode_test

import (
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
)

func withPersons(g *record.Genesis) { g.Schema = privacy.V3().Digest() }

// TestPersonDaysAreAskedByFigures: metrics, pairs and strata of the day row are studied
// and asked, each is debited, and the figures are on the record.
func TestPersonDaysAreAskedByFigures(t *testing.T) {
	w := newWorld(t, withPersons)
	w.Tick(start + 3*86400)
	keys := []string{"heart_rate", "heart_rate*spo2", "spo2@stratum"}
	w.Must(hospitalA, contracts.StudyCreate, pairStudy(keys...))
	for i, key := range keys {
		want := []string{"mean,spread,distribution", "mean", "mean"}[i]
		var q record.QueryState
		w.Must(hospitalA, contracts.QueryAsk, record.Ask{Study: "pairs", Metric: key, Want: want, From: startHour, Until: startHour + 48, Rho: 500_000}, &q)
		if q.Ask.Want != want || q.Status != record.QueryAsked {
			t.Errorf("asked %q for %q, recorded %+v", key, want, q)
		}
	}
	var s record.StudyState
	w.Read(hospitalA, contracts.StudyGet, "pairs", &s)
	if s.Spent != 1_500_000 {
		t.Errorf("three questions cost %d", s.Spent)
	}
	w.Must(hospitalA, contracts.QueryAsk, record.Ask{Study: "pairs", Metric: "heart_rate", From: startHour, Until: startHour + 24, Rho: 500_000}) // minutes
}

// TestAttackPersonDaysAskedAmiss: days that are not whole, figures that nobody knows, that
// are written otherwise or that a question does not have; more noise than a field has room
// for; parts of an exact answer; and anything about person-days where rows have none.
func TestAttackPersonDaysAskedAmiss(t *testing.T) {
	w := newWorld(t, withPersons)
	w.Tick(start + 3*86400)
	w.Must(hospitalA, contracts.StudyCreate, pairStudy("heart_rate", "heart_rate*spo2", "spo2@stratum"))
	exact := pairStudy("heart_rate", "heart_rate*spo2")
	exact.ID, exact.Exact, exact.Budget = "exact", true, 0
	w.Must(hospitalA, contracts.StudyCreate, exact)
	good := record.Ask{Study: "pairs", Metric: "heart_rate", Want: "mean", From: startHour, Until: startHour + 24, Rho: 100_000}
	for _, c := range []struct {
		says   string
		change func(*record.Ask)
	}{
		{"multiples of 24", func(a *record.Ask) { a.From, a.Until = a.From+1, a.Until+1 }},
		{"multiples of 24", func(a *record.Ask) { a.Until += 12 }},
		{"no figure", func(a *record.Ask) { a.Want = "mode" }},
		{"twice", func(a *record.Ask) { a.Want = "mean,mean" }},
		{"want is written", func(a *record.Ask) { a.Want = "spread,mean" }},
		{"one answer", func(a *record.Ask) { a.Metric, a.Want = "heart_rate*spo2", "mean,spread" }},
		{"has one answer", func(a *record.Ask) { a.Metric, a.Want = "spo2@stratum", "distribution" }},
		{"has all figures", func(a *record.Ask) { a.Study, a.Rho = "exact", 0 }},
		{"all figures: want", func(a *record.Ask) { a.Study, a.Rho, a.Want = "exact", 0, "mean,spread,within,limits,range" }},
		{"rho is from 100", func(a *record.Ask) { a.Rho = 1 }},
		{"unknown to row sch", func(a *record.Ask) { a.Metric, a.Want = "heart_rate*spo2", "" }},
	} {
		a := good
		c.change(&a)
		w.Refuses(fault.Invalid, c.says, hospitalA, contracts.QueryAsk, a)
	}
	w.Must(hospitalA, contracts.QueryAsk, good)
	for _, a := range []record.Ask{
		{Study: "exact", Metric: "heart_rate", Want: privacy.WantAll.String(), From: startHour, Until: startHour + 24},
		{Study: "exact", Metric: "heart_rate*spo2", Want: "mean", From: startHour + 24, Until: startHour + 48},
	} {
		w.Must(hospitalA, contracts.QueryAsk, a)
	}
	exact.ID, exact.Metrics = "strata", []string{"spo2@stratum"}
	w.Refuses(fault.Invalid, "never answered exactly", hospitalA, contracts.StudyCreate, exact)

	w = newWorld(t)
	w.Tick(start + 86400)
	w.Must(hospitalA, contracts.StudyCreate, pairStudy("heart_rate"))
	w.Refuses(fault.Invalid, "no person-days", hospitalA, contracts.QueryAsk, good)
}

// TestQuestionsAboutDaysCountAmongADaysQuestions, exact ones too.
func TestQuestionsAboutDaysCountAmongADaysQuestions(t *testing.T) {
	w := newWorld(t, withPersons, func(g *record.Genesis) { g.DailyAsks = 2 })
	w.Tick(start + 3*86400)
	exact := pairStudy("heart_rate")
	exact.Exact, exact.Budget = true, 0
	w.Must(hospitalA, contracts.StudyCreate, exact)
	a := record.Ask{Study: "pairs", Metric: "heart_rate", Want: privacy.WantAll.String(), From: startHour, Until: startHour + 24}
	w.Must(hospitalA, contracts.QueryAsk, a)
	w.Must(hospitalA, contracts.QueryAsk, a)
	w.Refuses(fault.Exhausted, "on this day", hospitalA, contracts.QueryAsk, a)
}
