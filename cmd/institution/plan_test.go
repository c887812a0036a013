package institution

import (
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/he/privacy"
	role "github.com/vitalveil/vitalveil/network/institution"
)

// TestAPlanNeedsNoNetworkForPeopleWhoAreNotThereYet: by the network's document alone, with
// totals, and in words.
func TestAPlanNeedsNoNetworkForPeopleWhoAreNotThereYet(t *testing.T) {
	w := newWorldOf(t, 0, 2) // its processes are not started
	c := planCommand{dirFlag: dirFlag{w.member(hospitalA)}, Study: "later"}
	r := role.PlanRequest{Study: "later", Metrics: []string{"heart_rate", "pulse_rate"}, Want: "mean", Days: []int64{1, 7}, People: 200}
	all, err := c.plan(t.Context(), r)
	if err != nil || len(all) != 4 {
		t.Fatalf("%d outlooks (%v)", len(all), err)
	}
	p := planned{Answers: all, Totals: totals(all)}
	if len(p.Totals) != 2 || p.Totals[0].Epsilon <= 0 || p.Totals[0].Epsilon != privacy.Epsilon(all[0].RhoMicro+all[1].RhoMicro, delta) {
		t.Errorf("totals %+v", p.Totals)
	}
	var text strings.Builder
	w.check(p.print(&text))
	for _, want := range []string{"heart_rate", "200", "nothing more", "all of 7 days: rho", "epsilon", "pays for it twice"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	r.Days, r.Rho, r.People = []int64{1}, 1000, 20
	noisy, err := c.plan(t.Context(), r)
	w.check(err)
	if says := before(noisy[0]); !strings.Contains(says, "too noisy") || !strings.Contains(says, "people or rho") {
		t.Errorf("before asking it says %q", says)
	}
	if _, err := c.plan(t.Context(), role.PlanRequest{Study: "later", Want: "mean"}); err == nil {
		t.Error("a study is looked at whose institution does not run")
	}
}
