package institution

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/network/contracts"
	"github.com/vitalveil/vitalveil/wearable"
)

// TestIntensiveCareScale measures queries over 500 devices and 48 hours, the
// whole network in one process. Sealing the rows takes longest by far, so it
// runs only when asked: VITALVEIL_SOAK=1.
func TestIntensiveCareScale(t *testing.T) {
	if os.Getenv("VITALVEIL_SOAK") == "" {
		t.Skip("set VITALVEIL_SOAK=1 to run it")
	}
	w := newWorld(t)
	w.metrics, w.hours = nil, 48
	for _, m := range wearable.Vitals() {
		w.metrics = append(w.metrics, m.Key)
	}
	slices.Sort(w.metrics)
	w.patience = time.Minute
	step := func(what string, f func()) {
		start := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(start))
	}
	step("enrolment", func() { w.enrol(500) })
	step("sealing, anchoring, availability", w.measure)
	w.submit(hospitalA, contracts.StudyCreate, record.Study{
		ID: "icu", Title: "A study", Purpose: "HRESCH", Metrics: w.metrics,
		From: firstHour, Until: firstHour + 48, MinCohort: 11, Exact: true,
	})
	for _, metric := range w.metrics[:7] {
		a, err := w.members[hospitalA].Ask(t.Context(), record.Ask{Study: "icu", Metric: metric, From: firstHour, Until: firstHour + 48})
		if err != nil {
			t.Fatal(err)
		}
		if a.Cohort != 500 || a.Rows != 500*48-1 {
			t.Errorf("%s: cohort of %d with %d rows", metric, a.Cohort, a.Rows)
		}
		if metric == metricKey {
			w.want(a, w.truth)
		}
		t.Logf("%s: %+v", metric, a.Timing)
	}
}
