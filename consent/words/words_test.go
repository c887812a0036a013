package words

import (
	"slices"
	"strings"
	"testing"

	"github.com/vitalveil/vitalveil/consent"
	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/zk/verifier"
)

func TestADocumentSaysInWordsWhatItPermits(t *testing.T) {
	d := consent.Document{
		ID: record.SumID([]byte("consent")), Version: 1, Patient: record.SumID([]byte("patient")),
		Grantee: "HospitalA", Purpose: "HRESCH", Status: consent.StatusActive, Effect: consent.EffectPermit,
		Operations: []string{consent.OpAggregate, consent.OpPredicate, consent.OpShare}, Metrics: []string{"heart_rate", "glucose"},
		DataFrom: 482136, DataUntil: 482160, NotBefore: 1735689600, Expires: 1767225600,
		CapMicro: 3_000_000, BeyondShare: true, Claims: 4,
		Predicates: []consent.Terms{{Metric: "heart_rate", Days: 1, Limits: consent.Readings(1, 100)}},
	}
	if err := consent.Validate(d); err != nil {
		t.Fatal(err)
	}
	permits := strings.Join(Of(d), "\n")
	for _, want := range []string{
		"You allow HospitalA, for healthcare research, to use your",
		"from 2025-01-01 00:00 UTC until 2025-01-02 00:00 UTC",
		"until 2026-01-01 00:00 UTC, unless you take it back",
		"may be right nearly every time; without them it is 50 times (rho 3).", "more than its equal share", "At most 4 such claims in all.", "pass on to other institutions",
	} {
		if !strings.Contains(permits, want) {
			t.Errorf("%q is not said in:\n%s", want, permits)
		}
	}
	// What a permission gives up beyond the usual is never left unsaid.
	for want, change := range map[string]func(*consent.Document){
		"Nothing protects what they say":                  func(d *consent.Document) { d.Exact = true },
		"right at most 73 times in 100":                   func(d *consent.Document) { d.CapMicro = 100_000 },
		"the cap is 0":                                    func(d *consent.Document) { d.CapMicro = 0 },
		"You forbid HospitalA":                            func(d *consent.Document) { d.Effect = consent.EffectDeny },
		"Forbidden are: being part of statistics; claims": func(d *consent.Document) { d.Effect = consent.EffectDeny },
		"You take back what you said to HospitalA":        func(d *consent.Document) { d.Status = consent.StatusRevoked },
	} {
		other := d
		change(&other)
		if said := strings.Join(Of(other), "\n"); !strings.Contains(said, want) {
			t.Errorf("%q is not said in:\n%s", want, said)
		}
	}
	if said := strings.Join(Of(d), "\n"); strings.Contains(said, "exact") {
		t.Errorf("exact statistics are not permitted:\n%s", said)
	}
}

func TestTheSameTermsAreSaidInTheSameWords(t *testing.T) {
	listed := verifier.Unbounded()
	listed.Lo, listed.Hi, listed.K, listed.MinCount, listed.OutMax, listed.MeanLo = 40, 60, 60, 60, 30, 41
	readings := consent.Limits{
		Hours: 6, Range: &consent.Interval{Lo: 31, Hi: 71, Width: 10}, K: consent.Span{Least: 60, Most: 1200},
		MinCount: consent.Span{Least: 60, Most: 1440}, OutMax: consent.Span{Least: 30, Most: 1440}, DayK: consent.Span{Least: 1, Most: 1},
	}
	all := readings
	all.Mean = &consent.Interval{Lo: 31, Hi: 71, Width: 1}
	all.Trend = &consent.Interval{Lo: verifier.TrendBias - 5, Hi: verifier.TrendBias + 5, Width: 10}
	all.DayK, all.MinHalf = consent.Span{Least: 2, Most: 5}, consent.Span{Least: 60, Most: 720}
	d := consent.Document{Claims: 2, Predicates: []consent.Terms{
		{Metric: "heart_rate", Days: 1, Limits: &readings}, {Metric: "heart_rate", Days: 1, Claim: &listed}, {Metric: "heart_rate", Days: 7, Limits: &all},
	}}
	want := []string{
		"Claims about heart rate of a day, over at least 6 hours of the day (UTC): how many readings are within a range, between 50 and 90 /min, bounds at least 10 /min apart. In at least 60 to 1200 minutes within the range, 60 to 1440 measured, 30 to 1440 outside.",
		"That on a day, heart rate was between 59 and 79 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC, and outside of that in at most 30; the mean over all the time was at least 60 /min.",
		"Claims about heart rate on 2 to 5 of 7 days in a row, over at least 6 hours of the day (UTC): how many readings are within a range, between 50 and 90 /min, bounds at least 10 /min apart; or the mean, between 50 and 90 /min, bounds at least 1 /min apart; or the trend (mean of the second half minus that of the first), between -5 and 5 /min, bounds at least 10 /min apart. In at least 60 to 1200 minutes within the range, 60 to 1440 measured, 30 to 1440 outside, 60 to 720 measured in each half.",
		"At most 2 such claims in all.",
		"By halves, all 2 of them narrow a value that heart rate kept to for 60 minutes down to 11 of 41 values; the first would be that on a day, heart rate was between 50 and 70 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was in the range down to 286 of 1142 values; the first would be that on a day, heart rate was between 50 and 90 /min in at least 630 of the 1440 minutes 00:00-24:00 UTC.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was out of the range down to 353 of 1412 values; the first would be that on a day, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC, and outside of that in at most 735.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was measured down to 346 of 1382 values; the first would be that on a day, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC, with at least 750 measured.",
		"By halves, all 2 of them narrow a value that heart rate kept to for 60 minutes down to 11 of 41 values; the first would be that on at least 2 of 7 days in a row, heart rate was between 50 and 70 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC of each day; each half has at least 60 minutes measured.",
		"By halves, all 2 of them narrow the mean of heart rate down to 11 of 41 values; the first would be that on at least 2 of 7 days in a row, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC of each day; the mean over all the time was between 50 and 70 /min; each half has at least 60 minutes measured.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was in the range down to 286 of 1142 values; the first would be that on at least 2 of 7 days in a row, heart rate was between 50 and 90 /min in at least 630 of the 1440 minutes 00:00-24:00 UTC of each day; each half has at least 60 minutes measured.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was out of the range down to 353 of 1412 values; the first would be that on at least 2 of 7 days in a row, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC of each day, and outside of that in at most 735; each half has at least 60 minutes measured.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was measured down to 346 of 1382 values; the first would be that on at least 2 of 7 days in a row, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC of each day, with at least 750 measured; each half has at least 60 minutes measured.",
		"By halves, all 2 of them narrow the number of days on which all that is claimed of one holds down to 2 of 5 values; the first would be that on at least 4 of 7 days in a row, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC of each day; each half has at least 60 minutes measured.",
		"By halves, all 2 of them narrow the number of minutes in which heart rate was measured in the half that has fewer down to 166 of 662 values; the first would be that on at least 2 of 7 days in a row, heart rate was between 50 and 90 /min in at least 60 of the 1440 minutes 00:00-24:00 UTC of each day; each half has at least 390 minutes measured.",
		"Each answer is yes or silence: all together tell at most 2 bits about you.",
	}
	if got := Claims(d); !slices.Equal(got, want) {
		t.Errorf("the terms are said as\n%s", strings.Join(got, "\n"))
	}
	if Claims(consent.Document{Effect: consent.EffectDeny}) != nil {
		t.Error("a denial allows claims")
	}
}
