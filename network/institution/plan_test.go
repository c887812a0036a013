package institution

import (
	"math"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	"github.com/vitalveil/vitalveil/internal/fault"
	"github.com/vitalveil/vitalveil/internal/record"
)

// planned is what 200 people leave of a study, without a ledger.
func planned(t *testing.T, r PlanRequest) []Outlook {
	t.Helper()
	s := record.Study{ID: "s", Metrics: r.Metrics, From: 0, Until: 30 * 24, MinCohort: 11}
	all, err := Outlooks(privacy.V3(), 3, s, r, func(record.Ask) (int64, error) { return 200, nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAPlanSaysWhatARhoBuysAndWhatAnIntervalNeeds, and the two agree; half the interval
// needs four times the loss, or twice the people.
func TestAPlanSaysWhatARhoBuysAndWhatAnIntervalNeeds(t *testing.T) {
	bought := planned(t, PlanRequest{Metrics: []string{"heart_rate"}, Want: "mean", Rho: 100_000})[0]
	if bought.People != 200 || bought.Days != 30 || bought.Half <= 0 || bought.Usable != (bought.Half <= bought.Print) {
		t.Fatalf("%+v", bought)
	}
	half := planned(t, PlanRequest{Metrics: []string{"heart_rate"}, Want: "mean", Half: bought.Half / 2})[0]
	if ratio := float64(half.RhoMicro) / 100_000; math.Abs(ratio-4) > 0.1 || half.Half > bought.Half/2 {
		t.Errorf("half the interval costs %g times the loss: %+v", ratio, half)
	}
	twice := planned(t, PlanRequest{Metrics: []string{"heart_rate"}, Want: "mean", Rho: 100_000, People: 400})[0]
	if math.Abs(twice.Half/bought.Half-0.5) > 0.01 {
		t.Errorf("twice the people have +- %g beside %g", twice.Half, bought.Half)
	}
	need := bought.Forecast.Need(bought.Half / 2)
	if need.People < 399 || need.People > 401 || math.Abs(float64(need.RhoMicro)/float64(half.RhoMicro)-1) > 0.01 {
		t.Errorf("it is said to need %+v", need)
	}
}

// TestAPlanByNeedIsUsableInAll: nine metrics of two hundred people, each with what it
// needs, at an epsilon that one can defend; and so it is if the epsilon is shared by need.
func TestAPlanByNeedIsUsableInAll(t *testing.T) {
	var keys []string
	for slot := range privacy.V3().Day().Slots() {
		keys = append(keys, privacy.V3().Day().Questions()[slot].Key)
	}
	for _, r := range []PlanRequest{{Metrics: keys, Want: "mean"}, {Metrics: keys, Want: "mean", Total: privacy.RhoFor(4, 1e-6)}} {
		var sum uint64
		for _, o := range planned(t, r) {
			if !o.Usable {
				t.Errorf("%s has +- %g, worth printing is %g", o.Metric, o.Half, o.Print)
			}
			sum += o.RhoMicro
		}
		if e := privacy.Epsilon(sum, 1e-6); e > 4 {
			t.Errorf("epsilon %g in all", e)
		}
	}
}

// TestAPlanWarns of pairs, of one quantity paid twice and of cohorts that are refused; and
// refuses what has no plan.
func TestAPlanWarns(t *testing.T) {
	all := planned(t, PlanRequest{Metrics: []string{"heart_rate", "pulse_rate", "heart_rate*resp_rate", "heart_rate@stratum"}, Want: "mean,spread", Rho: 100_000, Days: []int64{1, 7}})
	if len(all) != 8 || all[0].Days != 1 || all[7].Days != 7 {
		t.Fatalf("%d outlooks", len(all))
	}
	for i, want := range []string{"", "twice", "thousands", ""} {
		if !strings.Contains(all[i].Note, want) || want == "" && all[i].Note != "" {
			t.Errorf("%s: %q", all[i].Metric, all[i].Note)
		}
	}
	if all[2].Need.People < 1000 {
		t.Errorf("a correlation is said to need %d people", all[2].Need.People)
	}
	if few := planned(t, PlanRequest{Metrics: []string{"heart_rate"}, Want: "mean", Rho: 100_000, People: 10})[0]; !strings.Contains(few.Note, "refused") {
		t.Errorf("ten people: %q", few.Note)
	}
	s := record.Study{ID: "s", Metrics: []string{"heart_rate"}, From: 0, Until: 48, MinCohort: 11}
	none := func(record.Ask) (int64, error) { return 0, nil }
	for name, c := range map[string]struct {
		schema *privacy.Schema
		r      PlanRequest
		exact  bool
	}{
		"a schema of hours":       {privacy.V1(), PlanRequest{Want: "mean"}, false},
		"an exact study":          {privacy.V3(), PlanRequest{Want: "mean"}, true},
		"no figures":              {privacy.V3(), PlanRequest{}, false},
		"another metric":          {privacy.V3(), PlanRequest{Metrics: []string{"storage_temp"}, Want: "mean"}, false},
		"no days":                 {privacy.V3(), PlanRequest{Want: "mean", From: 1, Until: 23}, false},
		"a loss and an interval":  {privacy.V3(), PlanRequest{Want: "mean", Rho: 1000, Half: 1}, false},
		"an interval of no width": {privacy.V3(), PlanRequest{Want: "mean", Half: math.NaN()}, false},
	} {
		s.Exact = c.exact
		if _, err := Outlooks(c.schema, 3, s, c.r, none); fault.Of(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := Outlooks(privacy.V3(), 3, record.Study{Metrics: s.Metrics, Until: 48, MinCohort: 11}, PlanRequest{Want: "mean"}, none); err != nil || all[0].People != 0 || all[0].Note == "" {
		t.Errorf("nobody is eligible: %+v, %v", all, err)
	}
}

// TestAPlanCountsWhoWouldBeInTheAnswer, and costs nobody anything.
func TestAPlanCountsWhoWouldBeInTheAnswer(t *testing.T) {
	w := dayWorld(t, 12, 2)
	in := w.members[hospitalA]
	w.wait("the study is known", func() bool { _, err := in.index.Study(msps[hospitalA], "noisy"); return err == nil })
	look := func() Outlook {
		t.Helper()
		all, err := in.Plan(PlanRequest{Study: "noisy", Metrics: []string{metricKey}, Want: "mean", From: firstHour, Until: firstHour + 48, Rho: 2_000_000})
		if err != nil {
			t.Fatal(err)
		}
		return all[0]
	}
	for range 3 {
		if o := look(); o.People != 12 || o.Days != 2 {
			t.Fatalf("%+v", o)
		}
	}
	if _, err := in.Ask(t.Context(), askDays("noisy", "mean", 2, 2_000_000)); err != nil {
		t.Fatal(err)
	}
	w.wait("their caps do not allow it again", func() bool { return look().People == 0 })
	_, err := in.Plan(PlanRequest{Study: "none", Want: "mean"})
	wantFault(t, fault.NotFound, err)
}
